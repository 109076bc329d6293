"""CIFAR-10 and CIFAR-100: their classes, and where they are looked for.

In data_dir, or in ~/.mxnet/datasets/cifar10 and cifar100, in any form that data.cifar_files knows. Without data_dir
the binary version of the Toronto site is downloaded if there is none.
Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""
import os
from typing import Dict, NamedTuple, Tuple

from runtime import UserError

from data.batches import Pixels
from data.cifar_files import read_split
from data.download import fetch
from data.places import contents

URL = 'https://www.cs.toronto.edu/~kriz/'
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
LABEL_SETS = ('coarse', 'fine')

CLASS_NAMES = tuple('airplane automobile bird cat deer dog frog horse ship truck'.split())
# The 20 coarse classes of CIFAR-100, and the fine ones in each of them. Its labels count both in alphabetical order.
SUPERCLASSES = {
    'aquatic mammals': ('beaver', 'dolphin', 'otter', 'seal', 'whale'),
    'fish': ('aquarium fish', 'flatfish', 'ray', 'shark', 'trout'),
    'flowers': ('orchid', 'poppy', 'rose', 'sunflower', 'tulip'),
    'food containers': ('bottle', 'bowl', 'can', 'cup', 'plate'),
    'fruit and vegetables': ('apple', 'mushroom', 'orange', 'pear', 'sweet pepper'),
    'household electrical devices': ('clock', 'keyboard', 'lamp', 'telephone', 'television'),
    'household furniture': ('bed', 'chair', 'couch', 'table', 'wardrobe'),
    'insects': ('bee', 'beetle', 'butterfly', 'caterpillar', 'cockroach'),
    'large carnivores': ('bear', 'leopard', 'lion', 'tiger', 'wolf'),
    'large man-made outdoor things': ('bridge', 'castle', 'house', 'road', 'skyscraper'),
    'large natural outdoor scenes': ('cloud', 'forest', 'mountain', 'plain', 'sea'),
    'large omnivores and herbivores': ('camel', 'cattle', 'chimpanzee', 'elephant', 'kangaroo'),
    'medium-sized mammals': ('fox', 'porcupine', 'possum', 'raccoon', 'skunk'),
    'non-insect invertebrates': ('crab', 'lobster', 'snail', 'spider', 'worm'),
    'people': ('baby', 'boy', 'girl', 'man', 'woman'),
    'reptiles': ('crocodile', 'dinosaur', 'lizard', 'snake', 'turtle'),
    'small mammals': ('hamster', 'mouse', 'rabbit', 'shrew', 'squirrel'),
    'trees': ('maple tree', 'oak tree', 'palm tree', 'pine tree', 'willow tree'),
    'vehicles 1': ('bicycle', 'bus', 'motorcycle', 'pickup truck', 'train'),
    'vehicles 2': ('lawn mower', 'rocket', 'streetcar', 'tank', 'tractor'),
}
CLASS_NAMES_100 = {'coarse': tuple(SUPERCLASSES), 'fine': tuple(sorted(sum(SUPERCLASSES.values(), ())))}


class Files(NamedTuple):
    """One version of the files.   train, test: {name: images in it}   archives: the names that it is found under"""
    folder: str
    train: Dict[str, int]
    test: Dict[str, int]
    archives: Tuple[str, ...]


class Variant(NamedTuple):
    """CIFAR-10 or CIFAR-100.   md5: of the first archive of the binary version
    labels: {name in the Python version: names of the classes}, in the order of the binary version
    parents: {class: superclass}
    """
    name: str
    place: str
    md5: str
    binary: Files
    python: Files
    labels: Dict[str, Tuple[str, ...]]
    parents: Dict[str, str] = {}


def _batches(ending=''):
    return {'data_batch_%d%s' % (number, ending): 10000 for number in range(1, 6)}


CIFAR10 = Variant(
    'CIFAR-10', '~/.mxnet/datasets/cifar10', 'c32a1d4ab5d03f1284b67883e8d87530',
    Files('cifar-10-batches-bin', _batches('.bin'), {'test_batch.bin': 10000}, ('cifar-10-binary.tar.gz',)),
    Files('cifar-10-batches-py', _batches(), {'test_batch': 10000},
          ('cifar-10-python.tar.gz', 'cifar-10-batches-py.tar.gz')),  # the second is Keras's name
    {'labels': CLASS_NAMES})
CIFAR100 = Variant(
    'CIFAR-100', '~/.mxnet/datasets/cifar100', '03b5dce01913d631647c71ecec9e9cb8',
    Files('cifar-100-binary', {'train.bin': 50000}, {'test.bin': 10000}, ('cifar-100-binary.tar.gz',)),
    Files('cifar-100-python', {'train': 50000}, {'test': 10000}, ('cifar-100-python.tar.gz',)),
    {'coarse_labels': CLASS_NAMES_100['coarse'], 'fine_labels': CLASS_NAMES_100['fine']},
    {name: parent for parent, names in SUPERCLASSES.items() for name in names})


def load_cifar10(train, data_dir=None):
    """The Pixels (50000 or 10000, 3, 32, 32) of the training or the test images; downloaded if missing."""
    return load(CIFAR10, train, data_dir, 'labels')


def load_cifar100(train, data_dir=None, label_set='coarse'):
    """The same for CIFAR-100, with its 20 coarse or its 100 fine labels."""
    if label_set not in LABEL_SETS:
        raise UserError('unknown label set %r; there are %s' % (label_set, ', '.join(LABEL_SETS)))
    return load(CIFAR100, train, data_dir, label_set + '_labels')


def load(variant, train, data_dir, labels):
    """The Pixels of a Variant, with its labels of this name."""
    place = os.path.expanduser(data_dir or variant.place)
    found = read_split(variant, place, train)
    if found is None and data_dir:
        raise UserError('there is no %s in %s: looked for %s'
                        % (variant.name, place, looked_for(variant, train, place)))
    if found is None:
        fetch(URL + variant.binary.archives[0], 'md5:' + variant.md5, place)
        found = read_split(variant, place, train)
    pixels, columns = found
    return Pixels(pixels, columns[:, list(variant.labels).index(labels)], variant.labels[labels])


def looked_for(variant, train, place):
    """What the forms of a Variant would be, and what there is instead, for a message."""
    files = [next(iter(version.train if train else version.test)) for version in (variant.binary, variant.python)]
    return '%s and %s, there or in %s and %s, for %s, and for class folders in %s: %s' % (
        *files, variant.binary.folder, variant.python.folder,
        ', '.join(variant.binary.archives + variant.python.archives), 'train' if train else 'test or val',
        contents(place))
