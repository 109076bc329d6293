"""Standard streams that are closed, or whose reader leaves: a training ends as it would without them.

Knows nothing of MXNet, as tools.launch must not import it.
"""
import errno
import io
import os
import stat
import sys

NOBODY_READS = (errno.EPIPE, errno.EIO)  # of a pipe (`| head -1`), and of a terminal that was closed


class Outlet(io.FileIO):
    """A pipe or terminal that drops what nobody reads any more."""

    def write(self, content):
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in NOBODY_READS:
                raise
            return len(content)


def mend_streams():
    """Let this process run to its end without its streams. To be called before it opens a file."""
    for number, name in enumerate(('stdin', 'stdout', 'stderr')):
        open_if_closed(number, name)
        stream = getattr(sys, name)
        if number and stream is getattr(sys, f'__{name}__'):
            if number == 1:
                stream.reconfigure(errors='surrogateescape')  # names of files that are not UTF-8, as they are
            if not is_file(stream):
                setattr(sys, name, outliving(stream))


def open_if_closed(number, name):
    """Give a stream that was closed (`2>&-`) to /dev/null.

    Otherwise the next file, such as a log, gets its number. What MXNet's C++ code says would then go into that file.
    """
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, which is this one
        setattr(sys, name, open(number, 'w' if number else 'r', closefd=False))


def is_file(stream):
    """Whether a stream goes to a file, in which nothing may be lacking without an error."""
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def outliving(stream):
    """The same stream, on which print and logging continue after its reader has left."""
    outlet = Outlet(stream.fileno(), 'w', closefd=False)
    unbuffered = stream.write_through  # python -u
    return io.TextIOWrapper(outlet if unbuffered else io.BufferedWriter(outlet), stream.encoding, stream.errors,
                            line_buffering=stream.line_buffering or stream is sys.stderr, write_through=unbuffered)
