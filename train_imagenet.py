"""Train a ResNet-v1b with an activation unit on ImageNet, or on any labelled JPEGs, from RecordIO or class folders.

Reproduces the last row of the table of "Attention as Activation" (arXiv 2007.07729); the published command is

    python train_imagenet.py --mode hybrid --lr 0.075 --lr-mode cosine --num-epochs 160 --batch-size 128 --num-gpus 2 \\
        -j 48 --warmup-epochs 5 --dtype float16 --use-rec --last-gamma --no-wd --label-smoothing \\
        --save-dir params_resnet50_v1b_ChaATAC_2 --logging-file resnet50_v1b_ChaATAC_2.log --r 2 --act-layers 2

Expected: top-1 / top-5 error 21.41 / 6.03 % at the best epoch and 21.47 / 6.10 % at the last, in 63 hours on two GPUs
(the authors' log; their validation counted rolled-over images, see README). The loss is computed in Learner.step
(training/learner.py).
"""
import sys

import runtime  # noqa: F401  (before mxnet)

from cli import build, parsing
from cli.exits import run_script
from model import complexity
from training.devices import devices_by_number
from training.fit import fit


def parse_args(argv=None):
    parser = parsing.parser_of('train_imagenet', 'Train a ResNet-v1b with an activation unit on ImageNet.')
    return parsing.parse(parser, argv)


def run_of(args):
    """Names and places of the run."""
    unit = build.unit_of(args)
    layers = 2 if args.act_layers is None else args.act_layers
    base = args.model.replace('atac_', '').replace('resnet', 'ResNet')
    name = f'imagenet-{base}-{unit}-r{args.r}-al{layers}{args.act_order}-seed{args.seed}'
    return build.run_named(args, name, f'imagenet-{base}' + ('' if unit == 'relu' else f'_{unit}'))


def facts_of(args, net):
    """What the log says of the network."""
    return '%s: %d parameters, %d trainable' % (args.model, *complexity.parameters(net))


def main(argv=None):
    """One run; returns {'last': numbers, 'best': numbers}, or None after --summary."""
    args = parse_args(argv)
    net = build.build_network(args)
    if args.summary:
        return print(complexity.summary(net, (1, 3, args.input_size, args.input_size)))
    build.warn_of_unit(args)
    build.warn_of_schedule(args)
    hardware = build.hardware_of(args, devices_by_number(args.num_gpus, args.dtype))
    train, validation = build.load_data(args, args.batch_size * len(hardware.devices) * hardware.workers.size)
    run = run_of(args)._replace(description=build.describe(args, train.class_names))
    learner = build.learner_of(args, net, hardware, train, run)
    return fit(run, learner, train, validation, facts_of(args, net))


if __name__ == '__main__':
    sys.exit(run_script(main))
