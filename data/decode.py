"""The pixels of an encoded picture: one rule for class folders, RecordIO and what people bring.

A picture is upright, as its EXIF says, and what is transparent in it shows white. Grey, palette and CMYK become three
colours; of 16 bits the upper eight count. OpenCV decodes JPEGs, as MXNet's im2rec does, and Pillow the rest. Both look
at the header before they decode: neither takes more than runtime.LARGEST_PICTURE pixels. A decoder holds up to 16 bytes
for each of them, so large pictures are decoded one at a time, whatever the number of threads. Formats in which a few
bytes can ask for any amount of memory or time are not read: TIFF, GIF, JPEG 2000 and PPM written as text.
"""
import io
import os
import struct
import threading
import warnings
from contextlib import nullcontext

import runtime
from runtime import UserError

import numpy as np
from PIL import Image, ImageFile, ImageOps

from data.opencv import cv2

JPEG = b'\xff\xd8\xff'
# How a file begins -> Pillow's name of its format, which has others, of which one starts a program.
FORMATS = {b'BM': 'BMP', b'\x89PNG': 'PNG', b'P4': 'PPM', b'P5': 'PPM', b'P6': 'PPM', b'RIFF': 'WEBP'}
ENDINGS = tuple('.bmp .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .webp'.split())
LARGEST_ASPECT = 100     # a thin strip becomes a huge image when its shorter side is enlarged
LARGEST_FILE = 1 << 26   # bytes
LARGEST_EXIF = 1 << 16   # bytes, the most that a JPEG can have; Pillow copies it for each of its entries
LARGE = 1 << 24          # pixels
ONE_AT_A_TIME = threading.Lock()
SEGMENT = struct.Struct('>HHBHH')  # of a JPEG: marker, length, and in the header of a frame bits, height and width
SCAN = b'\xff\xda'          # the marker of a scan, of which a progressive JPEG has about ten
MOST_SCANS, MOST_SEGMENTS = 500, 10000
TABLES = 0xffc4, 0xffc8, 0xffcc    # markers of no frame among those of frames

warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)  # from half of the limit on


def decode(content, name):
    """The picture (H, W, 3) uint8, BGR, of an encoded one. UserError, with its name, if it is none that can be used."""
    picture = _jpeg(content, name) if content.startswith(JPEG) else _other(content, name)
    check_aspect(picture, name)
    return picture


def check_aspect(picture, name):
    """UserError if a picture is too thin a strip."""
    height, width = picture.shape[:2]
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise UserError('%s of %dx%d is too thin a strip: at most 1:%d is taken'
                        % (name, width, height, LARGEST_ASPECT))


def _turn_for(pixels):
    """To be entered before a picture of so many pixels is decoded."""
    return ONE_AT_A_TIME if pixels > LARGE else nullcontext()


def jpeg_pixels(content):
    """How many a JPEG has, as the header of its frame says; infinite where that does not come as it usually does."""
    position = 2
    for _ in range(MOST_SEGMENTS):
        if position + SEGMENT.size > len(content):
            break
        marker, length, _, height, width = SEGMENT.unpack_from(content, position)
        if 0xffc0 <= marker <= 0xffcf and marker not in TABLES:
            return height * width
        if marker not in TABLES and not 0xffdb <= marker < 0xffff:
            break
        position += 2 + length
    return float('inf')


def _jpeg(content, name):
    if content.count(SCAN) > MOST_SCANS:  # each takes the time of the whole picture, however few bytes it has
        raise UserError('%s has more than %d scans' % (name, MOST_SCANS))
    try:
        with _turn_for(jpeg_pixels(content)):
            picture = cv2.imdecode(np.frombuffer(content, 'uint8'), cv2.IMREAD_COLOR)
    except cv2.error:  # more pixels than OpenCV allows
        picture = None
    if picture is None:
        with _opened(content, name, ['JPEG', 'MPO']):
            raise UserError('%s cannot be decoded: the JPEG is damaged, or of a rare kind' % name)
    return picture


def _other(content, name):
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # gluoncv.data sets it, and a cut picture would be half black
    formats = [kind for begin, kind in FORMATS.items() if content.startswith(begin)]
    with _opened(content, name, formats) as image, _turn_for(image.width * image.height):
        try:
            image.load()  # a PNG may have its EXIF after its pixels
            if any(len(image.info.get(key, '')) > LARGEST_EXIF for key in ('exif', 'Raw profile type exif')):
                raise ValueError('its EXIF has more than %d bytes' % LARGEST_EXIF)
            ImageOps.exif_transpose(image, in_place=True)
            return np.ascontiguousarray(np.asarray(_on_white(image))[..., ::-1])
        except Exception as error:  # Pillow promises nothing about what it raises for a damaged file
            raise UserError('%s cannot be decoded (%s)' % (name, error)) from error


def _opened(content, name, formats):
    """The image of Pillow, of which only the header has been read."""
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = runtime.LARGEST_PICTURE + 1
    except Exception as error:  # as above
        raise UserError('%s is not an image of a kind that is read (%s)'
                        % (name, ', '.join(['JPEG', *dict.fromkeys(FORMATS.values())]))) from error
    if pixels > runtime.LARGEST_PICTURE:
        raise UserError('%s has more than the %d million pixels that are read'
                        % (name, runtime.LARGEST_PICTURE // 10 ** 6))
    return image


def _on_white(image):
    """An image of Pillow in RGB, composed on white where it is transparent."""
    if image.mode[0] == 'I':  # grey of 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype('uint8'))
    if image.mode in ('LA', 'RGBA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return image if image.mode == 'RGB' else image.convert('RGB')


def read_file(path, offset=0, size=None):
    """The bytes of a picture's file, or of a part of it. OSError with its name, UserError if there are too many."""
    try:
        with open(path, 'rb') as file:  # cv2.imread crashes at some names
            size = os.fstat(file.fileno()).st_size if size is None else size
            if size > LARGEST_FILE:
                raise UserError('%s is too large for a picture: at most %d MB are read' % (path, LARGEST_FILE >> 20))
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
