"""make demo: train ReLU and ChaATAC on the small data set of this repository, print a table, draw their curves.

    python -m tools.demo [--num-epochs 3] [--out demo]

Two runs of train_cifar.py at a time, with one block a stage (depth 8): half a minute of a core with AVX-512 each, and
about three times as long without. It shows that everything works. Differences between units after a few epochs on
6,400 images mean nothing; EVIDENCE is the figure that shows what whole runs have come to.
"""
import glob
import os
import sys

from runtime import UserError

import train_cifar
from cli.command import Parser
from cli.exits import run_script
from cli.kinds import at_least, folder
from cli.rules import RULES
from disk import locked
from tools import figures
from tools.sweep import __main__ as sweep
from tools.sweep import results
from tools.sweep.curves import read_curves
from tools.sweep.plan import plan
from tools.sweep.plot_run import draw
from training.logs import logged_options

UNITS = ['relu', 'ChaATAC']
FLAGS = ['--useReLU', '--lr-mode', 'cosine', '--lr', '0.1', '--log-interval', '0', '-j', '1']
RUN_FILES = ('.log', '.jsonl', '/last.*', '/previous.*', '/*-best.*')  # after the name of a run
EVIDENCE = 'logs/figures/cifar100.png'
SAYS = '''
This shows that everything works: data, units, networks, training, scoring, checkpoints, logs and figures.
It does not show which unit is better: {epochs} epochs on 6,400 images are no evidence. The evidence is in {evidence}.

error curves: {figure}'''


def parse_args(argv=None):
    parser = Parser(description='Train ReLU and ChaATAC on a small data set, as a check.')
    parser.add_argument('--num-epochs', type=at_least(1), default=3, help='of each run')
    parser.add_argument('--out', type=folder, default='demo',
                        help='folder of logs, weights and figure; what an earlier demo left there is replaced')
    return parser.parse_args(argv)


def clear(out, flags):
    """Remove what an earlier demo left: the files of its runs and nothing else. UserError if they are of other runs."""
    left = []
    for unit in UNITS:
        run = train_cifar.run_of(train_cifar.parse_args(['--act-type', unit, '--blocks', '1', *flags]))
        stem = os.path.join(out, os.path.basename(run.save_dir))
        found = [path for ending in RUN_FILES for path in glob.glob(glob.escape(stem) + ending)]
        logged = logged_options(stem + '.log')
        if found and any(logged.get(name) != value for name, value in run.options.items() if name not in RULES.free):
            raise UserError(f'{found[0]} is of no demo: choose another --out, or remove it')
        left += found
    for path in left:
        os.remove(path)


def main(argv=None):
    """Train, print and draw; returns the rows of the table."""
    args = parse_args(argv)
    flags = [*FLAGS, '--num-epochs', str(args.num_epochs)]
    path = os.path.join(args.out, 'error.png')
    figures.check_replaceable(path)
    with locked(args.out, '--out'):
        clear(args.out, flags)
        rows, points = train(args.out, flags)
        results.show(rows)
        with figures.look():
            figures.save(draw([read_curves(point.log, point.unit) for point in points]), path)
    print(SAYS.format(epochs=args.num_epochs, evidence=EVIDENCE, figure=path))
    return rows


def train(out, flags):
    """(the rows of the table, the runs); SystemExit if one of them failed, or was stopped."""
    grid = sweep.parse_args(['--act-type', *UNITS, '--blocks', '1', '--seeds', '0', '--jobs', str(len(UNITS)),
                             '--params-dir', out, '--logs-dir', out, '--', *flags])
    points = plan(grid)
    done, stopped = sweep.carry_out(points, grid.gpus, paces=[])
    if stopped:
        raise SystemExit(128 + stopped)
    sweep.leave_unless_done(done)
    return results.table(points, done.epochs), points


if __name__ == '__main__':
    sys.exit(run_script(main))
