"""python -m tools.peak_memory --model fa_resnet50 [--batch 8] [--input-size 224]: memory that a training step takes.

Builds the network, compiles it as the training scripts do, runs two steps on random images on the CPU, and prints the
largest resident size above that of the built network, in GB (10^9 bytes).
"""
import argparse
import resource
import sys

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx

from model import MODELS, complexity, get_model
from options import at_least, run_script
from training.loop import compile_network, make_trainer


def resident():
    """Resident size of this process now, in bytes."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def peak():
    """The largest that it has been, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def step(net, trainer, shape):
    data = mx.nd.random.normal(shape=shape)
    with mx.autograd.record():
        loss = net(data).mean()
    loss.backward()
    trainer.set_learning_rate(0.1)
    trainer.step(shape[0])
    mx.nd.waitall()


def main():
    parser = argparse.ArgumentParser(description='Memory that a training step takes.')
    parser.add_argument('--model', choices=sorted(MODELS.keys() - {'resnet_v1b'}), default='fa_resnet50')
    parser.add_argument('--batch', type=at_least(1), default=8)
    parser.add_argument('--input-size', type=at_least(1), help='default: 224, CIFAR 32')
    args = parser.parse_args()
    size = args.input_size or complexity.default_input_size(args.model)
    net = get_model(args.model, **complexity.sized(args.model, size))
    net.initialize(mx.init.MSRAPrelu())
    compile_network(net, [mx.cpu()], small_images='cifar' in args.model)
    mx.nd.waitall()
    built = resident()
    trainer = make_trainer(net, 0.9, 1e-4)
    for number in (1, 2):
        step(net, trainer, (args.batch, 3, size, size))
        print('%s, batch %d, %dx%d, step %d: %.2f GB above the built network'
              % (args.model, args.batch, size, size, number, (peak() - built) / 1e9), flush=True)


if __name__ == '__main__':
    sys.exit(run_script(main))
