"""Train a CIFAR ResNet with an activation unit on CIFAR-10, CIFAR-100 or Fashion-MNIST.

Reproduces the points of Fig. 7 of "Attention as Activation" (arXiv 2007.07729); the published command is

    python train_cifar.py --gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 --lr 0.2 \\
        --lr-decay 0.1 --lr-decay-epoch 300,350 --dataset cifar100 --model atac --act-type ChaATAC --useReLU --r 2 \\
        --blocks 3

Expected there: 81.2 % (best epoch, 20 coarse labels; read off the figure). Without flags it trains on the small data
set in this repository.
"""
import argparse
import logging
import sys

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx

from data import DATASETS, SMALL_DATASETS, load_dataset
from data.cifar import LABEL_SETS
from model import ACTIVATIONS, MODELS, complexity
from options import (
    CIFAR_MODELS,
    add_cifar_network_options,
    add_network_options,
    add_objective_options,
    add_run_options,
    add_schedule_options,
    cifar_network,
    named_run,
    objective_of,
    parsed,
    run_script,
    schedule_of,
)
from training.devices import check_batch, devices_by_id
from training.distributed import join
from training.fit import INITIALISATION, fit, seed_mxnet
from training.loop import Learner, compile_network, make_trainer
from training.precision import BYTES, use_dtype

INPUT_SHAPE = (1, 3, 32, 32)
LABELS = {
    'coarse': 'labels: the 20 coarse ones under a head of 100, as in the published figure (honest CIFAR-100: fine)',
    'fine': 'labels: the 100 fine ones, which the published figure does not show'}
# The unit of a network without --act-type.
UNITS = {flag: MODELS[name].unit for flag, name in CIFAR_MODELS.items()}


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Train a CIFAR ResNet with an activation unit.')
    data = parser.add_argument_group('data')
    data.add_argument('--dataset', choices=SMALL_DATASETS, default='fashion-mnist-mini', help='the data set')
    data.add_argument('--data-dir', help='where its files are (default: the places in docs/data.md)')
    data.add_argument('--label-set', choices=LABEL_SETS, default='coarse',
                      help='of cifar100: the 20 labels of the published figure, or the 100 fine ones')
    network = add_network_options(parser)
    network.add_argument('--model', choices=list(CIFAR_MODELS), default='atac', help='the network')
    add_cifar_network_options(network)
    add_schedule_options(parser, num_epochs=400, lr=0.2, lr_mode='step', lr_decay_epoch=[300, 350],
                         batch_help='images a step, divided among all workers and their devices')
    add_objective_options(parser)
    add_run_options(parser)
    parser.add_argument('--gpus', default='', help="GPUs such as 0,1 (default '': the CPU)")
    parser.set_defaults(act_layers=4)
    return parsed(parser, argv)


def run_of(args):
    """Names and places of the run."""
    unit = args.act_type or UNITS[args.model]
    labels = '-' + args.label_set if args.dataset == 'cifar100' else ''
    name = '%s%s-%s-%s-r%d-al%d%s-b%d-seed%d' % (args.dataset, labels, args.model, unit, args.r,
                                                 args.act_layers, args.act_order, args.blocks, args.seed)
    title = '%s-%sResNet%d_%s' % (args.dataset, '' if args.model == 'atac' else args.model.upper(),
                                 6 * args.blocks + 2, unit)
    return named_run(args, name, title)


def main(argv=None):
    """One run; returns {'last': numbers, 'best': numbers}, or None after --summary."""
    args = parse_args(argv)
    if args.summary:
        return print(complexity.summary(cifar_network(args, DATASETS[args.dataset].classes), INPUT_SHAPE))
    unit = args.act_type or UNITS[args.model]
    if not args.useReLU and 'use_relu' in ACTIVATIONS[unit].options:
        logging.warning('without --useReLU there is no ReLU inside of %s, as in the ablation ChaATAC-linear', unit)
    devices = devices_by_id(args.gpus, args.dtype)
    net = cifar_network(args, DATASETS[args.dataset].classes)
    workers = join(args.kvstore, args.stall_timeout)
    devices = workers.own(devices)
    dtype = use_dtype(args.dtype, devices)
    kept = complexity.kept(net, INPUT_SHAPE)
    check_batch(args.batch_size // workers.size, BYTES[args.dtype] * kept, devices)
    train, test = load_dataset(args.dataset, args.batch_size, args.seed, args.num_workers, data_dir=args.data_dir,
                               **({'label_set': args.label_set} if args.dataset == 'cifar100' else {}))
    objective = objective_of(args, train.classes, devices, dtype)
    lr_at = schedule_of(args, train.images, args.batch_size)
    seed_mxnet(args.seed, INITIALISATION)
    net.initialize(mx.init.MSRAPrelu(), ctx=devices)
    net.cast(dtype)
    if args.mode == 'hybrid':
        compile_network(net, devices, small_images=True)
    facts = '%s, %d blocks a stage, %s: %d parameters, %d trainable' % (
        (args.model, args.blocks, unit) + complexity.parameters(net))
    if args.dataset == 'cifar100':
        facts += '; ' + LABELS[args.label_set]
    trainer = make_trainer(net, args.momentum, args.wd, args.no_wd, workers, args.loss_scale)
    return fit(run_of(args), Learner(net, trainer, lr_at, objective, devices, dtype, workers), train, test, facts)


if __name__ == '__main__':
    sys.exit(run_script(main))
