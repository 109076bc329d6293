"""Pictures from outside of a data set: read, brought to what a network was trained on, and shown again.

    batch = prepare(['cat.jpg', array], 'imagenet')       # (2, 3, 224, 224) float32
    shown(batch, 'imagenet')                              # (2, 224, 224, 3), colours in 0..1
    class_names('imagenet')[281]                          # 'tabby'

What comes from the data set itself passes unchanged: `prepare` then equals the validation batches, which a test checks.
"""
import os
import warnings

from runtime import UserError

import numpy as np
from PIL import Image

from data import DATASETS
from data.augment import LUMA, normalise
from data.images import LARGEST_ASPECT, MEAN, STD, decoded, is_strip, validation_view
from data.opencv import cv2

SIDE = 32               # of the pictures of the small data sets
FASHION_SIDE = 28       # of Fashion-MNIST's, which lie in the middle of 32x32
TRIM = 0.05 * 255       # Fashion-MNIST's margins were cut where they differ less than this from the corners

FASHION_NAMES = ('T-shirt/top', 'trouser', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag',
                 'ankle boot')
CIFAR10_NAMES = 'airplane automobile bird cat deer dog frog horse ship truck'.split()
CIFAR100_NAMES = {
    'coarse': ('aquatic mammals, fish, flowers, food containers, fruit and vegetables, household electrical devices, '
               'household furniture, insects, large carnivores, large man-made outdoor things, '
               'large natural outdoor scenes, large omnivores and herbivores, medium-sized mammals, '
               'non-insect invertebrates, people, reptiles, small mammals, trees, vehicles 1, vehicles 2').split(', '),
    'fine': ('apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus, '
             'butterfly, camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach, couch, '
             'crab, crocodile, cup, dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house, '
             'kangaroo, keyboard, lamp, lawn mower, leopard, lion, lizard, lobster, man, maple tree, motorcycle, '
             'mountain, mouse, mushroom, oak tree, orange, orchid, otter, palm tree, pear, pickup truck, pine tree, '
             'plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray, road, rocket, rose, sea, seal, shark, '
             'shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar, sunflower, sweet pepper, table, '
             'tank, telephone, television, tiger, tractor, train, trout, tulip, turtle, wardrobe, whale, willow tree, '
             'wolf, woman, worm').split(', '),
}


def class_names(dataset, label_set='coarse', classes=1000):
    """The names of the classes of a data set, in the order of its labels.

    label_set: of cifar100. classes: of a network; 'imagenet' with another number than 1000 stands for somebody's own
    images, whose names are not known.
    """
    _known(dataset)
    if label_set not in CIFAR100_NAMES:
        raise UserError('unknown label set %r; there are %s' % (label_set, ', '.join(CIFAR100_NAMES)))
    if dataset == 'imagenet' and classes != 1000:
        return []
    if dataset == 'imagenet':
        from gluoncv.data import ImageNet1kAttr
        return list(ImageNet1kAttr().classes)
    return list(CIFAR100_NAMES[label_set] if dataset == 'cifar100' else
                CIFAR10_NAMES if dataset == 'cifar10' else FASHION_NAMES)


def class_name(index, names):
    """Of a class; outputs without one, such as 80 of the 100 for CIFAR-100's coarse labels, go by number."""
    return names[index] if index < len(names) else 'class %d' % index


def mean_and_std(dataset):
    """With which the colours of a data set, in 0..1, are normalised."""
    _known(dataset)
    return (MEAN / 255, STD / 255) if dataset == 'imagenet' else DATASETS[dataset][2:]


