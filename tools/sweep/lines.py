"""The lines of a figure: one for each network and schedule over the depth or another option, and those that the paper
drew.

logs/published-figures.csv holds Figs. 7 and 8 of "Attention as Activation", read off: one run each, the best epoch on
the test set. Parameters are the trainable ones, GENet-theta's those of our reading of it (model/gate.py). ReLU and
Swish share a colour in the copy of Fig. 7 for CIFAR-10 that was read, SENet and ATAC in that of Fig. 8.
"""
import csv
import os
from collections import namedtuple

from runtime import UserError

from tools import ROOT
from tools.sweep.groups import Group, labels_of
from tools.sweep.settings import ABLATING, key_of

PUBLISHED = os.path.join(ROOT, 'logs', 'published-figures.csv')
PUBLISHED_EPOCHS = 400
# Names in the published figures -> ours.
OUR_NAMES = {'ReLU': 'relu', 'SELU': 'selu', 'Swish': 'swish', 'ATAC': 'ChaATAC', 'ResNet': 'relu',
             'SENet': 'SE-ReLU', 'ATAC-ResNet': 'ChaATAC'}
# Units that look the same in every figure; others take the styles that are left.
STYLED = ('relu', 'ChaATAC', 'swish', 'xUnit', 'SE-ReLU', 'SeqATAC', 'SpaATAC')
# Values of an option that are in no settings, as the network then has another name or none of its other flags.
ALSO = {'act_layers': {0, 4}, **dict.fromkeys(ABLATING, {False, True})}

# A line of the figure. unit: whose style it has. groups: {blocks, or value of the option on the axis: Group}.
Line = namedtuple('Line', 'label unit groups published')


def lines_over(option, groups):
    """A Line over the values of an option for each network and schedule; over others than blocks only if it has two.

    The nets with 0 layers of a unit and with 4 are those of other runs, from the back and from the front alike, and an
    ablation has another name. So the groups of a line are found by what follows from its options with this one changed.
    """
    having = [group for group in groups.values() if option in group.settings.keys() & group.options.keys()]
    if not having:
        raise UserError(f'--x {option}: no run that was selected reads such an option')
    values = in_order({group.settings[option] for group in having} | ALSO.get(option, set()))
    found = {}
    for group in having:
        keys = {value: key_of(dict(group.options, **{option: value})) for value in values}
        line = {value: groups[key] for value, key in keys.items() if key in groups}
        if option == 'blocks' or len(line) > 1:
            found[tuple(keys.values())] = group.settings, line
    if not found:
        raise UserError(f'--x {option}: no network was run with two values of it')
    labels = labels_of([settings for settings, _ in found.values()], option)
    lines = [Line(label, settings['unit'], line, False) for label, (settings, line) in zip(labels, found.values())]
    return sorted(lines, key=lambda line: ((*STYLED, line.unit).index(line.unit), -len(line.groups)))


def in_order(values):
    return sorted(values, key=lambda value: (0, value) if isinstance(value, (int, float)) else (1, str(value)))


def published_lines(figure, dataset, label_set):
    """Lines over the blocks, of a published figure. UserError for a data set that it does not show."""
    if dataset not in ('cifar10', 'cifar100'):
        shown = f'not {dataset}' if dataset else 'choose one with --dataset'
        raise UserError(f'--published: the paper shows cifar10 and cifar100, {shown}')
    if label_set == 'fine':
        raise UserError('--published: the paper shows the 20 coarse labels of cifar100, whose accuracies do not '
                        'compare with those of the 100 fine ones')
    lines = {}
    with open(PUBLISHED, newline='') as file:
        for row in csv.DictReader(file):
            if (row['figure'], row['dataset']) == (figure, dataset):
                name = row['network_or_unit']
                unit = OUR_NAMES.get(name, name)
                label = f'{name} (Fig. {figure}, best epoch)'
                line = lines.setdefault(name, Line(label, unit, {}, True))
                settings = {'unit': unit, 'blocks': int(row['blocks']), 'num_epochs': PUBLISHED_EPOCHS}
                line.groups[settings['blocks']] = Group(label, settings, {}, int(row['trainable_parameters']),
                                                        {None: 100 * float(row['accuracy'])})
    return list(lines.values())
