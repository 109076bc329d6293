"""python -m tests.faults.killed K FLAGS...: train_cifar.py, which is killed before its K-th operation on files."""
import os
import signal
import sys

import runtime  # noqa: F401  (before mxnet)

import train_cifar
from cli.exits import run_script

OPERATIONS = ('fsync', 'link', 'remove', 'replace')


def counted(operation, left):
    """The operation, which takes one from left[0] first, and kills this process where nothing is left."""
    def before_it(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*arguments, **options)
    return before_it


if __name__ == '__main__':
    left = [int(sys.argv.pop(1))]
    for name in OPERATIONS:
        setattr(os, name, counted(getattr(os, name), left))
    sys.exit(run_script(train_cifar.main))
