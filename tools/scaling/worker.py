"""One worker of a measured job: python -m tools.scaling.worker sum|step KVSTORE IMAGE_SIZE BATCH ROUNDS

prints, as JSON, the seconds of each round. `sum`: the gradients of ATAC-ResNet-50 are summed over the workers by the
Trainer of a training, and nothing is computed. `step`: a whole training step, with --kvstore local without the sum.
"""
import json
import sys
import time
from functools import partial

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx
import numpy as np

from model import get_model
from training.distributed import join
from training.learner import Learner, make_trainer
from training.loss import Objective


def main(what, kvstore, size, batch, rounds):
    workers = join(kvstore)
    net = get_model('atac_resnet50_v1b')
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize(static_alloc=True, static_shape=True)
    images = np.ones((batch, 3, size, size), 'float32')
    labels = np.zeros(batch, 'int32')
    trainer = make_trainer(net, momentum=0.9, wd=1e-4, workers=workers)
    learner = Learner(net, trainer, None, Objective(1000), [mx.cpu()], workers=workers)
    step = partial(learner.step, images, labels, batch * workers.size, 0, 0)
    act = {'sum': trainer.allreduce_grads, 'step': step}[what]
    seconds = []
    for _ in range(rounds + 1):
        workers.share(int)  # all begin together
        begin = time.perf_counter()
        act()
        mx.nd.waitall()
        seconds.append(time.perf_counter() - begin)
    workers.finish()
    return seconds[1:]


if __name__ == '__main__':
    print(json.dumps(main(*sys.argv[1:3], *map(int, sys.argv[3:]))))
