"""What ImageNet's archives, its development kit and class folders hold: each image, its label, where its bytes are.

    train_archive('ILSVRC2012_img_train.tar').images[0]     # Image(label=0, name='n01440764/n01440764_10026.JPEG', ...)
    val_archive('ILSVRC2012_img_val.tar', *devkit_labels('ILSVRC2012_devkit_t12.tar.gz'))
    folder_splits('imagenet')['val']

Labels count the sorted synsets. The archives are read where they are: nothing is unpacked, and no name in one of them
becomes a path.
"""
import hashlib
import io
import os
import re
import struct
import zlib
from collections import namedtuple

from runtime import UserError

import numpy as np
from scipy.io import loadmat
from tqdm import tqdm

from data.archives import plain_files, unpacked
from data.decode import read_file
from data.folders import ImageFolder, images_in
from data.labels import labels_by_name
from data.places import contents
from disk import open_text

# The public archives, as image-net.org, gluoncv and others name them.
SHA1 = {
    'train_tar': '43eda4fe35c1705d6606a6a7a633bc965d194284',
    'val_tar': '5f3f73da3395154b60528b2b2a2caf2374f5f178',
    'devkit': '092a94ed6a05454b8b72d1c4ecf336fa48d37fda',
}
IMAGE_ENDINGS = '.jpeg', '.jpg', '.png'
IMAGE_BYTES = 1 << 26     # at most, of an image in an archive
KIT_FILE_BYTES = 1 << 24  # of a file in the development kit
KIT_BYTES = 1 << 28       # of all of it, unpacked
MAT_ORDER = slice(126, 128)          # of the header of a .mat file
MAT_TAG = struct.Struct('<II')       # of an element: its kind and the size of what follows
MAT_COMPRESSED = 15                  # a kind
CLASS_TAR = re.compile(r'(n\d{8})\.tar')
LABEL_LINE = re.compile(r'(ILSVRC2012_val_\d{8})(?:\.JPEG)?[,\s]\s*(n\d{8})\b')

# An image: `size` bytes at `offset` of the file `path`. name: <class>/<file>, for messages.
Image = namedtuple('Image', 'label name path offset size')
# All images of train or val, sorted by label and name.
Split = namedtuple('Split', 'images class_names')


def read_image(image):
    """The bytes of an Image. OSError if its file was cut after it had been looked through."""
    content = read_file(image.path, image.offset, image.size)
    if len(content) != image.size:
        raise OSError('%s was cut short while it was being read' % image.path)
    return content


def folder_splits(root, val_labels=None):
    """{'train': Split, 'val': Split} of class folders.

    val_labels: (synsets, class names) of the images of val/, where they have no class folders, as Kaggle has them.
    """
    train = ImageFolder(root, True)
    if val_labels:
        val = val_folder(os.path.join(root, 'val'), *val_labels)
    else:
        val = folder_split(ImageFolder(root, False), train.class_names)
    return {'train': folder_split(train, train.class_names), 'val': val}


def folder_split(folder, class_names):
    """The Split of an ImageFolder, with the labels of these classes."""
    labels = labels_by_name(folder.class_names, class_names, folder.path)
    images = [Image(labels[label], '%s/%s' % (folder.class_names[label], os.path.basename(path)), path, 0,
                    os.path.getsize(path)) for path, label in folder.items]
    return Split(sorted(images), list(class_names))


def train_archive(path):
    """The Split of ILSVRC2012_img_train.tar, a tar of one tar for each synset."""
    with open(path, 'rb') as file:
        class_tars = plain_files(file, 0, os.path.getsize(path), path)
        images = []
        foreign = [name for name in class_tars if not CLASS_TAR.fullmatch(name)]
        if foreign:
            raise UserError('%s holds %r, which is not the archive of a class such as n01440764.tar'
                            % (path, foreign[0]))
        class_names = sorted(name[:-len('.tar')] for name in class_tars)
        for label, synset in enumerate(tqdm(class_names, 'looking through', unit=' classes', disable=None)):
            name = synset + '.tar'
            inside = plain_files(file, *class_tars[name], '%s in %s' % (name, path))
            images += [image_in(path, label, synset, *member) for member in inside.items()]
    return Split(sorted(images), class_names)


def val_archive(path, synsets, class_names):
    """The Split of ILSVRC2012_img_val.tar, a flat tar.   synsets: {file name without ending: synset}"""
    with open(path, 'rb') as file:
        members = plain_files(file, 0, os.path.getsize(path), path)
    found = labels_of(members, synsets, class_names, path)
    return Split(sorted(image_in(path, *found[name], name, place) for name, place in members.items()), class_names)


def val_folder(path, synsets, class_names):
    """The same, of a folder."""
    images = {os.path.basename(image): image for image in images_in(path)}
    found = labels_of(images, synsets, class_names, path)
    return Split(sorted(Image(label, '%s/%s' % (synset, name), images[name], 0, os.path.getsize(images[name]))
                        for name, (label, synset) in found.items()), class_names)


