"""From the logs of finished runs to groups of runs that differ in their seed alone, and what is known of a group.

Runs are averaged over their seeds and over nothing else. Two belong together if they agree in every option that their
network and schedule read: relu has no r, 0 layers of any unit are relu, 4 layers are the same from the back and from
the front, ChaATAC without its inner ReLU is ChaATAC-linear. An option that an older log does not name counts as
agreeing with the only value of the others.
"""
import glob
import json
import math
import os
from collections import namedtuple
from contextlib import suppress
from dataclasses import dataclass

from runtime import UserError

import numpy as np
from scipy import stats

from cli import flags
from model import ACTIVATIONS, MODELS, units
from training.logs import read_run

# Flags that a unit may read, and what its factory calls them.
UNIT_FLAGS = {flag.dest: flag.option for flag in flags.FLAGS if flag.option in units.OPTIONS}
# Those that make a unit another one, with a name of its own.
ABLATING = {flag: option for flag, option in UNIT_FLAGS.items() if any(option in units.ablated(unit)
                                                                       for unit in ACTIVATIONS)}
PLACES = ('act_layers', 'act_order', 'replace_act')  # where a unit stands
NETWORK = (*PLACES, *UNIT_FLAGS, 'unit', 'model')
# What may differ within a group. A run may be resumed with more epochs, but runs of different length are not averaged.
FREE = flags.RULES.free - {'num_epochs', 'teacher_params'} | {'seed'}
KINDS = {'dataset': str, 'act_type': (str, type(None)), 'seed': int, 'blocks': int, 'model': str,
         'act_layers': int, 'act_order': str, 'replace_act': str, 'label_set': (str, type(None))}
SAY = {('act_order', 'bac'): 'from the back', ('act_order', 'pre'): 'from the front', ('replace_act', 'relu'): ''}

# A finished run: its options by name, trainable parameters, and accuracy in percent.
Run = namedtuple('Run', 'path options parameters accuracy')


@dataclass(eq=False)  # equal to itself alone, so that it can be a key
class Group:
    """Runs that differ in their seed alone.

    settings: settings_of any of them. options: the flags of one of them. parameters: trainable ones.
    accuracies: {seed: percent}; {None: percent} for a published point, of which no seed is known.
    """
    label: str
    settings: dict
    options: dict
    parameters: int
    accuracies: dict

    @property
    def depth(self):
        return 6 * self.settings['blocks'] + 2

    @property
    def mean(self):
        return np.mean(list(self.accuracies.values()))

    @property
    def std(self):
        """With n - 1 in the denominator; None for one run."""
        return np.std(list(self.accuracies.values()), ddof=1) if len(self.accuracies) > 1 else None


def read_groups(named, conditions, score):
    """({key_of(options): Group} of the wanted runs, {path: why it was left out} of the other logs).

    named: logs and folders of logs. conditions: [(option, values as text)]. score: 'last' or 'best' epoch.
    """
    runs, left_out = [], {}
    for path in log_paths(named):
        try:
            record = read_run(path)
            check(record, conditions)
        except (OSError, ValueError) as error:
            left_out[path] = str(error).replace(path + ' ', '', 1)
            continue
        accuracies = [100 * (1 - epoch['val_top1_error']) for epoch in record.epochs]
        runs.append(Run(path, record.options, record.trainable,
                        max(accuracies) if score == 'best' else accuracies[-1]))
    return grouped(runs, left_out), left_out


# Which logs.

def log_paths(named):
    """The logs that are named and those in the folders that are named, each once."""
    paths = []
    for name in named:
        if not os.path.exists(name):
            raise FileNotFoundError('there is no log or folder %s' % name)
        inside = sorted(glob.glob(os.path.join(glob.escape(name), '*.log')))
        paths += inside if os.path.isdir(name) else [os.path.splitext(name)[0] + '.log']
    return list(dict.fromkeys(paths))


