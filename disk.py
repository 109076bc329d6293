"""Files that are whole or not there, known by their content, or used by one process at a time.

    with written('net.json', 'net.params') as (json, params):
        ...                               # what is written to these two gets the names once all of it is on the disk
"""
import errno
import fcntl
import hashlib
import logging
import os
from contextlib import ExitStack, contextmanager, suppress

LOG = logging.getLogger(__name__)
LARGEST_TEXT = 1 << 29  # bytes; a log of a million epochs has as many
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def written(*paths):
    """Yields an empty file beside each of these, which are of one folder; all are renamed at the end, in this order.

    Nothing is left of it if writing fails; if a renaming fails, the files before it are new already. Raises OSError,
    which names the first path, if the disk refuses, and if another process is writing one of these files.
    """
    unfinished = [path + '.new' for path in paths]
    with disk_errors_of(*paths, *unfinished), ExitStack() as held:
        for new in unfinished:
            held.enter_context(new_file(new))
        yield unfinished
        rename_all(unfinished, paths)


def rename_all(unfinished, paths):
    """Give files of one folder these names, in this order, once all of them are on the disk."""
    for new in unfinished:
        flush(new)
    for new, path in zip(unfinished, paths):
        os.replace(new, path)
    flush(os.path.dirname(paths[0]) or '.')  # or a power failure undoes the renames


@contextmanager
def new_file(path):
    """Make a file of this name and hold it, so that no other process makes it; it is gone afterwards, if it still has
    that name.

    One that a killed process has left is removed, and so is a link: what it leads to stays as it is.
    """
    if os.path.lexists(path):
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, 'ab') as left:
                hold(left, f'another process is writing {path}')
        with suppress(FileNotFoundError):
            os.remove(path)
    with open(path, 'xb') as file:
        hold(file, f'another process is writing {path}')
        try:
            yield
        finally:
            with suppress(OSError):
                if os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file.fileno())):
                    os.remove(path)


def write_whole(path, lines):
    """Write a text file by written(). Names of files in it may be no UTF-8: they are written as they are."""
    with written(path) as (new,), open(new, 'w', errors='surrogateescape') as file:
        file.writelines(lines)


def open_text(path, most=LARGEST_TEXT, **options):
    """A text file, open to be read. OSError if it has more bytes than `most`: a sparse file packs to a few.

    Names of files in it may be no UTF-8.
    """
    size = os.path.getsize(path)
    if size > most:
        raise OSError('%s has %d MB: at most %d MB are read' % (path, size >> 20, most >> 20))
    return open(path, errors='surrogateescape', **options)


@contextmanager
def disk_errors_of(path, *others):
    """Word the OSError of a disk that is full, or fails; one that names another file than these stays as it is."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, path, *others):
            raise
        raise OSError('cannot write %s: %s' % (path, error.strerror or error)) from error


def file_digest(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def is_one_of(path, others):
    """Whether a path leads to one of these files, whatever they are called."""
    return os.path.exists(path) and any(os.path.exists(other) and os.path.samefile(path, other) for other in others)


def flush(path):
    """Let the system put a file, or the names in a folder, on the disk, where the file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some that are shared with a host have no fsync of folders
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(folder, flag):
    """Hold <folder>/lock, making the folder; the system lets go of it when the process ends, however it ends.

    Raises OSError, which names the flag, if another process holds it, or if a file is in the folder's place. Where the
    file system knows no locks there is a warning only. Afterwards the lock is removed, and a folder that was made here
    in which nothing was saved.
    """
    was_there = os.path.isdir(folder)
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f'{folder} is not a folder: choose another {flag}') from None
    with open(os.path.join(folder, 'lock'), 'a') as file:
        lock(file, folder, flag)
        try:
            yield
        finally:
            with suppress(OSError):
                if not os.path.getsize(file.name):  # else it is somebody's own
                    os.remove(file.name)
                if not was_there:
                    os.rmdir(folder)  # unless there is something in it


def lock(file, name, flag):
    """Lock an open file until it is closed. OSError that names the flag if another process has it locked."""
    refusal = hold(file, f'another run is using {name}: wait for it, or choose another {flag}')
    if refusal:
        LOG.warning('%s cannot be locked (%s): start no second run there', name, refusal)


def hold(file, complaint):
    """Lock an open file until it is closed. OSError with this text if another process has it locked.

    Returns what a file system says that knows no locks, else None.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(file.fileno()).st_nlink:  # a process that has just ended removed it
            raise BlockingIOError
    except BlockingIOError:
        raise OSError(complaint) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return error.strerror
    return None
