"""Images in class folders: root/train/<class>/*.jpg and root/val/<class>/*.jpg."""
import os

from runtime import UserError

DEFAULT = '~/.mxnet/datasets/imagenet'


class ImageFolder:
    """The images of root/train or root/val, a folder per class in sorted order.   As RecordFile."""

    def __init__(self, root, train):
        from gluoncv.data import ImageNet
        root = os.path.expanduser(root or DEFAULT)
        self.path = os.path.join(root, 'train' if train else 'val')
        if not os.path.isdir(self.path):
            raise OSError('there is no folder %s' % self.path)
        folders = ImageNet(root, train=train)
        self.items, self.class_names = folders.items, folders.synsets
        if not self.items:
            raise UserError('there is no image in the class folders of %s' % self.path)

    def __len__(self):
        return len(self.items)

    def read(self, row):
        path, label = self.items[row]
        with open(path, 'rb') as file:
            return file.read(), label

    def label(self, row):
        return self.items[row][1]


def folder_sources(root):
    """(train, val) ImageFolders; UserError unless both have the same classes."""
    train, val = ImageFolder(root, True), ImageFolder(root, False)
    if train.class_names != val.class_names:
        differing = sorted(set(train.class_names) ^ set(val.class_names))
        raise UserError('the class folders of %s and %s differ: %s' % (train.path, val.path, ', '.join(differing[:5])))
    return train, val
