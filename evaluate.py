"""Score a .params file, ours or the authors': top-1 and top-5 error over every image of a validation set, once.

    python evaluate.py --model atac_resnet50_v1b --params FILE --use-rec --rec-val val.rec
    python evaluate.py --model atac --act-type ChaATAC --useReLU --blocks 1 --dataset fashion-mnist --params FILE

    python evaluate.py --model atac --blocks 1 --dataset fashion-mnist --params FILE --dtype int8 --calib-images 512

On a CPU, float32 is folded (inference.py), and int8 is calibrated on images of the training set; it prints the errors
of float32 beside its own.

The authors' released file must come out at a top-1 error in [21.376, 21.536] % and a top-5 error in [6.018, 6.178] % on
the 50,000 images of ImageNet: what their log leaves open, as it scored 49,920 of them.
"""
import argparse
import json
import os
import sys
from contextlib import suppress

from runtime import UserError

import mxnet as mx
import numpy as np

import inference
from data import DATASETS, load_dataset
from data.cifar import LABEL_SETS
from options import (
    CIFAR_MODELS,
    IMAGENET_MODELS,
    add_cifar_network_options,
    add_imagenet_data_options,
    add_imagenet_network_options,
    add_network_options,
    at_least,
    cifar_network,
    imagenet_network,
    parsed,
    run_script,
)
from training.checkpoint import load_weights
from training.devices import devices_by_number
from training.loop import evaluate

# A CIFAR network goes by its name in train_cifar.py and by that of get_model.
CIFAR_NAMES = {name: model for model, name in CIFAR_MODELS.items()}
ERRORS = ('top1_error', 'top5_error')
# Flags of a training whose contradiction the names and shapes of its weights do not always show.
UNSEEN = ('model', 'act_type', 'act_layers', 'act_order', 'replace_act', 'act_dilation', 'useReLU', 'use_global',
          'label_set')
NAMES = [*CIFAR_MODELS, *CIFAR_NAMES, *IMAGENET_MODELS]


def add_options(parser):
    """Which network, which weights, which images: for every script that takes a trained network."""
    data = add_imagenet_data_options(parser)
    data.add_argument('--dataset', choices=list(DATASETS), default='imagenet',
                      help='imagenet stands for any RecordIO file or class folders')
    data.add_argument('--label-set', choices=LABEL_SETS, default='coarse', help='of cifar100')
    network = add_network_options(parser)
    network.add_argument('--model', choices=NAMES, required=True, metavar='MODEL',
                         help='the network: %s' % ', '.join(NAMES))
    network.add_argument('--params', required=True, metavar='FILE', help='its weights')
    add_cifar_network_options(network)
    add_imagenet_network_options(network)


def add_dtype_options(parser):
    """What to compute in: for scripts that take one trained network and use it."""
    group = parser.add_argument_group('numbers')
    group.add_argument('--dtype', choices=[*inference.DTYPES, 'float16'], default='float32',
                       help='float16 needs a GPU, the others are for the CPU, float32 for both')
    group.add_argument('--calib-images', type=at_least(1), default=512, metavar='N',
                       help='for int8: training images to calibrate with')
    group.add_argument('--calib-mode', choices=inference.CALIBRATION_MODES, default='naive', help='for int8')
    group.add_argument('--rec-train', default='~/.mxnet/datasets/imagenet/rec/train.rec',
                       help='training images for --use-rec, to calibrate with')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Score a .params file on a validation set.')
    add_options(parser)
    add_dtype_options(parser)
    parser.add_argument('--batch-size', type=at_least(1), default=128, help='images a step on each device')
    parser.add_argument('-j', '--num-workers', type=at_least(0), default=4,
                        help='threads that prepare batches ahead (0: none)')
    parser.add_argument('--num-gpus', type=at_least(0), default=0, help='number of GPUs (0: the CPU)')
    parser.add_argument('--json', action='store_true', help='print one JSON object and nothing else')
    return parsed(parser, argv)


def build_network(args):
    """The network of the flags of add_options, without weights. UserError if they contradict one another, or the run
    that left the weights."""
    args.model = CIFAR_NAMES.get(args.model, args.model)
    net = _network(args)
    refuse_another_run(args, net)
    return net


def _network(args):
    if args.model in IMAGENET_MODELS:
        return imagenet_network(args)
    return cifar_network(args, DATASETS[args.dataset].classes if DATASETS[args.dataset].small else args.num_classes)


