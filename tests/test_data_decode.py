"""What an encoded picture becomes: upright, on white, of bounded size, in every path that reads pictures."""
import io
import os
import struct
import subprocess
import sys
import zlib
from unittest.mock import MagicMock

import runtime
from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest
from PIL import Image

import data.decode
from data.decode import JPEG, LARGEST_EXIF, SCAN, decode, jpeg_pixels
from data.folders import ImageFolder
from data.images import MEAN, STD, ImageBatches, validation_view
from data.pictures import batch_of, read_picture
from data.recordio import RecordFile
from tests.test_data_recordio import write_records
from tools.records import prepare_imagenet

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# How a picture is stored that shows upright with each EXIF orientation.
STORED = {1: None, 2: Image.FLIP_LEFT_RIGHT, 3: Image.ROTATE_180, 4: Image.FLIP_TOP_BOTTOM, 5: Image.TRANSPOSE,
          6: Image.ROTATE_90, 7: Image.TRANSVERSE, 8: Image.ROTATE_270}
LOSSLESS = {'PNG': {}, 'WEBP': {'lossless': True}}


def photo(height=60, width=90, seed=0):
    """A smooth RGB picture, so that JPEG keeps it nearly as it is."""
    noise = np.random.RandomState(seed).randint(0, 256, (6, 9, 3)).astype('uint8')
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(picture, kind='PNG', **options):
    """The bytes of an array or of an image of Pillow."""
    image, saved = picture if isinstance(picture, Image.Image) else Image.fromarray(picture), io.BytesIO()
    image.save(saved, kind, **options)
    return saved.getvalue()


def turned(picture, orientation, kind='JPEG', **options):
    """The same picture, stored with an EXIF orientation."""
    image, exif = Image.fromarray(picture), Image.Exif()
    exif[0x0112] = orientation
    stored = image if STORED[orientation] is None else image.transpose(STORED[orientation])
    return encoded(stored, kind, exif=exif, **options)


def rgb(content):
    return decode(content, 'it')[..., ::-1]


def huge(side, kind='PNG'):
    """A picture whose header says side x side pixels, with next to none of them."""
    if kind == 'JPEG':
        content = bytearray(encoded(photo(), 'JPEG'))
        frame = content.index(b'\xff\xc0')
        content[frame + 5:frame + 9] = side.to_bytes(2, 'big') * 2
        return bytes(content)
    content = b'\x89PNG\r\n\x1a\n'
    for chunk in (b'IHDR' + side.to_bytes(4, 'big') * 2 + bytes([8, 2, 0, 0, 0]), b'IDAT' + zlib.compress(b'0')):
        content += (len(chunk) - 4).to_bytes(4, 'big') + chunk + zlib.crc32(chunk).to_bytes(4, 'big')
    return content


def write_both(root, content, name='0.jpg'):
    """One picture as a class folder of train/ and of val/, and as a pass-through record. Returns its path."""
    for split in 'train', 'val':
        os.makedirs(str(root / split / 'a'), exist_ok=True)
        (root / split / 'a' / name).write_bytes(content)
    write_records(root / 'pass.rec', [(0, content)])
    return str(root / 'val' / 'a' / name)


def seen(source, train=False):
    """(3, 48, 48): what the network sees of the only image of a source."""
    return next(ImageBatches(source, 1, 1, train, size=48).epoch(0))[0][0]


