"""Fashion-MNIST from its four idx.gz files, as 32x32 images of three channels.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv 1708.07747, MIT licence. `fashion-mnist-mini` is a
balanced part of it that lies in this repository (data/fashion-mnist-mini), made by `python -m tools.make_mini`.
"""
import gzip
import math
import os
import zlib

from runtime import UserError

import numpy as np

from data.batches import Pixels
from data.download import fetch

LARGEST = 1 << 30  # bytes of a file of images
MEAN = (0.2860,) * 3
STD = (0.3530,) * 3
CLASS_NAMES = ('T-shirt/top', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot')
DEBIAN = '/usr/share/datasets/fashion-mnist'
DEFAULT = '~/.mxnet/datasets/fashion-mnist'
MINI = os.path.join(os.path.dirname(__file__), 'fashion-mnist-mini')
URL = 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/'
FILES = {
    'train-images-idx3-ubyte.gz': 'md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d',
    'train-labels-idx1-ubyte.gz': 'md5:25c81989df183df01b3e8a0aad5dffbe',
    't10k-images-idx3-ubyte.gz': 'md5:bef4ecab320f06d8554ea6380940ec79',
    't10k-labels-idx1-ubyte.gz': 'md5:bb300cfdad3c16e7a12a480ee83cd310',
}


def load(train, data_dir=None):
    """The Pixels (60000 or 10000, 3, 32, 32) of the training or the test images; from data_dir, else where it is found.

    Without data_dir: ~/.mxnet/datasets/fashion-mnist, else Debian's package, else a download into the first.
    """
    folder = os.path.expanduser(data_dir or DEFAULT)
    if not data_dir and not _complete(folder):
        folder = DEBIAN if _complete(DEBIAN) else folder
    if not _complete(folder):
        for name, checksum in FILES.items():
            fetch(URL + name, checksum, folder)
    return _read(folder, train)


def load_mini(train, data_dir=None):
    """The same, of the part that is in the repository (or in data_dir)."""
    return _read(os.path.expanduser(data_dir or MINI), train)


def _complete(folder):
    return all(os.path.isfile(os.path.join(folder, name)) for name in FILES)


def _read(folder, train):
    part = 'train' if train else 't10k'
    images = read_idx(os.path.join(folder, part + '-images-idx3-ubyte.gz'), 3)
    labels = read_idx(os.path.join(folder, part + '-labels-idx1-ubyte.gz'), 1)
    if images.shape[1:] != (28, 28):
        raise UserError('%s images in %s are %dx%d, not 28x28' % ((part, folder) + images.shape[1:]))
    if len(images) != len(labels):
        raise UserError('%d %s images but %d labels in %s' % (len(images), part, len(labels), folder))
    if labels.size and labels.max() >= len(CLASS_NAMES):
        raise UserError('label %d in %s is out of range: there are %d classes'
                        % (labels.max(), folder, len(CLASS_NAMES)))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return Pixels(np.repeat(padded[:, None], 3, axis=1), labels, CLASS_NAMES)


def read_idx(path, dimensions):
    """The uint8 array of an idx.gz file (big-endian: type and number of dimensions, sizes, bytes)."""
    try:
        with gzip.open(path, 'rb') as file:
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
    return np.frombuffer(content, 'uint8').reshape(shape)
