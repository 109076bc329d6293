"""RecordIO, MXNet's file of many images: STEM.rec, its index STEM.idx, and the checksums of a sealed one, STEM.crc32.

RecordIO has no checksums: a bit that has flipped within a JPEG decodes to other pixels. `python -m tools.seal FILE.rec`
writes a checksum for every record beside the file, and the index if that is missing. Where there are checksums, every
record is compared with them when it is read, and their number when the file is opened.
"""
import json
import os
import struct
import zlib

from runtime import UserError

import numpy as np

MAGIC = 0xced7230a
HEADER = struct.Struct('<II')        # magic, then three bits of continuation flag and 29 bits of length
LABEL = struct.Struct('<IfQQ')       # how many labels stand after this, label, two ids
NUMBER = struct.Struct('<f')         # one of these labels
RECORD_BYTES = 1 << 26               # of a record, at most
INDEX_BYTES = 1 << 29                # of an index, at most
INDEX_CHARACTERS = b'0123456789\t\r\n'
FACTS_BYTES = 1 << 24                # of a .json, at most
MADE_BY = 'data.prepare_imagenet'    # in the .json; the name of tools.prepare_imagenet when the first files were made


class RecordFile:
    """The images of a .rec file, by the offsets of its .idx.   len(records), records.read(i) -> (bytes, label)

    idx: its path, by default that of the .rec with the other ending. class_names: of the labels, if
    prepare_imagenet made the file, else (). Reading is by position: several threads may read at once.
    Raises UserError for files that are damaged or do not belong together, and OSError for missing ones. The index may
    lack no record: every record that is read must end where the next one begins, or with the file.
    """
    def __init__(self, rec, idx=None):
        self.path = os.path.expanduser(rec)
        self.idx = os.path.expanduser(idx) if idx else beside(self.path, '.idx')
        self.file = open(self.path, 'rb', buffering=0)
        size = os.fstat(self.file.fileno()).st_size
        self.starts = read_index(self.path, self.idx, size)
        ordered = np.unique(self.starts)
        if ordered[0] < 0 or ordered[-1] > size - HEADER.size - LABEL.size:
            raise UserError('%s does not belong to %s: it points outside of it, or the file was cut short'
                            % (self.idx, self.path))
        if len(ordered) != len(self.starts):
            raise UserError('%s names a record twice' % self.idx)
        if ordered[0]:
            raise UserError('%s lacks the first record of %s' % (self.idx, self.path))
        self.ends = np.append(ordered, size)[np.searchsorted(ordered, self.starts) + 1]
        self.sums = read_seal(self.path, self.starts, self.idx)
        self.class_names = read_class_names(self.path, len(self))
        self.label(self.starts.argmax())  # whether the index goes to the end

    def __len__(self):
        return len(self.starts)

    def name(self, row):
        """Of an image, for messages."""
        return 'image %d of %s' % (row, self.path)

    def read(self, row):
        record = self._record(row)
        label, begin = self._label(row, record, len(record))
        return record[begin:], label

    def label(self, row):
        """Only the label, without reading the image."""
        length = int(self.ends[row] - self.starts[row])
        head = self._bytes(row, min(length, HEADER.size + LABEL.size + NUMBER.size))
        flag, size, end = self._part(row, head, 0)
        if flag:  # the record is in several parts
            return self.read(row)[1]
        self._check_end(row, end)
        return self._label(row, head[HEADER.size:], size)[0]

    def content(self, row):
        """The bytes from the beginning of a record to that of the next one."""
        return self._bytes(row, int(self.ends[row] - self.starts[row]))

    def _bytes(self, row, length):
        """The first bytes of a record, with its header."""
        if length > RECORD_BYTES:
            raise UserError('record %d of %s has %d MB, and at most %d MB are read. Or %s lacks the records after it'
                            % (row, self.path, length >> 20, RECORD_BYTES >> 20, self.idx))
        try:
            content = os.pread(self.file.fileno(), length, int(self.starts[row]))
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from error
        if len(content) != length:
            raise UserError('%s was cut short while it was being read' % self.path)
        return content

    def _record(self, row):
        """The bytes of a record; one that contained the magic number was written in parts and is joined with it."""
        content = self.content(row)
        parts = []
        flag = 1
        end = 0
        if self.sums and checksum(content) != self.sums[row]:
            raise UserError('record %d of %s is damaged: its checksum is another' % (row, self.path))
        while flag in (1, 2):
            begin = end + HEADER.size
            flag, size, end = self._part(row, content, end)
            if (flag in (2, 3)) != bool(parts):  # the record begins elsewhere
                self._raise_damaged(row)
            parts.append(content[begin:begin + size])
        self._check_end(row, end)
        return struct.pack('<I', MAGIC).join(parts)

    def _part(self, row, content, position):
        """(flag, length, end) of the part of a record whose header is at a position."""
        if position + HEADER.size > len(content):
            self._raise_damaged(row)
        magic, flag, size, whole = part_at(content, position)
        if magic != MAGIC:
            self._raise_damaged(row)
        return flag, size, position + whole

    def _check_end(self, row, end):
        """UserError unless a record that is this long ends where the next one begins, or with the file."""
        length = int(self.ends[row] - self.starts[row])
        if end > length:
            self._raise_damaged(row)
        if end < length:
            raise UserError('%s lacks what comes in %s after record %d: remove it, and `python -m tools.seal %s` makes '
                            'it anew' % (self.idx, self.path, row, self.path))

    def _label(self, row, record, size):
        """(label, where the image begins) of a record, of which the first bytes will do.   size: of all of it"""
        if size < LABEL.size:
            self._raise_damaged(row)
        count, label, *_ = LABEL.unpack_from(record)
        begin = LABEL.size + NUMBER.size * count
        if begin > size:
            self._raise_damaged(row)
        if count > 1:
            raise UserError('record %d of %s %s: only files with one label for each image are read' % (
                row, self.path, 'has %d labels' % count if begin < size else
                'is not an image but a header, as insightface writes it'))
        if count:
            label, = NUMBER.unpack_from(record, LABEL.size)
        if not label.is_integer():
            raise UserError('record %d of %s has the label %s' % (row, self.path, label))
        return int(label), begin

    def _raise_damaged(self, row):
        raise UserError('record %d of %s is damaged, or %s does not belong to it' % (row, self.path, self.idx))


