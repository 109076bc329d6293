"""A network that is trained, from its file of weights: what it is, its images, and the network itself.

Flags are checked against the description of the weights, and what is not given is taken from it. A file without one
needs the flags of its training. A checkpoint of an earlier version has none: its last.json holds these flags.
"""
import argparse
import os

from runtime import UserError, changes, free_memory, printable

import numpy as np

from cli import flags, parsing
from cli.build import (
    build_network,
    dataset_of,
    describe,
    describe_images,
    image_places_of,
    load_data,
    network_of,
    registered,
    shape_of,
)
from data import DATASETS
from data.labels import readable
from disk import file_digest
from model import get_model
from training.scoring import compile_for_scoring
from training.weights.arrays import load_weights
from training.weights.checksums import read_sealed
from training.weights.description import description_from_json, description_path, read_description
from training.weights.network import graph_of, network_from_description
from training.weights.params_file import is_params

SEEN = ('class_names', 'input_size', 'crop_ratio', 'mean', 'std')  # fields of a description, of what the network sees
FLAG_MODELS = {name: flag for flag, name in flags.CIFAR_MODELS.items()}


def parse(parser, argv):
    """The flags of a script that takes a trained network; .description: of the weights, or None.

    What was not given is that of the description. Raises UserError for a flag that contradicts it, and for one that is
    lacking where there is none.
    """
    args = resolve_args(parsing.read(parser, argv))
    parsing.check_needs(parser, args)
    return args


def args_from_options(params, **given):
    """The same from Python: given by the names of flags or of get_model's options; None is not given.

    As in get_model, units have their inner ReLU unless use_relu=False says otherwise.
    """
    dests = {flag.option: flag.dest for flag in flags.FLAGS if flag.option}
    given = {dests.get(name, name): value for name, value in given.items() if value is not None}
    unknown = given.keys() - flags.defaults('classify').keys()
    if unknown:
        raise TypeError('unknown options: ' + ', '.join(sorted(unknown)))
    values = {**flags.defaults('classify'), 'useReLU': True, **given, 'params': params}
    args = resolve_args(argparse.Namespace(**values, given=set(given)))
    record = dataset_of(args)
    fixed = {'num_classes': record.classes, 'input_size': record.input_size} if record.small else {}
    for name in fixed.keys() & given.keys():
        if given[name] != fixed[name]:
            raise UserError(f'{name} of {args.dataset} is {fixed[name]} and not {given[name]}')
    return args


def resolve_args(args):
    """Flags that are checked against the description of their weights, and completed by it."""
    if args.model is not None:
        registered(args)  # says which there are
        args.model = FLAG_MODELS.get(args.model, args.model)
    args.description = find_description(args.params)
    if args.description:
        fill_defaults_from(args, args.description)
        check_data(args, args.description)
        check_network(args, args.description)
    else:
        check_enough(args)
    args.class_names = readable(args.description.class_names if args.description else class_names_of(args))
    return args


def find_description(params):
    """The Description of a file of weights, or None. Raises OSError without the file, UserError for a damaged one."""
    digest = file_digest(params)
    return read_description(params, digest) or description_of_run(params, digest)


def description_of_run(params, digest):
    """What the last.json of an earlier version, beside a .params file, says of it; None if it is of other weights."""
    path = os.path.join(os.path.dirname(params), 'last.json')
    try:
        facts = read_sealed(path) or {}
        best = facts['best'] or {}
        options = dict(facts['options'])
        saved = facts['arrays']['params']['sha256']
        if 'weights' in facts or digest not in (saved, best.get('sha256')):
            return None
        args = args_of_run(options)
        names = class_names_of(args) if dataset_of(args).small else ()  # of somebody's own images nothing is known
        found = description_from_args(args, names, digest, facts['last'] if digest == saved else best)
        return description_from_json(found.content(), path)  # whether its values are of the right kinds
    except (AttributeError, LookupError, TypeError, ValueError):
        return None  # it is damaged, or not of a run


def args_of_run(options):
    """The flags of a run of our scripts, by the options that its log or checkpoint has."""
    script = flags.CIFAR if 'dataset' in options else flags.IMAGENET
    return argparse.Namespace(**{**flags.defaults(script), **options, 'command': ''})


def description_from_args(args, names, digest, numbers=None):
    """The Description of weights that have none, with these flags. By which program they were made is not known."""
    return describe(args, names)._replace(command='', version='', commit='').of(digest, numbers)


def class_names_of(args):
    """The names of the classes of a data set whose flags these are; () if they are not known."""
    record = dataset_of(args)
    return record.class_names(args.label_set if record.label_sets else None,
                              None if record.small else args.num_classes)


def check_enough(args):
    """UserError if flags are lacking that only a description could replace."""
    if args.model is None:
        raise undescribed(args, '--model (in Python: model=), and the other flags of its training, which network it is')
    if args.dataset is None and (args.model in flags.CIFAR_MODELS or not args.given & {'use_rec', 'data_dir'}):
        raise undescribed(args, '--dataset (in Python: dataset=) what it was trained on')
    args.dataset = args.dataset or 'imagenet'


