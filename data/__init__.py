"""What goes in. `DATASETS` says, by name, what a script must know of a data set.

    train, validation = load_dataset('cifar100', 128, label_set='fine')
    DATASETS['cifar100'].class_names('fine')[0]                           # 'apple'
"""
import logging
import os
from functools import partial
from typing import Any, Callable, NamedTuple, Tuple

from runtime import UserError

from data import cifar, fashion_mnist, images, labels, views
from data.batches import ArrayBatches

LOG = logging.getLogger(__name__)


class Dataset(NamedTuple):
    """What there is to know of a data set.

    load: (train, **places) -> a source of the training or the validation images; it has `class_names`.
    names: (label set) -> the names of the classes, in the order of the labels. label_sets: which sets of labels it
    has, the default first; () if there is one only.
    small: 32x32, in memory. Of others `classes` and `input_size` are what is usual, and a user may have other numbers.
    classes: outputs of the network. mean, std: of the colours in 0..1.
    view: (picture (H, W, 3) uint8 RGB, its name, size, crop ratio) -> (3, size, size) float32, as the network was
    trained on.
    """
    load: Callable
    names: Callable
    classes: int
    mean: Any
    std: Any
    view: Callable
    small: bool = True
    input_size: int = 32
    label_sets: Tuple[str, ...] = ()

    def class_names(self, label_set=None, classes=None):
        """The names of the classes. () for somebody's own images, which another number of classes tells."""
        if label_set not in (None, *self.label_sets):
            raise UserError('unknown label set %r; there are %s' % (label_set, ', '.join(self.label_sets) or 'none'))
        if not self.small and classes not in (None, self.classes):
            return ()
        return self.names(label_set or next(iter(self.label_sets), None))

    def batches(self, source, batch_size, train, seed=0, workers=0, **shape):
        """Batches of a source that `load` gave.   shape: classes, size and crop_ratio of somebody's own images."""
        if not self.small:
            return images.ImageBatches(source, batch_size=batch_size, train=train, seed=seed, workers=workers,
                                       **{'classes': self.classes, **shape})
        return ArrayBatches(source.pixels, source.labels, self.classes, self.mean, self.std, batch_size, train, seed,
                            workers, source.class_names)


FASHION_MNIST = Dataset(
    fashion_mnist.load, lambda _: fashion_mnist.CLASS_NAMES, 10, fashion_mnist.MEAN, fashion_mnist.STD,
    partial(views.fashion_view, fashion_mnist.MEAN, fashion_mnist.STD))
CIFAR10 = Dataset(
    cifar.load_cifar10, lambda _: cifar.CLASS_NAMES, 10, cifar.MEAN, cifar.STD,
    partial(views.square_view, cifar.MEAN, cifar.STD))

DATASETS = {
    'cifar10': CIFAR10,
    # The published figure shows the 20 coarse labels under a head of 100: both label sets keep the head.
    'cifar100': CIFAR10._replace(load=cifar.load_cifar100, names=cifar.CLASS_NAMES_100.get, classes=100,
                                 label_sets=cifar.LABEL_SETS),
    'fashion-mnist': FASHION_MNIST,
    'fashion-mnist-mini': FASHION_MNIST._replace(load=fashion_mnist.load_mini),
    # Or any RecordIO file or class folders.
    'imagenet': Dataset(images.load, lambda _: labels.imagenet_names(), 1000, images.MEAN / 255, images.STD / 255,
                        images.picture_view, small=False, input_size=224),
}
SMALL_DATASETS = [name for name, dataset in DATASETS.items() if dataset.small]


def dataset_of(name):
    """The Dataset of a name. UserError if there is none."""
    if name not in DATASETS:
        raise UserError('unknown data set %r; there are %s' % (name, ', '.join(DATASETS)))
    return DATASETS[name]


def load_dataset(name, batch_size, seed=0, workers=0, training=True, shape=None, class_names=(), accumulate=1,
                 **places):
    """(training, validation) batches of a data set of DATASETS, or (None, validation) where nothing is to be trained.

    places: what `load` of the data set takes, such as data_dir, and label_set for cifar100.
    shape: {'classes', 'size', 'crop_ratio'} of ImageBatches; the small data sets have their own.
    class_names: of the outputs of a network that is not to be trained, if they are known. Labels go by name: those of
    the validation images are the network's, or those of the training images. accumulate: how many times as many images
    a training batch has.
    """
    dataset, shape, train = dataset_of(name), shape or {}, None
    if training:
        source = dataset.load(True, **places)
        class_names = source.class_names
        train = dataset.batches(source, batch_size * accumulate, True, seed, workers, **shape)
    validation = dataset.load(False, **places)
    if not dataset.small:
        if training and os.path.samefile(source.path, validation.path):
            LOG.warning('%s holds the training and the validation images: the error is that of images which are '
                        'trained on', validation.path)
        validation = labels.labelled(validation, class_names, shape.get('classes', dataset.classes))
    return train, dataset.batches(validation, batch_size, False, workers=workers, **shape)
