"""Train a grid of units, depths and seeds by train_cifar.py; the same command again continues it.

    python -m tools.sweep --dataset cifar100 --act-type relu swish ChaATAC --blocks 1 2 3 4 --seeds 0 1 2 -- --useReLU

is a figure of the paper, each point three times. Flags after `--` go to train_cifar.py. Without --act-type the unit is
that of the network: `-- --model se` and `-- --model ge` are the other networks of the paper. Its ablations are

    ... --act-type ChaATAC --blocks 2 -- --useReLU --act-layers 2 --act-order pre     which stages get the unit
    ... --act-type ChaATAC ChaATAC-linear SE-activation --blocks 2 -- --useReLU       inner ReLU, local context
    ... --act-type ChaATAC --blocks 2 -- --useReLU --r 4                              reduction

one sweep for each value of a flag after `--`. --model, --label-set, --act-layers, --act-order and --r are part of a
run's name. Sweeps that differ in other flags, such as --num-epochs, need a --params-dir and a --logs-dir of their own.

Each run has a log and a folder of weights of its own. Runs whose log is whole are skipped, those that were cut off are
resumed. Seed by seed, small networks first. --jobs N divides the cores among N runs at a time; --gpus 0,1 2,3 is one
run on each set of GPUs. --dry-run prints the plan. Times are estimates (pace.py).

Exit codes: 0 all done; 1 a run failed, and the others continued; 2 a mistake of the user, after which the other runs
saved and stopped; 143, 130 stopped by SIGTERM or Ctrl-C, after the runs have saved. The runs of a sweep that is killed
(-9) continue; until they end the next call stops at their locks.

plan.py says what there is to do, runs.py starts the runs, results.py has their table.
"""
import sys

import runtime  # noqa: F401  (before mxnet)

from tqdm import tqdm

from cli.command import Parser
from cli.exits import run_script
from cli.flags import BY_DEST
from cli.kinds import at_least, folder
from data import SMALL_DATASETS
from model import ACTIVATIONS
from tools.sweep import results
from tools.sweep.pace import logged_paces
from tools.sweep.plan import epochs_left, plan, print_plan, summary
from tools.sweep.runs import Sweep
from training.signals import watching


def parse_args(argv=None):
    """The flags of the sweep, and as args.flags those after `--`."""
    argv = sys.argv[1:] if argv is None else argv
    end = argv.index('--') if '--' in argv else len(argv)
    parser = Parser(epilog='Flags after -- are those of train_cifar.py.',
                    description='Train a grid of units, depths and seeds by train_cifar.py.')
    parser.add_argument('--dataset', choices=SMALL_DATASETS, default='fashion-mnist-mini', help='the data set')
    parser.add_argument('--act-type', nargs='+', choices=list(ACTIVATIONS), default=[None], metavar='UNIT',
                        help='activation units (default: that of the network)')
    parser.add_argument('--blocks', nargs='+', type=at_least(1), default=[1, 2, 3], help='blocks per stage')
    parser.add_argument('--seeds', nargs='+', type=at_least(0), default=[0, 1, 2], help='seeds')
    parser.add_argument('--jobs', type=at_least(1), help='runs at a time (default: one, or one for each set of GPUs)')
    parser.add_argument('--gpus', nargs='+', metavar='SET', help='sets of GPUs such as 0,1 2,3 (default: the CPU)')
    parser.add_argument('--params-dir', type=folder, default='params', help='where the folders of checkpoints go')
    parser.add_argument('--logs-dir', type=folder, default='logs', help='where the logs go')
    parser.add_argument('--dry-run', action='store_true', help='print the plan and leave; nothing is written')
    args, rest = parser.parse_known_args(argv[:end])
    if rest:
        parser.error(f'{" ".join(rest)}: flags of train_cifar.py come after --')
    for flag, values in (('act-type', args.act_type), ('blocks', args.blocks), ('seeds', args.seeds)):
        if len(set(values)) < len(values):
            parser.error(f'--{flag} {" ".join(map(str, values))}: give each value once')
    if args.gpus and args.jobs not in (None, len(args.gpus)):
        parser.error(f'--jobs {args.jobs} but {len(args.gpus)} sets of --gpus: one run at a time on each')
    args.flags = argv[end + 1:]
    misplaced = [word for word in args.flags if word in parser._option_string_actions and
                 word.strip('-').replace('-', '_') not in {*BY_DEST, 'h', 'help'}]
    if misplaced:
        parser.error(f'{" ".join(misplaced)}: flags of the sweep come before --')
    named = ','.join(args.gpus or []).split(',')
    twice = [gpu for gpu in named if gpu and named.count(gpu) > 1]
    if twice:
        parser.error(f'--gpus: GPU {twice[0]} is there twice, and runs on it would wait for each other')
    args.gpus = args.gpus or [''] * (args.jobs or 1)
    args.jobs = len(args.gpus)
    return args


def main(argv=None):
    """The sweep; returns the dicts of results.table(), or the Points of the plan after --dry-run.

    SystemExit with the codes above if it was stopped or a run failed.
    """
    args = parse_args(argv)
    points = plan(args)
    paces = logged_paces(args.logs_dir, args.dataset)
    if args.dry_run:
        print_plan(points, paces, args.jobs)
        return points
    sweep, stopped = carry_out(points, args.gpus, paces)
    rows = results.table(points, sweep.epochs)
    results.show(rows)
    leave_unless_done(sweep, stopped)
    return rows


def leave_unless_done(sweep, stopped=None):
    """SystemExit with the codes above if a run failed, which is named, or the sweep was stopped by a signal."""
    for name, why in sweep.failed.items():
        print(f'failed: {name}, {why}', file=sys.stderr)
    if stopped:
        print(f'{stopped.name}: stopped; the same command continues', file=sys.stderr)
        raise SystemExit(128 + stopped)
    if sweep.failed:
        raise SystemExit(2 if sweep.mistake else 1)


def carry_out(points, gpus, paces):
    """(the Sweep of a plan after its end, the signal that has stopped it or None)."""
    work = sum(point.macs * epochs_left(point) for point in points)
    with watching() as watch, tqdm(total=work, disable=None, leave=False,
                                   bar_format='{percentage:3.0f}%|{bar}| {elapsed}{postfix}') as bar:
        sweep = Sweep(points, gpus, paces, bar)
        sweep.say(summary(points, paces, len(gpus)))
        sweep.go(watch)
    return sweep, watch.signal


if __name__ == '__main__':
    sys.exit(run_script(main))
