"""python -m data.seal FILE.rec...: write a checksum for every record beside a RecordIO file, as FILE.crc32.

RecordIO has no checksums: a bit that has flipped within a JPEG decodes to other pixels, and an index that was cut
short is a smaller data set. Where a .crc32 lies beside a .rec, every record is compared with it when it is read, and
the number of records when the file is opened.
"""
import argparse
import os
import sys
import zlib

from runtime import UserError


def seal_path(rec):
    return os.path.splitext(rec)[0] + '.crc32'


def read_seal(rec, records):
    """The checksums of the records in the order of the index, or None if the file was not sealed.

    Raises UserError if they are not those of so many records.
    """
    if not os.path.exists(seal_path(rec)):
        return None
    with open(seal_path(rec), errors='replace') as file:
        sums = file.read().split()
    if len(sums) != records:
        raise UserError('%s holds %d checksums and the index of %s %d records'
                        % (seal_path(rec), len(sums), rec, records))
    return sums


def checksum(content):
    return '%08x' % zlib.crc32(content)


def main(argv=None):
    from data.imagenet import RecordFile
    parser = argparse.ArgumentParser(description='Write a checksum for every record beside RecordIO files.')
    parser.add_argument('rec', nargs='+')
    try:
        for rec in parser.parse_args(argv).rec:
            print('%s: %d records' % (seal_path(rec), seal(RecordFile(rec, sealed=False))))
    except (OSError, ValueError) as error:
        parser.error(str(error))


def seal(source):
    """Write the checksums of a RecordFile beside it; returns how many records there are."""
    path = seal_path(source.path)
    with open(path + '.new', 'w') as file:
        file.writelines(checksum(source.content(row)) + '\n' for row in range(len(source)))
    os.replace(path + '.new', path)
    return len(source)


if __name__ == '__main__':
    sys.exit(main())
