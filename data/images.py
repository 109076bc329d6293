"""ImageNet, or any labelled pictures, from RecordIO files or from class folders, through one and the same pipeline.

Training: a random box of 8-100 % of the area, bilinear to size x size, mirrored half of the time, brightness, contrast
and saturation jitter of 0.4 and PCA lighting of 0.1, in uint8: the authors' recipe. Validation: the shorter side to
ceil(size / crop ratio), the centre crop.

Why not MXNet's ImageRecordIter: it rolls its last batch over into the next epoch and reports a stale pad. It caps its
threads at half of the processors. It starts every run at the order of epoch 0. With several threads it gives each
image whatever random numbers come next. Here an image's augmentation is a function of (seed, epoch, image) for any
number of threads, and every image is read once an epoch. The validation arithmetic is the iterator's (a test compares
the two).
"""
import logging
import os
from functools import partial

from runtime import LARGEST_PICTURE, UserError

import numpy as np

from data.augment import centre_box, generator, jitter, random_resized_box
from data.batches import AUGMENTATION, Batches
from data.decode import decode
from data.folders import ImageFolder
from data.labels import check_label
from data.opencv import cv2
from data.recordio import RecordFile

LOG = logging.getLogger(__name__)
# Per channel of RGB in 0..255, as the authors' RecordIO path has them.
MEAN = np.array([123.68, 116.779, 103.939], dtype='float32')
STD = np.array([58.393, 57.12, 57.375], dtype='float32')
NORMALISATION = (np.column_stack([np.eye(3)[:, ::-1], -MEAN]) / STD[:, None]).astype('float32')  # of BGR, to RGB

CROP_RATIOS = (0.1, 1)  # least and most
LABELS_CHECKED = 2000  # headers read before training starts, spread over the file
PARTS = 8              # of a batch for each thread; a task for each image would load a sixth fewer a second


def load(train, data_dir=None, use_rec=False, rec_train=None, rec_train_idx=None, rec_val=None, rec_val_idx=None):
    """The training or the validation images: a RecordFile if use_rec, else the ImageFolder in data_dir."""
    if use_rec:
        return RecordFile(*((rec_train, rec_train_idx) if train else (rec_val, rec_val_idx)))
    return ImageFolder(data_dir, train)


class ImageBatches(Batches):
    """Batches of decoded, augmented and normalised images.   source: a RecordFile or an ImageFolder

    size: of the square image. crop_ratio: of the validation crop to the shorter side. workers: threads, at most one a
    processor. Raises UserError if a label is that of no class: of those that have names, where the source knows them.
    """

    def __init__(self, source, classes, batch_size, train, seed=0, workers=0, size=224, crop_ratio=0.875):
        known = len(source.class_names)
        if known > classes:
            raise UserError(f'{source.path} has {known} classes, and the network {classes} outputs: '
                            f'--num-classes {known}')
        if train and 0 < known < classes:
            LOG.warning('%s has %d classes: %d of the %d outputs have none, and are trained all the same '
                        '(--num-classes %d makes one for each class)', source.path, known, classes - known, classes,
                        known)
        super().__init__(len(source), classes, batch_size, train, seed, min(workers, len(os.sched_getaffinity(0))),
                         source.class_names)
        self.source = source
        self.size = size
        self.shorter_side = shorter_side(size, crop_ratio)
        for row in np.linspace(0, len(source) - 1, min(len(source), LABELS_CHECKED)).astype(int):
            self._check_label(source.label(row), row)

    def load(self, rows, epoch, batch, mapped):
        rows = rows[self.rows_of_worker(len(rows))]
        data = np.empty((len(rows), 3, self.size, self.size), dtype='float32')
        labels = np.empty(len(rows), dtype='int32')
        part = max(1, len(rows) // (PARTS * max(1, self.workers)))
        places = [range(len(rows))[begin:begin + part] for begin in range(0, len(rows), part)]
        for _ in mapped(partial(self._fill, data, labels, rows, epoch), places):
            pass
        return data, labels

    def _fill(self, data, labels, rows, epoch, places):
        """Put some images of a batch and their labels into their places."""
        for place in places:
            row = rows[place]
            encoded, label = self.source.read(row)
            self._check_label(label, row)
            labels[place] = label
            image = decode(encoded, self.source.name(row))
            if self.train:
                data[place] = training_view(image, self.size, generator(self.seed, AUGMENTATION, epoch, row))
            else:
                data[place] = validation_view(image, self.size, self.shorter_side)

    def _check_label(self, label, row):
        check_label(label, len(self.class_names) or self.classes, self.source.name(row))


def training_view(image, size, random):
    """(3, size, size) float32, augmented and normalised, of a BGR image (H, W, 3) uint8."""
    image = _resized(_box(image, random_resized_box(*image.shape[:2], random)), size, size)
    if random.random() < 0.5:
        image = cv2.flip(image, 1)
    return _normalised(jitter(image, random))


def picture_view(picture, name, size, crop_ratio):
    """The validation view of an RGB picture (H, W, 3) uint8."""
    return validation_view(picture[..., ::-1], size, shorter_side(size, crop_ratio))


def shorter_side(size, crop_ratio):
    """Of a validation image before its centre is cut out. UserError for a ratio that cannot be."""
    if not CROP_RATIOS[0] <= crop_ratio <= CROP_RATIOS[1]:
        raise UserError('the crop ratio %s must be between %s and %s' % (crop_ratio, *CROP_RATIOS))
    return int(np.ceil(size / crop_ratio))


def validation_view(image, size, shorter_side):
    """(3, size, size) float32, normalised, the centre of the image with its shorter side resized.

    UserError if it becomes too large.
    """
    height, width = image.shape[:2]
    if shorter_side ** 2 * max(height, width) > LARGEST_PICTURE * min(height, width):
        raise UserError('a picture of %dx%d is too large once its shorter side is %d' % (width, height, shorter_side))
    if height > width:
        image = _resized(image, shorter_side, shorter_side * height // width)
    else:
        image = _resized(image, shorter_side * width // height, shorter_side)
    return _normalised(_box(image, centre_box(*image.shape[:2], size)))


def _box(image, box):
    top, left, height, width = box
    return image[top:top + height, left:left + width]


def _resized(image, width, height):
    return image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height),
                                                                       interpolation=cv2.INTER_LINEAR)


def _normalised(image):
    """A BGR image as planes of RGB."""
    image = image.astype('float32', order='C')
    return cv2.transform(image, NORMALISATION, image).transpose(2, 0, 1)
