"""Name what is on pictures with a trained network.

    import inference
    classifier = inference.load('FILE.params')
    classifier.top_k(['a.png', array], k=3)               # [[('ankle boot', 0.93), ('sneaker', 0.06), ...], [...]]

The description beside the file says what network it is. For a file without one, options say it:

    inference.load('FILE.params', 'cifar_resnet', dataset='fashion-mnist', act_type='ChaATAC', blocks=1)
"""
import os

from runtime import UserError

import mxnet as mx
import numpy as np

from cli import build, trained
from data.pictures import batch_of, class_name
from training.scoring import check_scoring_memory, compile_for_scoring
from training.weights.arrays import load_weights

BATCH = 16           # pictures at once


def load(params, model=None, dtype='float32', calibration=None, calib_mode='naive', **options):
    """A Classifier with the network and the weights of a .params file.

    model, options: those of model.get_model that the scripts have a flag for (docs/flags.md), and dataset (what it was
    trained on, a name of data.DATASETS), label_set, input_size and crop_ratio. They are needed where the file has no
    description, and checked where it has.
    dtype, calibration, calib_mode: of training.scoring.compile_for_scoring.
    Raises OSError for a missing file. Raises UserError for weights of another network, for options that contradict the
    description or are lacking without one, and for a dtype that is not there. TypeError for other options.
    """
    args = trained.args_from_options(params, model=model, **options)
    net = build.build_network(args)
    load_weights(net, params)
    return Classifier(compile_for_scoring(net, dtype, calibration, calib_mode), args.dataset, args.class_names,
                      args.input_size, args.crop_ratio)


class Classifier:
    """Pictures in, class names and probabilities out.

    net: as `compile_for_scoring` makes it. dataset: what it was trained on. class_names: of its outputs, in order;
    outputs after them have none. size, crop_ratio: of data.pictures.batch_of.
    """

    def __init__(self, net, dataset, class_names=(), size=224, crop_ratio=0.875):
        self.net = net
        self.dataset = dataset
        self.names = class_names
        self.size = size
        self.crop_ratio = crop_ratio
        self._fitting = 0  # pictures at once, of which it is known that they fit into the memory

    def probabilities(self, pictures):
        """(N, classes) float32 of N paths or arrays; what they may be, and what is raised: data.pictures.batch_of.

        Raises FloatingPointError too, if the network answers with numbers that are not finite, and UserError where its
        images are so large that a batch does not fit into the memory.
        """
        if isinstance(pictures, (str, os.PathLike)):
            raise UserError('%s is one picture where a list of them is wanted' % pictures)
        if isinstance(pictures, np.ndarray) and (pictures.ndim < 3 or pictures.ndim == 3 and pictures.shape[2] == 3):
            raise UserError('the array %s is one picture where a list of them is wanted' % (pictures.shape,))
        if not len(pictures):
            raise UserError('there is no picture')
        at_once = min(BATCH, len(pictures))
        if at_once > self._fitting:
            check_scoring_memory(self.net, (at_once, 3, self.size, self.size))
            self._fitting = at_once
        batches = (batch_of(pictures[start:start + BATCH], self.dataset, self.size, self.crop_ratio)
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
