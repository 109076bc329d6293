"""Fashion-MNIST from its four idx files, as 32x32 images of three channels.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv 1708.07747, MIT licence. `fashion-mnist-mini` is a
balanced part of it that is in this repository (data/fashion-mnist-mini), made by `python -m tools.make_mini`.

The files may be packed or not, be called train-images-idx3-ubyte or train-images.idx3-ubyte, and be in the data folder
or in torchvision's FashionMNIST/raw inside it.
"""
import gzip
import hashlib
import logging
import math
import os
import zlib

from runtime import UserError

import numpy as np

from data.batches import Pixels
from data.download import fetch
from data.places import contents

LOG = logging.getLogger(__name__)
LARGEST = 1 << 26  # bytes of a file of images: the real one has 47 MB, and takes four times as much in memory
MEAN = (0.2860,) * 3
STD = (0.3530,) * 3
CLASS_NAMES = ('T-shirt/top', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot')
DEBIAN = '/usr/share/datasets/fashion-mnist'
DEFAULT = '~/.mxnet/datasets/fashion-mnist'
MINI = os.path.join(os.path.dirname(__file__), 'fashion-mnist-mini')
FOLDERS = '', 'raw', os.path.join('FashionMNIST', 'raw')
URL = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/'
FILES = {
    'train-images-idx3-ubyte.gz': 'md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d',
    'train-labels-idx1-ubyte.gz': 'md5:25c81989df183df01b3e8a0aad5dffbe',
    't10k-images-idx3-ubyte.gz': 'md5:bef4ecab320f06d8554ea6380940ec79',
    't10k-labels-idx1-ubyte.gz': 'md5:bb300cfdad3c16e7a12a480ee83cd310',
}
# MD5 of the files unpacked, and of those that MNIST has under the same names.
UNPACKED = {
    'train-images': 'f4a8712d7a061bf5bd6d2ca38dc4d50a', 'train-labels': '9018921c3c673c538a1fc5bad174d6f9',
    't10k-images': '8181f5470baa50b63fa0f6fddb340f0a', 't10k-labels': '15d484375f8d13e6eb1aabb0c3f46965',
}
DIGITS = ('6bbc9ace898e44ae57da46a324031adb', 'a25bea736e30d166cdddb491f175f624', '2646ac647ad5339dbf082846283269ea',
          '27ae3e4e09519cfbb04c329615203637')


def load(train, data_dir=None):
    """The Pixels (60000 or 10000, 3, 32, 32) of the training or the test images; from data_dir, else where it is found.

    Without data_dir: ~/.mxnet/datasets/fashion-mnist, else Debian's package, else a download into the first.
    """
    if data_dir:
        return _read(*files_in(os.path.expanduser(data_dir), train), check=True)
    place = os.path.expanduser(DEFAULT)
    found = [paths for paths in (find(folder, train) for folder in (place, DEBIAN)) if all(paths)]
    if not found:
        for name, checksum in FILES.items():
            fetch(URL + name, checksum, place)
    return _read(*(found or [find(place, train)])[0], check=True)


def load_mini(train, data_dir=None):
    """The same, of the part that is in the repository (or in data_dir)."""
    return _read(*files_in(os.path.expanduser(data_dir or MINI), train))


def files_in(place, train):
    """The paths of the images and of the labels in a folder. UserError if one is missing."""
    paths = find(place, train)
    if not all(paths):
        raise UserError('there is no Fashion-MNIST in %s: looked for %s and %s, packed (.gz) or not, there, in raw and '
                        'in FashionMNIST/raw: %s' % (place, *_names(train)[0], contents(place)))
    return paths


def find(place, train):
    """The paths of the images and of the labels, (None, None) where there are none."""
    for folder in FOLDERS:
        for names in _names(train):
            paths = [os.path.join(place, folder, name) for name in names]
            for ending in '', '.gz':
                if all(os.path.isfile(path + ending) for path in paths):
                    return [path + ending for path in paths]
    return None, None


def _names(train):
    part = 'train' if train else 't10k'
    return [('%s-images%sidx3-ubyte' % (part, mark), '%s-labels%sidx1-ubyte' % (part, mark)) for mark in '-.']


def _read(images_path, labels_path, check=False):
    """The Pixels of two files. check: warn if they are not those of Fashion-MNIST."""
    images, labels = read_idx(images_path, 3, check), read_idx(labels_path, 1, check)
    if images.shape[1:] != (28, 28):
        raise UserError('the images in %s are %dx%d, not 28x28' % (images_path, *images.shape[1:]))
    if len(images) != len(labels):
        raise UserError('%s holds %d images and %s %d labels' % (images_path, len(images), labels_path, len(labels)))
    if labels.max() >= len(CLASS_NAMES):
        raise UserError('label %d in %s is out of range: there are %d classes'
                        % (labels.max(), labels_path, len(CLASS_NAMES)))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return Pixels(np.repeat(padded[:, None], 3, axis=1), labels, CLASS_NAMES)


def read_idx(path, dimensions, check=False):
    """The uint8 array of an idx file (big-endian: type and number of dimensions, sizes, bytes), packed or not."""
    try:
        with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as file:
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
                raise UserError('%s is not an idx file of bytes with %d dimensions' % (path, dimensions))
            shape = np.frombuffer(header, '>u4', dimensions, 4).tolist()
            size = math.prod(shape)
            if not 0 < size <= LARGEST:
                raise UserError('%s says that it holds %d bytes of data: at most %d are read' % (path, size, LARGEST))
            content = file.read(size + 1)  # a few bytes may unpack to gigabytes
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError('%s is cut short or damaged (%s)' % (path, error)) from error
    if len(content) != size:
        raise UserError('%s holds %s bytes of data where its header says %d'
                        % (path, 'more' if len(content) > size else len(content), size))
    if check:
        check_origin(path, header + content)
    return np.frombuffer(content, 'uint8').reshape(shape)


def check_origin(path, content):
    """Warn if a file of this name is not Fashion-MNIST's: its classes would have wrong names."""
    known = UNPACKED[os.path.basename(path)[:len('train-images')].rstrip('-.')]
    found = hashlib.md5(content).hexdigest()
    if found != known:
        LOG.warning('%s is %s: its MD5 is %s, and not %s', path, 'of MNIST, whose classes are digits' if found in DIGITS
                    else 'not that of Fashion-MNIST', found, known)
