"""The command that a user ran: its name, and a parser that says what is wrong with it in one sentence.

Knows nothing of MXNet, as tools.launch must not import it.
"""
import argparse
import os
import re
import sys


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without the usage before its sentence, which fills a page for some of them."""

    def __init__(self, prog=None, **keywords):
        super().__init__(prog or program(), allow_abbrev=False, **keywords)

    def parse_known_args(self, args=None, namespace=None):
        """As usual; an empty text is refused, but where it is the default."""
        found, rest = super().parse_known_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            if self.get_default(action.dest) != '' and '' in (value if isinstance(value, list) else [value]):
                name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
                self.error(f'{name} is empty: is it from a variable that is not set?')
        return found, rest

    def error(self, message):
        self.exit(2, f'{self.prog}: error: {message}\n')


def program():
    """What the user ran, by its name: train_cifar.py, or python -m tools.NAME."""
    module = getattr(sys.modules['__main__'], '__spec__', None)  # None of a script
    if module and module.name.startswith('tools.'):
        return 'python -m ' + re.sub(r'\.__main__$', '', module.name)
    return os.path.basename(sys.argv[0])
