"""Small RecordIO files and class folders of real images (Fashion-MNIST), for tests and for trying train_imagenet.py.

    python -m tools.make_small FOLDER [--size 64] [--train 640] [--val 160]

writes FOLDER/train.rec, train.idx, val.rec, val.idx and FOLDER/{train,val}/<class>/*.jpg.
"""
import os
import sys

from runtime import UserError

import cv2
import mxnet as mx
import numpy as np

from cli.command import Parser
from cli.exits import run_script
from cli.kinds import at_least
from data.fashion_mnist import load_mini
from data.recordio import RecordFile
from data.sealing import seal

IMAGES = {'train': 6400, 'val': 1600}  # that there are


def write(folder, size=64, train=640, val=160, folders=True):
    """Images of every class from each split, enlarged to size x (size + row % 9), so that shapes differ.

    UserError if there is anything of this name.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f'{folder} is not a folder')
    for name in IMAGES:
        for path in (os.path.join(folder, name + end) for end in ('.rec', '.idx', '.crc32', '.json', '')):
            if os.path.exists(path):
                raise UserError(f'{path} exists: choose another folder')
    for split, count in (('train', train), ('val', val)):
        pixels, labels, _ = load_mini(split == 'train')
        os.makedirs(folder, exist_ok=True)
        records = mx.recordio.MXIndexedRecordIO(*(os.path.join(folder, split + end) for end in ('.idx', '.rec')), 'w')
        for row in np.sort(np.argsort(labels, kind='stable')[np.linspace(0, len(pixels) - 1, count).astype(int)]):
            image = cv2.resize(pixels[row].transpose(1, 2, 0), (size + row % 9, size))
            jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            records.write_idx(row, mx.recordio.pack(mx.recordio.IRHeader(0, float(labels[row]), int(row), 0), jpeg))
            if folders:
                place = os.path.join(folder, split, 'class%d' % labels[row])
                os.makedirs(place, exist_ok=True)
                with open(os.path.join(place, '%05d.jpg' % row), 'wb') as file:
                    file.write(jpeg)
        records.close()
        seal(RecordFile(os.path.join(folder, split + '.rec')))


def main(argv=None):
    parser = Parser(description='Write small RecordIO files and class folders of real images.')
    parser.add_argument('folder', help='where they go')
    for name, default, most, what in (('--size', 64, 4096, 'shorter side of an image'),
                                      ('--train', 640, IMAGES['train'], 'training images'),
                                      ('--val', 160, IMAGES['val'], 'validation images')):
        parser.add_argument(name, type=at_least(1, most=most), default=default, help=f'{what} (default {default})')
    args = parser.parse_args(argv)
    write(**vars(args))
    print(f'written: train.rec, val.rec, train/ and val/ in {args.folder}')


if __name__ == '__main__':
    sys.exit(run_script(main))
