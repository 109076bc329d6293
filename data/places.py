"""How a message names what was found where something was looked for."""
import os

NAMED = 5  # names in a message, at most


def listed(names):
    """A few names, for a message."""
    shown = [name if name.isprintable() else ascii(name) for name in names[:NAMED]]
    return ', '.join(shown) + (f' and {len(names) - NAMED} more' if len(names) > NAMED else '')


def contents(folder):
    """What a folder holds, for a message."""
    if not os.path.isdir(folder):
        return f'{folder} is no folder' if os.path.exists(folder) else f'there is no {folder}'
    return f'{folder} holds {listed(sorted(os.listdir(folder))) or "nothing"}'
