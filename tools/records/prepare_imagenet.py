"""Make train.rec and val.rec from the two ILSVRC2012 archives, or from class folders.

    python -m tools.prepare_imagenet --train-tar ILSVRC2012_img_train.tar --val-tar ILSVRC2012_img_val.tar \\
        --devkit ILSVRC2012_devkit_t12.tar.gz --out DIR -j 8
    python -m tools.prepare_imagenet --folder FOLDER --out DIR -j 8      (FOLDER/train/<class>/*.jpg, FOLDER/val/...)
    python -m tools.prepare_imagenet --out DIR --verify-only

What comes out is, byte for byte, what `im2rec --resize 480 --quality 95` of MXNet makes of class folders (a test
compares the two): every image, also a smaller one, is resized bilinearly to a shorter side of 480 after its EXIF
orientation was applied; labels count the sorted synsets; training images are shuffled with im2rec's seed, validation
images are in order. Both RecordFile of data.recordio and MXNet's ImageRecordIter read it. The training images are read
in random order: keep that archive on an SSD.

DIR/train.part.* grows record by record. A run that was stopped, however, goes on behind the last record whose checksum
is right when the same command is given again. Only after every record has been read back and decoded are the files
renamed to train.rec, .idx, .crc32 (tools.seal) and .json (classes, counts, settings). One run at a time works in DIR.
The training and the validation images there, made together or one after the other, must have the same classes.

An image that cannot be decoded is left out and named, in the .json too, and the exit code is then 2.
"""
import argparse
import hashlib
import json
import os
import random
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import runtime  # noqa: F401  (before mxnet)
from runtime import UserError

import cv2
import numpy as np
from tqdm import tqdm

from data.images import decoded
from data.record_writer import RecordWriter, locked, writing
from data.recordio import RecordFile
from options import at_least, run_script
from tools.records import ilsvrc

SPLITS = 'train', 'val'
SHUFFLE_SEED = 100                      # im2rec's
ENDINGS = '.json', '.idx', '.crc32', '.rec'   # renamed in this order: a .json under its final name was verified
MADE_BY = 'data.prepare_imagenet'           # its name when the first files were made
LONGEST_SIDE = 65500                    # of a JPEG, in pixels
AHEAD = 8                               # images for each thread that wait to be written


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description='Make train.rec and val.rec of ImageNet.')
    source = parser.add_argument_group('from the archives, one or both, or from class folders')
    source.add_argument('--train-tar', metavar='FILE', help='ILSVRC2012_img_train.tar')
    source.add_argument('--val-tar', metavar='FILE', help='ILSVRC2012_img_val.tar')
    source.add_argument('--devkit', metavar='FILE', help='ILSVRC2012_devkit_t12.tar.gz, for the labels of --val-tar')
    source.add_argument('--val-labels', metavar='FILE', help='instead of it: lines of file name and synset, or '
                                                             "Kaggle's LOC_val_solution.csv")
    source.add_argument('--no-checksum', action='store_true',
                        help='take archives whose SHA-1 is not that of the public ones, or was compared before')
    source.add_argument('--folder', metavar='DIR', help='with train/<class>/*.jpg and val/<class>/*.jpg')
    parser.add_argument('--out', metavar='DIR', required=True, help='where the files go')
    parser.add_argument('-j', '--jobs', type=at_least(1), default=runtime.physical_cores(), help='threads')
    parser.add_argument('--size', type=at_least(1, most=LONGEST_SIDE), default=480,
                        help='of the shorter side in pixels')
    parser.add_argument('--quality', type=at_least(1), default=95, help='of the JPEGs, at most 100')
    parser.add_argument('--verify-only', action='store_true', help='read and decode what is in --out')
    args = parser.parse_args(argv)
    archives = args.train_tar or args.val_tar or args.devkit or args.val_labels
    if sum(map(bool, (archives, args.folder, args.verify_only))) != 1:
        parser.error('give archives, or --folder, or --verify-only')
    if bool(args.val_tar) != bool(args.devkit or args.val_labels) or args.devkit and args.val_labels:
        parser.error('--val-tar goes with --devkit or --val-labels')
    if args.quality > 100:
        parser.error('--quality is at most 100')
    return args


def main(argv=None):
    """Prepare or verify; returns {'train': what train.json says, 'val': ...} of what was asked for."""
    args = parse_args(argv)
    made = verify_all(args.out, args.jobs) if args.verify_only else prepare_all(args)
    left_out = ['%s/%s' % (name, image) for name, facts in made.items() for image in facts['left_out']]
    if left_out:
        raise UserError('%d images could not be decoded and are not in the files: %s%s'
                        % (len(left_out), ', '.join(map(ascii, left_out[:5])), ' ...' if len(left_out) > 5 else ''))
    return made