@pytest.mark.parametrize('orientation', STORED)
def test_a_phones_photograph_is_upright_in_every_path(tmp_path, orientation):
    """Training and scoring of class folders and of pass-through records, prepare_imagenet, classify, and MXNet's own
    iterator see what they see of the upright picture."""
    views = {}
    for name, number in (('upright', 1), ('turned', orientation)):
        root = tmp_path / name
        path = write_both(root, turned(photo(), number, quality=95))
        prepare_imagenet.main(['--folder', str(root), '--out', str(root), '-j', '1', '--size', '60'])
        records = str(root / 'pass.rec')
        iterator = mx.io.ImageRecordIter(
            path_imgrec=records, path_imgidx=records[:-3] + 'idx', data_shape=(3, 48, 48), batch_size=1, resize=55,
            mean_r=MEAN[0], mean_g=MEAN[1], mean_b=MEAN[2], std_r=STD[0], std_g=STD[1], std_b=STD[2])
        views[name] = [seen(ImageFolder(str(root), True), True), seen(RecordFile(records), True),
                       seen(ImageFolder(str(root), False)), seen(RecordFile(records)), batch_of([path], size=48)[0],
                       seen(RecordFile(str(root / 'val.rec'))), next(iterator).data[0].asnumpy()[0]]
        training, scoring = views[name][:2], views[name][2:]
        assert (training[0] == training[1]).all()
        assert (scoring[0] == scoring[1]).all() and (scoring[0] == scoring[2]).all()
        for other in scoring[3:]:  # encoded once more, and another JPEG decoder
            np.testing.assert_allclose(other, scoring[0], atol=0.3)
    for upright, same in zip(views['upright'], views['turned']):
        np.testing.assert_allclose(same, upright, atol=0.5)
        assert abs(same - upright).mean() < 0.05 < abs(same[:, ::-1] - upright).mean()


@pytest.mark.parametrize('kind,options', [
    ('PNG', {}), ('JPEG', {}), ('JPEG', {'progressive': True}), ('JPEG', {'optimize': True, 'comment': b'x' * 999})])
def test_large_pictures_are_decoded_one_at_a_time(kind, options, monkeypatch):
    """A small PNG of 179 million pixels takes 3 GB while it is decoded, in each thread."""
    turn, content = MagicMock(), encoded(photo(60, 90), kind, **options)
    monkeypatch.setattr(data.decode, 'ONE_AT_A_TIME', turn)
    for largest, turns in (60 * 90, 0), (60 * 90 - 1, 1):
        monkeypatch.setattr(data.decode, 'LARGE', largest)
        assert rgb(content).shape == (60, 90, 3) and turn.__enter__.call_count == turns


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded():
    """A scan of 50 bytes takes the time of a whole picture."""
    content = encoded(photo(), 'JPEG', progressive=True)
    scans = content.split(SCAN)
    assert 5 < len(scans) < 20 and rgb(content).shape == (60, 90, 3)
    last = SCAN + scans[-1][:-2]
    with pytest.raises(UserError, match='it has more than 500 scans'):
        decode(content[:-2] + 500 * last + content[-2:], 'it')
    assert jpeg_pixels(JPEG[:2] + 10 ** 6 * b'\xff\xe0\x00\x02') == float('inf')


def test_a_jpeg_whose_header_is_unusual_counts_as_a_large_one():
    content = encoded(photo(60, 90), 'JPEG')
    assert jpeg_pixels(content) == 60 * 90
    for spoilt in (content[:2] + b'\xff' + content[2:], content[:2] + b'\xff\x01' + content[2:], content[:9],
                   content[:2] + content[content.index(b'\xff\xda'):]):
        assert jpeg_pixels(spoilt) == float('inf')


@pytest.mark.parametrize('kind', LOSSLESS)
@pytest.mark.parametrize('orientation', STORED)
def test_other_formats_are_turned_too(kind, orientation):
    assert (rgb(turned(photo(), orientation, kind, **LOSSLESS[kind])) == photo()).all()


@pytest.mark.parametrize('kind,largest', [('PNG', 0), ('BMP', 0), ('PPM', 0), ('JPEG', 25), ('WEBP', 60)])
def test_every_format_keeps_its_colours(kind, largest):
    assert abs(rgb(encoded(photo(), kind)).astype(int) - photo()).max() <= largest


def on_white(colours, opacity):
    """What shows of a picture of some opacity (H, W) in 0..255 in front of white."""
    share = opacity[..., None] / 255
    return colours * share + 255 * (1 - share)


