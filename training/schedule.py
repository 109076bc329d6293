"""The learning rate, a pure function of the position in the run; GluonCV's schedules, no state, nothing to resume.

The authors' log is reproduced in every printed line. For this the length of the schedule is n = images // batch steps
an epoch, and the position counts what has really been read: ceil(epoch * images / batch) + batch number + 1. With few
large batches, rounding n down would leave more than 1 % of the run at a rate of 0: there it is not rounded.
"""
from math import ceil

from runtime import UserError

from gluoncv.utils import LRScheduler, LRSequential

MODES = ('step', 'poly', 'cosine')


def learning_rate(mode, lr, num_epochs, images, batch_size, warmup_epochs=0, warmup_lr=0.0, decay_epochs=(), decay=0.1):
    """A function (epoch, batch) -> learning rate, epochs and batches counted from 0.

    mode: 'step' multiplies by `decay` from the first batch of each of decay_epochs on; 'poly' (power 2) and 'cosine'
    fall to 0. warmup_epochs: a straight line from warmup_lr to lr first. batch_size: of all devices together.
    """
    if mode not in MODES:
        raise UserError('unknown learning rate mode %r; there are %s' % (mode, ', '.join(MODES)))
    if not 0 <= warmup_epochs < num_epochs:
        raise UserError('%d warm-up epochs must be fewer than the %d epochs of the run' % (warmup_epochs, num_epochs))
    steps = images // batch_size
    if images > 1.01 * steps * batch_size:
        steps = images / batch_size
    if mode != 'step' and (num_epochs - warmup_epochs) * steps < 2 or warmup_epochs and warmup_epochs * steps < 2:
        raise UserError('%s, or a warm-up, over a single step is no schedule: use more epochs, smaller batches or '
                        '--lr-mode step' % mode)
    parts = [LRScheduler('linear', base_lr=warmup_lr, target_lr=lr, nepochs=warmup_epochs, iters_per_epoch=steps)] \
        if warmup_epochs else []
    if mode == 'step':
        warmup = warmup_epochs * steps
        boundaries = [_position(epoch, 0, images, batch_size) - warmup for epoch in decay_epochs]
        parts.append(LRScheduler('step', base_lr=lr, niters=_position(num_epochs, 1, images, batch_size) - warmup,
                                 step_iter=boundaries, step_factor=decay))
    else:
        parts.append(LRScheduler(mode, base_lr=lr, target_lr=0, nepochs=num_epochs - warmup_epochs,
                                 iters_per_epoch=steps))
    schedule = LRSequential(parts)

    def lr_at(epoch, batch):
        # A small last batch may be one more step than the position has room for before the next epoch begins.
        return schedule(min(_position(epoch, batch, images, batch_size), ceil((epoch + 1) * images / batch_size)))

    return lr_at


def _position(epoch, batch, images, batch_size):
    return ceil(epoch * images / batch_size) + batch + 1


def decay_epochs(listed, period, num_epochs):
    """The epochs at which 'step' decays: every `period` epochs if it is given, else those listed."""
    return list(range(period, num_epochs, period)) if period else list(listed)
