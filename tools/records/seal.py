"""python -m tools.seal FILE.rec...: write a checksum for every record beside a RecordIO file, as FILE.crc32."""
import argparse
import sys

from data.recordio import RecordFile, seal, seal_path


def main(argv=None):
    parser = argparse.ArgumentParser(description='Write a checksum for every record beside RecordIO files.')
    parser.add_argument('rec', nargs='+')
    try:
        for rec in parser.parse_args(argv).rec:
            print('%s: %d records' % (seal_path(rec), seal(RecordFile(rec, sealed=False))))
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == '__main__':
    sys.exit(main())
