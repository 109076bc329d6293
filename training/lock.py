"""One run at a time in a folder."""
import errno
import fcntl
import logging
import os
from contextlib import contextmanager

from runtime import UserError

LOG = logging.getLogger(__name__)
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def locked(folder):
    """Hold <folder>/lock, making the folder; the system lets go of it when the process ends, however it ends.

    Raises OSError if another process holds it, or if there is a file in its place. Where the file system knows no locks
    there is a warning only. A folder that was made here goes again if a run is refused before it has saved anything.
    """
    was_there = os.path.isdir(folder)
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError('%s is no folder: choose another --save-dir' % folder) from None
    with open(os.path.join(folder, 'lock'), 'a') as file:
        lock(file, folder, '--save-dir')
        try:
            yield
        except (OSError, UserError):
            if not was_there and os.listdir(folder) == ['lock']:
                os.remove(file.name)
                os.rmdir(folder)
            raise


def lock(file, name, flag):
    """Lock an open file until it is closed. OSError that names the flag if another process has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(f'another run is using {name}: wait for it, or choose another {flag}') from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        LOG.warning('%s cannot be locked (%s): start no second run there', name, error.strerror)
