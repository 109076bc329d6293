"""ImageNet, or any labelled JPEGs, from RecordIO files or from class folders, through one and the same pipeline.

Training: a random box of 8-100 % of the area, bilinear to size x size, mirrored half of the time, brightness, contrast
and saturation jitter of 0.4 and PCA lighting of 0.1: the authors' recipe. Validation: the shorter side to
ceil(size / crop ratio), the centre crop.

Why not MXNet's ImageRecordIter: it rolls its last batch over into the next epoch, reports a stale pad, caps its threads
at half of the processors, starts every run at the order of epoch 0, and with several threads gives each image whatever
random numbers come next. Here an image's augmentation is a function of (seed, epoch, image) for any number of threads,
and every image is read once an epoch. The validation arithmetic is the iterator's (a test compares the two).
"""
import os
import struct
from functools import partial

from runtime import UserError

import numpy as np

from data.augment import centre_box, colour_map, generator, random_resized_box
from data.batches import AUGMENTATION, Batches
from data.seal import checksum, read_seal

try:
    import cv2
except ImportError as error:
    raise OSError('opencv cannot be loaded (%s): install libgl1 with the system, or opencv-python-headless with pip'
                  % error) from error

# Per channel of RGB in 0..255, as the authors' RecordIO path has them.
MEAN = np.array([123.68, 116.779, 103.939], dtype='float32')
STD = np.array([58.393, 57.12, 57.375], dtype='float32')

DEFAULT = '~/.mxnet/datasets/imagenet'
MAGIC = 0xced7230a
HEADER = struct.Struct('<II')        # magic, then three bits of continuation flag and 29 bits of length
LABEL = struct.Struct('<IfQQ')       # number of further labels, label, two ids
LABELS_CHECKED = 2000                # headers read before training starts, spread over the file
LARGEST_ASPECT = 100                 # a thin strip becomes a huge image when its shorter side is enlarged


class RecordFile:
    """The images of a .rec file, by the offsets of its .idx.   len(records), records.read(i) -> (JPEG bytes, label)

    idx: its path, by default that of the .rec with the other ending. sealed: compare records with the checksums of
    data.seal, where there are any. Reading is by position, so many threads may read at once.
    Raises UserError for files that are damaged or do not belong together, and OSError for missing ones.
    """

    def __init__(self, rec, idx=None, sealed=True):
        self.path = rec
        self.idx = os.path.expanduser(idx) if idx else os.path.splitext(rec)[0] + '.idx'
        self.file = open(rec, 'rb', buffering=0)
        size = os.fstat(self.file.fileno()).st_size
        self.starts = self._offsets()
        if self.starts.min() < 0 or self.starts.max() > size - HEADER.size - LABEL.size:
            raise UserError('%s does not belong to %s: it points outside of it, or the file was cut short'
                            % (self.idx, rec))
        ordered = np.unique(self.starts)
        if len(ordered) != len(self.starts):
            raise UserError('%s names a record twice' % self.idx)
        self.ends = np.append(ordered, size)[np.searchsorted(ordered, self.starts) + 1]
        self.sums = read_seal(rec, len(self)) if sealed else None

    def _offsets(self):
        with open(self.idx) as file:
            try:
                numbers = np.array(file.read().split(), dtype='int64').reshape(-1, 2)
            except (ValueError, OverflowError) as error:
                raise UserError('%s is not an index of lines `key<tab>offset`' % self.idx) from error
        if not len(numbers):
            raise UserError('%s is empty' % self.idx)
        return numbers[:, 1]

    def __len__(self):
        return len(self.starts)

    def read(self, row):
        record = self._record(row)
        further, label, *_ = LABEL.unpack_from(record)
        begin = LABEL.size + 4 * further
        if begin > len(record):
            self._foreign(row)
        if further:
            label, = struct.unpack_from('<f', record, LABEL.size)
        return record[begin:], self._whole(label, row)

    def label(self, row):
        """The label alone, without reading the image."""
        start = int(self.starts[row])
        magic, _ = HEADER.unpack(self._bytes(row, start, HEADER.size))
        if magic != MAGIC:
            self._foreign(row)
        further, label, *_ = LABEL.unpack(self._bytes(row, start + HEADER.size, LABEL.size))
        if further:
            label, = struct.unpack('<f', self._bytes(row, start + HEADER.size + LABEL.size, 4))
        return self._whole(label, row)

    def content(self, row):
        """The bytes from the beginning of a record to that of the next one."""
        start = int(self.starts[row])
        return self._bytes(row, start, int(self.ends[row]) - start)

    def _bytes(self, row, start, length):
        if start + length > self.ends[row]:
            self._foreign(row)
        return os.pread(self.file.fileno(), length, start)

    def _record(self, row):
        """The bytes of a record; one that contained the magic number was written in parts and is joined with it.

        Its length is in its header: an index that lacks records says less.
        """
        if self.sums and checksum(self.content(row)) != self.sums[row]:
            raise UserError('record %d of %s is damaged: its checksum is another' % (row, self.path))
        parts, position, flag = [], int(self.starts[row]), 1
        while flag in (1, 2):
            magic, length = HEADER.unpack(self._bytes(row, position, HEADER.size))
            flag, length = length >> 29, length & (1 << 29) - 1
            if magic != MAGIC:
                self._foreign(row)
            parts.append(self._bytes(row, position + HEADER.size, length))
            position += HEADER.size + (length + 3) // 4 * 4
        record = struct.pack('<I', MAGIC).join(parts)
        if len(record) < LABEL.size:
            self._foreign(row)
        return record

    def _whole(self, label, row):
        if not label.is_integer():
            raise UserError('record %d of %s has the label %s' % (row, self.path, label))
        return int(label)

    def _foreign(self, row):
        raise UserError('record %d of %s is damaged, or %s does not belong to it' % (row, self.path, self.idx))


