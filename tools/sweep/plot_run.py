"""Loss, error, learning rate and speed over the epochs of one run or of several, finished or not.

    python -m tools.plot_run LOG ... [--out FILE.png]

A LOG is the .log (or .jsonl) of a run of this repository, the log of the authors' ImageNet script (or of GluonCV's,
which it comes from), or a table such as logs/authors-resnet50_v1b_ChaATAC_2.csv. What a log does not say is not drawn.
Epochs are counted from 0, as in the logs; the learning rate is that of the last line of an epoch.
"""
import argparse
import csv
import os
import re
import sys
from collections import namedtuple

from runtime import UserError

from cli.exits import run_script
from tools import figures
from training.logs import LARGEST, read_run

# The lines of an authors' log, and the numbers in them.
THEIR_LINES = [re.compile(r'Epoch\[(?P<epoch>\d+)\] Batch \[\d+\]\t.*\tlr=(?P<lr>\d+\.\d+)$'),
               re.compile(r'\[Epoch (?P<epoch>\d+)\] training: accuracy=(?P<train_accuracy>\d\.\d+)$'),
               re.compile(r'\[Epoch (?P<epoch>\d+)\] speed: (?P<images_per_second>\d+) samples/sec\t'),
               re.compile(r'\[Epoch (?P<epoch>\d+)\] validation: err-top1=(?P<val_top1_error>\d\.\d+) err-top5=\d')]
# Panels: title of the axis, and what is drawn in it: (name of the number, factor, is dashed).
PANELS = [('training loss', [('train_loss', 1, False)]),
          ('top-1 error (%)', [('train_error', 100, True), ('val_top1_error', 100, False)]),
          ('learning rate', [('lr', 1, False)]),
          ('images/s', [('images_per_second', 1, False)])]
NAMES = [name for _, drawn in PANELS for name, _, _ in drawn]

# A run to be drawn. epochs: [{'epoch': number, name: number, ...}], with those of NAMES that its log says.
Curves = namedtuple('Curves', 'label epochs')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Draw the epochs of runs from their logs.')
    parser.add_argument('logs', nargs='+', metavar='LOG', help='.log or .jsonl of a run, or a .csv table')
    parser.add_argument('--out', metavar='FILE', help='.png or .svg (default: the name of the first log with .png)')
    return parser.parse_args(argv)


def read_curves(path, label):
    """The Curves of a log of any of the three kinds. Raises UserError or OSError if it is none, or has no epoch."""
    if path.endswith('.csv'):
        curves = Curves(label, read_table(path))
    elif is_theirs(path):
        curves = Curves(label, read_theirs(path))
    elif not path.endswith(('.log', '.jsonl')):
        raise UserError('%s is not the .log, .jsonl or .csv of a run' % path)
    else:
        record = read_run(path)
        of = '' if record.finished else ' (%d of %d epochs)' % (len(record.epochs), record.options['num_epochs'])
        curves = Curves(label + of, record.epochs)
    if not curves.epochs:
        raise UserError('%s has no whole epoch yet' % path)
    for numbers in curves.epochs:
        if not all(abs(numbers.get(name, 0)) <= LARGEST for name in ['epoch', *NAMES]):
            raise UserError('%s is damaged: its epoch %.20s has something else than finite numbers of a run'
                            % (path, numbers['epoch']))
    return curves


def read_table(path):
    """The epochs of a CSV with a column `epoch` and some of NAMES."""
    with open(path, newline='', errors='replace') as file:
        try:
            return [{'epoch': int(row['epoch']), **{name: float(row[name]) for name in NAMES if row.get(name)}}
                    for row in csv.DictReader(file)]
        except (KeyError, ValueError, TypeError, csv.Error):
            raise UserError('%s is not a table of epochs: it has no column `epoch`, or something else than numbers'
                            % path) from None


def is_theirs(path):
    """Whether a file has the lines of the authors' log: ours begin with the time."""
    with open(path, errors='replace') as file:
        return any(line.startswith(('Epoch[', '[Epoch ')) for line in file)


def read_theirs(path):
    """The epochs of an authors' log that have been scored; a last line that was cut in the middle is left out."""
    epochs = {}
    with open(path, errors='replace') as file:
        for line in file:
            for found in filter(None, (pattern.match(line) for pattern in THEIR_LINES if line.endswith('\n'))):
                numbers = found.groupdict()
                epochs.setdefault(int(numbers.pop('epoch')), {}).update(
                    (name, float(value)) for name, value in numbers.items())
    return [dict(numbers, epoch=epoch, **({'train_error': 1 - numbers['train_accuracy']}
                                          if 'train_accuracy' in numbers else {}))
            for epoch, numbers in sorted(epochs.items()) if 'val_top1_error' in numbers]


def labels_of(paths):
    """The names of the files, or whole paths where two would have the same."""
    names = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    return [path if names.count(name) > 1 else name for path, name in zip(paths, names)]


def draw(runs):
    """The figure: a panel for each of PANELS that some run has logged, a line for each run."""
    logged = {name for run in runs for numbers in run.epochs for name in numbers}
    shown = [(title, drawn) for title, drawn in PANELS if logged & {name for name, _, _ in drawn}]
    if not shown:
        raise UserError('no log has any of the numbers %s' % ', '.join(NAMES))
    rows = -(-len(shown) // 2)
    figure, panels = figures.new_figure(rows, min(2, len(shown)), 2.2 * rows)
    for axes in panels.flat[len(shown):]:
        axes.set_axis_off()
    for axes, (title, drawn) in zip(panels.flat, shown):
        for number, run in enumerate(runs):
            for name, factor, dashed in drawn:
                draw_line(axes, run, name, factor, number, '--' if dashed else '-')
        axes.set(xlabel='epoch', ylabel=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if drawn[0][0] == 'images_per_second':
            axes.set_ylim(bottom=0)
        if drawn[0][0] == 'lr' and has_steps(runs):
            axes.set_yscale('log')
    figures.add_legend(figure, 'error: dashed in training, solid in validation')
    return figure


def has_steps(runs):
    """Whether the learning rate falls so far that a linear axis shows its first values alone."""
    rates = [numbers['lr'] for run in runs for numbers in run.epochs if 'lr' in numbers]
    return min(rates) > 0 and max(rates) >= 50 * min(rates)


def draw_line(axes, run, name, factor, number, dashes):
    """A line with about a dozen open markers, at other epochs for each run, as lines of runs may be the same."""
    points = [(numbers['epoch'], factor * numbers[name]) for numbers in run.epochs if name in numbers]
    if points:
        every = -(-len(points) // 12)
        axes.plot(*zip(*points), label=run.label, markevery=(3 * number % every, every),
                  **dict(figures.style(number), linestyle=dashes, markerfacecolor='none'))


def main(argv=None):
    """Draw and save; returns the Curves that were drawn."""
    args = parse_args(argv)
    out = args.out or os.path.splitext(args.logs[0])[0] + '.png'
    if os.path.splitext(out)[1] not in figures.ENDINGS:
        raise UserError('--out %s: it must end in %s' % (out, ' or '.join(figures.ENDINGS)))
    figures.may_replace(out)
    runs = [read_curves(path, label) for path, label in zip(args.logs, labels_of(args.logs))]
    with figures.look():
        figures.save(draw(runs), out)
    print('written: %s' % out)
    return runs


if __name__ == '__main__':
    sys.exit(run_script(main))
