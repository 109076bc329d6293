"""What learns, and a step of it: shards of the batch, forward, backward, update, measures."""
import itertools
from collections import defaultdict, namedtuple

import mxnet as mx
import numpy as np

from native import compiled
from training.devices import split, zero_idle_gradients
from training.distributed import ALONE
from training.loss import loss_function, mix, mixing_weight, targets, teach
from training.loss_scale import LossScale

ARRAYS_PER_CHECK = 200  # MXNet passes no more than a few hundred arrays to an operator


class Measures(namedtuple('Measures', 'loss wrong images not_finite clipped', defaults=(0,) * 5)):
    """What is measured in a step: loss and wrong guesses, summed over its images, and how many these are; on how many
    devices a gradient is not finite, and whether the gradient was clipped."""

    def on(self, device):
        """These in one array, (5,) float32, queued.   self: numbers and arrays (1,) of the device"""
        return mx.nd.concat(*[value if isinstance(value, mx.nd.NDArray) else mx.nd.full(1, value, ctx=device)
                              for value in self], dim=0)


class Learner:
    """A network, and how it learns.

    trainer: of make_trainer, with the same workers. lr_at(epoch, batch): the learning rate. objective: of
    training.loss. devices: of this worker. dtype: of the network's input. workers: this process and those that train
    with it. accumulate: in how many parts a batch is computed, whose gradients are added up. clip_norm: of the whole
    gradient, which is shortened to it where it is longer, or None. begun_from: what the log says of its first weights.
    """

    def __init__(self, net, trainer, lr_at, objective, devices, dtype='float32', workers=ALONE, accumulate=1,
                 clip_norm=None, begun_from=''):
        self.net = net
        self.trainer = trainer
        self.lr_at = lr_at
        self.objective = objective
        self.loss = loss_function(objective)
        self.devices = devices
        self.dtype = dtype
        self.workers = workers
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.begun_from = begun_from
        for parameter in net.collect_params().values() if accumulate > 1 else ():
            parameter.grad_req = 'add' if parameter.grad_req == 'write' else parameter.grad_req

    def step(self, data, labels, images, epoch, batch):
        """One step on this worker's rows of a batch; queued, not awaited.

        data: (n, 3, H, W) float32 NumPy. labels: (n,). n may be 0. images: in the whole batch, of all workers.
        Returns arrays (5,) float32, whose sum is the Measures of this worker.
        """
        weight = mixing_weight(self.objective, epoch, batch)
        measures = []
        used = 0
        if self.accumulate > 1:
            self.net.collect_params().zero_grad()

        for shards in self.parts(data, labels, weight):
            losses = []
            # Forward, on each device: images (m, 3, H, W) -> logits (m, classes) -> loss (m,).
            for image, target, label, partner in shards:
                softened = teach(self.objective, image)
                with mx.autograd.record():
                    logits = self.net(image).astype('float32')
                    loss = self.loss(logits, target, *softened)
                losses.append(loss)
                wrong = wrong_guesses(logits, label, partner, weight)
                measures.append(Measures(loss.sum(), wrong, len(label)).on(loss.context))

            used = max(used, len(losses))

            # Backward: a gradient is the sum over the rows of its device, times the loss scale.
            scale = self.trainer.loss_scale.value
            mx.autograd.backward(losses, None if scale == 1 else [mx.nd.full(loss.shape, scale, ctx=loss.context)
                                                                  for loss in losses])
        zero_idle_gradients(self.trainer, self.devices[used:])

        # Update: by the sum over devices and workers, divided by the images of the batch.
        return measures + self.update(images, f' in epoch {epoch}, batch {batch}')

    def parts(self, data, labels, weight):
        """The batch in `accumulate` parts: lists of (images, targets of the loss, labels, labels of the partners in
        mixup), one for each device that gets a row."""
        if not len(labels):
            return
        data = mx.nd.array(data)
        target = targets(mx.nd.array(labels, dtype='int32'), self.objective, weight)
        whole = (mix(data, weight), target, labels, labels[::-1])
        bounds = [len(labels) * part // self.accumulate for part in range(self.accumulate + 1)]
        for begin, end in zip(bounds, bounds[1:]):
            if end > begin:
                shards = zip(*[split(array[begin:end], self.devices) for array in whole])
                yield [(image.astype(self.dtype, copy=False), *rest) for image, *rest in shards]

    def update(self, images, place):
        """Update the weights by the gradient of a batch of `images`. Returns for each device what step() returns.

        With a dynamic loss scale this waits for the gradient of all workers, and leaves the step out if it is not
        finite. place: where in the run, for messages.
        """
        trainer = self.trainer
        scale = self.trainer.loss_scale
        trainer.allreduce_grads()
        verdicts = [all_finite(trainer, device) for device in self.devices]
        finite = not scale.dynamic or all(verdict.asscalar() for verdict in verdicts)
        clipped = [0] * len(self.devices)
        if finite and self.clip_norm is not None:
            clipped = [clip(trainer, device, self.clip_norm * images * scale.value) for device in self.devices]
        if finite:
            trainer.update(images * scale.value)
        if scale.dynamic:
            scale.after(finite, place)
        # All devices and workers clip alike: the first one counts.
        counted = [clipped[0] if self.workers.rank == 0 else 0] + [0] * (len(self.devices) - 1)
        return [Measures(not_finite=1 - verdict, clipped=was_clipped).on(device)
                for device, verdict, was_clipped in zip(self.devices, verdicts, counted)]


def wrong_guesses(logits, label, partner, weight):
    """How many rows of logits (m, classes) are not largest at their label; of mixed images a weighted count."""
    guess = logits.argmax(axis=1).astype('int32')
    wrong = (guess != label).sum().astype('float32')
    if weight != 1:  # of floats: an array of integers would make an integer, 0, of the weight
        wrong = weight * wrong + (1 - weight) * (guess != partner).sum().astype('float32')
    return wrong


def clip(trainer, device, largest):
    """Shorten the gradient on a device, as one vector, to a norm of `largest`; 1 if it was longer, else 0, queued."""
    chunks = list(gradients_of(trainer, device))
    norm = mx.nd.add_n(*[mx.nd.multi_sum_sq(*chunk, num_arrays=len(chunk)).sum() for chunk in chunks]).sqrt()
    factor = mx.nd.minimum(1, largest / mx.nd.maximum(norm, 1e-30))
    for gradient in itertools.chain(*chunks):
        gradient[:] = mx.nd.broadcast_mul(gradient, factor.astype(gradient.dtype).reshape((1,) * gradient.ndim))
    return norm > largest


def all_finite(trainer, device):
    """1 if every gradient on a device is finite, else 0; queued.

    The loss does not tell: the ReLU of oneDNN makes 0 of NaN, and a ruined network continues with a finite loss.
    """
    verdicts = [(finite32 if chunk[0].dtype == np.float32 else mx.nd.multi_all_finite)(*chunk, num_arrays=len(chunk))
                for chunk in gradients_of(trainer, device)]
    return mx.nd.add_n(*verdicts) == len(verdicts)


def gradients_of(trainer, device):
    """The gradients on a device, in lists that an operator takes: of one dtype, and not too many."""
    groups = defaultdict(list)
    for parameter in trainer._params:
        if parameter.grad_req != 'null':
            groups[np.dtype(parameter.dtype).name].append(parameter.grad(device))
    for group in groups.values():
        for start in range(0, len(group), ARRAYS_PER_CHECK):
            yield group[start:start + ARRAYS_PER_CHECK]


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


def compile_network(net, devices):
    """Compile a network for training on images of one size, with static memory and shapes."""
    net.hybridize(static_alloc=True, static_shape=True)
    if devices[0].device_type == 'cpu':
        compiled.for_cpu(net)