def labels_of(names, synsets, class_names, path):
    """{file name: (label, synset)} of images. UserError if there is none, or one of them has no synset."""
    stems = {name: os.path.splitext(name)[0] for name in names}
    unknown = [name for name in names if stems[name] not in synsets]
    if unknown:
        raise UserError('there is no label for %r, one of %d such images in %s' % (unknown[0], len(unknown), path))
    if not stems:
        raise UserError('there is no image in %s: %s' % (path, contents(path)))
    labels = {name: label for label, name in enumerate(class_names)}
    return {name: (labels[synsets[stem]], synsets[stem]) for name, stem in stems.items()}


def image_in(path, label, class_name, name, place):
    """The Image of a member of an archive; UserError if it cannot be one."""
    offset, size = place
    if not name.lower().endswith(IMAGE_ENDINGS):
        raise UserError('%s holds %r, which is not an image' % (path, name))
    if size > IMAGE_BYTES:
        raise UserError('%s holds %r of %d bytes, which is too large for an image' % (path, name, size))
    return Image(label, '%s/%s' % (class_name, name), path, offset, size)


def devkit_labels(path):
    """({file name without ending: synset}, sorted synsets) of the validation set, by ILSVRC2012_devkit_t12.tar.gz.

    Its ground truth is a line with a number for each image, and its meta.mat says which synset a number means.
    Synsets with children are groups of classes.
    """
    content = unpacked(path, KIT_BYTES)
    found = plain_files(io.BytesIO(content), 0, len(content), path, parts=2)
    kit = []
    for name in 'data/meta.mat', 'data/ILSVRC2012_validation_ground_truth.txt':
        offset, size = found.get(name, (0, 0))
        if not 0 < size <= KIT_FILE_BYTES:
            raise UserError('%s is not the ILSVRC2012 development kit: it lacks meta.mat or the ground truth' % path)
        kit.append(content[offset:offset + size])
    try:
        check_unpacked(kit[0])
        table = np.atleast_1d(loadmat(io.BytesIO(kit[0]), squeeze_me=True)['synsets'])
        synsets = {int(row['ILSVRC2012_ID']): str(row['WNID']) for row in table if not row['num_children']}
        labels = {'ILSVRC2012_val_%08d' % image: synsets[int(number)] for image, number in enumerate(kit[1].split(), 1)}
    except Exception as error:  # loadmat promises nothing about what it raises for a damaged file
        raise UserError('%s does not hold the labels: %s: %s' % (path, type(error).__name__, error)) from error
    return labels, sorted(synsets.values())


def check_unpacked(mat):
    """ValueError if the compressed elements of a .mat file, whose sizes loadmat trusts, are too large in all."""
    if mat[MAT_ORDER] != b'IM':
        raise ValueError('not a little-endian file of MATLAB 5')
    position, left = MAT_ORDER.stop, KIT_FILE_BYTES
    while position + MAT_TAG.size <= len(mat):
        kind, size = MAT_TAG.unpack_from(mat, position)
        position += MAT_TAG.size
        if kind == MAT_COMPRESSED:
            left -= len(zlib.decompressobj().decompress(mat[position:position + size], left + 1))
        if left < 0:
            raise ValueError('it unpacks to more than %d MB' % (KIT_FILE_BYTES >> 20))
        position += size


def listed_labels(path):
    """The same, of a text file: a line `ILSVRC2012_val_00000001.JPEG n01751748` for each image, or Kaggle's
    LOC_val_solution.csv with lines `ILSVRC2012_val_00000001,n01751748 111 108 230 366`."""
    labels = {}
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            found = LABEL_LINE.match(line)
            if found and labels.setdefault(found[1], found[2]) != found[2]:
                raise UserError('line %d of %s gives %s another synset than a line before' % (number, path, found[1]))
            if not found and line.strip() and not line.startswith('ImageId,'):
                raise UserError('line %d of %s does not name an image and its synset: %.60r' % (number, path, line))
    return labels, sorted(set(labels.values()))


def check_sha1(path, sha1):
    """UserError unless the file has this SHA-1."""
    digest = hashlib.sha1()
    with open(path, 'rb') as file, tqdm(desc='checksum of ' + os.path.basename(path), total=os.path.getsize(path),
                                        unit='B', unit_scale=True, disable=None) as progress:
        for block in iter(lambda: file.read(1 << 22), b''):
            digest.update(block)
            progress.update(len(block))
    if digest.hexdigest() != sha1:
        raise UserError('%s is not the public archive: its SHA-1 is %s instead of %s; fetch it again, or take it as '
                        'it is with --no-checksum' % (path, digest.hexdigest(), sha1))
