"""python -m tools.seal FILE.rec...: write a checksum for every record beside a RecordIO file, as FILE.crc32.

The index FILE.idx is made too if it is missing. Where there are checksums, the records are compared with them.
"""
import os
import sys

from cli.command import Parser
from cli.exits import run_script
from data.recordio import RecordFile, seal_path, stem_of
from data.sealing import make_index, seal


def main(argv=None):
    parser = Parser(description='Write a checksum for every record beside RecordIO files.')
    parser.add_argument('rec', nargs='+')
    for rec in parser.parse_args(argv).rec:
        if not os.path.exists(stem_of(rec) + '.idx'):
            print(make_index(rec), 'is made')
        sealed = os.path.exists(seal_path(rec))
        count = seal(RecordFile(rec))
        print(f'{seal_path(rec)}: {count} records' + (', all as they were sealed' if sealed else ''))


if __name__ == '__main__':
    sys.exit(run_script(main))
