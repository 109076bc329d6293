"""How a message names what was found where something was looked for."""
import os

from runtime import listed


def contents(folder):
    """What a folder holds, for a message."""
    if not os.path.isdir(folder):
        return f'{folder} is not a folder' if os.path.exists(folder) else f'there is no {folder}'
    return f'{folder} holds {listed(sorted(os.listdir(folder))) or "nothing"}'
