"""RecordIO files and indices that are damaged or foreign: each function tries a fault, returns (tries, survived)."""
import os
import shutil
from contextlib import contextmanager
from functools import partial

import numpy as np

from data.images import ImageBatches
from data.recordio import HEADER, LABEL, RecordFile, seal_path
from tests.faults.harm import REFUSALS, content_of, cut, flip, write
from tools.records import make_small


class Records:
    """RecordIO files of 20 images, and what they are read as."""

    def __init__(self, root):
        self.root = root
        make_small.write(root, size=40, train=20, val=7, folders=False)
        self.rec, self.idx = os.path.join(root, 'train.rec'), os.path.join(root, 'train.idx')
        self.whole, self.starts = content_of(self.rec), RecordFile(self.rec).starts
        self.data, self.labels = self.read()

    def read(self, rec=None, idx=None):
        """(data, labels) of all images, as one batch."""
        source = RecordFile(rec or self.rec, idx)
        try:
            return next(ImageBatches(source, 10, 20, False, size=32).epoch(0))
        finally:
            source.file.close()

    def place(self, name, content, sealed=True):
        folder = os.path.join(self.root, name)
        os.makedirs(folder, exist_ok=True)
        shutil.copy(self.idx, folder)
        if sealed:
            shutil.copy(seal_path(self.rec), folder)
        write(os.path.join(folder, 'train.rec'), content)
        return os.path.join(folder, 'train.rec')


@contextmanager
def quiet():
    """Without the warnings of the JPEG library, which writes to the terminal itself."""
    terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nothing)


def damaged_records(harm, tries, bench):
    """Harm a sealed .rec file. The right answer is a refusal, or all images and labels unchanged."""
    place, survived = Records(bench.place('records-' + harm.__name__)), 0
    for _ in range(tries):
        content = harm(place.whole, bench.random)
        try:
            with quiet():
                data, labels = place.read(place.place('harmed', content))
            survived += np.array_equal(labels, place.labels) and np.array_equal(data, place.data)
        except REFUSALS:
            survived += 1
    return tries, survived


def undecodable_jpegs(bench, tries=20):
    """The error names the image."""
    place, survived = Records(bench.place('jpegs')), 0
    for row in range(tries):
        content = bytearray(place.whole)
        begin = int(place.starts[row]) + HEADER.size + LABEL.size
        content[begin:begin + 20] = bytes(20)
        try:
            place.read(place.place('open', content, sealed=False))
        except ValueError as error:
            survived += 'image %d of' % row in str(error)
    return tries, survived


def cut_indices(bench, tries=100):
    """The .idx of an unsealed .rec that lacks lines at its end, at its beginning, or anywhere: no smaller data set."""
    place, survived = Records(bench.place('cut-indices')), 0
    rec = place.place('open', place.whole, sealed=False)
    lines, harmed = content_of(place.idx).splitlines(True), rec[:-4] + '-harmed.idx'
    for number in range(tries):
        begin, end = np.sort(bench.random.choice(len(lines) + 1, 2, replace=False))
        begin, end = ((begin, end), (begin, len(lines)), (0, end))[number % 3]
        write(harmed, b''.join(lines[:begin] + lines[end:]))
        try:
            place.read(rec, harmed)
        except REFUSALS as error:
            survived += 'lacks' in str(error) or 'is empty' in str(error)
    return tries, survived


def foreign_indices(bench):
    """The .idx of another .rec, one whose offsets are shifted, and one that is not an index."""
    place = Records(bench.place('indices'))
    content = content_of(place.idx)
    lines = [line.split(b'\t') for line in content.splitlines()]
    shifted = b''.join(b'%s\t%d\n' % (key, int(start) + 4) for key, start in lines)
    outside = b''.join(b'%s\t%d\n' % (key, int(start) + 10 ** 9) for key, start in lines)
    harmed, survived = place.rec[:-4] + '-harmed.idx', 0
    for index in (content_of(os.path.join(place.root, 'val.idx')), shifted, outside, b'\x00\xff' * 50, b'',
                  content + lines[0][0] + b'\t-4\n'):
        write(harmed, index)
        try:
            place.read(idx=harmed)
        except REFUSALS:
            survived += 1
    return 6, survived


def broken_labels(bench):
    """A label that is not a number in a .rec file is refused before it is used."""
    place, survived = Records(bench.place('nan')), 0
    for row in range(20):
        content = bytearray(place.whole)
        begin = int(place.starts[row]) + HEADER.size + 4
        content[begin:begin + 4] = np.array([np.nan, np.inf, -1, 0.5], 'float32')[row % 4].tobytes()
        try:
            place.read(place.place('harmed', content))
        except REFUSALS:
            survived += 1
    return 20, survived


FAULTS = [
    ('bit flipped in a RecordIO file', partial(damaged_records, flip, 500)),
    ('RecordIO file cut at a random place', partial(damaged_records, cut, 200)),
    ('JPEG that does not decode', undecodable_jpegs),
    ('.idx that does not belong to its .rec', foreign_indices),
    ('.idx that lacks records', cut_indices),
    ('label that is NaN, infinite, negative or broken', broken_labels),
]