def undescribed(args, needed):
    """The UserError for weights that need flags, as they have no description of their own."""
    if not is_params(args.params):
        return UserError(f'{args.params} is not a .params file')
    beside = description_path(args.params)
    which = 'holds none' if os.path.exists(beside) else 'is not there'
    return UserError(f'{args.params} has no description ({os.path.basename(beside)} {which}): say by {needed}')


def fill_defaults_from(args, description):
    """Let the flags that were not given say what the description says."""
    for name, value in flags_from_description(description).items():
        if name not in args.given and hasattr(args, name) and value is not None:
            setattr(args, name, value)


def flags_from_description(description):
    """{flag: what a description says of it, or None}."""
    said = {flag.dest: description.options.get(flag.option) for flag in flags.FLAGS if flag.option}
    said.update(model=FLAG_MODELS.get(description.network, description.network), dataset=description.dataset,
                label_set=description.label_set, input_size=description.input_size, crop_ratio=description.crop_ratio)
    return said


def check_network(args, description):
    """UserError if the network of the flags is another one than that of the description, or if that one cannot be
    built. Other flags that make the same network may be given."""
    trained = graph_of(network_from_description(args.params, description, get_model))
    if not makes(args, trained):
        held = in_words(description.network, description.options)
        check_given(args, description, ('network', 'unit'), f'holds {held}')
        raise UserError(f'{description_path(args.params)} describes {held}: the scripts can only make '
                        f'{in_words(*network_of(args))} of it')


def makes(args, graph):
    """Whether the flags make the network with this graph."""
    try:
        return graph_of(build_network(args)) == graph
    except UserError:
        return False


def in_words(name, options):
    """A network for a message: name (option value, ...)."""
    return printable(f'{name} ({", ".join(f"{option} {value}" for option, value in options.items())})')


def check_given(args, description, groups, truth):
    """UserError if flags of these groups were given that a description contradicts; it says what is true."""
    said = flags_from_description(description)
    given = [flag for flag in flags.FLAGS if flag.group in groups and flag.dest in args.given & said.keys()
             and getattr(args, flag.dest) != said[flag.dest]]
    words = [flag.names[-1] + ('' if value is True else f' {value}')
             for flag, value in ((flag, getattr(args, flag.dest)) for flag in given)]
    if words:
        raise UserError(f'{args.params} {truth}: {" ".join(words)} contradicts it')


def check_data(args, description):
    """UserError if images of the flags are not brought to what the network was trained on, or have other classes."""
    if description.dataset not in DATASETS:
        raise UserError(f'{description_path(args.params)} names the unknown data set '
                        f'{printable(description.dataset)}')
    asked = dataset_of(args)
    here = describe_images(args, class_names_of(args) if asked.small else description.class_names)
    differing = [name for name in SEEN if here[name] != getattr(description, name)]
    if differing or asked.view != DATASETS[description.dataset].view:
        what = [description.dataset, description.label_set and f'{description.label_set} labels',
                f'images of {description.input_size}',
                description.crop_ratio and f'crop ratio {description.crop_ratio}']
        check_given(args, description, ('data',), f'was trained on {printable(", ".join(filter(None, what)))}')
        says = [f'class_names, of which {changes(description.class_names, here[name])}' if name == 'class_names' else
                f'{name} {getattr(description, name)} and not {here[name]}' for name in differing]
        raise UserError(f'{description_path(args.params)} says of {args.dataset} what is not so here: '
                        + ', '.join(says))


def load_validation(args, batch_size):
    """The validation batches, with the labels of the network's classes by name."""
    names = args.description.class_names if args.description else ()
    return load_data(args, batch_size, training=False, class_names=names)[1]


def load_calibration(args):
    """(--calib-images, 3, H, W) float32: training images, evenly spread over the set, as validation sees them."""
    dataset = DATASETS[args.dataset]
    source = dataset.batches(dataset.load(True, **image_places_of(args)), args.calib_images, False, **shape_of(args))
    if args.calib_images > source.images:
        raise UserError('--calib-images %d: the training set has %d images' % (args.calib_images, source.images))
    needed, free = 2 * 4 * args.calib_images * 3 * source.size ** 2, free_memory()  # MXNet copies them
    if needed > free:
        raise UserError('--calib-images %d need %.1f GB of memory and %.1f GB are free: %d would fit'
                        % (args.calib_images, needed / 1e9, free / 1e9, free * args.calib_images // needed))
    rows = np.linspace(0, source.images - 1, args.calib_images).astype(int)
    return source.load(rows, 0, 0, map)[0]


def load_network(args):
    """(the network of the flags on the CPU with its weights, the same made for scoring in --dtype)."""
    net = build_network(args)
    load_weights(net, args.params)
    calibration = load_calibration(args) if args.dtype == 'int8' else None
    return net, compile_for_scoring(net, args.dtype, calibration, args.calib_mode)
