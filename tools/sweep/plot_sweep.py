"""Accuracy against parameters and depth, from the logs of finished runs alone: figure, CSV and Markdown table.

    python -m tools.plot_sweep [LOG_OR_FOLDER ...] [--dataset D] [--select r=2 act_layers=4] [--published]
    python -m tools.plot_sweep --select blocks=2 --x act_layers        (or r, or any other option: a line for each unit)

Runs that differ in their seed alone are averaged (tools/sweep/groups.py); whatever else differs among the selected runs
stands in the label. What the numbers are stands below the table (NOTE).

logs/published-figures.csv holds Figs. 7 and 8 of "Attention as Activation", read off: one run each, the best epoch on
the test set. Parameters are the trainable ones, GENet-theta's those of our reading of it (model/gate.py). ReLU and
Swish share a colour in the copy of Fig. 7 for CIFAR-10 that was read, SENet and ATAC in that of Fig. 8.
"""
import argparse
import csv
import os
import shlex
import sys
from collections import namedtuple
from itertools import count

from runtime import UserError

from matplotlib.backend_bases import FigureCanvasBase

from cli.exits import run_script
from data import SMALL_DATASETS
from data.cifar import LABEL_SETS
from model import ACTIVATIONS
from tools import ROOT, figures
from tools.sweep.groups import (
    ABLATING,
    Group,
    key_of,
    labels_of,
    paired,
    read_groups,
    reference_of,
    text_of,
    unmatched,
)

PUBLISHED = os.path.join(ROOT, 'logs', 'published-figures.csv')
# Names in the published figures -> ours.
OUR_NAMES = {'ReLU': 'relu', 'SELU': 'selu', 'Swish': 'swish', 'ATAC': 'ChaATAC', 'ResNet': 'relu',
             'SENet': 'SE-ReLU', 'ATAC-ResNet': 'ChaATAC'}
# Units that look the same in every figure; others take the styles that are left.
STYLED = ('relu', 'ChaATAC', 'swish', 'xUnit', 'SE-ReLU', 'SeqATAC', 'SpaATAC')
AXES = {'parameters': 'trainable parameters (thousand)', 'depth': 'depth (layers)'}
# Values of an option that stand in no settings, as the network then has another name or none of its other flags.
ALSO = {'act_layers': {0, 4}, **dict.fromkeys(ABLATING, {False, True})}
FIELDS = ('group', 'blocks', 'depth', 'trainable_parameters', 'n', 'mean', 'std', 'difference', 'pairs', 'low', 'high',
          'contains_0', 'seeds', 'accuracies')
# Columns of the Markdown table.
COLUMNS = {'unit': '{group}', 'depth': '{depth}', 'parameters': '{trainable_parameters:,}', 'n': '{n}',
           'accuracy (%)': '{mean:.2f}', 'std': '{std:.2f}', 'difference to {reference}': '{difference:+.2f}',
           'pairs': '{pairs:d}', '95 % interval': '[{low:+.2f}, {high:+.2f}]', 'contains 0': '{contains_0:s}'}
MARKDOWN_BEGINS = '<!-- python -m tools.plot_sweep'
# How the files of this tool begin, by ending; figures have a mark instead.
BEGINS = dict(dict.fromkeys(figures.ENDINGS), **{'.csv': ','.join(FIELDS).encode(), '.md': MARKDOWN_BEGINS.encode()})
NOTE = ('Test accuracy of the %s epoch; n runs that differ in their seed alone; std with n - 1. Differences are paired '
        'over seeds, with the 95 %% interval of Student\'s t, not corrected for the number of rows. An interval that '
        'contains 0 does not tell which is better.')
BEST_NOTE = 'The best epoch was chosen on the test set, which flatters.'
PUBLISHED_NOTE = 'Published points: one run each, the best epoch on the test set, read off the figure.'

