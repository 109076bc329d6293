"""What a picture from outside becomes before a network of a small data set sees it: (3, 32, 32) float32, normalised.

Of a picture of the data set itself nothing is changed but its colours' scale.
"""
import numpy as np

from data.augment import LUMA, normalise
from data.opencv import cv2

SIDE = 32               # of the pictures of the small data sets
FASHION_SIDE = 28       # of Fashion-MNIST's, which are in the middle of 32x32
TRIM = 0.05 * 255       # Fashion-MNIST's margins were cut where they differ less than this from the corners


def square_view(mean, std, picture, *_):
    """Of CIFAR: the largest square in the middle."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return _planes(_resized(picture[top:top + side, left:left + side], SIDE, SIDE), mean, std)


def fashion_view(mean, std, picture, *_):
    """As Fashion-MNIST makes it of a product photograph; one of 28x28 or 32x32 is taken for one of the data set.

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
    return _planes(np.repeat(np.pad(grey, margins)[..., None], 3, axis=2), mean, std)


def _resized(picture, width, height):
    """Averaged where it shrinks, linear where it grows."""
    shrinks = width < picture.shape[1]
    return cv2.resize(np.ascontiguousarray(picture), (width, height),
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _planes(picture, mean, std):
    """(3, H, W) float32, normalised, of a picture (H, W, 3) uint8."""
    return normalise(picture.transpose(2, 0, 1)[None], mean, std)[0]
