"""What is minimised: cross-entropy in float32, of hard or smoothed labels, of mixed images, beside a teacher."""
from collections import namedtuple

import mxnet as mx
import numpy as np
from gluoncv.loss import DistillationSoftmaxCrossEntropyLoss

MIXUP_STREAM = 2  # beside the two streams of the data (order, augmentation)

# classes: of the head. label_smoothing: epsilon. mixup_alpha: of Beta(alpha, alpha), 0 for none, from epoch
# mixup_off_epoch on none either (0: never off). teacher: a network or None, with temperature and hard_weight.
Objective = namedtuple('Objective', 'classes label_smoothing mixup_alpha mixup_off_epoch teacher temperature '
                                    'hard_weight seed', defaults=(0.0, 0.0, 0, None, 20.0, 0.5, 0))


def loss_function(objective):
    """loss(logits, targets[, teacher's probabilities]) -> (n,), for the targets of `targets`.
    """
    if objective.teacher is None:
        return mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not is_dense(objective))
    return DistillationSoftmaxCrossEntropyLoss(objective.temperature, objective.hard_weight,
                                               sparse_label=not is_dense(objective))


def is_dense(objective):
    """Whether targets are distributions (n, classes) instead of numbers (n,)."""
    return bool(objective.label_smoothing or objective.mixup_alpha)


def mixing_weight(objective, epoch, batch):
    """lambda ~ Beta(alpha, alpha), a function of (seed, epoch, batch); 1 where nothing is to be mixed."""
    off = objective.mixup_off_epoch and epoch >= objective.mixup_off_epoch
    if not objective.mixup_alpha or off:
        return 1.0
    random = np.random.default_rng([objective.seed, MIXUP_STREAM, epoch, batch])
    return float(random.beta(objective.mixup_alpha, objective.mixup_alpha))


def mix(array, weight):
    """weight * array + (1 - weight) * the batch in reverse order (Zhang et al., "mixup", 2018)."""
    return array if weight == 1 else weight * array + (1 - weight) * array[::-1]


def targets(labels, objective, weight):
    """Float32 targets of int labels (n,): the labels themselves, or smoothed and mixed distributions (n, classes)."""
    if not is_dense(objective):
        return labels
    epsilon = objective.label_smoothing
    classes = objective.classes
    smooth = mx.nd.one_hot(labels, classes, on_value=1 - epsilon + epsilon / classes, off_value=epsilon / classes,
                           dtype='float32')
    return mix(smooth, weight)


def teach(objective, data):
    """The teacher's softened probabilities in float32, as a tuple to be appended to the loss's arguments."""
    if objective.teacher is None:
        return ()
    return (mx.nd.softmax(objective.teacher(data).astype('float32') / objective.temperature),)