# A line of the figure. unit: whose style it has. groups: {blocks, or value of the option on the axis: Group}.
Line = namedtuple('Line', 'label unit groups published')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Draw accuracy against parameters and depth from the logs of runs.')
    parser.add_argument('logs', nargs='*', default=['logs'], metavar='LOG_OR_FOLDER', help='(default: logs)')
    parser.add_argument('--dataset', choices=SMALL_DATASETS, help='only its runs')
    parser.add_argument('--label-set', choices=LABEL_SETS, help='of cifar100')
    parser.add_argument('--select', nargs='+', action='extend', type=condition, default=[],
                        metavar='KEY=VALUE[,VALUE...]',
                        help='only runs with this option, such as r=2 act_type=relu,ChaATAC; runs whose network does '
                             'not read it stay')
    parser.add_argument('--score', choices=['last', 'best'], default='last',
                        help='accuracy of the last epoch, or of the best one on the test set, as in the paper')
    parser.add_argument('--x', default='both', metavar='AXIS',
                        help='parameters, depth, both (default), or an option such as act_layers or r')
    parser.add_argument('--published', nargs='?', choices=['7', '8'], const='7',
                        help="the paper's points of Fig. 7 (default) or 8 beside ours; name the logs before it")
    parser.add_argument('--reference', default='relu', metavar='UNIT',
                        help='unit or label that the others are compared with (default: relu)')
    parser.add_argument('--out', metavar='NAME',
                        help='of the PNG, SVG, CSV and Markdown file, without ending (default: logs/figures/<data '
                             'set>-<axis>)')
    args = parser.parse_args(argv)
    if args.published and args.x not in ('both', *AXES):
        parser.error('--published goes with --x parameters, depth or both')
    args.option = 'blocks' if args.x in ('both', *AXES) else args.x
    args.command = sys.argv[1:] if argv is None else argv
    return args


def condition(text):
    """An argparse type: (option, values as text)."""
    name, equals, values = text.partition('=')
    if not (name and equals):
        raise argparse.ArgumentTypeError('%s is not KEY=VALUE' % text)
    if '=' in values:
        raise argparse.ArgumentTypeError('%s is not KEY=VALUE: several stand apart, as r=2 act_layers=4' % text)
    return name.lstrip('-').replace('-', '_'), values


# What is compared.

def compare(args):
    """(lines, {each group of ours: what it is compared with, or None}, title, path of the files without ending).

    stderr hears of what is left out.
    """
    wanted = [(name, getattr(args, name)) for name in ('dataset', 'label_set') if getattr(args, name)]
    groups, left_out = read_groups(args.logs, wanted + args.select, args.score)
    for path, reason in left_out.items():
        print('left out: %s: %s' % (path, reason), file=sys.stderr)
    if not groups and not args.published:
        raise UserError('no finished run matches; %d logs were read in %s' % (len(left_out), ', '.join(args.logs)))
    for name, value in unmatched(args.select, groups.values()):
        print('no finished run that was selected has %s=%s' % (name, value), file=sys.stderr)
    dataset, label_set = data_set_of(args, groups.values())
    lines = lines_over(args.option, groups) if groups else []
    drawn = [group for line in lines for group in line.groups.values()]
    references = references_of(drawn, groups.values(), args.reference)
    for group in groups.values():
        if group not in references:
            print('not drawn: %s, blocks %d: there is no second value of %s'
                  % (group.label, group.settings['blocks'], args.x), file=sys.stderr)
    for group, label in zip(references, labels_of([group.settings for group in references], 'blocks')):
        group.label = label  # shorter, where fewer options differ among those that are left
    lines += published_lines(args.published, dataset, label_set) if args.published else []
    return lines, references, title_of(dataset, label_set, drawn), out_of(args, dataset, label_set)


def data_set_of(args, groups):
    """(data set, label set or None) of the groups or, without any, of the flags. UserError if there are several."""
    found = {(group.settings['dataset'], group.settings.get('label_set')) for group in groups}
    if len(found) > 1:
        raise UserError('the logs are of %s: choose one with --dataset and --label-set'
                        % ', '.join(sorted(' '.join(filter(None, names)) for names in found)))
    asked = args.dataset, (args.label_set or 'coarse') if args.dataset == 'cifar100' else None
    return found.pop() if found else asked