class ImageFolder:
    """The images of root/train or root/val, a folder per class in sorted order.   As RecordFile."""

    def __init__(self, root, train):
        from gluoncv.data import ImageNet
        root = os.path.expanduser(root or DEFAULT)
        self.path = os.path.join(root, 'train' if train else 'val')
        if not os.path.isdir(self.path):
            raise OSError('there is no folder %s' % self.path)
        folders = ImageNet(root, train=train)
        self.items, self.class_names = folders.items, folders.synsets
        if not self.items:
            raise UserError('there is no image in the class folders of %s' % self.path)

    def __len__(self):
        return len(self.items)

    def read(self, row):
        path, label = self.items[row]
        with open(path, 'rb') as file:
            return file.read(), label

    def label(self, row):
        return self.items[row][1]


class ImageBatches(Batches):
    """Batches of decoded, augmented and normalised images.   source: a RecordFile or an ImageFolder

    size: of the square image. crop_ratio: of the validation crop to the shorter side. workers: threads, at most one a
    processor. Raises UserError if a label is not in 0..classes - 1.
    """

    def __init__(self, source, classes, batch_size, train, seed=0, workers=0, size=224, crop_ratio=0.875):
        if crop_ratio > 1:
            raise UserError('the crop ratio %s must not be above 1' % crop_ratio)
        super().__init__(len(source), classes, batch_size, train, seed, min(workers, len(os.sched_getaffinity(0))))
        self.source, self.size = source, size
        self.shorter_side = int(np.ceil(size / crop_ratio))
        for row in np.linspace(0, len(source) - 1, min(len(source), LABELS_CHECKED)).astype(int):
            self._checked(source.label(row), row)

    def load(self, rows, epoch, batch, mapped):
        rows = rows[self.own(len(rows))]
        data = np.empty((len(rows), 3, self.size, self.size), dtype='float32')
        labels = np.empty(len(rows), dtype='int32')
        for _ in mapped(partial(self._place, data, labels, epoch), range(len(rows)), rows):
            pass
        return data, labels

    def _place(self, data, labels, epoch, position, row):
        encoded, label = self.source.read(row)
        labels[position] = self._checked(label, row)
        image = decoded(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise UserError('image %d of %s cannot be decoded' % (row, self.source.path))
        if is_strip(image):
            raise UserError('image %d of %s is too thin a strip: at most 1:%d is taken'
                            % (row, self.source.path, LARGEST_ASPECT))
        random = generator(self.seed, AUGMENTATION, epoch, row) if self.train else None
        data[position] = training_view(image, self.size, random) if self.train else \
            validation_view(image, self.size, self.shorter_side)

    def _checked(self, label, row):
        if not 0 <= label < self.classes:
            raise UserError('label %d of image %d in %s is out of range: there are %d classes'
                            % (label, row, self.source.path, self.classes))
        return label


def decoded(content, flags=cv2.IMREAD_COLOR):
    """The BGR image (H, W, 3) uint8 of an encoded one, upright by its EXIF; None if it cannot be decoded."""
    try:
        return cv2.imdecode(np.frombuffer(content, 'uint8'), flags)
    except cv2.error:  # nothing in it, or more pixels than OpenCV allows
        return None


def is_strip(image):
    return max(image.shape[:2]) > LARGEST_ASPECT * min(image.shape[:2])


def training_view(image, size, random):
    """(3, size, size) float32, augmented and normalised, of a BGR image (H, W, 3) uint8."""
    image = _resized(_box(image, random_resized_box(*image.shape[:2], random)), size, size)
    mean = np.array(cv2.mean(image)[2::-1], dtype='float32')  # NumPy would take longer than decoding does
    if random.random() < 0.5:
        image = image[:, ::-1]
    matrix, offset = colour_map(mean, random)
    return _transformed(image, matrix, offset)


def validation_view(image, size, shorter_side):
    """(3, size, size) float32, normalised, the centre of the image with its shorter side resized."""
    height, width = image.shape[:2]
    if height > width:
        image = _resized(image, shorter_side, shorter_side * height // width)
    else:
        image = _resized(image, shorter_side * width // height, shorter_side)
    return _transformed(_box(image, centre_box(*image.shape[:2], size)), np.eye(3, dtype='float32'), np.zeros(3))


def _box(image, box):
    top, left, height, width = box
    return image[top:top + height, left:left + width]


def _resized(image, width, height):
    return image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height),
                                                                       interpolation=cv2.INTER_LINEAR)


def _transformed(image, matrix, offset):
    """A BGR image through a colour map for RGB and through normalisation, as planes."""
    affine = np.column_stack([matrix[:, ::-1], offset - MEAN]) / STD[:, None]
    return cv2.transform(np.ascontiguousarray(image, dtype='float32'), affine.astype('float32')).transpose(2, 0, 1)


def folder_sources(root):
    """(train, val) ImageFolders; UserError unless both have the same classes."""
    train, val = ImageFolder(root, True), ImageFolder(root, False)
    if train.class_names != val.class_names:
        differing = sorted(set(train.class_names) ^ set(val.class_names))
        raise UserError('the class folders of %s and %s differ: %s' % (train.path, val.path, ', '.join(differing[:5])))
    return train, val


cv2.setNumThreads(1)  # the threads of the batches are the parallelism
