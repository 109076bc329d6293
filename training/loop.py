"""Training and scoring, an epoch at a time."""
import time
from collections import defaultdict, deque, namedtuple

import mxnet as mx
import numpy as np
from tqdm import tqdm

from native import compiled
from training.devices import settle_idle, split
from training.distributed import ALONE
from training.loss import loss_function, mix, mixing_weight, targets, teach
from training.loss_scale import LossScale

STEPS_IN_FLIGHT = 2
ARRAYS_PER_CHECK = 200  # MXNet passes no more than a few hundred arrays to an operator

# What learns, how, and where. trainer: of make_trainer, with the same workers. lr_at(epoch, batch): the learning rate.
# objective: of training.loss. devices: of this worker. dtype: of the network's input. workers: this process and those
# that train with it.
Learner = namedtuple('Learner', 'net trainer lr_at objective devices dtype workers', defaults=('float32', ALONE))


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
    on_gpu = devices[0].device_type == 'gpu'
    net.hybridize(static_alloc=True, static_shape=small_images or on_gpu)
    if not on_gpu:
        compiled.for_cpu(net)


def nothing_yet():
    """What an epoch has come to before its first batch: batches, images, sums over them, seconds, skipped steps."""
    return {'batches': 0, 'loss': 0.0, 'wrong': 0.0, 'images': 0, 'seconds': 0.0, 'lr': 0.0, 'skipped': 0}


def train_epoch(learner, source, epoch, log_interval=0, report=None, totals=None, keeper=None):
    """Train on every image of an epoch once; all that is measured is measured over all workers.

    report(batch, numbers) is called every log_interval batches and shows the numbers so far. totals: what the epoch had
    come to when it was interrupted, as nothing_yet; training goes on behind it, and it is kept up to date. keeper:
    prepares each step and may save after it, see training.fit.Keeper.
    Returns {'train_loss', 'train_error', 'lr', 'images_per_second', 'seconds'}, the loss and the error (a fraction)
    being means over the images; with a dynamic loss scale also 'loss_scale' and 'skipped_steps'.
    Raises FloatingPointError at a loss or gradient that is not finite, naming epoch and batch. Losses are read from the
    device when a line is logged and at the end; until then at most STEPS_IN_FLIGHT steps are queued.
    """
    trainer = learner.trainer
    totals, pending, in_flight = nothing_yet() if totals is None else totals, [], deque()
    start, first = time.perf_counter() - totals['seconds'], totals['batches']
    bar = tqdm(source.epoch(epoch, first), initial=first, total=len(source), desc='epoch %d' % epoch, unit='batch',
               disable=None, leave=False)
    for batch, (data, labels) in enumerate(bar, first):
        trainer.set_learning_rate(learner.lr_at(epoch, batch))
        if keeper:
            keeper.prepare_step(epoch, batch)
        measures = learner.workers.total(train_step(learner, data, labels, source.images_in(batch), epoch, batch))
        pending.append((batch, measures))
        in_flight.append(measures)
        if len(in_flight) > STEPS_IN_FLIGHT:
            for measure in in_flight.popleft():
                measure.wait_to_read()
        if log_interval and (batch + 1) % log_interval == 0:
            collect(totals, pending, epoch, trainer, start)
            if report:
                report(batch, epoch_numbers(totals, trainer))
        if keeper and keeper.is_due(batch + 1, len(source)):
            collect(totals, pending, epoch, trainer, start)
            mx.nd.waitall()
            keeper.save_within(epoch, totals)
    collect(totals, pending, epoch, trainer, start)
    # With static_shape a CPU is still writing running statistics when the last gradient is there.
    mx.nd.waitall()
    return epoch_numbers(totals, trainer)


def train_step(learner, data, labels, images, epoch, batch):
    """One step on this worker's part of a batch of so many images, queued.

    Returns (summed loss, wrong images, devices whose gradient is not finite, images) per device, float32.
    """
    net, trainer, objective, devices = learner.net, learner.trainer, learner.objective, learner.devices
    weight, loss_of = mixing_weight(objective, epoch, batch), loss_function(objective)
    losses, measures = [], []
    for image, target, label, partner in on_devices(data, labels, objective, weight, devices):
        image = image.astype(learner.dtype, copy=False)
        softened = teach(objective, image)
        with mx.autograd.record():
            logits = net(image).astype('float32')
            losses.append(loss_of(logits, target, *softened))
        guess = logits.argmax(axis=1).astype('int32')
        wrong = (guess != label).sum().astype('float32')
        if weight != 1:  # of floats: an array of integers would make an integer, 0, of the weight
            wrong = weight * wrong + (1 - weight) * (guess != partner).sum().astype('float32')
        measures.append((losses[-1].sum(), wrong, len(label)))
    if losses:
        scale = trainer.loss_scale.value
        mx.autograd.backward(losses, None if scale == 1 else [mx.nd.full(loss.shape, scale, ctx=loss.context)
                                                              for loss in losses])
    settle_idle(trainer, devices[len(losses):])
    verdicts = update(trainer, images, devices, ' in epoch %d, batch %d' % (epoch, batch))
    measures = [mx.nd.concat(loss, wrong, 1 - verdict, mx.nd.full(1, count, ctx=verdict.context), dim=0)
                for (loss, wrong, count), verdict in zip(measures, verdicts)]
    return measures or [mx.nd.zeros(4)]


