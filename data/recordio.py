"""RecordIO, MXNet's file of many images: STEM.rec, its index STEM.idx, and the checksums of a sealed one, STEM.crc32.

RecordIO has no checksums: a bit that has flipped within a JPEG decodes to other pixels, and an index that was cut
short is a smaller data set. `python -m tools.seal FILE.rec` writes a checksum for every record beside the file. Where
there are any, every record is compared with them when it is read, and their number when the file is opened.
"""
import os
import struct
import zlib

from runtime import UserError

import numpy as np

MAGIC = 0xced7230a
HEADER = struct.Struct('<II')        # magic, then three bits of continuation flag and 29 bits of length
LABEL = struct.Struct('<IfQQ')       # number of further labels, label, two ids


class RecordFile:
    """The images of a .rec file, by the offsets of its .idx.   len(records), records.read(i) -> (JPEG bytes, label)

    idx: its path, by default that of the .rec with the other ending. sealed: compare records with their checksums,
    where there are any. Reading is by position, so many threads may read at once.
    class_names: () as a .rec says nothing about them.
    Raises UserError for files that are damaged or do not belong together, and OSError for missing ones.
    """

    class_names = ()

    def __init__(self, rec, idx=None, sealed=True):
        self.path = os.path.expanduser(rec)
        self.idx = os.path.expanduser(idx) if idx else os.path.splitext(self.path)[0] + '.idx'
        self.file = open(self.path, 'rb', buffering=0)
        size = os.fstat(self.file.fileno()).st_size
        self.starts = self._offsets()
        if self.starts.min() < 0 or self.starts.max() > size - HEADER.size - LABEL.size:
            raise UserError('%s does not belong to %s: it points outside of it, or the file was cut short'
                            % (self.idx, self.path))
        ordered = np.unique(self.starts)
        if len(ordered) != len(self.starts):
            raise UserError('%s names a record twice' % self.idx)
        self.ends = np.append(ordered, size)[np.searchsorted(ordered, self.starts) + 1]
        self.sums = read_seal(self.path, len(self)) if sealed else None

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
            self._raise_damaged(row)
        if further:
            label, = struct.unpack_from('<f', record, LABEL.size)
        return record[begin:], self._integer(label, row)

    def label(self, row):
        """Only the label, without reading the image."""
        start = int(self.starts[row])
        magic, _ = HEADER.unpack(self._bytes(row, start, HEADER.size))
        if magic != MAGIC:
            self._raise_damaged(row)
        further, label, *_ = LABEL.unpack(self._bytes(row, start + HEADER.size, LABEL.size))
        if further:
            label, = struct.unpack('<f', self._bytes(row, start + HEADER.size + LABEL.size, 4))
        return self._integer(label, row)

    def content(self, row):
        """The bytes from the beginning of a record to that of the next one."""
        start = int(self.starts[row])
        return self._bytes(row, start, int(self.ends[row]) - start)

    def _bytes(self, row, start, length):
        if start + length > self.ends[row]:
            self._raise_damaged(row)
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
                self._raise_damaged(row)
            parts.append(self._bytes(row, position + HEADER.size, length))
            position += HEADER.size + (length + 3) // 4 * 4
        record = struct.pack('<I', MAGIC).join(parts)
        if len(record) < LABEL.size:
            self._raise_damaged(row)
        return record

    def _integer(self, label, row):
        if not label.is_integer():
            raise UserError('record %d of %s has the label %s' % (row, self.path, label))
        return int(label)

    def _raise_damaged(self, row):
        raise UserError('record %d of %s is damaged, or %s does not belong to it' % (row, self.path, self.idx))


def seal(records):
    """Write the checksums of a RecordFile beside it; returns how many records there are."""
    path = seal_path(records.path)
    with open(path + '.new', 'w') as file:
        file.writelines(checksum(records.content(row)) + '\n' for row in range(len(records)))
    os.replace(path + '.new', path)
    return len(records)


def seal_path(rec):
    return os.path.splitext(rec)[0] + '.crc32'


def read_seal(rec, count):
    """The checksums of the records in the order of the index, or None if the file was not sealed.

    Raises UserError unless there are `count` of them.
    """
    if not os.path.exists(seal_path(rec)):
        return None
    with open(seal_path(rec), errors='replace') as file:
        sums = file.read().split()
    if len(sums) != count:
        raise UserError('%s holds %d checksums and the index of %s %d records'
                        % (seal_path(rec), len(sums), rec, count))
    return sums


def checksum(content):
    return '%08x' % zlib.crc32(content)
