"""python -m tools.seal FILE.rec...: write a checksum for every record beside a RecordIO file, as FILE.crc32.

The index FILE.idx is made too if it is missing. Where there are checksums, the records are compared with them.
"""
import os
import sys

from cli.command import Parser
from cli.exits import attempt, run_script
from data.recordio import RecordFile, beside, seal_path
from data.sealing import make_index, seal


def seal_one(rec):
    """Seal a file, or verify it where it is sealed, and say so."""
    if not os.path.exists(beside(rec, '.idx')):
        print(make_index(rec), 'is made')
    sealed = os.path.exists(seal_path(rec))
    count = seal(RecordFile(rec))
    print(f'{seal_path(rec)}: {count} records' + (', all as they were sealed' if sealed else ''))


def main(argv=None):
    parser = Parser(description='Write a checksum for every record beside RecordIO files.')
    parser.add_argument('rec', nargs='+')
    if not attempt(seal_one, parser.parse_args(argv).rec)[1]:
        sys.exit(2)


if __name__ == '__main__':
    sys.exit(run_script(main))
