"""python -m tools.make_mini: cut data/fashion-mnist-mini out of Fashion-MNIST.

The first 640 training and the first 160 test images of each of the ten classes, in their original order, so train and
test split stay apart. The files are idx.gz like the originals.
"""
import gzip
import os
import sys

import numpy as np

from cli.command import Parser
from cli.exits import run_script
from data.fashion_mnist import CLASS_NAMES, DEBIAN, MINI, read_idx
from disk import written

PER_CLASS = {'train': 640, 't10k': 160}


def write_idx(path, array):
    """Write uint8 data as idx.gz; without a time stamp, so that equal data give equal files."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, '>u4').tobytes()
    with written(path) as (new,), open(new, 'wb') as file, \
            gzip.GzipFile(fileobj=file, mode='wb', compresslevel=9, mtime=0, filename='') as out:
        out.write(header + array.tobytes())


def write(source=DEBIAN, target=MINI):
    """Write the four files. OSError without Fashion-MNIST in the folder `source`."""
    os.makedirs(target, exist_ok=True)
    for part, count in PER_CLASS.items():
        images = read_idx(os.path.join(source, part + '-images-idx3-ubyte.gz'), 3)
        labels = read_idx(os.path.join(source, part + '-labels-idx1-ubyte.gz'), 1)
        rows = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(len(CLASS_NAMES))]))
        write_idx(os.path.join(target, part + '-images-idx3-ubyte.gz'), images[rows])
        write_idx(os.path.join(target, part + '-labels-idx1-ubyte.gz'), labels[rows])


def main(argv=None):
    Parser(description=__doc__.splitlines()[0]).parse_args(argv)
    write()


if __name__ == '__main__':
    sys.exit(run_script(main))
