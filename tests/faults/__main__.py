"""Try every fault and print the table: fault, tries, survived, lost.

    python -m tests.faults [--seed 0] [--only WORD]

Exit code 1 if anything is lost, or nothing was tried.
"""
import argparse
import logging
import sys
import tempfile

import runtime  # noqa: F401  (before mxnet)

import numpy as np

from tests.faults import descriptions, files, processes
from tests.trial_table import print_trials

FAULTS = [
    ('kill -9 at a random moment', processes.kill_at_random_moments),
    ('kill -9 before each operation on files', processes.kill_before_each_operation_on_files),
    ('SIGTERM or Ctrl-C, once or twice', processes.stop_by_signals),
    ('disk full while saving', processes.disk_full_while_saving),
    ('save folder removed or read-only', processes.folder_removed_or_read_only),
    ('log folder full', processes.log_folder_full),
    ('two runs on one folder', processes.two_runs_on_one_folder),
    ('streams closed, or their reader gone', processes.streams_closed_or_left),
    ('exploding learning rate', processes.exploding_learning_rate),
    ('NaN in the training images', files.nan_images),
    *files.FAULTS,
    ('descriptions that are damaged or hostile', descriptions.hostile_descriptions),
]


def main(argv=None):
    """Print a line for each fault; returns the exit code."""
    parser = argparse.ArgumentParser(description='Try every fault.')
    parser.add_argument('--seed', type=int, default=0, help='of the random places and moments')
    parser.add_argument('--only', default='', metavar='WORD', help='faults whose name has this word')
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)  # each damaged checkpoint is named in a warning
    with tempfile.TemporaryDirectory() as root:
        bench = processes.Bench(root, np.random.RandomState(args.seed))
        return print_trials(('fault', 'tries', 'survived'), FAULTS, bench, args.only)


if __name__ == '__main__':
    sys.exit(main())
