"""Batches in a fixed order, prepared ahead of the loop by threads.

Batches have `images`, `classes`, `class_names` (() where they are not known), `batch_size` and `len(batches)` (batches
an epoch). `batches.epoch(number, start=0)` yields (data (n, 3, H, W) float32, labels (n,) int32) NumPy arrays from
batch `start` on. Every image comes exactly once an epoch; only the last batch may be smaller. What an epoch yields
depends on (seed, number) only, not on threads, and not on what was read before. Workers that train together yield their
own rows of these same batches: as many batches each, some of them perhaps without a row.
"""
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import NamedTuple

from runtime import UserError

import numpy as np

from data.augment import crop_and_flip, generator, normalise, pad

# Streams of random numbers: (seed, ORDER, epoch) and (seed, AUGMENTATION, epoch, batch or image).
ORDER, AUGMENTATION = 0, 1
BATCHES_AHEAD = 3
CROP_MARGIN = 4


class Pixels(NamedTuple):
    """The images of a small data set, in memory.   pixels: (N, 3, H, H) uint8   labels: (N,)"""
    pixels: np.ndarray
    labels: np.ndarray
    class_names: tuple = ()


class Batches:
    """What all of them share: order, batching and reading ahead.

    A subclass has `load(rows, epoch, batch, mapped)`, which gives those rows of a batch that `rows_of_worker` says.
    images: how many there are. train: shuffle and augment. workers: threads that prepare, 0 for none.
    Raises UserError for a data set without an image, and in training for a batch that is larger than it.
    """

    def __init__(self, images, classes, batch_size, train, seed=0, workers=0, class_names=()):
        if batch_size < 1:
            raise UserError('the batch size %s must be at least 1' % batch_size)
        if images < 1:
            raise UserError('the %s set has no image' % ('training' if train else 'validation'))
        if train and batch_size > images:
            raise UserError('a step of %d images is larger than the data set of %d: choose a smaller batch'
                            % (batch_size, images))
        self.images = images
        self.classes = classes
        self.batch_size = batch_size
        self.train = train
        self.seed = seed
        self.workers = workers
        self.class_names = tuple(class_names)
        self.rank, self.ranks = 0, 1

    def __len__(self):
        return ceil(self.images / self.batch_size)

    def divide(self, rank, ranks):
        """Yield the rows of one of several workers from now on. UserError if one would have no pair of a batch."""
        if self.train and self.batch_size < 2 * ranks - 1:
            raise UserError('a batch of %d images is too small for %d workers: it must have at least %d'
                            % (self.batch_size, ranks, 2 * ranks - 1))
        self.rank, self.ranks = rank, ranks

    def rows_of_worker(self, count):
        """The places of this worker's rows in a batch of `count`, in ascending order.

        A place and its mirror in the batch stay together, as mixup mixes the images there.
        """
        pairs = (count + 1) // 2
        first, end = (pairs * rank // self.ranks for rank in (self.rank, self.rank + 1))
        return np.unique(np.concatenate([np.arange(first, end), np.arange(count - end, count - first)]))

    def images_in(self, batch):
        """The images of a batch, those of all workers together."""
        return min(self.batch_size, self.images - batch * self.batch_size)

    def order(self, epoch):
        """The rows of the data set in the order of this epoch."""
        if not self.train:
            return np.arange(self.images)
        return generator(self.seed, ORDER, epoch).permutation(self.images)

    def epoch(self, number, start=0):
        """Yield the batches of an epoch, from batch `start` on; the batches after it are being prepared meanwhile."""
        order = self.order(number)
        parts = [order[i * self.batch_size:(i + 1) * self.batch_size] for i in range(len(self))]
        if not self.workers:
            for batch in range(start, len(self)):
                yield self.load(parts[batch], number, batch, map)
            return
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(self.workers) as pool:
            ahead = deque()
            for batch in range(start, len(self) + BATCHES_AHEAD):
                if batch < len(self):
                    ahead.append(reader.submit(self.load, parts[batch], number, batch, pool.map))
                if len(ahead) > BATCHES_AHEAD or batch >= len(self) and ahead:
                    yield ahead.popleft().result()


class ArrayBatches(Batches):
    """Batches of small images in memory, augmented a batch at a time: crop from a border of 4, flip, normalise.

    pixels: (N, 3, H, H) uint8. labels: (N,). mean, std: per channel, for values in 0..1.
    """

    def __init__(self, pixels, labels, classes, mean, std, batch_size, train, seed=0, workers=0, class_names=()):
        super().__init__(len(pixels), classes, batch_size, train, seed, workers, class_names)
        self.size = pixels.shape[-1]
        self.pixels = pad(pixels, CROP_MARGIN) if train else pixels
        self.labels, self.mean, self.std = labels, mean, std

    def load(self, rows, epoch, batch, _):
        mine = self.rows_of_worker(len(rows))
        if self.train:
            pixels = crop_and_flip(self.pixels, rows, self.size, generator(self.seed, AUGMENTATION, epoch, batch), mine)
        else:
            pixels = self.pixels[rows[mine]]
        return normalise(pixels, self.mean, self.std), self.labels[rows[mine]].astype('int32')
