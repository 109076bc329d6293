"""Files that are whole or not there: written beside, flushed to the disk, renamed."""
import hashlib
import json
import os
from contextlib import contextmanager, suppress


@contextmanager
def saving_into(folder, unfinished=()):
    """What the disk refuses becomes an OSError that names the folder, and unfinished files are removed."""
    try:
        yield
    except OSError as error:
        for path in unfinished:
            with suppress(OSError):
                os.remove(path)
        raise OSError('cannot save into %s: %s' % (folder, error.strerror or error)) from error


def write_json(path, content):
    """Write JSON and flush it to the disk."""
    with open(path, 'w') as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(path):
    """Flush the names in a folder to the disk, so that a rename outlives a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path):
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def sealed(facts):
    """A dict with a checksum of itself, so that a damaged number in its JSON is noticed."""
    content = {name: value for name, value in facts.items() if name != 'sha256'}
    return dict(content, sha256=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())