def part_at(content, position=0):
    """(magic, flag, length, length with its header and zeros up to a multiple of four) of a part of a record."""
    magic, size = HEADER.unpack_from(content, position)
    length = size & (1 << 29) - 1
    return magic, size >> 29, length, HEADER.size + (length + 3) // 4 * 4


def stem_of(rec):
    return os.path.splitext(rec)[0]


def read_index(rec, idx, size):
    """The offsets (N,) int64 of the records of a .rec of `size` bytes, in the order of the index."""
    if not os.path.exists(idx):
        raise UserError('%s has no index %s: `python -m tools.seal %s` makes it' % (rec, idx, rec))
    for path, length in (rec, size), (idx, os.path.getsize(idx)):
        if not length:
            raise UserError('%s is empty' % path)
    if os.path.getsize(idx) > min(2 * size, INDEX_BYTES):  # a record takes 32 bytes or more, a line 41 or less
        raise UserError('%s is too large for %s: was that cut short?' % (idx, rec))
    with open(idx, 'rb') as file:
        content = file.read()
    if not content.translate(None, INDEX_CHARACTERS):
        numbers = np.fromstring(content, 'int64', sep=' ')
        if len(numbers) and len(numbers) % 2 == 0:
            return numbers[1::2]
    raise UserError('%s is not an index of lines `key<tab>offset`' % idx)


def read_class_names(rec, count):
    """The names of the classes, from the .json that prepare_imagenet writes beside a .rec; () if there is none, or one
    of others. UserError if it is damaged, or of another number of records than `count`."""
    path = beside(rec, '.json')
    facts = read_facts(path)
    if not facts:
        return ()
    if is_list(facts.get('counts'), int) and sum(facts['counts']) != count:
        raise UserError('%s is of %d records, and %s holds %d' % (path, sum(facts['counts']), rec, count))
    return tuple(facts['class_names'])


def read_facts(path):
    """What the .json of prepare_imagenet says, or None if there is none, or one of others. UserError if it is damaged.
    """
    if not os.path.exists(path):
        return None
    with open(path, 'rb') as file:
        content = file.read(FACTS_BYTES)
    if MADE_BY.encode() not in content and (len(content) == FACTS_BYTES or is_json(content)):
        return None
    try:
        facts = json.loads(content)
        names = facts['class_names']
        if names and is_list(names, str) and len(set(names)) == len(names):
            return facts
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError('%s is damaged: it does not name the classes of the records' % path)


def is_list(value, kind):
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def is_json(content):
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def beside(rec, ending):
    """Where the file is that goes with a .rec: beside it or, if the .rec is a link, beside what that leads to."""
    path = stem_of(rec) + ending
    return path if os.path.exists(path) else stem_of(os.path.realpath(rec)) + ending


def seal_path(rec):
    return beside(rec, '.crc32')


def read_seal(rec, starts, idx):
    """The checksums of the records that begin at `starts`, or None if the file was not sealed.

    They are in the order of the index that goes with the .rec; idx, which has `starts`, may be another.
    Raises UserError unless there is one for each.
    """
    if not os.path.exists(seal_path(rec)):
        return None
    with open(seal_path(rec), errors='replace') as file:
        sums = file.read(9 * len(starts) + 2).split()
    if len(sums) != len(starts):
        raise UserError('%s does not hold a checksum for each of the %d records in the index of %s'
                        % (seal_path(rec), len(starts), rec))
    own = beside(rec, '.idx')
    if os.path.exists(own) and not os.path.samefile(own, idx):
        by_start = dict(zip(read_index(rec, own, os.path.getsize(rec)), sums))
        if by_start.keys() != set(starts):
            raise UserError('%s and %s are not of the same records' % (idx, own))
        sums = [by_start[start] for start in starts]
    return sums


def checksum(content):
    return '%08x' % zlib.crc32(content)
