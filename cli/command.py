"""The command that a user ran: its name, and a parser that says what is wrong with it in one sentence.

Knows nothing of MXNet, as tools.launch must not import it.
"""
import argparse
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without the usage before its sentence, which fills a page for some of them."""

    def __init__(self, prog=None, **keywords):
        super().__init__(prog or program(), **keywords)

    def error(self, message):
        self.exit(2, f'{self.prog}: error: {message}\n')


def program():
    """What the user ran, by its name: train_cifar.py, or python -m tools.NAME."""
    path = os.path.relpath(os.path.realpath(sys.argv[0]), ROOT)
    *folders, name = path.split(os.sep)
    if folders[:1] != ['tools']:
        return name
    if name == '__main__.py':
        return 'python -m ' + '.'.join(folders)
    if os.path.exists(os.path.join(ROOT, *folders, '__main__.py')):
        return 'python -m ' + '.'.join([*folders, name[:-3]])
    return 'python -m tools.' + name[:-3]
