"""Crop, flip, colour and normalisation, on NumPy arrays; whatever is random is drawn from the generator handed in."""
import numpy as np

from data.opencv import cv2

# The ranges of the authors' ImageNet recipe.
JITTER, LIGHTING = 0.4, 0.1
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
LOG_ASPECT = tuple(np.log(ASPECT))
LUMA = np.array([0.299, 0.587, 0.114], dtype='float32')  # of RGB, what is grey
# Standard deviations and directions of ImageNet's colours (Krizhevsky et al., 2012), for RGB in 0..255.
EIGENVALUES = np.array([55.46, 4.794, 1.148])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def generator(*numbers):
    """A random generator that is a function of these non-negative numbers only, such as (seed, epoch, batch)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(numbers)))


def pad(images, margin):
    """(N, C, H, W) with a border of zeros of `margin` pixels."""
    return np.pad(images, ((0, 0), (0, 0), (margin, margin), (margin, margin)))


def crop_and_flip(padded, rows, size, random, wanted=...):
    """A random size x size window of the chosen rows of `padded` (N, C, H, W), half of them mirrored.

    wanted: places in rows; their images come out as they do among all.
    """
    offsets = random.integers(0, padded.shape[-1] - size + 1, (2, len(rows)))[:, wanted]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    images = windows[rows[wanted], :, offsets[0], offsets[1]]
    mirrored = (random.random(len(rows)) < 0.5)[wanted]
    images[mirrored] = images[mirrored, ..., ::-1]
    return images


def normalise(images, mean, std):
    """uint8 (N, C, H, W) to float32 ((images / 255) - mean) / std, with mean and std per channel."""
    scale = 1 / (255 * np.asarray(std, dtype='float32'))
    shift = np.asarray(mean, dtype='float32') / np.asarray(std, dtype='float32')
    images = images * scale[:, None, None]
    images -= shift[:, None, None]
    return images


def random_resized_box(height, width, random):
    """A box (top, left, height, width) of 8-100 % of the area at an aspect of 3/4-4/3, anywhere in the image.

    Ten tries, then the largest centred box of a permitted aspect (as in Inception's crop).
    """
    for _ in range(10):
        area = random.uniform(*AREA) * height * width
        aspect = np.exp(random.uniform(*LOG_ASPECT))
        h, w = int(round((area / aspect) ** 0.5)), int(round((area * aspect) ** 0.5))
        if 0 < h <= height and 0 < w <= width:
            return int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w
    h, w = min(height, int(width / ASPECT[0])), min(width, int(height * ASPECT[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def centre_box(height, width, size):
    """The centred box (top, left, size, size)."""
    return (height - size) // 2, (width - size) // 2, size, size


def jitter(image, random):
    """Brightness, contrast, saturation (each +-40 %, in random order) and PCA lighting (0.1) of a BGR image.

    (H, W, 3) uint8 to the same. Every step rounds to 0..255 and ends there, as those of MXNet's iterator do.
    But grey is that of RGB; the iterator takes red for blue (MXNet 1.9.1 weighs red by 0.114).
    """
    for kind in random.permutation(3):
        alpha = 1 + random.uniform(-JITTER, JITTER)
        if kind == 0:
            image = cv2.convertScaleAbs(image, alpha=alpha)
            continue
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if kind == 1:
            image = cv2.addWeighted(image, alpha, image, 0, (1 - alpha) * cv2.mean(grey)[0])
        else:
            image = cv2.addWeighted(image, alpha, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), 1 - alpha, 0)
    red, green, blue = EIGENVECTORS @ (EIGENVALUES * random.normal(0, LIGHTING, 3))
    return cv2.add(image, (blue, green, red, 0))
