"""The figure of a comparison: a row of panels for each length of runs, in it a panel for each axis."""
from itertools import count

from tools import figures
from tools.sweep.lines import STYLED, in_order
from tools.sweep.settings import text_of

AXES = {'parameters': 'trainable parameters (thousand)', 'depth': 'depth (layers)'}
HEIGHT = 2.9  # inches of a row of panels
DOTS = {'linestyle': ':', 'markerfacecolor': 'none', 'markersize': 3}  # of what is published
HOLLOW = {'markerfacecolor': 'white', 'markersize': 5.5, 'markeredgewidth': 1.4}  # of a run that has no second seed


def axes_of(name):
    """The axes of the panels in a row, of what --x says."""
    return list(AXES) if name == 'both' else [name]


def draw(lines, references, args, title):
    """A row of panels for each length, as runs of different length do not compare; and below them the legend.

    references: {Group: {blocks: Group} that it is compared with}, of which only other axes than AXES show the level.
    """
    rows = by_length(lines, args.option)
    names = axes_of(args.x)
    figure, panels = figures.new_figure(len(rows), len(names), HEIGHT * len(rows))
    styles = styles_of(lines)
    for (length, of_length), row in zip(rows.items(), panels):
        places = in_order({place for line in of_length for place in line.groups})
        for name, axes in zip(names, row):
            draw_panel(axes, name, places, of_length, styles)
            axes.set(xlabel=AXES.get(name, name), ylabel=accuracy_of(of_length, args.score),
                     title=name_of(length, of_length) if len(rows) > 1 else None)
            if name not in AXES:
                draw_levels(axes, references, of_length)
    figure.suptitle(title)
    figures.add_legend(figure, seeds_of([group for group in references if not group.published]),
                       first=[line.label for line in lines])
    return figure


def accuracy_of(lines, score):
    """The name of what is drawn of these lines; the published points are of the best epoch."""
    scores = {'best' if line.published else score for line in lines}
    return f'test accuracy, {scores.pop()} epoch (%)' if len(scores) == 1 else 'test accuracy (%)'


def name_of(length, lines):
    """The title of the panels of a length."""
    return epochs_of(length) + (', published' if all(line.published for line in lines) else '')


def epochs_of(length):
    """The length of runs in words."""
    return f'{length} epoch{"s" * (length != 1)}'


def by_length(lines, option):
    """{number of epochs: its Lines}, the longest first; one entry where the epochs are on the axis."""
    if option == 'num_epochs':
        return {None: lines}
    lengths = {}
    for line in lines:
        lengths.setdefault(next(iter(line.groups.values())).epochs, []).append(line)
    return dict(sorted(lengths.items(), reverse=True))


def styles_of(lines):
    """{label: keywords of a style}. The style of a unit is that of the line with just its name, or of its first line,
    and, in dots, of its published line."""
    keys = {}
    first = {}
    for line in sorted(lines, key=lambda line: (line.published, line.label != line.unit)):
        is_first = first.setdefault(line.unit, line.label) == line.label
        keys[line.label] = line.unit if line.published or is_first else (line.unit, line.label)
    index = {key: STYLED.index(key) for key in keys.values() if key in STYLED}
    free = (number for number in count(1) if number not in index.values())  # 0 is relu's
    index.update((key, next(free)) for key in dict.fromkeys(keys.values()) if key not in index)
    return {line.label: dict(figures.style(index[keys[line.label]]),
                             **(DOTS if line.published else {}))
            for line in lines}


def draw_panel(axes, axis, places, lines, styles):
    """Lines through the means, bars of one standard deviation, and a faint point for every seed.

    places: what is on the axis, unless it is of parameters.
    """
    at = positions(lines, axis, places)
    for line in lines:
        groups = [line.groups[place] for place in places if place in line.groups]
        single = not line.published and all(group.std is None for group in groups)  # the legend shows it too
        axes.plot([at[group] for group in groups], [group.mean for group in groups], label=line.label,
                  **{**styles[line.label], **(HOLLOW if single else {})})
        for group in groups:
            draw_seeds(axes, at[group], group, styles[line.label])
    if axis != 'parameters':
        axes.set_xticks(range(len(places)), [6 * place + 2 if axis == 'depth' else text_of(place) for place in places])
        axes.set_xlim(-0.5, len(places) - 0.5)


def draw_seeds(axes, place, group, style):
    """The bar of a group and its seeds; a hollow marker where there is one seed; nothing more of a published point."""
    if group.std is not None:
        seeds = [(place, accuracy) for accuracy in group.accuracies.values()]
        axes.errorbar(place, group.mean, group.std, ecolor=style['color'], elinewidth=0.8, capsize=2)
        axes.plot(*zip(*seeds), '.', markersize=4, color=style['color'], alpha=0.4, transform=figures.beside(axes))
        axes.update_datalim(seeds)  # plot does not count them, as they are drawn beside their place
    elif not group.published:
        axes.plot(place, group.mean, style['marker'], color=style['color'], **HOLLOW)


def positions(lines, axis, places):
    """{group: its place on an axis}; ours are side by side where several have the same one."""
    if axis == 'parameters':
        return {group: group.parameters / 1000 for line in lines for group in line.groups.values()}
    at = {group: places.index(place) for line in lines for place, group in line.groups.items()}
    ours = list(dict.fromkeys(group for line in lines if not line.published for group in line.groups.values()))
    shifted = dict(at)
    for group in ours:
        beside = [other for other in ours if at[other] == at[group]]
        step = min(max(0.1, 0.025 * len(places)), 0.8 / len(beside))
        shifted[group] += step * (beside.index(group) - (len(beside) - 1) / 2)
    return shifted


def draw_levels(axes, references, lines):
    """A level line, with a band of one standard deviation, for each group that those of a panel are compared with."""
    drawn = [group for line in lines for group in line.groups.values()]
    levels = dict.fromkeys(filter(None, (references[group].get(group.blocks) for group in drawn)))
    for number, group in enumerate(levels):
        axes.axhline(group.mean, color='0.35', linestyle=(0, (1 + number, 1)), zorder=0,
                     label=f'{group.label}, depth {group.depth}')
        axes.axhspan(group.mean - (group.std or 0), group.mean + (group.std or 0), color='0.35', alpha=0.12,
                     linewidth=0, zorder=0)


def seeds_of(groups):
    """What a point and its bar are, in words."""
    numbers = sorted({len(group.accuracies) for group in groups})
    if numbers[-1:] > [1]:
        seeds = ' to '.join(map(str, sorted({numbers[0], numbers[-1]})))
        hollow = '; hollow: one seed' if numbers[0] == 1 else ''
        return f'mean \u00b1 std of {seeds} seeds; faint, to the right: each seed{hollow}'
    return 'one run each'
