"""make demo: train ReLU and ChaATAC on the small data set of this repository, print a table, draw their error curves.

    python -m tools.demo [--num-epochs 6] [--out demo]

Two runs of train_cifar.py with one block a stage (depth 8). It shows that everything works; the differences between
units after so few epochs on 6,400 images mean nothing.
"""
import argparse
import os
import sys

import runtime  # noqa: F401  (before mxnet)

import matplotlib

import train_cifar
from cli.exits import run_script
from cli.kinds import at_least
from training.logs import read_run

UNITS = ('relu', 'ChaATAC')


def train(unit, num_epochs, out):
    """One run, started anew; returns the path of its log."""
    log = os.path.join(out, '%s.log' % unit)
    train_cifar.main(['--act-type', unit, '--blocks', '1', '--useReLU', '--num-epochs', str(num_epochs), '--lr-mode',
                      'cosine', '--lr', '0.1', '--log-interval', '0', '--save-dir', os.path.join(out, unit),
                      '--logging-file', log])
    return log


def row(unit, run):
    """A line of the table."""
    accuracies = [1 - epoch['val_top1_error'] for epoch in run.epochs]
    speed = sum(epoch['images_per_second'] for epoch in run.epochs) / len(run.epochs)
    return '%-10s %12s %11.2f%% %11.2f%% %10.0f' % (unit, format(run.parameters, ','), 100 * accuracies[-1],
                                                    100 * max(accuracies), speed)


def draw(curves, path):
    """Training (dashed) and test error (solid) over epochs, a colour for each unit."""
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for (unit, epochs), colour in zip(curves.items(), ('#0072B2', '#D55E00')):
        numbers = [epoch['epoch'] + 1 for epoch in epochs]
        for key, style, split in (('train_error', '--', 'training'), ('val_top1_error', '-', 'test')):
            axes.plot(numbers, [100 * epoch[key] for epoch in epochs], style, color=colour, marker='o', markersize=3,
                      label='%s, %s' % (unit, split))
    axes.set(xlabel='epoch', ylabel='top-1 error (%)', ylim=(0, None), title='fashion-mnist-mini, depth 8')
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches='tight')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--num-epochs', type=at_least(1), default=6, help='of each run')
    parser.add_argument('--out', default='demo', help='folder of logs, weights and figure; what an earlier demo left '
                                                      'there is replaced')
    args = parser.parse_args()
    clear(args.out)
    runs = {unit: read_run(train(unit, args.num_epochs, args.out)) for unit in UNITS}
    print('\n%-10s %12s %12s %12s %10s' % ('unit', 'parameters', 'last', 'best', 'images/s'))
    for unit, run in runs.items():
        print(row(unit, run))
    path = os.path.abspath(os.path.join(args.out, 'error.png'))
    draw({unit: run.epochs for unit, run in runs.items()}, path)
    print('\nerror curves: %s' % path)


def clear(out):
    """Remove what an earlier demo left: files of these names and nothing else."""
    for unit in UNITS:
        folder = os.path.join(out, unit)
        files = [os.path.join(folder, name) for name in os.listdir(folder)] if os.path.isdir(folder) else []
        files += [os.path.join(out, '%s.%s' % (unit, extension)) for extension in ('log', 'jsonl')]
        for path in files:
            if os.path.isfile(path):
                os.remove(path)


if __name__ == '__main__':
    sys.exit(run_script(main))
