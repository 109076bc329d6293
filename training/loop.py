"""Training and scoring, an epoch at a time."""
import time
from collections import deque

import mxnet as mx
import numpy as np
from tqdm import tqdm

from training.devices import split
from training.distributed import ALONE
from training.learner import Measures

STEPS_IN_FLIGHT = 2


class Progress:
    """What an epoch has come to: add() notes what a step measured, read() takes it from the devices, numbers() says it.

    batches, images: that it has trained on. loss, wrong: sums over these images. skipped, clipped: steps that were left
    out, or whose gradient was shortened. lr: of the last step. seconds: of training.
    learner: a Learner. state: what .state() of an interrupted epoch was, or None.
    """

    FIRST = {'batches': 0, 'loss': 0.0, 'wrong': 0.0, 'images': 0, 'seconds': 0.0, 'lr': 0.0, 'skipped': 0,
             'clipped': 0}

    def __init__(self, learner, state=None):
        for name, first in self.FIRST.items():
            setattr(self, name, (state or {}).get(name, first))
        self.loss_scale = learner.trainer.loss_scale
        self.clips = learner.clip_norm is not None
        self.pending = []
        self.in_flight = deque()
        self.start = time.perf_counter() - self.seconds

    def state(self):
        """For the checkpoint."""
        return {name: getattr(self, name) for name in self.FIRST}

    def add(self, epoch, batch, lr, measures):
        """Note the arrays that Learner.step returned, and wait until at most STEPS_IN_FLIGHT steps are queued."""
        self.pending.append((epoch, batch, lr, measures))
        self.in_flight.append(measures)
        if len(self.in_flight) > STEPS_IN_FLIGHT:
            for measure in self.in_flight.popleft():
                measure.wait_to_read()

    def read(self):
        """Sum up what was noted since the last time, in the order of the batches.

        Raises FloatingPointError at a loss or gradient that is not finite, naming epoch and batch.
        """
        for epoch, batch, lr, measures in self.pending:
            step = Measures(*np.sum([measure.asnumpy() for measure in measures], axis=0, dtype='float64'))
            if not np.isfinite(step.loss) or step.not_finite and not self.loss_scale.dynamic:
                what = 'gradient' if np.isfinite(step.loss) else 'loss'
                raise FloatingPointError(f'the {what} is not finite in epoch {epoch}, batch {batch}')
            self.loss += float(step.loss)
            self.wrong += float(step.wrong)
            self.images += int(step.images)
            self.skipped += int(step.not_finite > 0)
            self.clipped += int(step.clipped > 0)
            self.batches = batch + 1
            self.lr = lr
        if self.pending:
            self.seconds = time.perf_counter() - self.start
            self.pending.clear()

    def numbers(self):
        """For the log: loss and error, a fraction, are means over the images."""
        error = min(1.0, self.wrong / self.images)  # the weights of mixup round
        numbers = {'train_loss': self.loss / self.images, 'train_error': error, 'lr': self.lr,
                   'images_per_second': self.images / self.seconds, 'seconds': self.seconds}
        if self.loss_scale.dynamic:
            numbers.update(loss_scale=self.loss_scale.value, skipped_steps=self.skipped)
        if self.clips:
            numbers.update(clipped_steps=self.clipped)
        return numbers


class Hooks:
    """What happens around the steps of an epoch: nothing. A run saves and reports (training.saver)."""

    def before_step(self, epoch, batch):
        pass

    def after_step(self, epoch, batch, progress, is_last):
        pass


def train_epoch(learner, source, epoch, progress=None, hooks=None):
    """Train on every image of an epoch once; all that is measured is measured over all workers.

    progress: of the epoch if it was interrupted; training continues after it. Returns Progress.numbers().
    Raises FloatingPointError at a loss or gradient that is not finite. Losses are read from the device when a line is
    logged and at the end.
    """
    trainer = learner.trainer
    hooks = hooks or Hooks()
    progress = progress or Progress(learner)
    first = progress.batches
    bar = tqdm(source.epoch(epoch, first), initial=first, total=len(source), desc=f'epoch {epoch}', unit='batch',
               disable=None, leave=False)
    for batch, (data, labels) in enumerate(bar, first):
        lr = learner.lr_at(epoch, batch)
        trainer.set_learning_rate(lr)
        hooks.before_step(epoch, batch)
        measures = learner.step(data, labels, source.images_in(batch), epoch, batch)
        progress.add(epoch, batch, lr, learner.workers.total(measures))
        hooks.after_step(epoch, batch, progress, batch + 1 == len(source))
    progress.read()
    # With static_shape a CPU is still writing running statistics when the last gradient is there.
    mx.nd.waitall()
    return progress.numbers()


def evaluate(net, source, devices, dtype='float32', after_batch=None, workers=ALONE):
    """Score every image of a source once, among the workers. after_batch() is called after each batch and may raise.

    Returns {'top1_error', 'top5_error', 'images', 'images_per_second'}, errors as fractions; with fewer than five
    classes, the second is the error of guessing all of them. Raises FloatingPointError if a logit is not finite.
    """
    start = time.perf_counter()
    counts = []
    in_flight = deque()
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
        raise RuntimeError(f'{images:.0f} images were scored where there are {source.images}')
    if finite != images:
        raise FloatingPointError(f'the logits of {images - finite:.0f} of {images:.0f} images are not finite')
    return {'top1_error': 1 - top1 / images, 'top5_error': 1 - top5 / images, 'images': int(images),
            'images_per_second': images / (time.perf_counter() - start)}


def _hits(logits, label):
    """Of logits (n, classes): (right at the first guess, right among five guesses, finite, all), (4,), queued."""
    right = logits.topk(k=min(5, logits.shape[1]), dtype='int32') == label.reshape((-1, 1))
    finite = (logits * 0).sum(axis=1) == 0  # 0 times infinity or NaN is NaN, which equals nothing
    return mx.nd.concat(right[:, 0].sum().astype('float32'), right.sum().astype('float32'), finite.sum(),
                        mx.nd.full(1, len(label), ctx=label.context), dim=0)


def restore_plain_layouts(net):
    """Put the weights into new arrays, equal in every bit, after a network was scored and before it trains on.

    On a CPU, scoring leaves weights in oneDNN's blocked layouts, some sooner, some later. Training would continue from
    these, but its sums are rounded differently than from plain arrays, and differently from run to run.
    """
    mx.nd.waitall()
    for name, parameter in net.collect_params().items():
        if not name.endswith(('running_mean', 'running_var')):
            copies = parameter.list_data()[0].copyto(mx.cpu())
            plain = mx.nd.add_n(copies) / 1  # what an operator makes is laid out plainly
            parameter._init_impl(plain, parameter.list_ctx())