def test_transparent_pictures_show_white_and_nothing_that_is_invisible():
    picture, opacity = photo(), np.zeros((60, 90), 'uint8')
    opacity[10:40, 20:70] = 255
    opacity[40:50, 20:70] = 100
    grey = picture[..., 0]
    of_colour, of_grey = on_white(picture, opacity), on_white(np.repeat(grey[..., None], 3, axis=2), opacity)
    for content, expected in (
            (encoded(np.dstack([picture, opacity])), of_colour),
            (encoded(np.dstack([picture, opacity]), 'WEBP', lossless=True, exact=True), of_colour),
            (encoded(np.dstack([grey, opacity])), of_grey)):
        assert abs(rgb(content) - expected).max() <= 1
    for hidden in 0, 77, 255:  # whatever colour there is where nothing is seen
        content = np.dstack([np.where(opacity[..., None] > 0, picture, hidden).astype('uint8'), opacity])
        assert (rgb(encoded(content)) == rgb(encoded(np.dstack([picture, opacity])))).all()


def test_palettes_and_transparent_colours():
    flat = np.zeros((20, 30, 3), 'uint8')
    flat[:, 10:20], flat[:, 20:] = (255, 0, 0), (0, 0, 255)
    palette = Image.fromarray(flat).quantize(4)
    assert (rgb(encoded(palette)) == flat).all()
    without_black = np.where(flat.any(axis=2, keepdims=True), flat, 255)
    black = palette.getpixel((0, 0))
    assert (rgb(encoded(palette, transparency=black)) == without_black).all()
    assert (rgb(encoded(flat, transparency=(0, 0, 0))) == without_black).all()
    grey = np.array([[0, 9, 200]], 'uint8').repeat(3, axis=0)
    assert rgb(encoded(grey, transparency=0))[0].tolist() == [[255] * 3, [9] * 3, [200] * 3]


def test_grey_of_1_8_and_16_bits_and_cmyk():
    grey = photo()[..., 0]
    same = np.repeat(grey[..., None], 3, axis=2)
    deep = Image.fromarray(grey.astype('uint16') * 256 + 255)
    pgm = cv2.imencode('.pgm', np.asarray(deep))[1].tobytes()
    for content in encoded(grey), encoded(deep), pgm:
        assert (rgb(content) == same).all()
    deep_colours = cv2.imencode('.png', photo()[..., ::-1].astype('uint16') * 256 + 200)[1].tobytes()
    assert (rgb(deep_colours) == photo()).all()
    bits = grey > 127
    assert (rgb(encoded(Image.fromarray(bits))) == np.where(bits[..., None], 255, 0)).all()
    assert abs(rgb(encoded(Image.fromarray(photo()).convert('CMYK'), 'JPEG')).astype(int) - photo()).max() <= 12


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
def test_no_path_decodes_more_pixels_than_the_limit(tmp_path, kind):
    """32,000 x 32,000 pixels of a few hundred bytes, in a process that may hold 3 GB of addresses in all."""
    path = write_both(tmp_path, huge(32000, kind))
    calls = {
        'train': 'seen(ImageFolder(root, True), True)', 'val': 'seen(ImageFolder(root, False))',
        'records': 'seen(RecordFile(root + "/pass.rec"))', 'classify': 'batch_of([%r])' % path,
        'prepare': 'prepare_imagenet.main(["--folder", root, "--out", root + "/out", "-j", "1"])'}
    script = ('import resource, sys\nfrom tests.test_data_decode import *\nroot = %r\n'
              'resource.setrlimit(resource.RLIMIT_AS, (free_to_use() + (1 << 30),) * 2)\n' % str(tmp_path))
    for call in calls.values():
        script += 'try:\n    %s\nexcept ValueError as error:\n    print(error)\n' % call
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], cwd=ROOT, timeout=120, capture_output=True,
                          text=True)
    *lines, last = done.stdout.splitlines()
    assert len(lines) == 4 and all(line.endswith('has more than the 178 million pixels that are read')
                                   for line in lines), done.stderr
    assert last.startswith('none of the 1 images') and 'left out: a/0.jpg has more than the 178' in done.stderr