def refuse_another_run(args, net):
    """UserError if the last.json beside the weights tells of a training of another network than that of the flags, or
    with other labels. Flags that make the same network may differ."""
    path, trained, graph = os.path.join(os.path.dirname(args.params), 'last.json'), args, None
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, mx.MXNetError), open(path) as file:
        options = json.load(file)['options']
        trained = argparse.Namespace(**{**vars(args), **{name: options[name] for name in UNSEEN if name in options}})
        graph = _graph(_network(trained))
    if graph is not None and (graph != _graph(net) or trained.label_set != args.label_set):
        differing = ['%s was %.40s and is %s' % (name, getattr(trained, name), getattr(args, name)) for name in UNSEEN
                     if getattr(trained, name) != getattr(args, name)]
        raise UserError('%s says that %s was trained with other flags: %s' % (path, args.params, '; '.join(differing)))


def _graph(net):
    """What a network computes, without the names of its layers."""
    nodes = json.loads(net(mx.sym.var('data')).tojson())['nodes']
    return [(node['op'], node.get('attrs'), node['inputs']) for node in nodes]


def class_names(args):
    """Of the outputs of the network of the flags; () if they are not known."""
    dataset = DATASETS[args.dataset]
    return dataset.class_names(args.label_set if dataset.label_sets else None, args.num_classes)


def load_data(args, batch_size):
    """The validation batches."""
    return load_dataset(args.dataset, batch_size, workers=args.num_workers, training=False, shape=_shape(args),
                        **_places(args))[1]


def load_calibration(args):
    """(--calib-images, 3, H, W) float32: training images, evenly spread over the set, as validation sees them."""
    dataset = DATASETS[args.dataset]
    places = dict(_places(args), rec_train=args.rec_train) if args.use_rec else _places(args)
    source = dataset.batches(dataset.load(True, **places), args.calib_images, False, **_shape(args))
    if args.calib_images > source.images:
        raise UserError('--calib-images %d: the training set has %d images' % (args.calib_images, source.images))
    rows = np.linspace(0, source.images - 1, args.calib_images).astype(int)
    return source.load(rows, 0, 0, map)[0]


def _places(args):
    """Where the images are, as `load` of their data set takes it."""
    places = dict(data_dir=args.data_dir)
    if DATASETS[args.dataset].label_sets:
        places.update(label_set=args.label_set)
    if args.use_rec:
        places.update(use_rec=True, rec_val=args.rec_val, rec_val_idx=args.rec_val_idx)
    return places


def _shape(args):
    return dict(classes=args.num_classes, size=args.input_size, crop_ratio=args.crop_ratio)


def load_network(args):
    """(the network of the flags on the CPU with its weights, the same made for scoring in --dtype)."""
    inference.check_dtype(args.dtype)
    net = build_network(args)
    load_weights(net, args.params)
    calibration = load_calibration(args) if args.dtype == 'int8' else None
    return net, inference.compiled(net, args.dtype, calibration, args.calib_mode)


def score_on_cpu(args):
    """What training.loop.evaluate returns; of int8 also the errors that the network has in float32."""
    net, ready = load_network(args)
    source = load_data(args, args.batch_size)
    data, _ = source.load(source.order(0)[:1], 0, 0, map)
    inference.check_batch(ready, (min(args.batch_size, source.images), *data.shape[1:]))
    scores = evaluate(ready, source, [mx.cpu()])
    if args.dtype == 'int8':
        before = evaluate(inference.compiled(net), source, [mx.cpu()])
        scores.update(('float32_' + name, before[name]) for name in ERRORS)
    return scores


def score_on_gpus(args):
    devices = devices_by_number(args.num_gpus, args.dtype)
    net = build_network(args)
    net.cast(args.dtype)
    load_weights(net, args.params, devices)
    net.hybridize(static_alloc=True, static_shape=True)
    return evaluate(net, load_data(args, args.batch_size * len(devices)), devices, args.dtype)


def main(argv=None):
    """Score and print; returns {'top1_error', 'top5_error' (in percent), 'images', 'images_per_second'}.

    Of int8 also 'float32_top1_error' and 'float32_top5_error'.
    """
    args = parse_args(argv)
    if args.num_gpus and args.dtype in ('bfloat16', 'int8'):
        raise UserError('--dtype %s is for CPUs: GPUs have float32 and float16' % args.dtype)
    on_gpus = args.num_gpus or args.dtype == 'float16'
    scores = score_on_gpus(args) if on_gpus else score_on_cpu(args)
    scores.update((name, round(100 * scores[name], 10)) for name in scores if name.endswith('_error'))
    print(json.dumps(scores) if args.json else report(scores))
    return scores


def report(scores):
    text = 'top-1 error %(top1_error).3f %%, top-5 error %(top5_error).3f %%, %(images)d images, ' \
           '%(images_per_second).1f images/s' % scores
    before = 'float32: top-1 error %(float32_top1_error).3f %%, top-5 error %(float32_top5_error).3f %%\nint8: '
    return (before % scores if 'float32_top1_error' in scores else '') + text


if __name__ == '__main__':
    sys.exit(run_script(main))
