"""From flags to a network that is trained, and the images that it is scored on or calibrated with."""
import argparse
import json
import os
from contextlib import suppress

from runtime import UserError

import mxnet as mx
import numpy as np

from cli import flags
from cli.build import build_network, load_data, places_of, shape_of
from data import DATASETS
from training.scoring import check_dtype, compiled
from training.weights import load_weights

# Flags of a training that say which network its weights are of, and with which labels it was trained.
SEEN = [flag.dest for flag in flags.FLAGS if flag.option and flags.CIFAR in flag.of] + ['model', 'label_set']


def trained_network(args):
    """The network of the flags, without weights. UserError if they contradict one another, or the run that left the
    weights."""
    args.model = {name: flag for flag, name in flags.CIFAR_MODELS.items()}.get(args.model, args.model)
    net = build_network(args)
    check_run_beside(args, net)
    return net


def check_run_beside(args, net):
    """UserError if the last.json beside the weights tells of a training of another network than that of the flags, or
    with other labels. Flags that make the same network may differ."""
    path, trained, graph = os.path.join(os.path.dirname(args.params), 'last.json'), args, None
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, mx.MXNetError), open(path) as file:
        options = json.load(file)['options']
        trained = argparse.Namespace(**{**vars(args), **{name: options[name] for name in SEEN if name in options}})
        graph = _graph(build_network(trained))
    if graph is not None and (graph != _graph(net) or trained.label_set != args.label_set):
        differing = ['%s was %.40s and is %s' % (name, getattr(trained, name), getattr(args, name)) for name in SEEN
                     if getattr(trained, name) != getattr(args, name)]
        raise UserError('%s says that %s was trained with other flags: %s' % (path, args.params, '; '.join(differing)))


def _graph(net):
    """What a network computes, without the names of its layers."""
    nodes = json.loads(net(mx.sym.var('data')).tojson())['nodes']
    return [(node['op'], node.get('attrs'), node['inputs']) for node in nodes]


def load_validation(args, batch_size):
    """The validation batches."""
    return load_data(args, batch_size, training=False)[1]


def load_calibration(args):
    """(--calib-images, 3, H, W) float32: training images, evenly spread over the set, as validation sees them."""
    dataset = DATASETS[args.dataset]
    source = dataset.batches(dataset.load(True, **places_of(args)), args.calib_images, False, **shape_of(args))
    if args.calib_images > source.images:
        raise UserError('--calib-images %d: the training set has %d images' % (args.calib_images, source.images))
    rows = np.linspace(0, source.images - 1, args.calib_images).astype(int)
    return source.load(rows, 0, 0, map)[0]


def load_network(args):
    """(the network of the flags on the CPU with its weights, the same made for scoring in --dtype)."""
    check_dtype(args.dtype)
    net = trained_network(args)
    load_weights(net, args.params)
    calibration = load_calibration(args) if args.dtype == 'int8' else None
    return net, compiled(net, args.dtype, calibration, args.calib_mode)
