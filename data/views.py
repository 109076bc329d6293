"""What a picture from outside becomes before a network of a small data set sees it: (3, 32, 32) float32, normalised.

Of a picture of the data set itself nothing is changed but its colours' scale.
"""
import logging

import numpy as np

from data.augment import LUMA, normalise
from data.opencv import cv2

LOG = logging.getLogger(__name__)
SIDE = 32               # of the pictures of the small data sets
FASHION_SIDE = 28       # of Fashion-MNIST's, which are in the middle of 32x32
TRIM = 0.05 * 255       # Fashion-MNIST's margins were cut where they differ less than this from the corners


def square_view(mean, std, picture, *_):
    """Of CIFAR: the largest square in the middle."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return _planes(_resized(picture[top:top + side, left:left + side], SIDE, SIDE), mean, std)


def fashion_view(mean, std, picture, name, *_):
    """As Fashion-MNIST makes it of a product photograph; one of 28x28 or 32x32 is taken for one of the data set.

    Grey; margins of the ground's grey are cut; the longer side becomes 28, in the middle of black; a picture on a light
    ground is negated, as clothes are bright on black there, and this is said. The sharpening of the original, for which
    no formula is given, is left out. Source: arXiv 1708.07747, section 2.
    """
    grey = np.rint(picture @ LUMA).astype('uint8')
    if grey.shape not in ((FASHION_SIDE,) * 2, (SIDE,) * 2):
        border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
        ground = np.median(border)
        grey = _without_ground(grey, ground)
        if ground > 127:
            LOG.warning('%s: %.0f %% of its border is light: taken for a picture on a light ground, and negated',
                        name, 100 * (border > 127).mean())
            grey = 255 - grey
        scale = FASHION_SIDE / max(grey.shape)
        grey = _resized(grey, *(max(1, round(scale * length)) for length in grey.shape[::-1]))
    margins = [((SIDE - length) // 2, SIDE - length - (SIDE - length) // 2) for length in grey.shape]
    return _planes(np.repeat(np.pad(grey, margins)[..., None], 3, axis=2), mean, std)


def _without_ground(grey, ground):
    """The part of a picture that holds what is not of the ground's grey.

    What touches the border does not count where something larger does not: it is a corner of something else.
    """
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats((abs(grey - ground) > TRIM).astype('uint8'))
    boxes = boxes[1:]  # the first is the ground
    if not len(boxes):
        return grey
    begins, ends = boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]  # (x, y) of each piece
    inside = (begins > 0).all(axis=1) & (ends < grey.shape[::-1]).all(axis=1)
    if inside[boxes[:, cv2.CC_STAT_AREA].argmax()]:
        begins, ends = begins[inside], ends[inside]
    (left, top), (right, bottom) = begins.min(axis=0), ends.max(axis=0)
    return grey[top:bottom, left:right]


def _resized(picture, width, height):
    """Averaged where it shrinks, linear where it grows."""
    shrinks = width < picture.shape[1]
    return cv2.resize(np.ascontiguousarray(picture), (width, height),
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _planes(picture, mean, std):
    """(3, H, W) float32, normalised, of a picture (H, W, 3) uint8."""
    return normalise(picture.transpose(2, 0, 1)[None], mean, std)[0]