def references_of(drawn, groups, name):
    """{group: what it is compared with, or None} of those that are drawn and those they are compared with."""
    references = {group: reference_of(group, groups, name) for group in drawn}
    references.update((reference, reference) for reference in list(references.values()) if reference)
    if drawn and not any(references.values()):
        if name not in ACTIVATIONS:
            raise UserError('--reference %s: no run that was selected has this unit or label; there are %s'
                            % (name, '; '.join(sorted({group.label for group in groups}))))
        print('no run of %s was selected: there are no differences' % name, file=sys.stderr)
    return references


def lines_over(option, groups):
    """A Line over the values of an option for each network and schedule; over others than blocks only if it has two.

    The nets with 0 layers of a unit and with 4 are those of other runs, from the back and from the front alike, and an
    ablation has another name: so the groups of a line are found by what follows from its options with this one changed.
    """
    own = [group for group in groups.values() if option in group.settings.keys() & group.options.keys()]
    if not own:
        raise UserError('--x %s: no run that was selected reads such an option' % option)
    values = in_order({group.settings[option] for group in own} | ALSO.get(option, set()))
    found = {}
    for group in own:
        keys = {value: key_of(dict(group.options, **{option: value})) for value in values}
        line = {value: groups[key] for value, key in keys.items() if key in groups}
        if option == 'blocks' or len(line) > 1:
            found[tuple(keys.values())] = group.settings, line
    if not found:
        raise UserError('--x %s: no network was run with two values of it' % option)
    labels = labels_of([settings for settings, _ in found.values()], option)
    lines = [Line(label, settings['unit'], line, False) for label, (settings, line) in zip(labels, found.values())]
    return sorted(lines, key=lambda line: ((*STYLED, line.unit).index(line.unit), -len(line.groups)))


def in_order(values):
    return sorted(values, key=lambda value: (0, value) if isinstance(value, (int, float)) else (1, str(value)))


def published_lines(figure, dataset, label_set):
    """Lines over the blocks, of a published figure. UserError for a data set that it does not show."""
    if dataset not in ('cifar10', 'cifar100'):
        raise UserError('--published: the paper shows cifar10 and cifar100, %s'
                        % ('not %s' % dataset if dataset else 'choose one with --dataset'))
    if label_set == 'fine':
        raise UserError('--published: the paper shows the 20 coarse labels of cifar100, whose accuracies do not '
                        'compare with those of the 100 fine ones')
    lines = {}
    with open(PUBLISHED, newline='') as file:
        for row in csv.DictReader(file):
            if (row['figure'], row['dataset']) == (figure, dataset):
                name, blocks = row['network_or_unit'], int(row['blocks'])
                label, unit = '%s (Fig. %s, best epoch)' % (name, figure), OUR_NAMES.get(name, name)
                lines.setdefault(name, Line(label, unit, {}, True)).groups[blocks] = Group(
                    label, {'blocks': blocks}, {}, int(row['trainable_parameters']),
                    {None: 100 * float(row['accuracy'])})
    return list(lines.values())


def title_of(dataset, label_set, groups):
    labels = {'coarse': ['20 coarse labels'], 'fine': ['100 fine labels']}.get(label_set, [])
    epochs = {group.settings['num_epochs'] for group in groups}
    return ', '.join([dataset, *labels] + ['%d epochs' % number for number in epochs if len(epochs) == 1])


