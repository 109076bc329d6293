"""The forms in which CIFAR is on disks, each read into (pixels (N, 3, 32, 32) uint8, labels (N, label sets) uint8).

The binary version: a record is a byte for each label and 3072 bytes of pixels. The Python version: a pickle of the same
(data/pickles.py). Both as files, in the folder of their archive or beside it, or in the archive, which is not unpacked.
And class folders, train/<class>/*.png and test/<class>/*.png, also with folders of superclasses above the classes.
"""
import io
import logging
import os

from runtime import UserError, listed

import numpy as np

from data.archives import plain_files, unpacked
from data.decode import decode, read_file
from data.folders import class_folders, images_in
from data.pickles import Array, read_pickle

LOG = logging.getLogger(__name__)
PIXELS = 3 * 32 * 32
ARCHIVE_BYTES = 1 << 28                  # unpacked; the two have 180 MB
# Of a pickle for each image, at most, beside its pixels: labels and the names of the files.
EXTRA_BYTES = 200
INSTRUCTIONS = 20
TEST_FOLDERS = 'test', 'val'


def read_split(variant, place, train):
    """The training or the test images of a cifar.Variant in a folder, or in an archive. None if there are none.

    Raises UserError for files that are damaged, and where there are some of a version but not all of them.
    """
    if os.path.isfile(place):
        return from_archive(variant, place, train)
    for version, read in versions_of(variant):
        for folder in folders_of(version, place):
            counts = version.train if train else version.test
            if all(os.path.isfile(os.path.join(folder, name)) for name in counts):
                return joined(read(variant, open_file(os.path.join(folder, name)), count, os.path.join(folder, name))
                              for name, count in counts.items())
    archives = [os.path.join(place, name) for version, _ in versions_of(variant) for name in version.archives]
    for path in filter(os.path.isfile, archives):
        return from_archive(variant, path, train)
    found = from_class_folders(variant, place, train)
    if found is None:
        check_complete(variant, place)
    return found


def folders_of(version, place):
    """Where the files of a version may be."""
    return place, os.path.join(place, version.folder)


def check_complete(variant, place):
    """UserError if a folder holds some files of a version, but not all of them."""
    for version, _ in versions_of(variant):
        names = [*version.train, *version.test]
        for folder in folders_of(version, place):
            missing = [name for name in names if not os.path.isfile(os.path.join(folder, name))]
            if 0 < len(missing) < len(names):
                raise UserError('%s lacks %s' % (folder, listed(missing)))


def versions_of(variant):
    return (variant.binary, read_binary), (variant.python, read_python)


def joined(parts):
    pixels, labels = zip(*parts)
    return np.concatenate(pixels), np.concatenate(labels)


def open_file(path):
    return open(path, 'rb')


def from_archive(variant, path, train):
    """The images of a .tar.gz of either version. Only the members of their exact names are looked at."""
    content = unpacked(path, ARCHIVE_BYTES)
    members = plain_files(io.BytesIO(content), 0, len(content), path, parts=2)
    for version, read in versions_of(variant):
        counts = {'%s/%s' % (version.folder, name): count
                  for name, count in (version.train if train else version.test).items()}
        missing = [name for name in counts if name not in members]
        if not missing:
            files = {name: io.BytesIO(content[offset:offset + size])
                     for name, (offset, size) in members.items() if name in counts}
            return joined(read(variant, files[name], count, '%s: %s' % (path, name)) for name, count in counts.items())
        if len(missing) < len(counts):
            raise UserError('%s lacks the member %s' % (path, missing[0]))
    raise UserError('%s is not an archive of %s: it holds %s' % (path, variant.name, listed(sorted(members))))


def read_binary(variant, file, count, path):
    """The images of a binary file, which must hold `count` of them."""
    columns = len(variant.labels)
    size = count * (columns + PIXELS)
    with file:
        content = file.read(size + 1)
    if len(content) != size:
        raise UserError('%s holds %s bytes where %d belong'
                        % (path, 'more' if len(content) > size else len(content), size))
    records = np.frombuffer(content, 'uint8').reshape(count, columns + PIXELS)
    return checked(variant, records[:, columns:], records[:, :columns], path)


