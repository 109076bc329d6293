"""What `python -m tools.seal` writes beside a RecordIO file: a checksum for every record, and an index without one."""
import os

from runtime import UserError

from data.recordio import HEADER, LABEL, MAGIC, beside, checksum, part_at, seal_path
from disk import write_whole

FEWEST_BYTES = HEADER.size + LABEL.size


def seal(records):
    """Write the checksums of a RecordFile beside it; returns how many records there are.

    Every record is read, so that an index that lacks one gets no seal. Where there are checksums already they stay: the
    records are compared with them. UserError if one has another, or cannot be read.
    """
    path = seal_path(records.path)
    if os.path.exists(path):
        for row in range(len(records)):
            records.read(row)
        return len(records)
    write_whole(path, checksums_of(records))
    return len(records)


def checksums_of(records):
    """The lines of a .crc32, each after its record has been read."""
    for row in range(len(records)):
        records.read(row)
        yield checksum(records.content(row)) + '\n'


def make_index(rec):
    """Write the .idx of a .rec that has none, as MXNet writes it; returns its path.

    The key of a record is its own id, as im2rec has it, unless an id comes twice: then records are counted.
    Raises UserError if the file is not RecordIO from its beginning to its end.
    """
    starts, ids = records_in(rec)
    keys = ids if len(set(ids)) == len(ids) and max(ids) < 1 << 63 else range(len(ids))
    path = beside(rec, '.idx')
    write_whole(path, ('%d\t%d\n' % entry for entry in zip(keys, starts)))
    return path


def records_in(rec):
    """(offsets, ids) of the records of a file, found by going from one header to the next."""
    starts = []
    ids = []
    position = 0
    size = os.path.getsize(rec)
    with open(rec, 'rb') as file:
        while position < size:
            file.seek(position)
            head = file.read(FEWEST_BYTES)
            magic, flag, _, whole = part_at(head.ljust(FEWEST_BYTES))
            end = position + whole
            if magic != MAGIC or end > size:
                raise UserError('%s is damaged or no RecordIO file: there is no whole record at byte %d'
                                % (rec, position))
            if flag in (0, 1):  # 2 and 3 continue the record before
                starts.append(position)
                ids.append(LABEL.unpack_from(head.ljust(FEWEST_BYTES), HEADER.size)[2])
            position = end
    if not starts:
        raise UserError('%s is empty' % rec)
    return starts, ids
