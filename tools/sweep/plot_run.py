"""Loss, error, learning rate and speed over the epochs of one run or of several, finished or not.

    python -m tools.plot_run LOG ... [--out FILE.png]

A LOG is the .log (or .jsonl) of a run of this repository, or the log of the authors' ImageNet script (or of GluonCV's,
which it comes from). It may be a table too, such as logs/authors-resnet50_v1b_ChaATAC_2.csv. What a log does not say is
not drawn. Epochs are counted from 0, as in the logs; the learning rate is that of the last line of an epoch.

Of runs of 80 epochs and more the line is a running median, and the numbers themselves are faint; the end of their error
has a panel of its own. Two such runs get one for their difference too. Of each run after the first it is said from
which epoch on the order of the two did not change any more.
"""
import os
import sys
from collections import namedtuple

from runtime import UserError, listed

from cli.command import Parser
from cli.exits import run_script
from tools import figures
from tools.sweep.curves import (
    NAMES,
    differences,
    names_of,
    read_curves,
    running_median,
    settled,
    values_of,
    window_of,
)

# A panel. title: of its axis. drawn: [(name of the number, factor, is dashed)]. begin: the part of the run before it.
Panel = namedtuple('Panel', 'title drawn begin', defaults=(0,))

ERRORS = [('train_error', 100, True), ('val_top1_error', 100, False)]
PANELS = [Panel('training loss', [('train_loss', 1, False)]),
          Panel('top-1 error (%)', ERRORS),
          Panel('learning rate\nof the last batch', [('lr', 1, False)]),
          Panel('images/s', [('images_per_second', 1, False)])]
# Of long runs, and of two of them.
END = Panel('top-1 error (%), last quarter', ERRORS, begin=0.75)
DIFFERENCE = Panel('validation error,\nfirst less second (points)', [('val_top1_error', 100, False)])
HEIGHT = 2.2  # inches of a row of panels
GREY = '0.35'


def parse_args(argv=None):
    parser = Parser(description='Draw the epochs of runs from their logs.')
    parser.add_argument('logs', nargs='+', metavar='LOG', help='.log or .jsonl of a run, or a .csv table')
    parser.add_argument('--out', metavar='FILE', help='.png or .svg (default: the name of the first log with .png)')
    return parser.parse_args(argv)


def draw(runs):
    """The figure: a panel for each of PANELS that some run has logged, a line for each run."""
    window = window_of(runs)
    shown = shown_panels(runs, window)
    if not shown:
        raise UserError(f'no log has any of the numbers {", ".join(NAMES)}')
    columns = len(shown) if len(shown) < 4 else 2
    rows = -(-len(shown) // columns)
    figure, panels = figures.new_figure(rows, columns, HEIGHT * rows)
    for axes in panels.flat[len(shown):]:
        axes.set_axis_off()
    for axes, panel in zip(panels.flat, shown):
        (draw_difference if panel is DIFFERENCE else draw_runs)(axes, panel, runs, window)
        axes.set(xlabel='epoch', ylabel=panel.title)
        axes.xaxis.get_major_locator().set_params(integer=True)
    smoothed = f'; lines: running median of {window} epochs' if window > 1 else ''
    figures.add_legend(figure, f'error: dashed in training, solid in validation{smoothed}')
    return figure


def shown_panels(runs, window):
    """Those panels of which some run has logged a number."""
    more = [END, *[DIFFERENCE] * (len(runs) == 2)] if window > 1 else []
    logged = {name for run in runs for numbers in run.epochs for name in numbers}
    return [panel for panel in [*PANELS[:2], *more, *PANELS[2:]] if logged & {name for name, _, _ in panel.drawn}]


def draw_runs(axes, panel, runs, window):
    begin = panel.begin * max(numbers['epoch'] + 1 for run in runs for numbers in run.epochs)
    for number, run in enumerate(runs):
        for name, factor, dashed in panel.drawn:
            epochs, values = values_of(run, name)
            points = [(epoch, factor * value, factor * median)
                      for epoch, value, median in zip(epochs, values, running_median(values, window))
                      if epoch >= begin]
            if points:
                draw_line(axes, points, run.label, dict(figures.style(number), linestyle='--' if dashed else '-'),
                          number, faint=window > 1)
    if panel.drawn[0][0] == 'images_per_second':
        axes.set_ylim(0, 1.05 * axes.dataLim.y1)
    if panel.drawn[0][0] == 'lr':
        show_steps(axes, runs)


def draw_line(axes, points, label, style, number, faint):
    """A line with about a dozen open markers, at other epochs for each run, as lines of runs may be the same.

    points: [(epoch, value, its running median)].
    """
    epochs, values, medians = zip(*points)
    every = -(-len(points) // 12)
    if faint:
        axes.plot(epochs, values, color=style['color'], linestyle=style['linestyle'], linewidth=0.5, alpha=0.3)
    axes.plot(epochs, medians, label=label, markevery=(3 * number % every, every),
              **dict(style, markerfacecolor='none'))


def draw_difference(axes, panel, runs, window):
    """The number of the first run less that of the second, and a mark where their order changes for good."""
    (_, factor, _), = panel.drawn
    for smoothing, look in ((1, {'linewidth': 0.5, 'alpha': 0.3}), (window, {})):
        epochs, values = differences(*runs, smoothing)
        axes.plot(epochs, [factor * value for value in values], color=GREY, **look)
    axes.axhline(0, color=GREY, linewidth=0.8)
    change = settled(*runs, window)
    if change:
        axes.axvline(change[1], color=GREY, linewidth=0.8, linestyle=':')


def show_steps(axes, runs):
    """A logarithmic axis where the learning rate falls so far that a linear one would show only its first values."""
    rates = [numbers['lr'] for run in runs for numbers in run.epochs if 'lr' in numbers]
    if min(rates) > 0 and max(rates) >= 50 * min(rates):
        axes.set_yscale('log')
        axes.yaxis.set_major_formatter('{x:g}')


def order_of(first, second, window):
    """A sentence: which of two runs has the smaller error at the end, and since when."""
    if not differences(first, second)[0]:
        return f'{first.label} and {second.label} have no epoch that both have scored'
    found = [settled(first, second), settled(first, second, window)]
    single, smooth = (f'{change[0].label} from epoch {change[1]} on' if change else 'neither for good'
                      for change in found)
    median = f'; in the running median of {window} epochs: {smooth}' if window > 1 else ''
    return f'smaller validation error of {first.label} and {second.label}: {single}{median}'


def main(argv=None):
    """Draw and save; returns the Curves that were drawn."""
    args = parse_args(argv)
    out = args.out or os.path.splitext(args.logs[0])[0] + '.png'
    figures.check_replaceable(out)
    runs = [read_curves(path, label) for path, label in zip(args.logs, names_of(args.logs))]
    data = list(dict.fromkeys(filter(None, (run.data for run in runs))))
    if len(data) > 1:
        raise UserError(f'the runs are of different data, whose errors do not compare: {listed(data)}')
    with figures.look():
        figures.save(draw(runs), out)
    for run in runs[1:]:
        print(order_of(runs[0], run, window_of(runs)))
    print(f'written: {out}')
    return runs


if __name__ == '__main__':
    sys.exit(run_script(main))
