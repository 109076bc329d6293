"""The numbers of runs over their epochs, from logs of three kinds, and where two of them change their order."""
import csv
import os
import re
from collections import namedtuple

from runtime import UserError

import numpy as np

from data import DATASETS
from data.cifar import LABEL_SETS
from disk import open_text
from training.logs import LARGEST, read_run

# The lines of an authors' log, and the numbers in them.
THEIR_LINES = [re.compile(r'Epoch\[(?P<epoch>\d{1,9})\] Batch \[\d+\]\t.*\tlr=(?P<lr>\d+\.\d+)$'),
               re.compile(r'\[Epoch (?P<epoch>\d{1,9})\] training: accuracy=(?P<train_accuracy>\d\.\d+)$'),
               re.compile(r'\[Epoch (?P<epoch>\d{1,9})\] speed: (?P<images_per_second>\d+) samples/sec\t'),
               re.compile(r'\[Epoch (?P<epoch>\d{1,9})\] validation: err-top1=(?P<val_top1_error>\d\.\d+) err-top5=\d')]
NAMES = ('train_loss', 'train_error', 'val_top1_error', 'lr', 'images_per_second')

# A run. epochs: [{'epoch': number, name: number, ...}], with those of NAMES that its log says. data: the names of its
# data set and labels, or None.
Curves = namedtuple('Curves', 'label epochs data', defaults=(None,))


# Reading.

def read_curves(path, label):
    """The Curves of a log of any of the three kinds. Raises UserError or OSError if it is none, or has no epoch."""
    if path.endswith('.csv'):
        curves = Curves(label, read_table(path))
    elif is_theirs(path):
        curves = Curves(label, read_theirs(path))
    elif not path.endswith(('.log', '.jsonl')):
        raise UserError(f'{path} is not the .log, .jsonl or .csv of a run')
    else:
        record = read_run(path)
        of = '' if record.finished else f' ({len(record.epochs)} of {record.options["num_epochs"]} epochs)'
        curves = Curves(label + of, record.epochs, data_of(record.options))
    if not curves.epochs:
        raise UserError(f'{path} has no whole epoch yet')
    for numbers in curves.epochs:
        if not all(abs(numbers.get(name, 0)) <= LARGEST for name in ['epoch', *NAMES]):
            epoch = str(numbers['epoch'])[:20]
            raise UserError(f'{path} is damaged: its epoch {epoch} has something else than finite numbers of a run')
    return curves


def data_of(options):
    """The name of the data set of a run and, where it has several, of its labels; None if it is not known."""
    if 'dataset' not in options:
        return None
    dataset = str(options['dataset'])
    record = DATASETS.get(dataset)
    return f'{dataset} ({options.get("label_set", LABEL_SETS[0])})' if record and record.label_sets else dataset


def read_table(path):
    """The epochs of a CSV with a column `epoch` and some of NAMES."""
    with open_text(path, newline='') as file:
        try:
            return [{'epoch': int(row['epoch']), **{name: float(row[name]) for name in NAMES if row.get(name)}}
                    for row in csv.DictReader(file)]
        except (KeyError, ValueError, TypeError, csv.Error):
            raise UserError(f'{path} is not a table of epochs: it has no column `epoch`, or something else than '
                            'numbers') from None


def is_theirs(path):
    """Whether a file has the lines of the authors' log: ours begin with the time."""
    with open_text(path) as file:
        return any(line.startswith(('Epoch[', '[Epoch ')) for line in file)


def read_theirs(path):
    """The epochs of an authors' log that have been scored; a last line that was cut in the middle is left out."""
    epochs = {}
    with open_text(path) as file:
        for line in file:
            for found in filter(None, (pattern.match(line) for pattern in THEIR_LINES if line.endswith('\n'))):
                numbers = found.groupdict()
                epochs.setdefault(int(numbers.pop('epoch')), {}).update(
                    (name, float(value)) for name, value in numbers.items())
    return [dict(numbers, epoch=epoch, **({'train_error': 1 - numbers['train_accuracy']}
                                          if 'train_accuracy' in numbers else {}))
            for epoch, numbers in sorted(epochs.items()) if 'val_top1_error' in numbers]


def names_of(paths):
    """The names of the files, or whole paths where two would have the same."""
    names = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    return [path if names.count(name) > 1 else name for path, name in zip(paths, names)]


# What they say.

def values_of(run, name):
    """(epochs, values) of a number where the log says it."""
    points = [(numbers['epoch'], numbers[name]) for numbers in run.epochs if name in numbers]
    return [epoch for epoch, _ in points], [value for _, value in points]


def window_of(runs):
    """Epochs over which noise is smoothed, an odd number: a fortieth of the longest run, 1 for runs below 80."""
    return max(len(run.epochs) for run in runs) // 40 | 1


def running_median(values, window):
    """The median of each value and those around it, which keeps the steps of a learning rate where they are. At the
    beginning, where values change fast, there are as many after it as before."""
    halves = [min(window // 2, at) for at in range(len(values))]
    return [float(np.median(values[at - half:at + half + 1])) for at, half in enumerate(halves)]


def differences(first, second, window=1):
    """(epochs, validation error of the first run less that of the second) over the epochs that both have scored."""
    smooth = [dict(zip(epochs, running_median(errors, window)))
              for epochs, errors in (values_of(run, 'val_top1_error') for run in (first, second))]
    epochs = sorted(smooth[0].keys() & smooth[1].keys())
    return epochs, [smooth[0][epoch] - smooth[1][epoch] for epoch in epochs]


def settled(first, second, window=1):
    """(the run that is ahead at the end, the epoch from which it was so without a break).

    Ahead is who has the smaller validation error, smoothed over a window. None if they are equal at the end.
    """
    epochs, gaps = differences(first, second, window)
    signs = np.sign(gaps)
    if not len(signs) or not signs[-1]:
        return None
    others = np.flatnonzero(signs != signs[-1])
    return (first if signs[-1] < 0 else second), epochs[others[-1] + 1 if len(others) else 0]