def prepare_all(args):
    """What main returns. One run at a time does this in a folder."""
    os.makedirs(args.out, exist_ok=True)
    with locked(args.out):
        names = [name for name in SPLITS if args.folder or getattr(args, name + '_tar')]
        refuse_foreign(args.out, names)
        splits = ilsvrc.folder_splits(args.folder) if args.folder else archive_splits(args)
        compare_classes(args.out, {name: splits[name].class_names for name in names})
        return {name: prepare(splits[name], os.path.join(args.out, name), args, name == 'train') for name in names}


def verify_all(out, jobs):
    """What main returns, of the finished files in a folder."""
    names = [name for name in SPLITS if os.path.exists(os.path.join(out, name + '.json'))]
    if not names:
        raise OSError('there is no finished train.rec or val.rec of %s in %s' % (MADE_BY, out))
    for name in names:
        verify(os.path.join(out, name), jobs)
    return {name: told('verified', os.path.join(out, name)) for name in names}


def refuse_foreign(out, names):
    """UserError if a file is there that would be written over and is not ours."""
    for name in names:
        final, part = os.path.join(out, name), os.path.join(out, name + '.part')
        if os.path.exists(final + '.json'):
            continue  # prepare reads it
        stems = [final] if os.path.exists(part + '.json') else [final, part]
        for path in (stem + ending for stem in stems for ending in ENDINGS):
            if os.path.lexists(path):
                raise UserError('%s is there already and %s did not make it: choose another --out' % (path, MADE_BY))


def archive_splits(args):
    """{'train': Split, 'val': Split} of the archives that are given. UserError if one is not the public one."""
    given = {flag: getattr(args, flag) for flag in ilsvrc.SHA1 if getattr(args, flag)}
    for path in filter(None, [*given.values(), args.val_labels]):
        os.stat(path)  # before an hour is spent on the others
    if not args.no_checksum:
        for flag, path in sorted(given.items(), key=lambda item: os.path.getsize(item[1])):
            ilsvrc.compare_checksum(path, ilsvrc.SHA1[flag])
    splits = {}
    if args.val_tar:
        labels = ilsvrc.devkit_labels(args.devkit) if args.devkit else ilsvrc.listed_labels(args.val_labels)
        splits['val'] = ilsvrc.val_archive(args.val_tar, *labels)
    if args.train_tar:
        splits['train'] = ilsvrc.train_archive(args.train_tar)
    return splits


def compare_classes(out, class_names):
    """UserError if training and validation images, of this run or of one before, have labels of other classes.

    class_names: {'train' or 'val': its names}
    """
    paths = [(name, os.path.join(out, name + ending)) for name in SPLITS for ending in ('.json', '.part.json')]
    for name, path in paths:
        if name not in class_names and os.path.exists(path):
            class_names = {**class_names, name: read_facts(path)['class_names']}
    first, *others = class_names.values()
    if others and others[0] != first:
        differing = sorted(set(first) ^ set(others[0]))
        raise UserError('the training and the validation images have other classes: %s' % ', '.join(differing[:5]))


def prepare(split, final, args, shuffled):
    """Write, verify and rename one split; returns what its .json says. final: the path without ending."""
    part, settings = final + '.part', settings_of(split, args, shuffled)
    if os.path.exists(final + '.json'):
        compare_settings(final + '.json', settings)
        if not os.path.exists(final + '.rec'):
            rename(part, final)  # a crash came between two renames
        RecordFile(final + '.rec')  # raises if the index is gone, or is of another file
        return told('is there already', final)
    if os.path.exists(part + '.json'):
        compare_settings(part + '.json', settings)
    else:
        write_facts(part + '.json', settings)
    keys = write_split(split, part, args, shuffled)
    if not keys:
        raise UserError('none of the %d images for %s.rec can be decoded' % (len(split.images), final))
    counts = np.bincount([split.images[key].label for key in keys], minlength=len(split.class_names)).tolist()
    left_out = [split.images[key].name for key in sorted(set(range(len(split.images))) - set(keys))]
    write_facts(part + '.json', dict(settings, counts=counts, left_out=left_out))
    verify(part, args.jobs)
    rename(part, final)
    return told('made and verified', final)


def settings_of(split, args, shuffled):
    """What the bytes of a .rec depend on; a run that was begun with others is not gone on with."""
    listing = hashlib.sha256()
    for image in split.images:
        listing.update(('%d %r %d\n' % (image.label, image.name, image.size)).encode())
    return {'made_by': MADE_BY, 'size': args.size, 'quality': args.quality, 'opencv': cv2.__version__,
            'shuffle_seed': SHUFFLE_SEED if shuffled else None, 'images': len(split.images),
            'listing_sha256': listing.hexdigest(), 'class_names': split.class_names}


