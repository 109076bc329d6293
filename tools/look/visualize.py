"""What the gates of a trained network see: a page for every image, as PNG.

    python -m tools.visualize --model atac --act-type ChaATAC --useReLU --blocks 1 --dataset fashion-mnist-mini \
        --params FILE --index 0 1 2
    python -m tools.visualize --model atac_resnet50_v1b --params FILE photo.jpg [--layer layer4.2.relu2]

A page holds the image, the five classes with the largest probabilities, Grad-CAM of the predicted class, the gate
values of every stage as a histogram, and gate maps: of the last unit of each stage, or of the one that --layer names.

Grad-CAM for class c, with A the K maps before the last global pooling and y the scores before the softmax:

    relu(sum_k a_k A_k),        a_k = mean over positions of dy_c / dA_k

Paper: R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual explanations from deep
networks via gradient-based localization", ICCV 2017.
"""
import os
import re
import sys
from collections import namedtuple
from contextlib import ExitStack
from functools import partial

from runtime import UserError

import matplotlib
import mxnet as mx
import numpy as np
from matplotlib.figure import Figure
from mxnet.gluon import nn

from cli import build, parsing, trained
from cli.exits import run_script
from cli.kinds import at_least
from data import pictures
from data.augment import LUMA
from model.activation import ChaATAC, MSSeqATAC, SeqATAC, SEReLU, SpaATAC
from model.comparison_units import xUnit
from model.gate import GatherExcite, LocalGatherExcite, SqueezeExcitation
from tools import figures
from training.weights.arrays import load_weights

# The block inside of a unit whose output is its gate. That of LocalGatherExcite lacks the sigmoid and the enlargement.
GATES = {ChaATAC: 'module', SEReLU: 'module', SpaATAC: 'module', SeqATAC: 'module', xUnit: 'module', MSSeqATAC: 'gate',
         SqueezeExcitation: 'module', GatherExcite: 'module', LocalGatherExcite: 'norm'}
STAGE = re.compile(r'(?:layer|features\.)(\d)\.')
BINS, SELECTIVE, TOP = 50, 4, 5

# name: for titles. page: its file name, without the ending. data: (3, H, W) normalised. label: its class, or None.
Picture = namedtuple('Picture', 'name page data label')
# probabilities: (classes,). predicted, target: classes. cam: (h, w) Grad-CAM of the target, not negative.
# gates: {path of a unit: (C, h, w)}.
Findings = namedtuple('Findings', 'probabilities predicted target cam gates')


def parse_args(argv=None):
    parser = parsing.parser_of('visualize', 'Draw gate maps, Grad-CAM and gate histograms of images.')
    parser.add_argument('images', nargs='*', metavar='IMAGE', help='image files')
    parser.add_argument('--index', type=at_least(0), nargs='+', default=[], help='images of the validation set, from 0')
    parser.add_argument('--layer', metavar='NAME', help='the unit whose gate maps are drawn, as in the .params file, '
                                                        'such as layer4.2.relu2 (default: the last of each stage)')
    parser.add_argument('--target-class', type=at_least(0), metavar='N',
                        help='the class that Grad-CAM explains, from 0 (default: the predicted one)')
    parser.add_argument('--out', default='visualized', help='folder of the pages; earlier pages of the same images '
                                                            'are replaced')
    parser.set_defaults(num_workers=0)
    return trained.parse(parser, argv)


def blocks_of(block, prefix=''):
    """Yield (path, block) of every block inside of one, in order; paths are those of .params files."""
    for name, child in block._children.items():
        yield prefix + name, child
        yield from blocks_of(child, prefix + name + '.')


def gated_units(net):
    """{path: unit} of the units that have a gate, in the order of the network."""
    return {path: block for path, block in blocks_of(net) if type(block) in GATES}


def stage_of(path):
    """'stage 3' of 'layer3.0.relu1' or 'features.3.0.act1'; 'last activation' of the one behind the CIFAR stages."""
    found = STAGE.match(path)
    return 'stage %s' % found.group(1) if found else 'last activation'


def choose_layers(units, layer=None):
    """The paths whose gate maps are drawn: the layer, or the last of each stage. UserError if it is none of units."""
    if layer is None:
        return list({stage_of(path): path for path in units}.values())
    if layer not in units:
        raise UserError('no unit with a gate is called %s; there %s' % (
            layer, 'are ' + ', '.join(units) if units else 'is none in this network'))
    return [layer]