def read_python(variant, file, count, path):
    """The same of a pickle."""
    with file:
        content = file.read(count * (PIXELS + EXTRA_BYTES) + 1)
    if len(content) > count * (PIXELS + EXTRA_BYTES):
        raise UserError('%s is larger than a file of %d images can be' % (path, count))
    found = read_pickle(content, 1000 + INSTRUCTIONS * count, path)
    found = {key.decode('latin-1') if isinstance(key, bytes) else key: value for key, value in found.items()} \
        if isinstance(found, dict) else {}
    pixels, labels = found.get('data'), [found.get(name) for name in variant.labels]
    if not isinstance(pixels, Array) or pixels.value.shape != (count, PIXELS):
        raise UserError('%s does not hold the pixels of %d images' % (path, count))
    for name, column in zip(variant.labels, labels):
        if type(column) is not list or len(column) != count or any(type(label) is not int for label in column):
            raise UserError('%s does not hold the %s of %d images' % (path, name, count))
    return checked(variant, pixels.value, np.array(labels, dtype='object').T, path)


def checked(variant, pixels, labels, path):
    """(pixels (N, 3, 32, 32), labels (N, label sets)) uint8; UserError if a label is none of its classes."""
    for column, names in zip(labels.T, variant.labels.values()):
        for label in (column.min(), column.max()):
            if not 0 <= label < len(names):
                raise UserError('label %d is out of range in %s: there are %d classes' % (label, path, len(names)))
    return pixels.reshape(-1, 3, 32, 32), labels.astype('uint8')


def from_class_folders(variant, place, train):
    """The images of folders of 32x32 images that have the names of the classes. None if there is no such folder."""
    roots = [os.path.join(place, name) for name in ('', variant.name.lower().replace('-', ''))]
    splits = [os.path.join(root, split) for root in roots for split in (('train',) if train else TEST_FOLDERS)]
    for split in filter(os.path.isdir, splits):
        folders = list(leaf_folders(split))
        if folders:
            return read_folders(variant, folders, split, 50000 if train else 10000)
    return None


def leaf_folders(split):
    """The paths of the class folders, which may be in folders of superclasses."""
    for name in class_folders(split):
        path = os.path.join(split, name)
        inner = class_folders(path)
        yield from [os.path.join(path, inside) for inside in inner] or [path]


def read_folders(variant, folders, split, usual):
    """The images of class folders."""
    *_, (finest, names) = variant.labels.items()
    known = {comparable(name): name for name in names}
    unknown = [path for path in folders if comparable(os.path.basename(path)) not in known]
    if unknown:
        raise UserError('%s is not a class of %s: %s' % (unknown[0], variant.name, listed(names)))
    images = {path: images_in(path) for path in sorted(folders)}
    found = [known[comparable(os.path.basename(path))] for path in images for _ in images[path]]
    absent = [name for name in names if name not in found]
    if absent:
        raise UserError('there is no image of the class %s in %s' % (absent[0], split))
    if len(found) != usual:
        LOG.warning('%s holds %d images where %s has %d', split, len(found), variant.name, usual)
    pixels = np.stack([read_small(path) for paths in images.values() for path in paths])
    labels = [[labels_of.index(name if column == finest else variant.parents[name])
               for column, labels_of in variant.labels.items()] for name in found]
    return pixels, np.array(labels, dtype='uint8')


def comparable(name):
    """A name without what folders write in another way: aquarium_fish is the aquarium fish."""
    return ''.join(filter(str.isalnum, name.lower()))


def read_small(path):
    """(3, 32, 32) uint8, RGB, of a file."""
    picture = decode(read_file(path), path)
    if picture.shape[:2] != (32, 32):
        raise UserError('%s is %dx%d, not 32x32' % (path, *picture.shape[1::-1]))
    return picture[..., ::-1].transpose(2, 0, 1)