def out_of(args, dataset, label_set):
    """The path of the files without ending. UserError for an ending of other figures, and if one of the files would
    replace what this tool did not write."""
    axis = 'sweep' if args.x == 'both' else args.x
    out = args.out or os.path.join('logs', 'figures', '-'.join(filter(None, [dataset, label_set, axis])))
    stem, ending = os.path.splitext(out)
    if not os.path.basename(out):
        raise UserError('--out %s: it must name files, not a folder' % out)
    ending = ending.lower()
    if ending[1:] in FigureCanvasBase.filetypes and ending not in BEGINS:
        raise UserError('--out %s: figures are written as PNG and SVG, not as %s' % (out, ending[1:].upper()))
    out = stem if ending in BEGINS else out
    for ending, begins in BEGINS.items():
        figures.may_replace(out + ending, begins)
    return out


# The figure.

def draw(lines, references, args, title):
    """A panel for each axis, and below them the legend."""
    axes_names = list(AXES) if args.x == 'both' else [args.x]
    figure, panels = figures.new_figure(1, len(axes_names), 2.9)
    styles = styles_of(lines)
    for axis, axes in zip(axes_names, panels[0]):
        draw_panel(axes, axis, lines, styles)
        axes.set(xlabel=AXES.get(axis, axis),
                 ylabel='test accuracy, %s epoch (%%)' % ('best' if lines[0].published else args.score))
        if axis not in AXES:
            draw_levels(axes, dict.fromkeys(filter(None, references.values())))
    figure.suptitle(title)
    figures.add_legend(figure, seeds_of(references))
    return figure


def styles_of(lines):
    """{label: keywords of a style}. The style of a unit is that of the line with its name alone, or of its first line,
    and, in dots, of its published line."""
    keys, first = {}, {}
    for line in sorted(lines, key=lambda line: (line.published, line.label != line.unit)):
        is_first = first.setdefault(line.unit, line) is line
        keys[line.label] = line.unit if line.published or is_first else (line.unit, line.label)
    index = {key: STYLED.index(key) for key in keys.values() if key in STYLED}
    free = (number for number in count(1) if number not in index.values())  # 0 is relu's
    index.update((key, next(free)) for key in dict.fromkeys(keys.values()) if key not in index)
    return {line.label: dict(figures.style(index[keys[line.label]]),
                             **({'linestyle': ':', 'markerfacecolor': 'none'} if line.published else {}))
            for line in lines}


def draw_panel(axes, axis, lines, styles):
    """Lines through the means, bars of one standard deviation, and a faint point for every seed."""
    places = in_order({place for line in lines for place in line.groups})
    at = positions(lines, axis, places)
    for line in lines:
        style, groups = styles[line.label], [line.groups[place] for place in places if place in line.groups]
        x = [at[group] for group in groups]
        axes.plot(x, [group.mean for group in groups], label=line.label, **style)
        for place, group in zip(x, groups):
            if group.std is None:
                axes.plot(place, group.mean, style['marker'], color=style['color'],
                          markerfacecolor='none' if line.published else 'white')
            else:
                seeds = [(place, accuracy) for accuracy in group.accuracies.values()]
                axes.errorbar(place, group.mean, group.std, ecolor=style['color'], elinewidth=0.8, capsize=2)
                axes.plot(*zip(*seeds), '.', markersize=4, color=style['color'], alpha=0.4,
                          transform=figures.beside(axes))
                axes.update_datalim(seeds)  # which plot leaves alone, as they are drawn beside their place
    if axis != 'parameters':
        axes.set_xticks(range(len(places)), [6 * place + 2 if axis == 'depth' else text_of(place) for place in places])
        axes.set_xlim(-0.5, len(places) - 0.5)


def positions(lines, axis, places):
    """{group: where it stands on an axis}; over places, ours side by side where they would stand at the same one."""
    if axis == 'parameters':
        return {group: group.parameters / 1000 for line in lines for group in line.groups.values()}
    at = {group: places.index(place) for line in lines for place, group in line.groups.items()}
    ours = list(dict.fromkeys(group for line in lines if not line.published for group in line.groups.values()))
    shifted = dict(at)
    for group in ours:
        beside = [other for other in ours if at[other] == at[group]]
        step = min(0.025 * len(places), 0.8 / len(beside))
        shifted[group] += step * (beside.index(group) - (len(beside) - 1) / 2)
    return shifted