def examine(net, data, target=None):
    """The Findings for one normalised image (3, H, W); target: the class of Grad-CAM, by default the predicted one.

    The network must not be hybridised: hooks would see no arrays, and MXNet's gradients may be wrong then. Raises
    UserError if it is, if there is no such class, and if the network's scores are not finite.
    """
    if any(getattr(block, '_active', False) for block in [net, *dict(blocks_of(net)).values()]):
        raise UserError('the network is hybridised: only one that is not shows what is inside')
    units, gates, seen = gated_units(net), {}, {}
    pool = [block for _, block in blocks_of(net) if isinstance(block, nn.GlobalAvgPool2D)][-1]
    with ExitStack() as hooks:
        for path, unit in units.items():
            inner = getattr(unit, GATES[type(unit)])
            hooks.enter_context(inner.register_forward_hook(partial(_keep_output, gates, path)))
        hooks.enter_context(pool.register_forward_pre_hook(partial(_keep_input, seen)))
        with mx.autograd.record(train_mode=False):
            scores = net(mx.nd.array(data[None]))
    classes = scores.shape[1]
    if target is not None and target >= classes:
        raise UserError('there is no class %d: the network has classes 0 to %d' % (target, classes - 1))
    if not np.isfinite(scores.asnumpy()).all():
        raise UserError("the network's scores are not finite: its weights are useless")
    predicted = int(scores.asnumpy().argmax())
    target = predicted if target is None else target
    # MXNet's backward() would take the training mode unless told again.
    scores.backward(mx.nd.one_hot(mx.nd.array([target]), classes), train_mode=False)
    maps, gradient = seen['maps'].asnumpy()[0], seen['maps'].grad.asnumpy()[0]
    cam = np.maximum((gradient.mean((1, 2))[:, None, None] * maps).sum(0), 0)
    probabilities = mx.nd.softmax(scores).asnumpy()[0]
    gates = {path: (gate.sigmoid() if type(units[path]) is LocalGatherExcite else gate).asnumpy()[0]
             for path, gate in gates.items()}
    return Findings(probabilities, predicted, target, cam, gates)


def _keep_output(gates, path, inner, inputs, output):
    gates[path] = output


def _keep_input(seen, pool, inputs):
    """Make the input of the pooling a variable, so that the backward pass ends there."""
    inputs[0].attach_grad()
    seen['maps'] = inputs[0]


def histograms(gates):
    """{stage: how many of its gate values are in each of BINS equal parts of 0..1}"""
    counts = {}
    for path, gate in gates.items():
        found = np.histogram(gate, bins=BINS, range=(0, 1))[0]
        counts[stage_of(path)] = counts.get(stage_of(path), 0) + found
    return counts


def most_selective(gate):
    """The SELECTIVE channels of a gate (C, h, w) with the largest standard deviation over positions, largest first."""
    return np.argsort(-gate.std((1, 2)), kind='stable')[:SELECTIVE]


def gather(args):
    """The Pictures that the flags name: files, then images of the validation set. UserError if there is none."""
    if not args.images and not args.index:
        raise UserError('name image files, or images of the validation set with --index')
    found = [Picture(path, os.path.splitext(os.path.basename(path))[0],
                     pictures.batch_of([path], args.dataset, args.input_size, args.crop_ratio)[0], None)
             for path in args.images]
    return found + (_from_validation_set(args) if args.index else [])


def _from_validation_set(args):
    batches, found = trained.load_validation(args, 1), []
    for index in args.index:
        if index >= batches.images:
            raise UserError('--index %d: the validation set has images 0 to %d' % (index, batches.images - 1))
        data, labels = batches.load(np.array([index]), 0, 0, map)
        found.append(Picture('%s, image %d' % (args.dataset, index), '%s-%d' % (args.dataset, index), data[0],
                             int(labels[0])))
    return found


def page_paths(found, out, inputs):
    """Where the page of each Picture goes. UserError if that is an input, or the page of another picture."""
    paths = {}
    for picture in found:
        path = os.path.join(out, picture.page + '.png')
        if path in paths:
            raise UserError('the pages of %s and %s would both be %s: draw them into different folders (--out)'
                            % (paths[path], picture.name, path))
        if any(os.path.exists(new) and os.path.samefile(new, source) for new in (path, path + '.new')
               for source in inputs):
            raise UserError('the page of %s would overwrite %s: choose another folder with --out'
                            % (picture.name, path))
        figures.may_replace(path)
        paths[path] = picture.name
    return list(paths)


def draw_page(path, picture, image, findings, layers, names):
    """Write the page of a picture as PNG.   image: (H, W, 3) in 0..1"""
    with matplotlib.rc_context({'text.parse_math': False, 'font.size': 9, 'axes.titlesize': 9}):
        figure = Figure(figsize=(12, 3.4 + 2.7 * len(layers)), dpi=110, layout='constrained')
        figure.get_layout_engine().set(w_pad=0.08)
        figure.suptitle(title_of(picture, findings, names), fontsize=13)
        head, *rows = np.atleast_1d(figure.subfigures(1 + len(layers), 1, height_ratios=[3.0] + [2.7] * len(layers)))
        draw_head(head, image, findings, names)
        for row, layer in zip(rows, layers):
            draw_gates(row, image, layer, findings.gates[layer])
        figures.save(figure, path)


