"""RecordIO that can be interrupted: records go to STEM.rec, their offsets to STEM.idx, their checksums to STEM.crc32.

    with locked(folder, '--out'), RecordWriter(os.path.join(folder, 'train')) as writer:
        writer.write(7, label, jpeg)                    # writer.keys: what an earlier run has written

A run that was killed, or found the disk full, may leave half a record, or after a power failure less than it had
written. The next RecordWriter continues after the last record whose checksum is right. MXNet's own cannot append.
"""
import os
import re
from itertools import takewhile

import numpy as np
from tqdm import tqdm

from data.recordio import HEADER, LABEL, MAGIC, RECORD_BYTES, checksum
from disk import disk_errors_of

INDEX_LINE = re.compile(rb'(\d{1,12})\t(\d{1,18})\n')


class RecordWriter:
    """Appends records to the three files, after cutting off what is not whole.   keys: of the records in them

    Raises OSError if the disk refuses. Only the run that holds the lock of the folder may make one.
    """

    def __init__(self, stem):
        self.files = [open(stem + ending, 'ab', buffering=0) for ending in ('.rec', '.idx', '.crc32')]
        self.keys, sizes = whole_records(stem)
        for file, size in zip(self.files, sizes):
            file.truncate(size)
        self.position = sizes[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self.files:
            file.close()

    def write(self, key, label, jpeg):
        record = framed(LABEL.pack(0, label, key, 0) + jpeg)
        index = b'%d\t%d\n' % (key, self.position)
        sealed = checksum(record).encode() + b'\n'
        for file, left in zip(self.files, (record, index, sealed)):
            with disk_errors_of(file.name):
                while left:
                    left = left[file.write(left):]
        self.keys.append(key)
        self.position += len(record)


def framed(record):
    """A record as it is in a RecordIO file: magic, length, bytes, zeros up to a multiple of four.

    Where the magic number is within the record at a multiple of four it is left out, and the record is written as
    parts: flag 1 for the first, 2, and 3 for the last.
    """
    cuts = np.flatnonzero(np.frombuffer(record, '<u4', len(record) // 4) == MAGIC) * 4
    starts, ends = [0, *(cuts + 4)], [*cuts, len(record)]
    flags = [1] + [2] * (len(cuts) - 1) + [3] if len(cuts) else [0]
    return b''.join(HEADER.pack(MAGIC, flag << 29 | end - start) + record[start:end] + bytes(-(end - start) % 4)
                    for flag, start, end in zip(flags, starts, ends))


def whole_records(stem):
    """(keys of the records of stem.rec whose checksums are right, from the first on; the sizes of .rec, .idx and .crc32
    up to there)."""
    with open(stem + '.idx', 'rb') as idx, open(stem + '.crc32', 'rb') as crc32:
        entries = [(int(line[1]), int(line[2]), len(line[0]))
                   for line in takewhile(bool, map(INDEX_LINE.fullmatch, idx))]
        sums = crc32.read().split(b'\n')[:-1]
    ends = [start for _, start, _ in entries[1:]] + [os.path.getsize(stem + '.rec')]
    keys = []
    position = 0
    idx_size = 0
    with open(stem + '.rec', 'rb') as rec:
        progress = tqdm(entries, 'checking', unit=' records', disable=None)
        for (key, start, length), end, expected in zip(progress, ends, sums):
            if start != position or not start + HEADER.size + LABEL.size <= end <= start + RECORD_BYTES:
                break
            content = rec.read(end - start)
            # The .idx has no checksum, but the record holds its key.
            if checksum(content).encode() != expected or LABEL.unpack_from(content, HEADER.size)[2] != key:
                break
            keys.append(key)
            position, idx_size = end, idx_size + length
    return keys, (position, idx_size, 9 * len(keys))