def check(record, conditions):
    """UserError that says why a run is damaged, not wanted or unfinished."""
    options, errors = record.options, [epoch.get('val_top1_error') for epoch in record.epochs]
    if not {'blocks', 'dataset', 'act_type'} <= options.keys():
        raise UserError('not a run of train_cifar.py')
    for name, kind in KINDS.items():
        if not isinstance(options.get(name), kind) or isinstance(options.get(name), bool):
            raise UserError('damaged: its option %s is %r' % (name, options.get(name)))
    try:
        json.dumps(options, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError('damaged: its options are not text') from None
    if None in errors:
        raise UserError('damaged: an epoch lacks its error')
    for name, wanted in conditions:
        check_option(options, name, wanted)
    if not (record.finished and errors):
        raise UserError('unfinished: %d of %d epochs' % (len(errors), options['num_epochs']))
    if record.first_num_epochs != options['num_epochs'] and options.get('lr_mode') != 'step':
        raise UserError('begun for %d epochs and gone on to %d: its learning rate follows neither schedule'
                        % (record.first_num_epochs, options['num_epochs']))


def check_option(options, name, wanted):
    """UserError if an option has none of the wanted values; one that network and schedule do not read fits any."""
    if name not in options:
        raise UserError('it names no option %s' % name)
    values = values_read(options, name)
    if values and not any(says(text, value) for value in values for text in [wanted, *wanted.split(',')]):
        raise UserError('%s is %s, not %s' % (name, text_of(values[0]), wanted))


def unmatched(conditions, groups):
    """The (option, value) of conditions that no network or schedule of these groups has."""
    had = {name: [value for group in groups for value in values_read(group.options, name)] for name, _ in conditions}
    return [(name, text) for name, wanted in conditions if not any(says(wanted, value) for value in had[name])
            for text in wanted.split(',') if not any(says(text, value) for value in had[name])]


def values_read(options, name):
    """The value of an option that a network or its schedule reads, for act_type by all its names; [] if it does not."""
    settings, unit = settings_of(options), unit_of(options)
    read = {**{free: options[free] for free in FREE & options.keys()}, **settings, 'act_type': settings['unit'],
            **{flag: units.ablated(unit)[option] for flag, option in ABLATING.items()
               if unit in ACTIVATIONS and option in units.ablated(unit)}}
    if unit != options['replace_act']:  # settings name the layers only if some have another unit
        read['act_layers'] = options['act_layers']
    return ([read[name]] if name in read else []) + [unit, options['act_type']] * (name == 'act_type')


def says(text, value):
    """Whether a text says this value: 0.10 says 0.1, true says True."""
    with suppress(ValueError):
        if type(value) in (int, float):
            return float(text) == value
    return text.lower() == text_of(value).lower()


def text_of(value):
    """An option as it would be written behind its flag."""
    if isinstance(value, list):
        return ','.join(map(text_of, value))
    return '%.12g' % value if isinstance(value, float) else str(value)


# Which runs belong together.

def settings_of(options):
    """What the network and schedule of a run read, by name: runs for which it is equal compute the same, but for their
    seed. Hashable values.

    'unit' stands for act_type. What may differ within a group is left out.
    """
    unit, options = unit_of(options), dict(options, replace_act=known_as(options['replace_act'], options))
    ignored = FREE | not_read(options, unit) | {'act_type'}
    settings = {name: text_of(value) if isinstance(value, (list, dict)) else value
                for name, value in options.items() if name not in ignored}
    if options['model'] == 'ge':
        unit = 'GENet-theta' + (' with ' + unit if unit != 'relu' else '')
    if options['model'] == 'se':  # a unit in the host of the others (model.MODELS)
        settings['model'] = 'atac'
    return dict(settings, unit=unit)


def unit_of(options):
    """The unit of a run by the name under which it is known, whichever flags made it."""
    unit = options.get('act_type') or unit_of_model(options['model'])
    return known_as(options['replace_act'] if options['act_layers'] == 0 else unit, options)


def unit_of_model(model):
    """The unit of a network of train_cifar.py without --act-type; the name of a network that is not known here."""
    name = flags.CIFAR_MODELS.get(model)
    return MODELS[name].unit if name else model


def known_as(unit, options):
    """The name of a unit with these flags: that of the ablation, if they make it one."""
    return units.known_as(unit, {option: options.get(flag) for flag, option in UNIT_FLAGS.items()})


def not_read(options, unit):
    """The options that a network of this unit and its schedule do not read."""
    replaced = known_as(options['replace_act'], options)
    mixed = 0 < options['act_layers'] < 4 and unit != replaced
    read = flags_read_by(unit) | (flags_read_by(replaced) | set(PLACES) if mixed else set())
    return flags.unread(options) | {*UNIT_FLAGS, *PLACES} - read


def flags_read_by(unit):
    """The flags of UNIT_FLAGS that a unit reads; all of them for one that this repository does not know."""
    known = ACTIVATIONS[unit].options if unit in ACTIVATIONS else UNIT_FLAGS.values()
    return {flag for flag, name in UNIT_FLAGS.items() if name in known}


def key_of(options):
    return frozenset(settings_of(options).items())


def grouped(runs, left_out):
    """{key_of(options): Group}. A second run of the same seed would count twice: its path goes to left_out."""
    found = {}
    for run in complete(runs):
        by_seed = found.setdefault(key_of(run.options), {})
        first = next(iter(by_seed.values()), run)
        if run.parameters != first.parameters:
            raise UserError('%s and %s have the same options, but %d and %d parameters: they are not of the same code'
                            % (first.path, run.path, first.parameters, run.parameters))
        same = by_seed.setdefault(run.options['seed'], run)
        if same is not run:
            left_out[run.path] = 'it has the options and the seed of %s' % same.path
    labels = labels_of([dict(key) for key in found], without='blocks')
    groups = {}
    for label, (key, by_seed) in zip(labels, found.items()):
        first = next(iter(by_seed.values()))
        groups[key] = Group(label, dict(key), first.options, first.parameters,
                            {seed: run.accuracy for seed, run in by_seed.items()})
    return groups


def complete(runs):
    """The runs with the options that older logs do not name: of a flag its default, else what all others have alike."""
    values = {}
    for run in runs:
        for name, value in run.options.items():
            values.setdefault(name, []).append(value)
    common = {name: found[0] for name, found in values.items() if all(value == found[0] for value in found)}
    filled = {**common, **flags.defaults(flags.CIFAR)}
    return [run._replace(options={**filled, **run.options}) for run in runs]


def labels_of(all_settings, without):
    """A label for each of these settings: the unit, and what it has of the options in which they differ, but one."""
    units = {settings['unit'] for settings in all_settings}
    names = {name for settings in all_settings for name in settings} - {'unit', 'model', without}
    varying = [name for name in sorted(names, key=lambda name: ((*NETWORK, name).index(name), name))
               if len({settings[name] for settings in all_settings if name in settings}) > 1
               or len({(settings['unit'], name in settings) for settings in all_settings}) > len(units)]
    return [', '.join(filter(None, [settings['unit']] + [say(name, settings[name]) for name in varying
                                                         if name in settings])) for settings in all_settings]


def say(name, value):
    if isinstance(value, bool):
        return name if value else 'no ' + name
    return SAY.get((name, value), '%s %s' % (name, text_of(value)))


# How they compare.

def reference_of(group, groups, name):
    """The Group of this unit (or label) with the depth and the schedule of a group, or None; UserError if several."""
    peers = [other for other in groups if schedule_of(other) == schedule_of(group)]
    found = ([other for other in peers if other.label == name]
             or [other for other in peers if other.settings['unit'] == name])
    if len(found) > 1:
        raise UserError('--reference %s may be any of %s' % (name, ', '.join(repr(other.label) for other in found)))
    return found[0] if found else None


def schedule_of(group):
    return {name: value for name, value in group.settings.items() if name not in NETWORK}


def paired(accuracies, reference):
    """(mean difference, pairs, low, high) over the seeds that both {seed: percent} have; None where they are too few.

    d +- t(0.975, n - 1) std(d) / sqrt(n), the 95 % interval of Student's t.
    """
    differences = [accuracies[seed] - reference[seed] for seed in sorted(accuracies.keys() & reference.keys())]
    n = len(differences)
    mean = np.mean(differences) if n else None
    if n < 2:
        return mean, n, None, None
    half = stats.t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / math.sqrt(n)
    return mean, n, mean - half, mean + half