def draw_levels(axes, references):
    """A level line with a band of one standard deviation for each group that the others are compared with."""
    for number, group in enumerate(references):
        axes.axhline(group.mean, color='0.35', linestyle=(0, (1 + number, 1)), zorder=0,
                     label='%s, depth %d' % (group.label, group.depth))
        axes.axhspan(group.mean - (group.std or 0), group.mean + (group.std or 0), color='0.35', alpha=0.12,
                     linewidth=0, zorder=0)


def seeds_of(groups):
    """What a point and its bar are, in words."""
    numbers = sorted({len(group.accuracies) for group in groups})
    if numbers[-1:] > [1]:
        seeds = ' to '.join(map(str, sorted({numbers[0], numbers[-1]})))
        return 'mean \u00b1 std of %s seeds; faint, to the right: each seed%s' % (
            seeds, '; hollow: one seed' * (numbers[0] == 1))
    return 'one run each'


# The tables.

def rows_of(lines, references):
    """Dicts of FIELDS, None for what is not known: our groups, each once, and the published points."""
    rows = [row_of(group, reference) for group, reference in references.items()]
    rows.sort(key=lambda row: (row['blocks'], row['trainable_parameters'], row['group']))
    return rows + [row_of(group, None) for line in lines if line.published for group in line.groups.values()]


def row_of(group, reference):
    difference, pairs, low, high = (None,) * 4
    if reference not in (None, group):
        difference, pairs, low, high = paired(group.accuracies, reference.accuracies)
    contains_0 = None if low is None else 'yes' if low <= 0 <= high else 'no'
    seeds = sorted(seed for seed in group.accuracies if seed is not None)
    return dict(zip(FIELDS, (
        group.label, group.settings['blocks'], group.depth, group.parameters, len(group.accuracies), group.mean,
        group.std, difference, pairs, low, high, contains_0, seeds, [group.accuracies[seed] for seed in seeds])))


def write_csv(path, rows):
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(FIELDS)
        writer.writerows(map(csv_cell, row.values()) for row in rows)


def csv_cell(value):
    if isinstance(value, list):
        return ' '.join(str(csv_cell(item)) for item in value)
    return '%.6f' % value if isinstance(value, float) else value


def markdown(rows, lines, args, title):
    """The table for people, below the command that made it."""
    head = [name.format(reference=args.reference) for name in COLUMNS]
    table = ['| %s |' % ' | '.join(cells) for cells in [head, ['---'] * len(head), *map(markdown_cells, rows)]]
    notes = [] if lines[0].published else [NOTE % args.score] + [BEST_NOTE] * (args.score == 'best')
    notes += [PUBLISHED_NOTE] if args.published else []
    return '\n'.join(['%s %s -->' % (MARKDOWN_BEGINS, shlex.join(args.command)), '', '**%s**' % title, '', *table, '',
                      ' '.join(notes), ''])


def markdown_cells(row):
    known = {field: value for field, value in row.items() if value is not None}
    for form in COLUMNS.values():
        try:
            yield form.format(**known)
        except KeyError:
            yield '-'


def main(argv=None):
    """Draw, write and print; returns the rows of the tables."""
    args = parse_args(argv)
    lines, references, title, out = compare(args)
    rows = rows_of(lines, references)
    with figures.look():
        figure = draw(lines, references, args, title)
        for ending in figures.ENDINGS:
            figures.save(figure, out + ending)
    write_csv(out + '.csv', rows)
    table = markdown(rows, lines, args, title)
    with open(out + '.md', 'w', errors='surrogateescape') as file:  # for paths in the command that are no UTF-8
        file.write(table)
    print('%s\nwritten: %s' % (table, ', '.join(out + ending for ending in BEGINS)))
    return rows


if __name__ == '__main__':
    sys.exit(run_script(main))
