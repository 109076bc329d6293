"""One split of ImageNet, written record by record, verified, and only then given its name. See prepare_imagenet."""
import hashlib
import json
import os
import random
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from runtime import UserError, printable

import cv2
import numpy as np
from tqdm import tqdm

from data.decode import decode
from data.record_writer import RecordWriter
from data.recordio import MADE_BY, RecordFile
from disk import rename_all, write_whole
from tools.records.facts import check_settings, finished_facts, report
from tools.records.ilsvrc import read_image

SHUFFLE_SEED = 100                            # im2rec's
ENDINGS = '.json', '.idx', '.crc32', '.rec'   # renamed in this order: a .json under its final name was verified
LONGEST_SIDE = 65500                          # of a JPEG, in pixels
AHEAD = 8                                     # images for each thread that wait to be written


def make_split(split, final, args, shuffled):
    """Write, verify and rename one split; returns what its .json says. final: the path without ending."""
    part = final + '.part'
    settings = settings_of(split, args, shuffled)
    if os.path.exists(final + '.json'):
        check_settings(final + '.json', settings)
        if not os.path.exists(final + '.rec'):
            rename(part, final)  # a crash came between two renames
        RecordFile(final + '.rec')  # raises if the index is gone, or is of another file
        return report('is there already', final)
    if os.path.exists(part + '.json'):
        check_settings(part + '.json', settings)
    else:
        write_whole(part + '.json', [json.dumps(settings, indent=1)])
    keys = write_records(split, part, args, shuffled)
    if not keys:
        raise UserError('none of the %d images for %s.rec can be used' % (len(split.images), final))
    counts = np.bincount([split.images[key].label for key in keys], minlength=len(split.class_names)).tolist()
    left_out = [split.images[key].name for key in sorted(set(range(len(split.images))) - set(keys))]
    write_whole(part + '.json', [json.dumps(dict(settings, counts=counts, left_out=left_out), indent=1)])
    verify(part, args.jobs)
    rename(part, final)
    return report('made and verified', final)


def settings_of(split, args, shuffled):
    """What the bytes of a .rec depend on; a run that was begun with others is not continued."""
    listing = hashlib.sha256()
    for image in split.images:
        listing.update(('%d %r %d\n' % (image.label, image.name, image.size)).encode())
    return {'made_by': MADE_BY, 'size': args.size, 'quality': args.quality, 'opencv': cv2.__version__,
            'shuffle_seed': SHUFFLE_SEED if shuffled else None, 'images': len(split.images),
            'listing_sha256': listing.hexdigest(), 'class_names': split.class_names}


def write_records(split, stem, args, shuffled):
    """Write, or continue to write, the records of a Split; returns the keys of the images that are in the file.

    The key of an image is its row in the Split, as im2rec has it.
    """
    order = list(range(len(split.images)))
    if shuffled:
        random.Random(SHUFFLE_SEED).shuffle(order)
    with RecordWriter(stem) as writer:
        begin = order.index(writer.keys[-1]) + 1 if writer.keys else 0
        images = (split.images[key] for key in order[begin:])
        jpegs = mapped_ahead(partial(encoded, args.size, args.quality), images, args.jobs)
        with tqdm(jpegs, os.path.basename(stem), len(order), unit=' images', initial=begin, disable=None) as progress:
            for key, jpeg in zip(order[begin:], progress):
                if isinstance(jpeg, bytes):
                    writer.write(key, split.images[key].label, jpeg)
                else:
                    tqdm.write('left out: %s' % printable(str(jpeg)), sys.stderr)
        return writer.keys


def mapped_ahead(function, items, threads):
    """Yield function(item) in order, while threads work on the next few items and no more, for memory's sake."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def encoded(size, quality, image):
    """The JPEG of an Image with its shorter side resized, or the UserError that says why there is none."""
    try:
        pixels = decode(read_image(image), image.name)
    except UserError as error:
        return error
    height, width = pixels.shape[:2]
    shape = (size, height * size // width) if height > width else (width * size // height, size)
    if max(shape) > LONGEST_SIDE:
        return UserError('%s would be longer than the %d pixels of a JPEG' % (image.name, LONGEST_SIDE))
    return cv2.imencode('.jpg', cv2.resize(pixels, shape), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def verify(stem, jobs):
    """Read every record once. UserError if a checksum, a label, an image, or the number of images of a class is
    wrong."""
    facts = finished_facts(stem)
    records = RecordFile(stem + '.rec')
    if not records.sums:
        raise UserError('%s.rec has no checksums: its .crc32 is missing' % stem)
    check = partial(check_record, records, facts)
    labels = list(tqdm(mapped_ahead(check, range(len(records)), jobs), 'verifying', len(records), unit=' images',
                       disable=None))
    counts = np.bincount(labels, minlength=len(facts['class_names'])).tolist()
    for name, count, expected in zip(facts['class_names'], counts, facts['counts']):
        if count != expected:
            raise UserError('%s.rec holds %d images of the class %s instead of %d'
                            % (stem, count, printable(name), expected))


def check_record(records, facts, row):
    """The label of a record; UserError if that or the image is wrong."""
    content, label = records.read(row)
    image = decode(content, records.name(row))
    if min(image.shape[:2]) != facts['size']:
        raise UserError('%s is %dx%d: its shorter side is not %d'
                        % (records.name(row), *image.shape[1::-1], facts['size']))
    if not 0 <= label < len(facts['class_names']):
        raise UserError('%s has the label %d, and there are %d classes'
                        % (records.name(row), label, len(facts['class_names'])))
    return label


def rename(part, final):
    """Give the files of a split their names; the .rec is last, so that nobody reads it without its checksums."""
    left = [ending for ending in ENDINGS if os.path.exists(part + ending)]
    rename_all([part + ending for ending in left], [final + ending for ending in left])
