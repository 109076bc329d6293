"""One worker of a job that trains a small network for an epoch: what it computes, as named arrays in a file.

    python -m tests.dist.worker FOLDER KVSTORE [DEVICES]

writes FOLDER/weights-<rank>.npz: the weights after the first step and at the end, and the numbers of the epoch.
"""
import os
import sys

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx
import numpy as np

from data.batches import ArrayBatches
from data.fashion_mnist import load_mini
from model import get_model
from training.distributed import ALONE, join
from training.learner import Learner, make_trainer
from training.loop import evaluate, train_epoch
from training.loss import Objective

# Two workers share 52 images evenly; of the last batch, of two images, most of four workers get none.
IMAGES = 210
BATCH = 52
NUMBERS = ('train_loss', 'train_error', 'top1_error', 'top5_error', 'images')


def network(devices=(mx.cpu(),), seed=0):
    """A network whose BatchNorm does not look at the batch, as every worker has only its part of it."""
    mx.random.seed(seed)
    net = get_model('cifar_resnet', blocks=1, act_type='relu', classes=10)
    net.initialize(mx.init.MSRAPrelu(), ctx=list(devices))
    blocks = []
    net.apply(blocks.append)
    for block in blocks:
        if isinstance(block, mx.gluon.nn.BatchNorm):
            block._kwargs['use_global_stats'] = True
    for parameter in net.collect_params('.*running.*').values():
        parameter.grad_req = 'null'
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def sources(rank=0, ranks=1):
    """(training, validation) batches of this worker."""
    found = []
    for train in (True, False):
        pixels, labels, _ = load_mini(train)
        rows = np.linspace(0, len(pixels) - 1, IMAGES).astype(int)
        found.append(ArrayBatches(pixels[rows], labels[rows], 10, (0.3,) * 3, (0.3,) * 3, BATCH, train))
        found[-1].divide(rank, ranks)
    return found


def weights(net):
    mx.nd.waitall()
    return np.concatenate([array.list_data()[-1].asnumpy().ravel() for array in net.collect_params().values()])


def train(workers=ALONE, devices=(mx.cpu(),)):
    """{name: array} of what this worker has come to; the weights are those on its last device."""
    net = network(devices)
    training, validation = sources(workers.rank, workers.size)
    seen = []
    trainer = make_trainer(net, 0.9, 1e-4, workers=workers)

    def lr_at(epoch, batch):
        if batch == 1:
            seen.append(weights(net))
        return 0.003

    objective = Objective(10, label_smoothing=0.1, mixup_alpha=0.4)
    learner = Learner(net, trainer, lr_at, objective, devices, workers=workers)
    numbers = train_epoch(learner, training, 0)
    last = weights(net)
    numbers.update(evaluate(net, validation, devices, workers=workers))
    return {'first': seen[0], 'last': last, 'numbers': np.array([numbers[name] for name in NUMBERS])}


if __name__ == '__main__':
    workers = join(sys.argv[2])
    devices = [mx.cpu(number) for number in range(int((sys.argv[3:] or [1])[0]))]
    np.savez(os.path.join(sys.argv[1], 'weights-%d.npz' % workers.rank), **train(workers, devices))
    workers.finish()
