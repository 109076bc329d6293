"""Which logs count: whole runs of train_cifar.py with the wanted options. Of the others, why they are left out."""
import argparse
import glob
import os
from collections import namedtuple
from contextlib import suppress

from runtime import UserError, sentence_of

from cli import flags
from data import SMALL_DATASETS
from data.cifar import LABEL_SETS
from tools.sweep.settings import DEFAULTS, text_of, values_read
from training.logs import read_run
from training.schedule import depends_on_num_epochs

# Of a whole run: its options by name, trainable parameters, accuracy in percent, and the commits that ran it.
Result = namedtuple('Result', 'path options parameters accuracy commits')


def read_results(named, conditions, score):
    """(the Results of the wanted runs, {path: why it was left out} of the other logs).

    named: logs and folders of logs. conditions: [(option, values as text)]. score: 'last' or 'best' epoch.
    """
    results = []
    left_out = {}
    for path in log_paths(named):
        try:
            record = read_run(path)
            check_run(record, conditions)
        except (OSError, ValueError, RecursionError) as error:
            left_out[path] = sentence_of(error).replace(path, '', 1).lstrip(': ')
            continue
        accuracies = [100 * (1 - epoch['val_top1_error']) for epoch in record.epochs]
        accuracy = max(accuracies) if score == 'best' else accuracies[-1]
        options = dict(record.options, devices=record.devices)  # BatchNorm sees the images of one
        results.append(Result(path, options, record.trainable, accuracy, record.commits))
    return results, left_out


def log_paths(named):
    """The logs that are named and those in the folders that are named, each once."""
    paths = []
    for name in named:
        if not os.path.exists(name):
            raise FileNotFoundError(f'there is no log or folder {name}')
        inside = sorted(glob.glob(os.path.join(glob.escape(name), '*.log')))
        paths += inside if os.path.isdir(name) else [os.path.splitext(name)[0] + '.log']
    return list(dict.fromkeys(paths))


def check_run(record, conditions):
    """UserError that says why a run is damaged, not wanted or unfinished."""
    options = record.options
    errors = [epoch.get('val_top1_error') for epoch in record.epochs]
    if not {'blocks', 'dataset', 'act_type'} <= options.keys():
        raise UserError('not a run of train_cifar.py')
    check_kinds(options)
    if options['dataset'] not in SMALL_DATASETS or options.get('label_set', LABEL_SETS[0]) not in LABEL_SETS:
        raise UserError(f'of the unknown data set {options["dataset"]}')
    if None in errors:
        raise UserError('damaged: an epoch lacks its error')
    for name, wanted in conditions:
        check_option(options, name, wanted)
    if not (record.finished and errors):
        raise UserError(f'unfinished: {len(errors)} of {options["num_epochs"]} epochs')
    if record.first_num_epochs != options['num_epochs'] and depends_on_num_epochs(options.get('lr_mode')):
        raise UserError(f'begun with num_epochs {record.first_num_epochs} and continued to {options["num_epochs"]}: '
                        'its learning rate follows neither schedule')


def check_kinds(options):
    """UserError if an option is not of the kind of its flag, or out of its bounds. Fractions may be: nothing computes
    with them."""
    for flag in flags.FLAGS:
        default = DEFAULTS.get(flag.dest)
        kinds = [type(default)] if default is not None else [type(None), float if 'type' in flag.keywords else str]
        value = options.get(flag.dest, default)
        if float not in kinds and (type(value) not in kinds or type(value) is int and not fits(flag, value)):
            raise UserError(f'damaged: its option {flag.dest} is {value!a:.40}')
    items = [item for value in options.values() for item in (value if isinstance(value, list) else [value])]
    if not all(text.isprintable() for text in [*options, *items] if isinstance(text, str)):
        raise UserError('damaged: its options are not text')
    if any(isinstance(item, (list, dict)) for item in items):
        raise UserError('damaged: its options are not simple')


def fits(flag, value):
    """Whether a flag takes this integer."""
    with suppress(argparse.ArgumentTypeError, ValueError):
        return flag.keywords['type'](str(value)) == value
    return False


def check_option(options, name, wanted):
    """UserError if an option has none of the wanted values; one that network and schedule do not read fits any."""
    if name not in {**DEFAULTS, **options}:
        raise UserError(f'it names no option {name}')
    values = values_read(options, name)
    if values and not any(says(text, value) for value in values for text in [wanted, *wanted.split(',')]):
        raise UserError(f'{name} is {text_of(values[0])}, not {wanted}')


def unmatched(conditions, groups):
    """The (option, value) of conditions that no network or schedule of these groups has."""
    had = {name: [value for group in groups for value in values_read(group.options, name)] for name, _ in conditions}
    return [(name, text) for name, wanted in conditions if not any(says(wanted, value) for value in had[name])
            for text in wanted.split(',') if not any(says(text, value) for value in had[name])]


def says(text, value):
    """Whether a text says this value: 0.10 says 0.1, true says True."""
    with suppress(ValueError):
        if type(value) in (int, float):
            return float(text) == value
    return text.lower() == text_of(value).lower()
