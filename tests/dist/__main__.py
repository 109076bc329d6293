"""Try jobs of several workers and print the table: what, tries, held, lost.

    python -m tests.dist [--only WORD]

A row of 0 tries needs what is not here: Horovod (make horovod), or network namespaces, which need the superuser. Exit
code 1 if anything is lost, or nothing was tried.
"""
import argparse
import logging
import sys
import tempfile

import runtime  # noqa: F401  (before mxnet)

from tests.dist import worker
from tests.dist.bench import Bench
from tests.dist.trials import TRIALS
from tests.trial_table import print_trials

AT_ONCE = 3  # trials, as the longer ones do little but wait until somebody is given up


def main(argv=None):
    """Print a line for each trial; returns the exit code."""
    parser = argparse.ArgumentParser(description='Try jobs of several workers.')
    parser.add_argument('--only', default='', metavar='WORD', help='trials whose name has this word')
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(root, worker.train())
        return print_trials(('what', 'tries', 'held'), TRIALS, bench, args.only, at_once=AT_ONCE)


if __name__ == '__main__':
    sys.exit(main())
