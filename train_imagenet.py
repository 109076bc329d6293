"""Train a ResNet-v1b with an activation unit on ImageNet, or on any labelled JPEGs, from RecordIO or class folders.

Reproduces the last row of the table of "Attention as Activation" (arXiv 2007.07729); the published command is

    python train_imagenet.py --mode hybrid --lr 0.075 --lr-mode cosine --num-epochs 160 --batch-size 128 --num-gpus 2 \\
        -j 48 --warmup-epochs 5 --dtype float16 --use-rec --last-gamma --no-wd --label-smoothing \\
        --save-dir params_resnet50_v1b_ChaATAC_2 --logging-file resnet50_v1b_ChaATAC_2.log --r 2 --act-layers 2

Expected: top-1 / top-5 error 21.41 / 6.03 % at the best epoch and 21.47 / 6.10 % at the last, in 63 hours on two GPUs
(the authors' log; their validation counted rolled-over images, see README).
"""
import argparse
import sys

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx

from data import load_dataset
from model import MODELS, complexity
from options import (
    IMAGENET_MODELS,
    add_imagenet_data_options,
    add_imagenet_network_options,
    add_network_options,
    add_objective_options,
    add_run_options,
    add_schedule_options,
    at_least,
    imagenet_network,
    named_run,
    objective_of,
    parsed,
    run_script,
    schedule_of,
)
from training.devices import check_batch, devices_by_number
from training.distributed import join
from training.fit import INITIALISATION, fit, seed_mxnet
from training.loop import Learner, compile_network, make_trainer
from training.precision import BYTES, use_dtype


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Train a ResNet-v1b with an activation unit on ImageNet.')
    data = add_imagenet_data_options(parser)
    data.add_argument('--rec-train', default='~/.mxnet/datasets/imagenet/rec/train.rec', help='training images')
    data.add_argument('--rec-train-idx', help='their index (default: the .idx beside them)')
    network = add_network_options(parser)
    network.add_argument('--model', choices=IMAGENET_MODELS, default='atac_resnet50_v1b', metavar='MODEL',
                         help='the network: %s' % ', '.join(IMAGENET_MODELS))
    add_imagenet_network_options(network)
    add_schedule_options(parser, num_epochs=160, lr=0.075, lr_mode='cosine', lr_decay_epoch=[40, 60],
                         batch_help='images a step on each device')
    add_objective_options(parser)
    add_run_options(parser)
    parser.add_argument('--num-gpus', type=at_least(0), default=0, help='number of GPUs (0: the CPU)')
    return parsed(parser, argv)


def load_data(args, batch_size):
    """(training, validation) batches."""
    return load_dataset('imagenet', batch_size, args.seed, args.num_workers, shape=dict(
        classes=args.num_classes, size=args.input_size, crop_ratio=args.crop_ratio),
        data_dir=args.data_dir, use_rec=args.use_rec, rec_train=args.rec_train, rec_train_idx=args.rec_train_idx,
        rec_val=args.rec_val, rec_val_idx=args.rec_val_idx)


def run_of(args):
    """Names and places of the run."""
    unit = args.act_type or MODELS[args.model].unit
    layers = 2 if args.act_layers is None else args.act_layers
    base = args.model.replace('atac_', '').replace('resnet', 'ResNet')
    name = 'imagenet-%s-%s-r%d-al%d%s-seed%d' % (base, unit, args.r, layers, args.act_order, args.seed)
    return named_run(args, name, 'imagenet-%s%s' % (base, '' if unit == 'relu' else '_' + unit))


def main(argv=None):
    """One run; returns {'last': numbers, 'best': numbers}, or None after --summary."""
    args = parse_args(argv)
    if args.summary:
        return print(complexity.summary(imagenet_network(args), (1, 3, args.input_size, args.input_size)))
    devices = devices_by_number(args.num_gpus, args.dtype)
    net = imagenet_network(args)
    workers = join(args.kvstore, args.stall_timeout)
    devices = workers.own(devices)
    dtype = use_dtype(args.dtype, devices)
    kept = complexity.kept(net, (1, 3, args.input_size, args.input_size))
    check_batch(args.batch_size * len(devices), BYTES[args.dtype] * kept, devices)
    batch_size = args.batch_size * len(devices) * workers.size
    train, validation = load_data(args, batch_size)
    objective = objective_of(args, args.num_classes, devices, dtype)
    lr_at = schedule_of(args, train.images, batch_size)
    seed_mxnet(args.seed, INITIALISATION)
    net.initialize(mx.init.MSRAPrelu(), ctx=devices)
    net.cast(dtype)
    if args.mode == 'hybrid':
        compile_network(net, devices, small_images=False)
    trainer = make_trainer(net, args.momentum, args.wd, args.no_wd, workers, args.loss_scale)
    facts = '%s: %d parameters, %d trainable' % ((args.model,) + complexity.parameters(net))
    return fit(run_of(args), Learner(net, trainer, lr_at, objective, devices, dtype, workers), train, validation, facts)


if __name__ == '__main__':
    sys.exit(run_script(main))
