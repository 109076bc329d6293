"""Make train.rec and val.rec from the two ILSVRC2012 archives, or from class folders.

    python -m tools.prepare_imagenet --train-tar ILSVRC2012_img_train.tar --val-tar ILSVRC2012_img_val.tar \\
        --devkit ILSVRC2012_devkit_t12.tar.gz --out DIR -j 8
    python -m tools.prepare_imagenet --folder FOLDER --out DIR -j 8      (FOLDER/train/<class>/*.jpg, FOLDER/val/...)
    python -m tools.prepare_imagenet --folder ILSVRC/Data/CLS-LOC --val-labels LOC_val_solution.csv --out DIR   (Kaggle)
    python -m tools.prepare_imagenet --out DIR --verify-only

What comes out is, byte for byte, what `im2rec --resize 480 --quality 95` of MXNet makes of class folders (a test
compares the two): every image, also a smaller one, is resized bilinearly to a shorter side of 480 after its EXIF
orientation was applied; labels count the sorted synsets; training images are shuffled with im2rec's seed, validation
images are in order. Both RecordFile of data.recordio and MXNet's ImageRecordIter read it. The training images are read
in random order: keep that archive on an SSD.

DIR/train.part.* grows record by record. After a stop, the same command continues after the last record whose checksum
is right. Only after every record has been read back and decoded are the files renamed to train.rec, .idx, .crc32
(tools.seal) and .json (classes, counts, settings). One run at a time works in DIR. The training and the
validation images there, made together or one after the other, must have the same classes.

An image that is damaged, too large or a thin strip is left out and named, in the .json too. The exit code is then 2.
"""
import os
import sys

import runtime  # noqa: F401  (before mxnet)
from runtime import UserError, listed, sentence_of

from cli.command import Parser
from cli.exits import run_script
from cli.kinds import at_least
from disk import locked
from tools.records import ilsvrc
from tools.records.facts import report, settings_in
from tools.records.one_split import ENDINGS, make_split, verify

SPLITS = 'train', 'val'


def parse_args(argv=None):
    parser = Parser(description='Make train.rec and val.rec of ImageNet.')
    source = parser.add_argument_group('from the archives, one or both, or from class folders')
    source.add_argument('--train-tar', metavar='FILE', help='ILSVRC2012_img_train.tar')
    source.add_argument('--val-tar', metavar='FILE', help='ILSVRC2012_img_val.tar')
    source.add_argument('--devkit', metavar='FILE', help='ILSVRC2012_devkit_t12.tar.gz, for the labels of --val-tar')
    source.add_argument('--val-labels', metavar='FILE', help='instead of it: lines of file name and synset, or '
                                                             "Kaggle's LOC_val_solution.csv")
    source.add_argument('--no-checksum', action='store_true',
                        help='take archives whose SHA-1 is not that of the public ones, or was compared before')
    source.add_argument('--folder', metavar='DIR', help='with train/<class>/*.jpg and val/<class>/*.jpg, or val/*.jpg '
                                                        'and --val-labels')
    parser.add_argument('--out', metavar='DIR', required=True, help='where the files go')
    parser.add_argument('-j', '--jobs', type=at_least(1), default=runtime.physical_cores(), help='threads')
    parser.add_argument('--size', type=at_least(1, most=4096), default=480,
                        help='of the shorter side in pixels')
    parser.add_argument('--quality', type=at_least(1, most=100), default=95, help='of the JPEGs, at most 100')
    parser.add_argument('--verify-only', action='store_true', help='read and decode what is in --out')
    args = parser.parse_args(argv)
    archives = args.train_tar or args.val_tar or args.devkit or args.val_labels and not args.folder
    if sum(map(bool, (archives, args.folder, args.verify_only))) != 1:
        parser.error('give one of these only: archives, --folder, --verify-only')
    labels = bool(args.devkit) + bool(args.val_labels)
    if labels > 1 or not args.folder and bool(args.val_tar) != bool(labels):
        parser.error('--val-tar goes with --devkit or --val-labels')
    if args.no_checksum and not archives:
        parser.error('--no-checksum is for archives')
    if args.verify_only and (args.size, args.quality) != (parser.get_default('size'), parser.get_default('quality')):
        parser.error('--size and --quality are for files that are made: --verify-only reads them')
    return args


