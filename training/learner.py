"""What learns, and a step of it: shards of the batch, forward, backward, update, measures."""
from collections import defaultdict

import mxnet as mx
import numpy as np

from training.devices import split, zero_idle_gradients
from training.distributed import ALONE
from training.loss import loss_function, mix, mixing_weight, targets, teach
from training.loss_scale import LossScale

ARRAYS_PER_CHECK = 200  # MXNet passes no more than a few hundred arrays to an operator


class Learner:
    """A network, and how it learns.

    trainer: of make_trainer, with the same workers. lr_at(epoch, batch): the learning rate. objective: of
    training.loss. devices: of this worker. dtype: of the network's input. workers: this process and those that train
    with it.
    """

    def __init__(self, net, trainer, lr_at, objective, devices, dtype='float32', workers=ALONE):
        self.net = net
        self.trainer = trainer
        self.lr_at = lr_at
        self.objective = objective
        self.loss = loss_function(objective)
        self.devices = devices
        self.dtype = dtype
        self.workers = workers

    def step(self, data, labels, images, epoch, batch):
        """One step on this worker's rows of a batch of so many images in all; queued, not awaited.

        data: (n, 3, H, W) float32 NumPy. labels: (n,). n may be 0.
        Returns (4,) float32 of each device: summed loss, wrong guesses, 1 if the gradient is not finite, rows.
        """
        weight = mixing_weight(self.objective, epoch, batch)
        losses, wrong, rows = [], [], []

        # Shards and forward, on each device: images (m, 3, H, W) -> logits (m, classes) -> loss (m,).
        for image, target, label, partner in self.shards(data, labels, weight):
            softened = teach(self.objective, image)
            with mx.autograd.record():
                logits = self.net(image).astype('float32')
                loss = self.loss(logits, target, *softened)
            losses.append(loss)
            wrong.append(wrong_guesses(logits, label, partner, weight))
            rows.append(len(label))
        sums = [loss.sum() for loss in losses]

        # Backward: a gradient is the sum over the rows of its device, times the loss scale.
        scale = self.trainer.loss_scale.value
        if losses:
            mx.autograd.backward(losses, None if scale == 1 else [mx.nd.full(loss.shape, scale, ctx=loss.context)
                                                                  for loss in losses])
        zero_idle_gradients(self.trainer, self.devices[len(losses):])

        # Update: by the sum over devices and workers, divided by the images of the batch.
        finite = update(self.trainer, images, self.devices, f' in epoch {epoch}, batch {batch}')

        measures = zip(sums, wrong, finite, rows)
        return [mx.nd.concat(loss, errors, 1 - verdict, mx.nd.full(1, count, ctx=verdict.context), dim=0)
                for loss, errors, verdict, count in measures] or [mx.nd.zeros(4)]

    def shards(self, data, labels, weight):
        """(images, targets of the loss, labels, labels of the partners in mixup) for each device that gets a row."""
        if not len(labels):
            return
        data = mx.nd.array(data)
        target = targets(mx.nd.array(labels, dtype='int32'), self.objective, weight)
        parts = [split(array, self.devices) for array in (mix(data, weight), target, labels, labels[::-1])]
        for image, *rest in zip(*parts):
            yield (image.astype(self.dtype, copy=False), *rest)


def wrong_guesses(logits, label, partner, weight):
    """How many rows of logits (m, classes) are not largest at their label; of mixed images a weighted count."""
    guess = logits.argmax(axis=1).astype('int32')
    wrong = (guess != label).sum().astype('float32')
    if weight != 1:  # of floats: an array of integers would make an integer, 0, of the weight
        wrong = weight * wrong + (1 - weight) * (guess != partner).sum().astype('float32')
    return wrong


def update(trainer, images, devices, place):
    """Update the weights by the gradient of so many images. Returns for each device 1 if its gradient is finite, or 0.

    With a dynamic loss scale this waits for the gradient of all workers, and leaves the step out if it is not finite.
    place: where in the run, for messages.
    """
    scale = trainer.loss_scale
    if not scale.dynamic:
        verdicts = [all_finite(trainer, device) for device in devices]
        trainer.step(images * scale.value)
        return verdicts
    trainer.allreduce_grads()
    verdicts = [all_finite(trainer, device) for device in devices]
    finite = all(verdict.asscalar() for verdict in verdicts)
    if finite:
        trainer.update(images * scale.value)
    scale.after(finite, place)
    return verdicts


def all_finite(trainer, device):
    """1 if every gradient on a device is finite, else 0; queued.

    The loss does not tell: the ReLU of oneDNN makes 0 of NaN, and a ruined network continues with a finite loss.
    """
    gradients, verdicts = defaultdict(list), []
    for parameter in trainer._params:
        if parameter.grad_req != 'null':
            gradients[np.dtype(parameter.dtype).name].append(parameter.grad(device))
    for dtype, group in gradients.items():
        check = finite32 if dtype == 'float32' else mx.nd.multi_all_finite
        for start in range(0, len(group), ARRAYS_PER_CHECK):
            chunk = group[start:start + ARRAYS_PER_CHECK]
            verdicts.append(check(*chunk, num_arrays=len(chunk)))
    return mx.nd.add_n(*verdicts) == len(verdicts)


def finite32(*arrays, num_arrays):
    """What multi_all_finite says of float32 arrays, 20 times as fast on a CPU: whether the sum of their squares is
    finite, which it is up to 1e19."""
    return mx.nd.multi_sum_sq(*arrays, num_arrays=num_arrays).sum() * 0 == 0


def make_trainer(net, momentum, wd, no_wd=False, workers=ALONE, loss_scale=1.0):
    """A Gluon Trainer with Nesterov's momentum and a .loss_scale; float16 networks keep float32 master weights.

    no_wd: no weight decay on gamma, beta and bias. The learning rate is set before each step. Every worker updates its
    own weights: an optimiser on the servers of a job could not be saved, and would not hear of the learning rate.
    """
    if no_wd:
        for parameter in net.collect_params('.*gamma|.*beta|.*bias').values():
            parameter.wd_mult = 0.0
    options = {'learning_rate': 0.0, 'momentum': momentum, 'wd': wd, 'multi_precision': True}
    trainer = mx.gluon.Trainer(net.collect_params(), 'nag', options, kvstore=workers.store, update_on_kvstore=False)
    trainer.loss_scale = LossScale(loss_scale)
    workers.begin(trainer)
    return trainer


def compile_network(net, devices, small_images):
    """Compile a network for training on images of one size, small ones (32x32) or large (224x224).

    With static shapes a CPU keeps every array that oneDNN lays out anew: ATAC on small images is up to a tenth
    faster for half as much memory again, on large ones no faster for a tenth more.
    """
    net.hybridize(static_alloc=True, static_shape=small_images or devices[0].device_type == 'gpu')
