"""Images in class folders: root/train/<class>/*.jpg and root/val/<class>/*.jpg. The classes are sorted by name.

What the system or a program left there is no class, and no image: it is left out, and named in a warning. A class
folder of train/ without an image is an error, so that no class vanishes; in val/ its class is absent.
"""
import logging
import os

from runtime import UserError, listed

from data.decode import ENDINGS, read_file
from data.places import contents

LOG = logging.getLogger(__name__)
DEFAULT = '~/.mxnet/datasets/imagenet'
# What no user makes: of a Synology or QNAP server, of ext4, of macOS and of Windows; and all that begins with a dot.
NO_CLASSES = ('@eaDir', '@Recycle', '#recycle', 'lost+found', '__MACOSX', '$RECYCLE.BIN', 'System Volume Information')


class ImageFolder:
    """The images of root/train or root/val.   As RecordFile; items: [(path, label)]"""
    counts_classes = True  # a label is the place of its class among those that are there

    def __init__(self, root, train):
        root = os.path.expanduser(root or DEFAULT)
        self.path = os.path.join(root, 'train' if train else 'val')
        if not os.path.isdir(self.path):
            raise OSError('there is no folder %s: %s' % (self.path, contents(root)))
        images = {name: images_in(os.path.join(self.path, name)) for name in class_folders(self.path)}
        empty = [name for name, paths in images.items() if not paths]
        if empty and train:
            raise UserError('there is no image in the class folder %s' % os.path.join(self.path, empty[0]))
        if empty:
            LOG.warning('%s: left out, as there is no image in them: %s', self.path, listed(empty))
        self.class_names = tuple(name for name, paths in images.items() if paths)
        self.items = [(path, label) for label, name in enumerate(self.class_names) for path in images[name]]
        if not self.items:
            raise UserError('%s has no class folder with an image: %s' % (self.path, contents(self.path)))
        check_order(self.path, self.class_names)

    def __len__(self):
        return len(self.items)

    def name(self, row):
        """Of an image, for messages."""
        return self.items[row][0]

    def read(self, row):
        path, label = self.items[row]
        return read_file(path), label

    def label(self, row):
        return self.items[row][1]


def class_folders(path):
    """The names of the class folders, sorted. What is left out is named in a warning."""
    with os.scandir(path) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries)
    names = [name for name, is_folder in found if is_folder and not is_foreign(name)]
    others = [name for name, _ in found if name not in names]
    if others and names:
        LOG.warning('%s: left out, as they are no class folders: %s', path, listed(others))
    return names


def images_in(folder):
    """The paths of the images of a class, sorted. What is left out is named in a warning, hidden files are not."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_file()) for entry in entries if not entry.name.startswith('.'))
    images = [name for name, is_file in found if is_file and name.lower().endswith(ENDINGS)]
    others = sorted({name for name, _ in found} - set(images))
    if others:
        LOG.warning('%s: left out, as they are no images of a kind that is read: %s', folder, listed(others))
    return [os.path.join(folder, name) for name in images]


def is_foreign(name):
    """Whether a folder of this name is none of the user's."""
    return name.startswith('.') or name in NO_CLASSES


def check_order(path, names):
    """Warn where numbers sort as text, so that class 10 has the label 2."""
    if all(name.isdecimal() for name in names) and list(names) != sorted(names, key=int):
        LOG.warning('%s: the class folders are in the order of text, not of numbers: labels count %s', path,
                    ', '.join(names))
