"""Accuracy against parameters and depth, from nothing but the logs of finished runs: figure, CSV and Markdown table.

    python -m tools.plot_sweep [LOG_OR_FOLDER ...] [--dataset D] [--select r=2 act_layers=4] [--published]
    python -m tools.plot_sweep --select blocks=2 --x act_layers        (or r, or any other option: a line for each unit)

Runs that differ in their seed only are averaged; whatever else differs among the selected runs is in the label. Runs of
another length have panels of their own. What the numbers are is said below the table.

selection.py finds the logs, settings.py what their networks read, groups.py averages, comparison.py has the intervals,
lines.py, drawing.py and tables.py make the files.
"""
import argparse
import glob
import os
import sys
from collections import namedtuple

from runtime import UserError, printable

from matplotlib.backend_bases import FigureCanvasBase

from cli.command import Parser
from cli.exits import run_script
from data import SMALL_DATASETS
from data.cifar import LABEL_SETS
from disk import write_whole
from model import ACTIVATIONS
from tools import figures
from tools.sweep.comparison import reference_line
from tools.sweep.drawing import AXES, draw, epochs_of
from tools.sweep.groups import labels_of, read_groups
from tools.sweep.lines import lines_over, published_lines
from tools.sweep.selection import unmatched
from tools.sweep.tables import CSV_BEGINS, MARKDOWN_BEGINS, markdown, rows_of, write_csv

# How the files of this tool begin, by ending; figures have a mark instead.
BEGINS = dict(dict.fromkeys(figures.ENDINGS), **{'.csv': CSV_BEGINS.encode(), '.md': MARKDOWN_BEGINS.encode()})

# What is drawn and tabled. references: {Group: {blocks: Group} that it is compared with}. out: path without ending.
Comparison = namedtuple('Comparison', 'lines references title out')


def parse_args(argv=None):
    parser = Parser(description='Draw accuracy against parameters and depth from the logs of runs.')
    parser.add_argument('logs', nargs='*', default=['logs', *sorted(glob.glob('logs/*/'))], metavar='LOG_OR_FOLDER',
                        help='(default: logs and the folders in it)')
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
                        help='of the PNG, SVG, CSV and Markdown file, without ending (default: <data set>-<axis>)')
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
        raise argparse.ArgumentTypeError(f'{text} is not KEY=VALUE')
    if '=' in values:
        raise argparse.ArgumentTypeError(f'{text} is not KEY=VALUE: write several apart, as r=2 act_layers=4')
    return name.lstrip('-').replace('-', '_'), values


def compare(args):
    """The Comparison of the flags; stderr hears of what is left out."""
    groups = selected(args)
    dataset, label_set = data_set_of(args, groups.values())
    lines = lines_over(args.option, groups) if groups else []
    drawn = [group for line in lines for group in line.groups.values()]
    references = references_of(drawn, groups.values(), args.reference)
    for group in groups.values():
        if group not in references:
            print(f'not drawn: {group.label}, blocks {group.blocks}: there is no second value of {args.x}',
                  file=sys.stderr)
    for group, label in zip(references, labels_of([group.settings for group in references])):
        group.label = label  # shorter, where fewer options differ among those that are left
    if args.published:
        published = published_lines(args.published, dataset, label_set)
        points = [group for line in published for group in line.groups.values()]
        references.update((group, reference_line(group, points, args.reference)) for group in points)
        lines += published
    return Comparison(lines, references, title_of(dataset, label_set, references), out_of(args, dataset, label_set))


def selected(args):
    """{key: Group} of the runs that the flags select. UserError if there is none and nothing published to draw."""
    wanted = [(name, getattr(args, name)) for name in ('dataset', 'label_set') if getattr(args, name)]
    groups, left_out = read_groups(args.logs, wanted + args.select, args.score)
    for path, reason in left_out.items():
        print(f'left out: {printable(path)}: {printable(str(reason))}', file=sys.stderr)
    if not groups and not args.published:
        raise UserError(f'no finished run matches; logs read: {len(left_out)}, in {", ".join(args.logs)}')
    for name, value in unmatched(args.select, groups.values()):
        print(f'no finished run that was selected has {name}={value}', file=sys.stderr)
    return groups


def data_set_of(args, groups):
    """(data set, label set or None) of the groups or, without any, of the flags. UserError if there are several."""
    found = {(group.settings['dataset'], group.settings.get('label_set')) for group in groups}
    if len(found) > 1:
        names = sorted(' '.join(filter(None, pair)) for pair in found)
        raise UserError(f'the logs are of {", ".join(names)}: choose one with --dataset and --label-set')
    asked = args.dataset, (args.label_set or 'coarse') if args.dataset == 'cifar100' else None
    return found.pop() if found else asked


def references_of(drawn, groups, name):
    """{group: {blocks: Group} of the reference} of those that are drawn and those of their depth they compare with."""
    references = {group: reference_line(group, groups, name) for group in drawn}
    compared_with = [line.get(group.blocks) for group, line in references.items()]
    references.update((group, reference_line(group, groups, name)) for group in filter(None, compared_with))
    if drawn and not any(compared_with):
        if name not in ACTIVATIONS:
            labels = '; '.join(sorted({group.label for group in groups}))
            raise UserError(f'--reference {name}: no run that was selected has this unit or label; there are {labels}')
        print(f'no run of {name} was selected: there are no differences', file=sys.stderr)
    return references


def title_of(dataset, label_set, groups):
    labels = [f'20 {label_set} labels'] if label_set == 'coarse' else [f'100 {label_set} labels'] if label_set else []
    epochs = {group.epochs for group in groups}
    return ', '.join([dataset, *labels] + [epochs_of(number) for number in epochs if len(epochs) == 1])


def out_of(args, dataset, label_set):
    """The path of the files without ending. UserError for an ending of other figures, and if one of the files would
    replace what this tool did not write."""
    axis = 'sweep' if args.x == 'both' else args.x
    out = args.out or '-'.join(filter(None, [dataset, label_set, axis]))
    stem, ending = os.path.splitext(out)
    if not os.path.basename(out):
        raise UserError(f'--out {out}: it must name files, not a folder')
    ending = ending.lower()
    if ending[1:] in FigureCanvasBase.filetypes and ending not in BEGINS:
        raise UserError(f'--out {out}: figures are written as PNG and SVG, not as {ending[1:].upper()}')
    out = stem if ending in BEGINS else out
    for ending, begins in BEGINS.items():
        figures.check_replaceable(out + ending, begins)
    return out


def main(argv=None):
    """Draw, write and print; returns the rows of the tables."""
    args = parse_args(argv)
    found = compare(args)
    rows = rows_of(found.references)
    with figures.look():
        figure = draw(found.lines, found.references, args, found.title)
        for ending in figures.ENDINGS:
            figures.save(figure, found.out + ending)
    write_csv(found.out + '.csv', rows)
    table = markdown(rows, args.command, found.title, args.reference, args.score)
    write_whole(found.out + '.md', [table])
    print(f'{table}\nwritten: {", ".join(found.out + ending for ending in BEGINS)}')
    return rows


if __name__ == '__main__':
    sys.exit(run_script(main))