def main(argv=None):
    """Prepare or verify; returns {'train': what train.json says, 'val': ...} of what was asked for."""
    args = parse_args(argv)
    made = verify_all(args.out, args.jobs) if args.verify_only else make_all(args)
    left_out = ['%s/%s' % (name, image) for name, facts in made.items() for image in facts['left_out']]
    if left_out:
        raise UserError('the files lack images that could not be used, %d: %s' % (len(left_out), listed(left_out)))
    return made


def make_all(args):
    """What main returns. One run at a time does this in a folder."""
    with locked(args.out, '--out'):
        names = [name for name in SPLITS if args.folder or getattr(args, name + '_tar')]
        check_nothing_foreign(args.out, names)
        splits = folder_splits(args) if args.folder else archive_splits(args)
        check_same_classes(args.out, {name: splits[name].class_names for name in names})
        try:
            return {name: make_split(splits[name], os.path.join(args.out, name), args, name == 'train')
                    for name in names}
        except OSError as error:
            raise OSError(f'{sentence_of(error)}; once that is mended the same command continues') from error


def verify_all(out, jobs):
    """What main returns, of the finished files in a folder."""
    names = [name for name in SPLITS if os.path.exists(os.path.join(out, name + '.json'))]
    if not names:
        raise OSError('there is no finished train.rec or val.rec of prepare_imagenet in %s' % out)
    for name in names:
        verify(os.path.join(out, name), jobs)
    return {name: report('verified', os.path.join(out, name)) for name in names}


def check_nothing_foreign(out, names):
    """UserError if a file is there that would be written over and is not ours."""
    for name in names:
        final, part = os.path.join(out, name), os.path.join(out, name + '.part')
        if os.path.exists(final + '.json'):
            continue  # make_split reads it
        stems = [final] if os.path.exists(part + '.json') else [final, part]
        for path in (stem + ending for stem in stems for ending in ENDINGS):
            if os.path.lexists(path):
                raise UserError('%s is there already and prepare_imagenet did not make it: choose another --out' % path)


def folder_splits(args):
    """{'train': Split, 'val': Split} of the class folders."""
    return ilsvrc.folder_splits(args.folder, args.val_labels and ilsvrc.listed_labels(args.val_labels))


def archive_splits(args):
    """{'train': Split, 'val': Split} of the archives that are given. UserError if one is not the public one."""
    given = {flag: getattr(args, flag) for flag in ilsvrc.SHA1 if getattr(args, flag)}
    for path in filter(None, [*given.values(), args.val_labels]):
        os.stat(path)  # before an hour is spent on the others
    if not args.no_checksum:
        for flag, path in sorted(given.items(), key=lambda item: os.path.getsize(item[1])):
            ilsvrc.check_sha1(path, ilsvrc.SHA1[flag])
    splits = {}
    if args.val_tar:
        labels = ilsvrc.devkit_labels(args.devkit) if args.devkit else ilsvrc.listed_labels(args.val_labels)
        splits['val'] = ilsvrc.val_archive(args.val_tar, *labels)
    if args.train_tar:
        splits['train'] = ilsvrc.train_archive(args.train_tar)
    return splits


def check_same_classes(out, class_names):
    """UserError if training and validation images, of this run or of one before, have labels of other classes.

    class_names: {'train' or 'val': its names}
    """
    paths = [(name, os.path.join(out, name + ending)) for name in SPLITS for ending in ('.json', '.part.json')]
    for name, path in paths:
        if name not in class_names and os.path.exists(path):
            class_names = {**class_names, name: settings_in(path)['class_names']}
    first, *others = class_names.values()
    if others and others[0] != first:
        differing = sorted(set(first) ^ set(others[0]))
        raise UserError('the training and the validation images have other classes: %s' % listed(differing))


if __name__ == '__main__':
    sys.exit(run_script(main))
