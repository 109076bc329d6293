"""What the gates of a trained network see: a page for every image, as PNG.

    python -m tools.visualize --params FILE photo.jpg
    python -m tools.visualize --params FILE --index 0 1 2 --layer features.3.0.act1

A page holds the image, the five classes with the largest probabilities, Grad-CAM of the predicted class, the gate
values of every stage as a histogram, and gate maps: of the last unit of each stage, or of the one that --layer names.
Images are files, or those of the validation set with --index. A file that cannot be read is named, and the exit code
is 2 in the end. The description of the weights says everything else. For weights without one, the flags of their
training are needed.
"""
import os
import sys
from collections import namedtuple
from functools import partial

from runtime import UserError, printable

import numpy as np

from cli import build, parsing, trained
from cli.exits import attempt, run_script
from cli.kinds import at_least
from data.pictures import batch_of, class_name, shown
from disk import is_one_of
from tools import figures
from tools.look.gates import choose_layers, examine, gated_units
from tools.look.page import draw_page
from training.weights.arrays import load_weights

LONGEST_TITLE = 60  # letters of a file name

# name: for titles. page: its file name, without the ending. data: (3, H, W) normalised. label: its class, or None.
Picture = namedtuple('Picture', 'name page data label')


def parse_args(argv=None):
    parser = parsing.parser_of('visualize', 'Draw gate maps, Grad-CAM and gate histograms of images.')
    parser.add_argument('images', nargs='*', metavar='IMAGE', help='image files')
    parser.add_argument('--index', type=at_least(0), nargs='+', default=[], help='images of the validation set, from 0')
    parser.add_argument('--layer', metavar='NAME', help='the unit whose gate maps are drawn, as in the .params file, '
                                                        'such as layer4.2.relu2 (default: the last of each stage)')
    parser.add_argument('--target-class', type=at_least(0), metavar='N',
                        help='the class that Grad-CAM explains, from 0 (default: the predicted one)')
    parser.add_argument('--out', default='visualized', help='folder of the pages; earlier pages there of images '
                                                            'of the same names are replaced')
    parser.set_defaults(num_workers=0)
    return trained.parse(parser, argv)


def gather(args):
    """(the Pictures that the flags name: files, then images of the validation set; whether all files were read).

    UserError if the flags name none.
    """
    if not args.images and not args.index:
        raise UserError('name image files, or images of the validation set with --index')
    found, all_read = attempt(partial(from_file, args), args.images)
    return found + (from_validation_set(args) if args.index else []), all_read


def from_file(args, path):
    """The Picture of a file."""
    return Picture(path, os.path.splitext(os.path.basename(path))[0],
                   batch_of([path], args.dataset, args.input_size, args.crop_ratio)[0], None)


def from_validation_set(args):
    """The Pictures of --index."""
    batches, found = trained.load_validation(args, 1), []
    for index in args.index:
        if index >= batches.images:
            raise UserError(f'--index {index}: the validation set has images 0 to {batches.images - 1}')
        data, labels = batches.load(np.array([index]), 0, 0, map)
        found.append(Picture(f'{args.dataset}, image {index}', f'{args.dataset}-{index}', data[0], int(labels[0])))
    return found


def page_paths(found, out, inputs):
    """Where the page of each Picture goes. UserError if that is an input, or the page of another picture."""
    paths = {}
    for picture in found:
        path = os.path.join(out, picture.page + '.png')
        if path in paths:
            raise UserError(f'the pages of {paths[path]} and {picture.name} would both be {path}: draw them into '
                            'different folders (--out)')
        if any(is_one_of(new, inputs) for new in (path, path + '.new')):
            raise UserError(f'the page of {picture.name} would overwrite {path}: choose another folder with --out')
        figures.check_replaceable(path)
        paths[path] = picture.name
    return list(paths)


def title_of(picture, findings, names):
    """What a page is called: the picture, its likeliest class and its label if it has one."""
    name = os.path.basename(picture.name)
    name = name if len(name) <= LONGEST_TITLE else '...' + name[3 - LONGEST_TITLE:]
    likeliest, probability = findings.predicted, findings.probabilities[findings.predicted]
    title = f'{printable(name)}: {class_name(likeliest, names)} ({100 * probability:.1f} %)'
    return title if picture.label is None else f'{title}, labelled {class_name(picture.label, names)}'


def main(argv=None):
    """Draw the pages; returns a dict for each: 'page', 'predicted', 'probability', 'target', 'label', 'layers'."""
    args = parse_args(argv)
    net = build.build_network(args)
    units = gated_units(net)
    layers = choose_layers(units, args.layer)
    load_weights(net, args.params)
    found, all_read = gather(args)
    paths = page_paths(found, args.out, [args.params] + args.images)
    if found:
        os.makedirs(args.out, exist_ok=True)
    if found and not units:
        print('no unit of this network has a gate: the pages show Grad-CAM only')
    pages = []
    for picture, path in zip(found, paths):
        findings = examine(net, picture.data, args.target_class)
        title = title_of(picture, findings, args.class_names)
        draw_page(path, title, shown(picture.data[None], args.dataset)[0], findings, layers, args.class_names)
        print(f'{title} -> {printable(path)}', flush=True)
        pages.append(dict(page=path, predicted=findings.predicted, target=findings.target, label=picture.label,
                          probability=float(findings.probabilities[findings.predicted]), layers=layers))
    if not all_read:
        sys.exit(2)
    return pages


if __name__ == '__main__':
    sys.exit(run_script(main))
