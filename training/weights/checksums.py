"""Checksums of files, and JSON that holds one of itself."""
import hashlib
import json


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


def write_sealed(path, facts):
    """Write a dict as JSON that holds a checksum of itself."""
    with open(path, 'w') as file:
        json.dump(sealed(facts), file, indent=1)
