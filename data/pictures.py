"""Pictures from outside of a data set: read, brought to what a network was trained on, and shown again.

    batch = batch_of(['cat.jpg', array], 'imagenet')      # (2, 3, 224, 224) float32
    shown(batch, 'imagenet')                              # (2, 224, 224, 3), colours in 0..1

What comes from the data set itself passes unchanged: `batch_of` then equals the validation batches, as a test checks.
"""
import os

from runtime import UserError

import numpy as np

from data import dataset_of
from data.decode import check_aspect, decode, read_file


def class_name(index, names):
    """Of a class; outputs without one, such as 80 of the 100 for CIFAR-100's coarse labels, go by number."""
    return names[index] if index < len(names) else 'class %d' % index


def read_picture(path):
    """(H, W, 3) uint8, RGB, of a file. See data.decode for what is read, and how.

    Raises OSError for a file that cannot be read, and UserError for one that is not an image or too large a one.
    """
    path = os.fspath(path)
    return np.ascontiguousarray(decode(read_file(path), path)[..., ::-1])


def batch_of(pictures, dataset='imagenet', size=224, crop_ratio=0.875):
    """(N, 3, H, W) float32, normalised as the validation images of a data set are.

    pictures: paths, or arrays of uint8, RGB (H, W, 3) or grey (H, W). dataset: a name of data.DATASETS.
    size, crop_ratio: of imagenet, as in evaluate.py; the small data sets have 32x32.
    Raises UserError for what is not a picture, and OSError for a file that cannot be read.
    """
    view = dataset_of(dataset).view
    views = [view(*_picture(picture), size, crop_ratio) for picture in pictures]  # one large photo at a time
    if not views:
        raise UserError('there is no picture')
    return np.stack(views)


def shown(batch, dataset='imagenet'):
    """(N, H, W, 3) float, RGB in 0..1, of a normalised batch (N, 3, H, W)."""
    mean, std = np.float32(dataset_of(dataset).mean), np.float32(dataset_of(dataset).std)
    return np.clip(np.asarray(batch).transpose(0, 2, 3, 1) * std + mean, 0, 1)


def _picture(picture):
    """(array, name) of an array or of a file; UserError unless it is a picture of a usable shape."""
    name = 'a picture'
    if isinstance(picture, (str, os.PathLike)):
        name = os.fspath(picture)
        picture = read_picture(picture)
    picture = np.asarray(picture)
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.dtype != 'uint8' or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise UserError('%s is %s of %s, not (H, W, 3) or (H, W) of uint8' % (name, picture.shape, picture.dtype))
    check_aspect(picture, name)
    return picture, name
