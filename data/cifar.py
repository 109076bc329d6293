"""CIFAR-10 and CIFAR-100 in the binary version of the Toronto site.

A record is one label byte (CIFAR-100: coarse, then fine) and 3072 bytes of pixels (3, 32, 32). The files may lie flat
in the data folder, in the archive's own folder inside it, or still in the .tar.gz, which is read without unpacking it.
Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""
import os
import tarfile
import zlib
from collections import namedtuple

from runtime import UserError

import numpy as np

from data.batches import Pixels
from data.download import fetch

URL = 'https://www.cs.toronto.edu/~kriz/'
PIXELS = 3 * 32 * 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)

Variant = namedtuple('Variant', 'archive md5 folder train test label_bytes label_classes')
CIFAR10 = Variant('cifar-10-binary.tar.gz', 'c32a1d4ab5d03f1284b67883e8d87530', 'cifar-10-batches-bin',
                  {'data_batch_%d.bin' % i: 10000 for i in range(1, 6)}, {'test_batch.bin': 10000}, 1, (10,))
CIFAR100 = Variant('cifar-100-binary.tar.gz', '03b5dce01913d631647c71ecec9e9cb8', 'cifar-100-binary',
                   {'train.bin': 50000}, {'test.bin': 10000}, 2, (20, 100))
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


def load_cifar10(train, data_dir=None):
    """The Pixels (50000 or 10000, 3, 32, 32) of the training or the test images; downloaded if missing."""
    return Pixels(*_load(CIFAR10, train, data_dir or '~/.mxnet/datasets/cifar10', 0), CLASS_NAMES)


def load_cifar100(train, data_dir=None, label_set='coarse'):
    """The same for CIFAR-100, with its 20 coarse or its 100 fine labels."""
    return Pixels(*_load(CIFAR100, train, data_dir or '~/.mxnet/datasets/cifar100', LABEL_SETS.index(label_set)),
                  CLASS_NAMES_100[label_set])


def _load(variant, train, data_dir, column):
    folder = os.path.expanduser(data_dir)
    if not _files(variant, folder) and not os.path.isfile(os.path.join(folder, variant.archive)):
        fetch(URL + variant.archive, 'md5:' + variant.md5, folder)
    content = _files(variant, folder) or _archive(variant, os.path.join(folder, variant.archive))
    return _decode(variant, [content[name] for name in (variant.train if train else variant.test)], column)


def _files(variant, folder):
    """{name: bytes} of the .bin files of a folder, or of the archive's own folder in it; None if one is missing."""
    names = {**variant.train, **variant.test}
    for place in (folder, os.path.join(folder, variant.folder)):
        paths = {name: os.path.join(place, name) for name in names}
        if all(os.path.isfile(path) for path in paths.values()):
            return {name: _content(variant, name, open(path, 'rb'), path) for name, path in paths.items()}
    return None


def _archive(variant, path):
    """{name: bytes} of the .bin files inside the .tar.gz; only these members are looked at, by their exact names."""
    try:
        with tarfile.open(path) as archive:
            return {name: _content(variant, name, _member(archive, '%s/%s' % (variant.folder, name)), path)
                    for name in {**variant.train, **variant.test}}
    except KeyError as error:
        raise UserError('%s lacks a member: %s' % (path, error.args[0])) from error
    except (tarfile.TarError, EOFError, zlib.error, OSError, IndexError, OverflowError, RecursionError) as error:
        raise UserError('%s is cut short or damaged (%s)' % (path, error)) from error


def _member(archive, name):
    member = archive.getmember(name)
    if not member.isreg():  # a link may lead anywhere, or to itself
        raise KeyError('%s is not a file' % name)
    return archive.extractfile(member)


def _content(variant, name, file, path):
    """The bytes of a file that must hold exactly as many records as belong to its name."""
    size = {**variant.train, **variant.test}[name] * (variant.label_bytes + PIXELS)
    with file:
        content = file.read(size + 1)
    if len(content) != size:
        raise UserError('%s: %s holds %s bytes where %d belong'
                        % (path, name, 'more' if len(content) > size else len(content), size))
    return content


def _decode(variant, contents, column):
    records = np.frombuffer(b''.join(contents), 'uint8').reshape(-1, variant.label_bytes + PIXELS)
    labels, classes = records[:, column], variant.label_classes[column]
    if labels.max() >= classes:
        raise UserError('label %d is out of range in %s: there are %d classes'
                        % (labels.max(), variant.folder, classes))
    return records[:, variant.label_bytes:].reshape(-1, 3, 32, 32), labels.copy()
