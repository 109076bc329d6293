"""Tar archives, read where they are: nothing is unpacked to a disk, and no name in one of them becomes a path."""
import gzip
import tarfile
import zlib

from runtime import UserError

HEADER_BYTES = 1 << 14  # of a member, at most, with what extends it; tarfile makes up to their square of it
GLOBAL_ENTRIES = 16     # that hold for all members; tarfile copies them into each. Git's archives have one
END_BYTES = 1 << 16     # of zeros after the last member; ImageNet's have 10 KB, and more are a hole in a download
# What tarfile, gzip and zlib raise for damaged and for hostile archives.
DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, IndexError, OverflowError,
          RecursionError)


def unpacked(path, largest):
    """The bytes of a .gz. UserError if it is damaged, or if there are more of them than `largest`."""
    try:
        with gzip.open(path, 'rb') as file:
            content = file.read(largest + 1)  # to the end, where gzip's checksum is
    except DAMAGE as error:
        raise damaged(path, error) from error
    if len(content) > largest:
        raise UserError('%s unpacks to more than the %d MB that are read' % (path, largest >> 20))
    return content


def plain_files(file, start, size, path, parts=1):
    """{name: (offset in file, size)} of the plain files in a tar of `size` bytes that begins at `start` of a file.

    Folders, links, devices and sparse files are passed over. path: for messages. parts: how many parts of its path are
    a file's name. Raises UserError if the archive is empty, damaged, cut short, or holds a name twice.
    """
    window = Window(file, start, size)
    found = {}
    try:
        with tarfile.open(fileobj=window, mode='r:') as tar:
            for member in iter(tar.next, None) if tar.firstmember else ():  # Python 3.8 asks an empty one for byte -1
                tar.members.clear()  # or all would stay in memory
                window.left = HEADER_BYTES
                if len(tar.pax_headers) > GLOBAL_ENTRIES:
                    raise tarfile.ReadError('more than %d entries that hold for all members' % GLOBAL_ENTRIES)
                if member.size < 0:
                    raise tarfile.ReadError('a negative size')
                if member.isreg() and not member.issparse():
                    name = '/'.join(member.name.split('/')[-parts:])
                    if name in found:
                        raise tarfile.ReadError('it holds %r twice' % name)
                    found[name] = start + member.offset_data, member.size
            # tarfile takes a damaged header, a hole and the end of the file for the end, which is a few KB of zeros.
            window.seek(tar.offset)
            window.left = END_BYTES
            end = window.read(END_BYTES)
            if not end or end.strip(b'\0') or window.position < size:
                raise tarfile.ReadError('the header at byte %d' % (start + tar.offset))
    except DAMAGE as error:
        raise damaged(path, error) from error
    if not found:
        raise UserError('%s holds no file' % path)
    return found


def damaged(path, error):
    return UserError('%s is damaged, cut short, or no tar archive (%s)' % (path, error))


class Window:
    """A stretch of a file for tarfile to read headers from.   left: bytes that it may still read before the next member

    A header that claims to be large or negative, and a long row of them, is refused, where tarfile would read all of
    the archive into memory.
    """

    def __init__(self, file, start, size):
        self.file = file
        self.start = start
        self.size = size
        self.position = 0
        self.left = HEADER_BYTES

    def tell(self):
        return self.position

    def seek(self, position):
        if position < 0:
            raise tarfile.ReadError('a negative size')
        self.position = position

    def read(self, count):
        if count < 0:
            raise tarfile.ReadError('a negative size')
        self.left -= count
        if self.left < 0:
            raise tarfile.ReadError('a header of more than %d bytes' % HEADER_BYTES)
        if self.position >= self.size:
            return b''
        self.file.seek(self.start + self.position)
        content = self.file.read(min(count, self.size - self.position))
        self.position += len(content)
        return content