def read_picture(path):
    """(H, W, 3) uint8, RGB, the right way up, of a file in any format that Pillow knows and OpenCV decodes.

    Pillow reads the header alone, so that nothing is decoded that would fill the memory: its limit is 179 megapixels.
    Raises OSError for a file that cannot be read, and UserError for one that is not an image or too large a one.
    """
    path = os.fspath(path)
    with open(path, 'rb') as file, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            Image.open(file).close()
        except Image.DecompressionBombError as error:
            raise UserError('%s has more than the %d million pixels that are read'
                            % (path, 2 * Image.MAX_IMAGE_PIXELS // 10 ** 6)) from error
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError('%s is not an image' % path) from error
    with open(path, 'rb') as file:  # cv2.imread crashes at some names
        picture = decoded(file.read())
    if picture is None:
        raise UserError('%s cannot be decoded: the image is damaged, or of a kind that OpenCV does not read' % path)
    return np.ascontiguousarray(picture[..., ::-1])


def prepare(pictures, dataset='imagenet', size=224, crop_ratio=0.875):
    """(N, 3, H, W) float32, normalised as the validation images of a data set are.

    pictures: paths, or arrays of uint8, RGB (H, W, 3) or grey (H, W). dataset: 'imagenet' or a name of data.DATASETS.
    size, crop_ratio: of imagenet, as in evaluate.py; the small data sets have 32x32.
    CIFAR: the largest square in the middle, made 32x32. Fashion-MNIST: see _fashion.
    Raises UserError for what is not a picture, and OSError for a file that cannot be read.
    """
    _known(dataset)
    pictures = [_picture(picture) for picture in pictures]
    if not pictures:
        raise UserError('there is no picture')
    if not 0 < crop_ratio <= 1:
        raise UserError('the crop ratio %s must lie between 0 and 1' % crop_ratio)
    if dataset == 'imagenet':
        shorter_side = int(np.ceil(size / crop_ratio))
        return np.stack([validation_view(picture[..., ::-1], size, shorter_side) for picture in pictures])
    view = _fashion if dataset.startswith('fashion-mnist') else _square
    pixels = np.stack([view(picture) for picture in pictures]).transpose(0, 3, 1, 2)
    return normalise(pixels, DATASETS[dataset].mean, DATASETS[dataset].std)


def shown(batch, dataset='imagenet'):
    """(N, H, W, 3) float, RGB in 0..1, of a normalised batch (N, 3, H, W)."""
    mean, std = mean_and_std(dataset)
    return np.clip(np.asarray(batch).transpose(0, 2, 3, 1) * np.float32(std) + np.float32(mean), 0, 1)


def _known(dataset):
    if dataset != 'imagenet' and dataset not in DATASETS:
        raise UserError('unknown data set %r; there are imagenet, %s' % (dataset, ', '.join(DATASETS)))


def _picture(picture):
    """An array as it is, a file read; UserError unless it is a picture of a usable shape."""
    name = 'a picture'
    if isinstance(picture, (str, os.PathLike)):
        name, picture = os.fspath(picture), read_picture(picture)
    picture = np.asarray(picture)
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.dtype != 'uint8' or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise UserError('%s is %s of %s, not (H, W, 3) or (H, W) of uint8' % (name, picture.shape, picture.dtype))
    height, width = picture.shape[:2]
    if is_strip(picture):
        raise UserError('%s of %dx%d is too thin a strip: at most 1:%d is taken'
                        % (name, width, height, LARGEST_ASPECT))
    return picture


def _square(picture):
    """The largest square in the middle, 32x32."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return _resized(picture[top:top + side, left:left + side], SIDE, SIDE)


def _fashion(picture):
    """(32, 32, 3): a picture as Fashion-MNIST makes it; one of 28x28 or 32x32 is taken for one of the data set.

    Grey; margins that look like the corner are cut; the longer side becomes 28, in the middle of black; a picture on a
    light ground is negated, as clothes are bright on black there. The sharpening of the original, for which no formula
    is given, is left out. Source: arXiv 1708.07747, section 2.
    """
    grey = np.rint(picture @ LUMA).astype('uint8')
    if grey.shape not in ((FASHION_SIDE,) * 2, (SIDE,) * 2):
        corner = grey[0, 0].astype(int)
        rows, columns = np.nonzero(abs(grey - corner) > TRIM)
        if rows.size:
            grey = grey[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
        grey = 255 - grey if corner > 127 else grey
        scale = FASHION_SIDE / max(grey.shape)
        grey = _resized(grey, *(max(1, round(scale * length)) for length in grey.shape[::-1]))
    margins = [((SIDE - length) // 2, SIDE - length - (SIDE - length) // 2) for length in grey.shape]
    return np.repeat(np.pad(grey, margins)[..., None], 3, axis=2)


def _resized(picture, width, height):
    """Averaged where it shrinks, linear where it grows."""
    shrinks = width < picture.shape[1]
    return cv2.resize(np.ascontiguousarray(picture), (width, height),
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