def compare_settings(path, settings):
    """UserError unless the .json that is there has these settings."""
    facts = read_facts(path)
    differing = [name for name in settings if facts.get(name) != settings[name]]
    if differing:
        parts = ['%s %.40s instead of %.40s' % (name, facts.get(name), settings[name]) for name in differing]
        raise UserError('%s* is there, made of other images or with other settings (%s): remove it, or choose another '
                        '--out' % (path[:-len('json')], ', '.join(parts)))


def write_split(split, stem, args, shuffled):
    """Write, or go on writing, the records of a Split; returns the keys of the images that are in the file.

    The key of an image is its row in the Split, as im2rec has it.
    """
    order = list(range(len(split.images)))
    if shuffled:
        random.Random(SHUFFLE_SEED).shuffle(order)
    with RecordWriter(stem) as writer:
        begin = order.index(writer.keys[-1]) + 1 if writer.keys else 0
        images = (split.images[key] for key in order[begin:])
        jpegs = ahead(partial(encoded, args.size, args.quality), images, args.jobs)
        with tqdm(jpegs, os.path.basename(stem), len(order), unit=' images', initial=begin, disable=None) as progress:
            for key, jpeg in zip(order[begin:], progress):
                if jpeg is not None:
                    writer.write(key, split.images[key].label, jpeg)
        return writer.keys


def ahead(function, items, threads):
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
    """The JPEG of an Image with its shorter side resized; None if it cannot be decoded, or would be too long."""
    pixels = decoded(ilsvrc.read_image(image))
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    shape = (size, height * size // width) if height > width else (width * size // height, size)
    if max(shape) > LONGEST_SIDE:
        return None
    return cv2.imencode('.jpg', cv2.resize(pixels, shape), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def verify(stem, jobs):
    """Read every record once. UserError if a checksum, a label, an image, or the number of images of a class is
    wrong."""
    facts, records = finished_facts(stem), RecordFile(stem + '.rec')
    if not records.sums:
        raise UserError('%s.rec has no checksums: its .crc32 is missing' % stem)
    check = partial(checked_label, records, facts)
    labels = list(tqdm(ahead(check, range(len(records)), jobs), 'verifying', len(records), unit=' images',
                       disable=None))
    counts = np.bincount(labels, minlength=len(facts['class_names'])).tolist()
    for name, count, expected in zip(facts['class_names'], counts, facts['counts']):
        if count != expected:
            raise UserError('%s.rec holds %d images of the class %s instead of %d' % (stem, count, name, expected))


def checked_label(records, facts, row):
    """The label of a record; UserError if that or the image is wrong."""
    content, label = records.read(row)
    image = decoded(content)
    if image is None or min(image.shape[:2]) != facts['size']:
        raise UserError('image %d of %s cannot be decoded, or has another size' % (row, records.path))
    if not 0 <= label < len(facts['class_names']):
        raise UserError('image %d of %s has the label %d, and there are %d classes'
                        % (row, records.path, label, len(facts['class_names'])))
    return label


def rename(part, final):
    """Give the files of a split their names; the .rec is last, so that nobody reads it without its checksums."""
    for ending in ENDINGS:
        if os.path.exists(part + ending):
            with open(part + ending, 'rb') as file:
                os.fsync(file.fileno())
            os.replace(part + ending, final + ending)


def told(done, final):
    """What the .json of a finished split says, after printing it in short."""
    facts = finished_facts(final)
    counts = facts['counts']
    print('%s.rec %s: %d images, %d classes of %d to %d, shorter side %d'
          % (final, done, sum(counts), len(counts), min(counts), max(counts), facts['size']))
    return facts


def finished_facts(stem):
    """The settings, `counts` and `left_out` of a .rec that was written to its end."""
    facts = read_facts(stem + '.json')
    if not is_list(facts.get('counts'), int) or not is_list(facts.get('left_out'), str) or \
            len(facts['counts']) != len(facts['class_names']):
        raise UserError('%s.json does not say how many images of each class were written' % stem)
    return facts


def read_facts(path):
    """The settings of a .rec from the .json beside it."""
    try:
        with open(path) as file:
            facts = json.load(file)
        if facts['made_by'] == MADE_BY and isinstance(facts['size'], int) and is_list(facts['class_names'], str):
            return facts
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError('%s is not a file of %s, or is damaged' % (path, MADE_BY))


def is_list(value, kind):
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def write_facts(path, facts):
    with writing(path), open(path + '.new', 'w') as file:
        json.dump(facts, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + '.new', path)


if __name__ == '__main__':
    sys.exit(run_script(main))
