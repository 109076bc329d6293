"""JSON that holds a checksum of itself."""
import hashlib
import json

from .ground import UserError

LARGEST = 1 << 24  # bytes of a JSON, which may be that of a checkpoint


def sealed(facts):
    """A dict with a checksum of itself, so that a damaged number in its JSON is noticed."""
    content = {name: value for name, value in facts.items() if name != 'sha256'}
    return dict(content, sha256=hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())


def write_sealed(path, facts):
    """Write a dict as JSON that holds a checksum of itself."""
    with open(path, 'w') as file:
        json.dump(sealed(facts), file, indent=1)


def read_sealed(path):
    """What a sealed JSON says, or None if there is no such file. UserError if it is damaged."""
    try:
        with open(path, 'rb') as file:
            text = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    try:
        facts = json.loads(text) if len(text) <= LARGEST else None
        expected = sealed(facts)['sha256'] if isinstance(facts, dict) else None
    except (ValueError, RecursionError):
        facts = None
    if isinstance(facts, dict) and 'sha256' not in facts:
        raise UserError(f'{path} is damaged, or not the JSON of weights: it has no checksum')
    if not isinstance(facts, dict) or facts['sha256'] != expected:
        raise UserError(f'{path} is damaged: its checksum is another, or it is no JSON')
    return facts