def free_to_use():
    """Bytes of addresses that this process has already."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[0]) * os.sysconf('SC_PAGE_SIZE')


def chunk(kind, content):
    """A chunk of a PNG."""
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def exif_of(entries, size):
    """EXIF of many entries, all of which say that the same bytes are theirs."""
    head = b'II*\0' + struct.pack('<IH', 8, entries)
    return head + b''.join(struct.pack('<HHII', 50000 + tag, 7, size, 8) for tag in range(entries)) + bytes(4 + size)


@pytest.mark.parametrize('after', [False, True])
def test_exif_is_bounded_wherever_a_png_has_it(after):
    """Pillow copies the bytes of every entry: a file of 1 MB took a gigabyte."""
    whole = encoded(photo(20, 30))
    place = whole.index(b'IEND' if after else b'IDAT') - 4
    for size, fits in (1000, True), (LARGEST_EXIF, False):
        content = whole[:place] + chunk(b'eXIf', exif_of(1000, size)) + whole[place:]
        if fits:
            assert (rgb(content) == photo(20, 30)).all()
        else:
            with pytest.raises(UserError, match='it cannot be decoded .its EXIF has more than 65536 bytes'):
                decode(content, 'it')


@pytest.mark.parametrize('kind', ['TIFF', 'GIF', 'JPEG2000'])
def test_formats_in_which_a_small_file_can_take_any_memory_or_time_are_not_read(kind):
    """Tiles and entries of a TIFF, comments of a GIF, components of a JPEG 2000."""
    with pytest.raises(UserError, match='it is not an image of a kind that is read .JPEG, BMP, PNG, PPM, WEBP'):
        decode(encoded(photo(20, 30), kind), 'it')


def test_the_limit_is_that_of_pillow():
    assert runtime.LARGEST_PICTURE == 2 * Image.MAX_IMAGE_PIXELS


def test_strips_have_one_rule_and_prepare_says_it(tmp_path, capsys):
    path = write_both(tmp_path, encoded(photo(4, 480)), '0.png')
    for source in ImageFolder(str(tmp_path), True), ImageFolder(str(tmp_path), False), RecordFile(
            str(tmp_path / 'pass.rec')):
        with pytest.raises(UserError, match='of 480x4 is too thin a strip: at most 1:100 is taken'):
            seen(source)
    with pytest.raises(UserError, match='0.png of 480x4 is too thin a strip'):
        batch_of([path])
    (tmp_path / 'train' / 'a' / 'good.png').write_bytes(encoded(photo(4, 400)))
    with pytest.raises(UserError, match='none of the 1 images for .*val.rec can be used'):
        prepare_imagenet.main(['--folder', str(tmp_path), '--out', str(tmp_path / 'out'), '-j', '1', '--size', '8'])
    assert 'left out: a/0.png of 480x4 is too thin a strip: at most 1:100 is taken' in capsys.readouterr().err
    assert len(RecordFile(str(tmp_path / 'out' / 'train.rec'))) == 1


def test_what_is_damaged_or_none_is_named():
    """Nothing but UserError leaves the decoder, wherever a file is cut and whichever byte is wrong."""
    random = np.random.RandomState(0)
    for kind in ('PNG', 'BMP', 'WEBP', 'PPM', 'JPEG'):
        whole = encoded(photo(20, 30), kind)
        for _ in range(40):
            content = bytearray(whole[:random.randint(1, len(whole) + 1)])
            content[random.randint(len(content))] ^= 1 << random.randint(8)
            try:
                assert decode(bytes(content), 'it').ndim == 3
            except runtime.UserError as error:
                assert str(error).startswith('it ')
    for content in (b'', b'x', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', b'<svg></svg>', bytes(1000),
                    b'P3 1 1 255 0 0 0'):
        with pytest.raises(runtime.UserError, match='it is not an image of a kind that is read'):
            decode(content, 'it')


def test_a_cut_picture_is_refused_also_after_gluoncv_has_asked_pillow_to_be_lenient(monkeypatch):
    monkeypatch.setattr('PIL.ImageFile.LOAD_TRUNCATED_IMAGES', True)
    with pytest.raises(UserError, match='it cannot be decoded'):
        decode(encoded(photo())[:3000], 'it')


def test_a_colour_picture_is_validated_alike_whatever_its_format(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encoded(photo()))
    assert (batch_of([path], size=48)[0] == validation_view(photo()[..., ::-1], 48, 55)).all()
    assert (read_picture(path) == photo()).all()
