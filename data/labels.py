"""A label is a name: the images of a folder or a file get the labels of the network that is to see them.

    source = labelled(ImageFolder('imagenette', train=False), classes=1000)   # of folders n01440764, ...
    source.label(0), source.class_names[0]                                    # (0, 'n01440764'), ImageNet's own
    source.absent                                                             # the classes that it has no image of
"""
import logging
import re
from collections import Counter
from functools import lru_cache

from runtime import UserError, listed, printable

LOG = logging.getLogger(__name__)
SYNSET = re.compile(r'n\d{8}')


class Labelled:
    """A source whose labels count the classes of a network.   labels: of the classes of the source, in their order

    Reading raises UserError for an image whose label is that of no class of the source.
    """

    def __init__(self, source, labels, class_names):
        self.source = source
        self.labels = labels
        self.class_names = tuple(class_names)
        self.path = source.path
        self.name = source.name
        present = set(labels)
        self.absent = tuple(name for label, name in enumerate(class_names) if label not in present)

    def __len__(self):
        return len(self.source)

    def read(self, row):
        content, label = self.source.read(row)
        return content, self._of_network(label, row)

    def label(self, row):
        return self._of_network(self.source.label(row), row)

    def _of_network(self, label, row):
        check_label(label, len(self.labels), self.name(row))
        return self.labels[label]


def check_label(label, classes, name):
    """UserError if the label of an image of this name is none of so many classes."""
    if not 0 <= label < classes:
        raise UserError('the label %d of %s is out of range: there are %d classes' % (label, name, classes))


def labelled(source, class_names=(), classes=None):
    """A source with the labels of a network, by the names of the classes. UserError for a class that it does not know.

    class_names: of the outputs of the network, as its training had them; () if they are not known. Then, and where the
    source does not know its names, labels stay as they are. Two exceptions, where those of the network are not known:
    folders that are called by ImageNet's synsets get ImageNet's labels if there are 1000 outputs; other class folders
    must be as many as the outputs, else UserError.
    classes: how many outputs. Which classes are absent is said in a warning.
    """
    are_synsets = bool(source.class_names) and all(map(SYNSET.fullmatch, source.class_names))
    if not class_names and classes == 1000 and are_synsets and set(source.class_names) <= set(synsets()):
        class_names = synsets()
    if not class_names or not source.class_names:
        if getattr(source, 'counts_classes', False) and len(source.class_names) < (classes or 0):
            raise UserError('%s has %d classes, and the network %d outputs, whose names are not known: make a folder '
                            'for each, or a RecordIO file' % (source.path, len(source.class_names), classes))
        if class_names:
            LOG.warning('%s does not name its classes: its labels are taken for those of the network', source.path)
        return source
    known = synsets() if are_synsets and tuple(class_names) == imagenet_names() else class_names
    labels = labels_by_name(source.class_names, known, source.path)
    found = Labelled(source, labels, class_names)
    if found.absent:
        LOG.warning('%s has %d of %d classes; absent are %s', source.path, len(labels), len(class_names),
                    listed(found.absent))
    return found


def labels_by_name(names, known, path):
    """The place of each name among the known ones."""
    counts = Counter(known)
    places = {name: place for place, name in enumerate(known)}
    for name in names:
        if counts[name] != 1:
            fault = 'the name of two of the' if counts[name] else 'none of the'
            raise UserError('the class %s of %s is %s %d known classes: %s'
                            % (listed([name]), path, fault, len(known), listed(known)))
    return [places[name] for name in names]


def same_classes(before, now):
    """Whether two lists of names are of the same classes in the same order; None where one of them is not known.

    ImageNet's words are those of its synsets.
    """
    before, now = tuple(before), tuple(now)
    if not before or not now:
        return None
    return before == now or len(before) == len(now) == 1000 and {before, now} == {synsets(), imagenet_names()}


def readable(class_names):
    """The same names to be shown, but ImageNet's words for its synsets."""
    words = dict(zip(synsets(), imagenet_names())) if any(map(SYNSET.fullmatch, class_names)) else {}
    return tuple(words.get(name, printable(name)) for name in class_names)


@lru_cache(maxsize=None)
def imagenet_names():
    """The 1000 names of ImageNet's classes, in the order of their synsets; two of them come twice."""
    return tuple(_imagenet().classes)


@lru_cache(maxsize=None)
def synsets():
    """ImageNet's 1000 synsets, such as n01440764, in the order of its labels."""
    return tuple(_imagenet().synset)


def _imagenet():
    from gluoncv.data import ImageNet1kAttr
    return ImageNet1kAttr()
