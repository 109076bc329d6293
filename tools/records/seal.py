"""python -m tools.seal FILE.rec...: write a checksum for every record beside a RecordIO file, as FILE.crc32.

The index FILE.idx is made too if it is missing.
"""
import argparse
import os
import sys

from data.recordio import RecordFile, seal_path, stem_of
from data.sealing import make_index, seal


def main(argv=None):
    parser = argparse.ArgumentParser(description='Write a checksum for every record beside RecordIO files.')
    parser.add_argument('rec', nargs='+')
    try:
        for rec in parser.parse_args(argv).rec:
            if not os.path.exists(stem_of(rec) + '.idx'):
                print('%s is made' % make_index(rec))
            print('%s: %d records' % (seal_path(rec), seal(RecordFile(rec, sealed=False))))
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    sys.exit(main())
