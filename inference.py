"""Name what is on pictures with a trained network.

    import inference
    classifier = inference.load('cifar_resnet', 'FILE.params', dataset='fashion-mnist', act_type='ChaATAC', blocks=1)
    classifier.top_k(['a.png', array], k=3)               # [[('ankle boot', 0.93), ('sneaker', 0.06), ...], [...]]
"""
import os

from runtime import UserError

import mxnet as mx
import numpy as np

from data import dataset_of
from data.pictures import batch_of, class_name
from model import get_model, network
from training.scoring import compiled
from training.weights import load_weights

BATCH = 16           # pictures at once


def load(model, params, dataset='imagenet', label_set='coarse', dtype='float32', calibration=None, calib_mode='naive',
         size=224, crop_ratio=0.875, **options):
    """A Classifier of a network of model.get_model with weights from a .params file.

    dataset: what it was trained on, a name of data.DATASETS; label_set: of cifar100.
    dtype, calibration, calib_mode: of `compiled`. size, crop_ratio: of data.pictures.batch_of.
    options: those of get_model; `classes` is that of the data set unless it is given.
    Raises OSError for a missing file, and UserError for weights of another network or a dtype that is not there.
    """
    options.setdefault('classes', dataset_of(dataset).classes)
    _class_names(dataset, label_set, options['classes'])  # says which there are
    net = get_model(model, **network(model).sized(size), **options)
    load_weights(net, params)
    return Classifier(compiled(net, dtype, calibration, calib_mode), dataset, label_set, size, crop_ratio,
                      options['classes'])


def _class_names(dataset, label_set, classes):
    record = dataset_of(dataset)
    return record.class_names(label_set if record.label_sets else None, classes)


class Classifier:
    """Pictures in, class names and probabilities out.   net: as `compiled` makes it; the rest: as in `load`

    classes: how many the network tells apart; unless it is 1000, those of 'imagenet' are somebody's own.
    """

    def __init__(self, net, dataset='imagenet', label_set='coarse', size=224, crop_ratio=0.875, classes=1000):
        self.net, self.dataset, self.size, self.crop_ratio = net, dataset, size, crop_ratio
        self.names = _class_names(dataset, label_set, classes)

    def probabilities(self, pictures):
        """(N, classes) float32 of N paths or arrays; what they may be, and what is raised: data.pictures.batch_of."""
        if isinstance(pictures, (str, os.PathLike)):
            raise UserError('%s is one picture where a list of them is wanted' % pictures)
        if isinstance(pictures, np.ndarray) and (pictures.ndim < 3 or pictures.ndim == 3 and pictures.shape[2] == 3):
            raise UserError('the array %s is one picture where a list of them is wanted' % (pictures.shape,))
        if not len(pictures):
            raise UserError('there is no picture')
        batches = (np.concatenate([batch_of([picture], self.dataset, self.size, self.crop_ratio)
                                   for picture in pictures[start:start + BATCH]])  # one large photo at a time
                   for start in range(0, len(pictures), BATCH))
        probabilities = np.concatenate([
            mx.nd.softmax(self.net(mx.nd.array(batch)).astype('float32')).asnumpy() for batch in batches])
        if not np.isfinite(probabilities).all():
            raise FloatingPointError('the network answers with numbers that are not finite')
        return probabilities

    def top_k(self, pictures, k=5):
        """For each picture its k likeliest (class name, probability), the likeliest first; all if there are fewer."""
        if k < 1:
            raise UserError('k=%s must be at least 1' % (k,))
        return [[(class_name(index, self.names), float(row[index])) for index in np.argsort(-row, kind='stable')[:k]]
                for row in self.probabilities(pictures)]