def title_of(picture, findings, names):
    name = os.path.basename(picture.name)
    name = name if len(name) <= 60 else '...' + name[-57:]
    title = '%s: %s (%.1f %%)' % (printable(name), pictures.class_name(findings.predicted, names),
                                  100 * findings.probabilities[findings.predicted])
    return title if picture.label is None else title + ', labelled %s' % pictures.class_name(picture.label, names)


def printable(name):
    """A file name with what is not UTF-8 replaced."""
    return os.fsencode(name).decode(errors='replace')


def draw_head(figure, image, findings, names):
    """The image, its largest probabilities, Grad-CAM and the histogram of gate values."""
    axes = figure.subplot_mosaic([['image', 'top', 'cam', 'gates', 'gates']])
    axes['image'].imshow(image)
    axes['image'].set_axis_off()
    axes['image'].set_title('what the network sees')
    draw_top(axes['top'], findings.probabilities, names)
    largest = findings.cam.max()
    layer = overlay(axes['cam'], image, findings.cam / (largest or 1), cmap='inferno', interpolation='bilinear')
    axes['cam'].set_title('Grad-CAM: %s' % pictures.class_name(findings.target, names)[:24]
                          + ('' if largest else '\n(0: nothing speaks for it)'))
    figure.colorbar(layer, ax=axes['cam'], ticks=[0, 0.5, 1], shrink=0.7, label='of its maximum')
    draw_histogram(axes['gates'], findings.gates)


def draw_top(axes, probabilities, names):
    """Bars of the TOP largest probabilities."""
    top = np.argsort(-probabilities, kind='stable')[:TOP]
    axes.barh(range(len(top)), probabilities[top], color='0.75')
    for row, number in enumerate(top):
        axes.text(0.02, row, '%s  %.1f %%' % (pictures.class_name(number, names)[:24], 100 * probabilities[number]),
                  va='center')
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
                    linewidth=1.6, label='%s (%s values)' % (stage, format(counts.sum(), ',')))
    axes.set(xlim=(0, 1), ylim=(0, 1.45 * axes.get_ylim()[1]), xlabel='gate', ylabel='values in each 1/%d (%%)' % BINS,
             title='gate values, all units of a stage')
    axes.legend(loc='upper center', ncols=2, fontsize=8)


def draw_gates(figure, image, path, gate):
    """A row of maps: the mean gate of all channels, and the channels that differ most between positions.

    A gate of one value for each channel has no maps: it is drawn over the channels.
    """
    channels, height, width = gate.shape
    title = '%s, %s: gate of %d channels, ' % (stage_of(path), path, channels)
    if height == width == 1:
        figure.suptitle(title + 'one value each for the whole image (dashed: their mean)')
        draw_channels(figure.subplots(), gate[:, 0, 0])
        return
    figure.suptitle(title + '%dx%d (mean \u00b1 standard deviation over positions)' % (height, width))
    axes = figure.subplots(1, 1 + SELECTIVE)
    chosen = most_selective(gate)
    maps = [gate.mean(0), *gate[chosen]]
    titles = ['mean'] + ['channel %d' % channel for channel in chosen]
    for place, values, name in zip(axes, maps, titles):
        layer = overlay(place, image, values, cmap='viridis', interpolation='nearest')
        place.set_title('%s, %.2f \u00b1 %.2f' % (name, values.mean(), values.std()))
    figure.colorbar(layer, ax=axes, ticks=[0, 0.5, 1], shrink=0.8, label='gate')


def draw_channels(axes, values):
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


def main(argv=None):
    """Draw the pages; returns a dict for each: 'page', 'predicted', 'probability', 'target', 'label', 'layers'."""
    args = parse_args(argv)
    net = build.build_network(args)
    units = gated_units(net)
    layers = choose_layers(units, args.layer)
    load_weights(net, args.params)
    found = gather(args)
    paths = page_paths(found, args.out, [args.params] + args.images)
    os.makedirs(args.out, exist_ok=True)
    if not units:
        print('no unit of this network has a gate: the pages show Grad-CAM alone')
    names, pages = args.class_names, []
    for picture, path in zip(found, paths):
        findings = examine(net, picture.data, args.target_class)
        image = pictures.shown(picture.data[None], args.dataset)[0]
        draw_page(path, picture, image, findings, layers, names)
        print('%s -> %s' % (title_of(picture, findings, names), printable(path)), flush=True)
        pages.append(dict(page=path, predicted=findings.predicted, target=findings.target, label=picture.label,
                          probability=float(findings.probabilities[findings.predicted]), layers=layers))
    return pages


if __name__ == '__main__':
    sys.exit(run_script(main))
