"""The learning rate, a pure function of the position in the run; GluonCV's schedules, no state, nothing to resume.

The authors' log is reproduced in every printed line. For this the length of the schedule is n = images // batch steps
an epoch, and the position counts what has really been read: ceil(epoch * images / batch) + batch number + 1. Where this
would leave more than 1 % of the run at a rate of 0, with few steps or few large batches, n is rounded up, and the
position is epoch * n + batch number, so that only the last step has this rate.
"""
from functools import partial
from math import ceil, log

from runtime import UserError

from gluoncv.utils import LRScheduler, LRSequential

MODES = ('step', 'poly', 'cosine')
FEW = 200  # steps, of which the last two are more than 1 %
SMALLEST, LARGEST = 1.2e-38, 1e30  # MXNet refuses rates that float32 cannot hold; smaller ones are 0


def learning_rate(mode, lr, num_epochs, images, batch_size, warmup_epochs=0, warmup_lr=0.0, decay_epochs=(), decay=0.1):
    """A function (epoch, batch) -> learning rate, epochs and batches counted from 0.

    mode: 'step' multiplies by `decay` from the first batch of each of decay_epochs on; 'poly' (power 2) and 'cosine'
    fall to 0. warmup_epochs: a straight line from warmup_lr to lr first. batch_size: of all devices together.
    """
    if mode not in MODES:
        raise UserError('unknown learning rate mode %r; there are %s' % (mode, ', '.join(MODES)))
    if not 0 <= warmup_epochs < num_epochs:
        raise UserError('%d warm-up epochs must be fewer than the %d epochs of the run' % (warmup_epochs, num_epochs))
    if log(lr) + (len(decay_epochs) if mode == 'step' else 0) * log(max(1, decay)) > log(LARGEST):
        raise UserError('a learning rate of %g that grows by %g is no longer a number' % (lr, decay))
    steps = images // batch_size
    position = partial(_position, images, batch_size)
    if images > 1.01 * steps * batch_size or (num_epochs - warmup_epochs) * steps < FEW:
        steps = ceil(images / batch_size)
        position = partial(_position_of_few, steps)
    if mode != 'step' and (num_epochs - warmup_epochs) * steps < 2 or warmup_epochs and warmup_epochs * steps < 2:
        raise UserError('%s, or a warm-up, over a single step is not a schedule: use more epochs, smaller batches or '
                        '--lr-mode step' % mode)
    parts = [LRScheduler('linear', base_lr=warmup_lr, target_lr=lr, nepochs=warmup_epochs, iters_per_epoch=steps)] \
        if warmup_epochs else []
    if mode == 'step':
        warmup = warmup_epochs * steps
        boundaries = [position(epoch, 0) - warmup for epoch in decay_epochs]
        parts.append(LRScheduler('step', base_lr=lr, niters=position(num_epochs, 1) - warmup, step_iter=boundaries,
                                 step_factor=decay))
    else:
        parts.append(LRScheduler(mode, base_lr=lr, target_lr=0, nepochs=num_epochs - warmup_epochs,
                                 iters_per_epoch=steps))
    schedule = LRSequential(parts)

    def lr_at(epoch, batch):
        rate = schedule(position(epoch, batch))
        return rate if rate >= SMALLEST else 0.0

    return lr_at


def _position(images, batch_size, epoch, batch):
    # A small last batch may be one more step than there is room for before the next epoch begins.
    return min(ceil(epoch * images / batch_size) + batch + 1, ceil((epoch + 1) * images / batch_size))


def _position_of_few(steps, epoch, batch):
    return epoch * steps + batch


def depends_on_num_epochs(mode):
    """Whether the rate of every epoch depends on the length of the run, so that a longer run is another one."""
    return mode != 'step'


def decay_epochs(listed, period, num_epochs):
    """The epochs at which 'step' decays: every `period` epochs if it is given, else those listed."""
    return list(range(period, num_epochs, period)) if period else list(listed)
