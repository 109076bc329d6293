"""Train a CIFAR ResNet with an activation unit on CIFAR-10, CIFAR-100 or Fashion-MNIST.

Reproduces the points of Fig. 7 of "Attention as Activation" (arXiv 2007.07729); the published command is

    python train_cifar.py --gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 --lr 0.2 \\
        --lr-decay 0.1 --lr-decay-epoch 300,350 --dataset cifar100 --model atac --act-type ChaATAC --useReLU --r 2 \\
        --blocks 3

Expected there: 81.2 % (best epoch, 20 coarse labels; read off the figure). Without flags it trains on the small data
set in this repository. The loss is computed in Learner.step (training/learner.py).
"""
import sys

import runtime  # noqa: F401  (before mxnet)

from cli import build, parsing
from cli.exits import run_script
from data import DATASETS
from model import complexity
from training.devices import devices_by_id
from training.fit import fit

INPUT_SHAPE = (1, 3, 32, 32)
LABELS = {
    'coarse': 'labels: the 20 coarse ones under a head of 100, as in the published figure (the usual ones are fine)',
    'fine': 'labels: the 100 fine ones, which the published figure does not show'}


def parse_args(argv=None):
    return parsing.parse(parsing.parser_of('train_cifar', 'Train a CIFAR ResNet with an activation unit.'), argv)


def run_of(args):
    """Names and places of the run."""
    unit = build.unit_of(args)
    labels = f'-{args.label_set}' if DATASETS[args.dataset].label_sets else ''
    name = (f'{args.dataset}{labels}-{args.model}-{unit}-r{args.r}-al{args.act_layers}{args.act_order}'
            f'-b{args.blocks}-seed{args.seed}')
    host = '' if args.model == 'atac' else args.model.upper()
    return build.run_named(args, name, f'{args.dataset}-{host}ResNet{6 * args.blocks + 2}_{unit}')


def facts_of(args, net):
    """What the log says of the network."""
    facts = '%s, blocks a stage: %d, %s: %d parameters, %d trainable' % (
        args.model, args.blocks, build.unit_of(args), *complexity.parameters(net))
    return facts + ('; ' + LABELS[args.label_set] if DATASETS[args.dataset].label_sets else '')


def main(argv=None):
    """One run; returns {'last': numbers, 'best': numbers}, or None after --summary."""
    args = parse_args(argv)
    net = build.build_network(args)
    if args.summary:
        return print(complexity.summary(net, INPUT_SHAPE))
    build.warn_of_unit(args)
    build.warn_of_schedule(args)
    hardware = build.hardware_of(args, devices_by_id(args.gpus, args.dtype))
    train, test = build.load_data(args, args.batch_size)
    run = run_of(args)._replace(description=build.describe(args, train.class_names))
    learner = build.learner_of(args, net, hardware, train, run)
    return fit(run, learner, train, test, facts_of(args, net))


if __name__ == '__main__':
    sys.exit(run_script(main))
