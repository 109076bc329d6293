"""What goes in. `DATASETS` holds the small data sets, by name; data.images reads the large ones."""
from collections import namedtuple

from runtime import UserError

from data import cifar, fashion_mnist
from data.batches import ArrayBatches

Dataset = namedtuple('Dataset', 'load classes mean std')

DATASETS = {
    'cifar10': Dataset(cifar.load_cifar10, 10, cifar.MEAN, cifar.STD),
    # The published figure shows the 20 coarse labels under a head of 100: both label sets keep the head.
    'cifar100': Dataset(cifar.load_cifar100, 100, cifar.MEAN, cifar.STD),
    'fashion-mnist': Dataset(fashion_mnist.load, fashion_mnist.CLASSES, fashion_mnist.MEAN, fashion_mnist.STD),
    'fashion-mnist-mini': Dataset(fashion_mnist.load_mini, fashion_mnist.CLASSES, fashion_mnist.MEAN,
                                  fashion_mnist.STD),
}


def load_dataset(name, batch_size, seed=0, workers=0, training=True, **options):
    """(training, validation) batches of a data set of DATASETS, or (None, validation) where nothing is to be trained.

    options: data_dir, and label_set for cifar100.
    """
    if name not in DATASETS:
        raise UserError('unknown data set %r; there are %s' % (name, ', '.join(DATASETS)))
    dataset = DATASETS[name]
    train, test = dataset.load(**options)
    shape = dataset.classes, dataset.mean, dataset.std, batch_size
    return (ArrayBatches(*train, *shape, train=True, seed=seed, workers=workers) if training else None,
            ArrayBatches(*test, *shape, train=False, workers=workers))
