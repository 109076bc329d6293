"""How the figures of this repository look, and how they are saved.

Colours are those of M. Okabe and K. Ito, "Color universal design", 2008, without their yellow, which is hard to see on
white paper. Every line has a marker and dashes of its own too, so that a black-and-white print can be read. Figures are
drawn at the size they are printed in, with letters of 8 pt.
"""
import os
import textwrap

from runtime import UserError

import matplotlib
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from disk import written

COLUMN = 3.4  # inches, the width of one column
PAGE = 7.0    # and of two
COLOURS = ('#000000', '#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
MARKERS = ('o', 's', '^', 'D', 'v', '<', '>', '*')
DASHES = ('-', '--', '-.', (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 2)))  # dots are for what is published
LETTERS_PER_INCH = 15  # about, at 8 pt
LOOK = {'font.size': 8, 'axes.titlesize': 8, 'axes.labelsize': 8, 'xtick.labelsize': 8, 'ytick.labelsize': 8,
        'legend.fontsize': 8, 'legend.title_fontsize': 8, 'figure.titlesize': 9, 'lines.linewidth': 1.2,
        'lines.markersize': 4.5, 'axes.grid': True, 'grid.alpha': 0.3, 'grid.linewidth': 0.5,
        'text.parse_math': False, 'savefig.dpi': 200, 'svg.hashsalt': 'atac'}
ENDINGS = ('.png', '.svg')
MARK = 'tools of Attention as Activation, reproduced'  # inside of every figure, by which it is known again
HEAD = 4096  # bytes among which the mark is found


def look():
    """A context in which figures get LOOK."""
    return matplotlib.rc_context(LOOK)


def new_figure(rows, columns, height):
    """(figure, axes (rows, columns)), one column wide with one panel in a row, else two. height: in inches."""
    figure = Figure(figsize=(COLUMN if columns == 1 else PAGE, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False)


def style(index):
    """Colour, marker and dashes of the index-th line; the first 35 differ in colour or dashes."""
    return {'color': COLOURS[index % len(COLOURS)], 'marker': MARKERS[index % len(MARKERS)],
            'linestyle': DASHES[index % len(DASHES)]}


def beside(axes):
    """Where data lie, 4 points to the right: for what a marker and its bar would hide."""
    return axes.transData + ScaledTranslation(4 / 72, 0, axes.figure.dpi_scale_trans)


def add_legend(figure, title=None, first=()):
    """One legend below all panels, of every label once, in as many columns as its longest label leaves room for.

    first: the labels that come first. The figure grows by the height of the legend, so that the panels keep theirs.
    """
    found = {label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels())}
    handles = {label: found[label] for label in (*first, *found) if label in found}
    longest = max(map(len, handles), default=0)
    letters = int(figure.get_figwidth() * LETTERS_PER_INCH)
    columns = max(1, min(len(handles), letters // (longest + 7)))
    title = textwrap.fill(title, letters) if title else None
    lines = -(-len(handles) // columns) + (title.count('\n') + 1 if title else 0)
    figure.set_figheight(figure.get_figheight() + 0.17 * lines + 0.15)
    figure.legend(handles.values(), handles, loc='outside lower center', ncol=columns, title=title, frameon=False,
                  handlelength=3.2)


def check_replaceable(path, begins=None):
    """UserError if there is a file of this name that no tool of ours has written.

    begins: how such a file begins; None for a figure, which has MARK in it and ends in one of ENDINGS.
    """
    if not begins and os.path.splitext(path)[1] not in ENDINGS:
        raise UserError(f'--out {path}: it must end in {" or ".join(ENDINGS)}')
    if os.path.isdir(path):
        raise UserError(f'{path} is a folder: choose another --out')
    for there in filter(os.path.exists, (path, path + '.new')):  # which disk.written begins with
        with open(there, 'rb') as file:
            head = file.read(HEAD)
        if head and not (head.startswith(begins) if begins else MARK.encode() in head):
            raise UserError(f'{there} exists and was not written by this tool: choose another --out, or remove it')


def save(figure, path):
    """Write a figure as PNG or SVG, by its ending, whole or not at all; the same figure gives the same file."""
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    ending = os.path.splitext(path)[1]
    metadata = {'Creator': MARK, 'Date': None} if ending == '.svg' else {'Software': MARK}
    with written(path) as (new,):
        figure.savefig(new, format=ending[1:], metadata=metadata)
