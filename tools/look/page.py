"""A page for an image: the image, its likeliest classes, Grad-CAM, and what the gates see of it.

    draw_page('cat.png', 'cat.jpg: tabby', image, findings, layers, class_names)
"""
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from data.augment import LUMA
from data.pictures import class_name
from tools import figures
from tools.look.gates import BINS, histograms, most_selective, stage_of

TOP = 5
LONGEST_NAME = 24   # letters of a class
INCHES = (3.4, 2.7)  # heights of the head, with the title, and of a row of gate maps
WIDTH = 12


def draw_page(path, title, image, findings, layers, names):
    """Write the page of an image as PNG.   image: (H, W, 3) in 0..1"""
    with matplotlib.rc_context({'text.parse_math': False, 'font.size': 9, 'axes.titlesize': 9}):
        figure = Figure(figsize=(WIDTH, INCHES[0] + INCHES[1] * len(layers)), dpi=110, layout='constrained')
        figure.get_layout_engine().set(w_pad=0.08)
        figure.suptitle(title, fontsize=13)
        heights = [3.0] + [INCHES[1]] * len(layers)
        head, *rows = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
        draw_head(head, image, findings, names)
        for row, layer in zip(rows, layers):
            draw_gates(row, image, layer, findings.gates[layer])
        figures.save(figure, path)


def draw_head(figure, image, findings, names):
    """The image, its largest probabilities, Grad-CAM and the histogram of gate values."""
    axes = figure.subplot_mosaic([['image', 'top', 'cam', 'gates', 'gates']])
    axes['image'].imshow(image)
    axes['image'].set_axis_off()
    axes['image'].set_title('what the network sees')
    draw_top(axes['top'], findings.probabilities, names)
    largest = findings.cam.max()
    layer = overlay(axes['cam'], image, findings.cam / (largest or 1), cmap='inferno', interpolation='bilinear')
    name = class_name(findings.target, names)[:LONGEST_NAME]
    axes['cam'].set_title(f'Grad-CAM: {name}' + ('' if largest else '\n(0: nothing speaks for it)'))
    figure.colorbar(layer, ax=axes['cam'], ticks=[0, 0.5, 1], shrink=0.7, label='of its maximum')
    draw_histogram(axes['gates'], findings.gates)


def draw_top(axes, probabilities, names):
    """Bars of the TOP largest probabilities."""
    top = np.argsort(-probabilities, kind='stable')[:TOP]
    axes.barh(range(len(top)), probabilities[top], color='0.75')
    for row, number in enumerate(top):
        name = class_name(number, names)[:LONGEST_NAME]
        axes.text(0.02, row, f'{name}  {100 * probabilities[number]:.1f} %', va='center')
    axes.set(xlim=(0, 1), yticks=[], xticks=[0, 0.5, 1], title='probability')
    axes.invert_yaxis()


def draw_histogram(axes, gates):
    """A line for every stage: its share of gate values in each bin."""
    if not gates:
        axes.set_axis_off()
        axes.text(0.5, 0.5, 'no unit of this network has a gate', ha='center', va='center')
        return
    edges = np.linspace(0, 1, BINS + 1)
    for number, (stage, counts) in enumerate(histograms(gates).items()):
        style = figures.style(number)
        axes.stairs(100 * counts / counts.sum(), edges, color=style['color'], linestyle=style['linestyle'],
                    linewidth=1.6, label=f'{stage} ({counts.sum():,} values)')
    axes.set(xlim=(0, 1), ylim=(0, 1.45 * axes.get_ylim()[1]), xlabel='gate', ylabel=f'values in each 1/{BINS} (%)',
             title='gate values, all units of a stage')
    axes.legend(loc='upper center', ncols=2, fontsize=8)


def draw_gates(figure, image, path, gate):
    """A row of maps: the mean gate of all channels, and the channels that differ most between positions.

    A gate of one value for each channel has no maps: it is drawn over the channels.   gate: (C, h, w)
    """
    channels, height, width = gate.shape
    title = f'{stage_of(path)}, {path}: gate of {channels} channels, '
    if height == width == 1:
        figure.suptitle(title + 'one value each for the whole image (dashed: their mean)')
        draw_channels(figure.subplots(), gate[:, 0, 0])
        return
    chosen = most_selective(gate)
    figure.suptitle(title + f'{height}x{width} (mean \u00b1 standard deviation over positions)')
    axes = figure.subplots(1, 1 + len(chosen))
    maps = [gate.mean(0), *gate[chosen]]
    titles = ['mean'] + [f'channel {channel}' for channel in chosen]
    for place, values, name in zip(axes, maps, titles):
        layer = overlay(place, image, values, cmap='viridis', interpolation='nearest')
        place.set_title(f'{name}, {values.mean():.2f} \u00b1 {values.std():.2f}')
    figure.colorbar(layer, ax=axes, ticks=[0, 0.5, 1], shrink=0.8, label='gate')


def draw_channels(axes, values):
    """Points for the gate values of the channels, and their mean."""
    axes.plot(values, 'o', markersize=3, color=figures.COLOURS[2])
    axes.axhline(values.mean(), color='black', linestyle='--', linewidth=1)
    axes.set(xlim=(-0.5, len(values) - 0.5), ylim=(-0.02, 1.02), xlabel='channel', ylabel='gate')


def overlay(axes, image, values, **options):
    """Draw a map of values in 0..1 in colours over a pale grey image; returns the coloured layer."""
    height, width = image.shape[:2]
    options.update(extent=(0, width, height, 0), vmin=0, vmax=1)
    axes.imshow(0.4 + 0.6 * image @ LUMA, **{**options, 'cmap': 'gray', 'interpolation': 'nearest'})
    axes.set_axis_off()
    return axes.imshow(values, alpha=0.75, **options)