def update(trainer, images, devices, place):
    """Update the weights by the gradient of so many images. Returns for each device 1 if its gradient is finite, or 0.

    With a dynamic loss scale this waits for the gradient of all workers, and leaves the step out if it is not finite.
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


def on_devices(data, labels, objective, weight, devices):
    """(images, targets, labels, labels of the partners in mixup) for each device that gets a row."""
    if not len(labels):
        return []
    data, target = mx.nd.array(data), targets(mx.nd.array(labels, dtype='int32'), objective, weight)
    return list(zip(*[split(array, devices) for array in (mix(data, weight), target, labels, labels[::-1])]))


def all_finite(trainer, device):
    """1 if every gradient on a device is finite, else 0, queued.

    The loss alone does not tell: the ReLU of oneDNN makes 0 of NaN, and a ruined network goes on with a finite loss.
    """
    verdicts, gradients = [], defaultdict(list)
    for parameter in trainer._params:
        if parameter.grad_req != 'null':
            gradients[np.dtype(parameter.dtype).name].append(parameter.grad(device))
    for dtype, group in gradients.items():
        for start in range(0, len(group), ARRAYS_PER_CHECK):
            chunk = group[start:start + ARRAYS_PER_CHECK]
            verdicts.append((finite32 if dtype == 'float32' else mx.nd.multi_all_finite)(*chunk, num_arrays=len(chunk)))
    return mx.nd.add_n(*verdicts) == len(verdicts)


def finite32(*arrays, num_arrays):
    """What multi_all_finite says of float32 arrays, 20 times as fast on a CPU: whether the sum of their squares is
    finite, which it is up to 1e19."""
    return mx.nd.multi_sum_sq(*arrays, num_arrays=num_arrays).sum() * 0 == 0


def collect(totals, pending, epoch, trainer, start):
    """Read what has been measured since the last time, in the order of the batches, into the totals."""
    for batch, measures in pending:
        loss, wrong, broken, images = np.sum([measure.asnumpy() for measure in measures], axis=0, dtype='float64')
        if not np.isfinite(loss) or broken and not trainer.loss_scale.dynamic:
            raise FloatingPointError('the %s is not finite in epoch %d, batch %d'
                                     % ('gradient' if np.isfinite(loss) else 'loss', epoch, batch))
        totals['loss'] += float(loss)
        totals['wrong'] += float(wrong)
        totals['images'] += int(images)
        totals['skipped'] += int(broken > 0)
        totals['batches'] = batch + 1
    if pending:
        totals['lr'], totals['seconds'] = trainer.learning_rate, time.perf_counter() - start
    pending.clear()


def epoch_numbers(totals, trainer):
    numbers = {'train_loss': totals['loss'] / totals['images'], 'train_error': totals['wrong'] / totals['images'],
               'lr': totals['lr'], 'images_per_second': totals['images'] / totals['seconds'],
               'seconds': totals['seconds']}
    if trainer.loss_scale.dynamic:
        numbers.update(loss_scale=trainer.loss_scale.value, skipped_steps=totals['skipped'])
    return numbers


def evaluate(net, source, devices, dtype='float32', after_batch=None, workers=ALONE):
    """Score every image of a source once, among the workers. after_batch() is called after each batch and may raise.

    Returns {'top1_error', 'top5_error', 'images', 'images_per_second'}, errors as fractions; with fewer than five
    classes, the second is the error of guessing all of them. Raises FloatingPointError if a logit is not finite.
    """
    start, counts, in_flight = time.perf_counter(), [], deque()
    for data, labels in source.epoch(0):
        parts = zip(split(data, devices), split(labels, devices)) if len(labels) else ()
        hits = [_hits(net(image.astype(dtype, copy=False)).astype('float32'), label) for image, label in parts]
        hits = workers.total(hits or [mx.nd.zeros(4)])
        counts.extend(hits)
        in_flight.extend(hits)
        while len(in_flight) > STEPS_IN_FLIGHT * len(devices):
            in_flight.popleft().wait_to_read()
        if after_batch:
            after_batch()
    top1, top5, finite, images = np.sum([count.asnumpy() for count in counts], axis=0, dtype='float64')
    if images != source.images:
        raise RuntimeError('%d images were scored where there are %d' % (images, source.images))
    if finite != images:
        raise FloatingPointError('the logits of %d of %d images are not finite' % (images - finite, images))
    return {'top1_error': 1 - top1 / images, 'top5_error': 1 - top5 / images, 'images': int(images),
            'images_per_second': images / (time.perf_counter() - start)}


def renew_weights(net):
    """Put the weights into new arrays, equal in every bit, after a network was scored and before it trains on.

    On a CPU, inference leaves weights in oneDNN's blocked layouts, some sooner, some later. Training goes on from
    these, but its sums are rounded differently than from plain arrays, and differently from run to run.
    """
    mx.nd.waitall()
    for parameter in net.collect_params().values():
        if parameter.grad_req != 'null':
            held = parameter.list_data()[0].copyto(mx.cpu())
            plain = mx.nd.add_n(held) / 1  # what an operator makes is laid out plainly
            parameter._init_impl(plain, parameter.list_ctx())


def _hits(logits, label):
    """(images right at the first guess, right among five guesses, with finite logits, all), queued."""
    right = logits.topk(k=min(5, logits.shape[1]), dtype='int32') == label.reshape((-1, 1))
    finite = (logits * 0).sum(axis=1) == 0  # 0 times infinity or NaN is NaN, which equals nothing
    return mx.nd.concat(right[:, 0].sum().astype('float32'), right.sum().astype('float32'), finite.sum(),
                        mx.nd.full(1, len(label), ctx=label.context), dim=0)
