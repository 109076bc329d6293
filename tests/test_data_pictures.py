"""Pictures from outside: what is read, and that batch_of makes of them what the validation batches hold."""
import os

from runtime import UserError

import cv2
import numpy as np
import pytest
from PIL import Image

import inference
from data import DATASETS, cifar, load_dataset
from data.batches import ArrayBatches
from data.fashion_mnist import load_mini
from data.folders import ImageFolder
from data.images import ImageBatches
from data.pictures import batch_of, read_picture, shown
from tests.test_data_decode import huge, photo

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'empty.png').write_bytes(b'')
    cv2.imwrite(str(tmp_path / 'whole.png'), photo())
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:60])
    (tmp_path / 'huge.png').write_bytes(huge(30000))
    for name, sentence in (('text.jpg', 'is not an image'), ('empty.png', 'is not an image'),
                           ('cut.png', 'cannot be decoded'), ('huge.png', 'million pixels')):
        with pytest.raises(UserError, match='%s.*%s' % (name, sentence)):
            read_picture(tmp_path / name)
    with pytest.raises(OSError, match='missing.png'):
        read_picture(str(tmp_path / 'missing.png'))
    with pytest.raises(OSError, match=os.path.basename(str(tmp_path))):
        read_picture(tmp_path)


@pytest.mark.parametrize('array', [photo().astype('float32'), photo()[..., :2], photo()[:0], photo()[0, 0],
                                   np.zeros((1, 500, 3), 'uint8')])
@pytest.mark.parametrize('dataset', ['imagenet', 'cifar10', 'fashion-mnist'])
def test_arrays_that_are_no_pictures_are_refused(array, dataset):
    with pytest.raises(UserError, match=r'a picture is|too thin'):
        batch_of([array], dataset)


@pytest.mark.parametrize('dataset', ['imagenet', 'cifar10', 'fashion-mnist'])
def test_a_grey_array_is_the_picture_with_three_equal_colours(dataset):
    grey = photo()[..., 0]
    np.testing.assert_array_equal(batch_of([grey], dataset), batch_of([np.stack([grey] * 3, axis=2)], dataset))


@pytest.mark.parametrize('ratio', [1e-6, 0.05, 1.5])
def test_a_crop_ratio_that_would_fill_the_memory_is_refused(ratio):
    with pytest.raises(UserError, match='must be between 0.1 and 1'):
        batch_of([photo()], 'imagenet', 224, ratio)


def test_no_picture_and_no_data_set_are_refused():
    with pytest.raises(UserError, match='there is no picture'):
        batch_of([])
    for call in (batch_of, shown):
        with pytest.raises(UserError, match='unknown data set'):
            call([photo()], 'mnist')


def test_fashion_mnist_equals_its_validation_batches(tmp_path):
    batches = load_dataset('fashion-mnist-mini', 50, training=False)[1]
    expected, _ = next(batches.epoch(0))
    pixels = load_mini(False).pixels[:50].transpose(0, 2, 3, 1)
    assert (batch_of(pixels, 'fashion-mnist-mini') == expected).all()
    stored = pixels[:, 2:-2, 2:-2]
    assert (batch_of(stored, 'fashion-mnist') == expected).all()
    for row in range(3):
        cv2.imwrite(str(tmp_path / ('%d.png' % row)), stored[row, ..., 0])
    files = [str(tmp_path / ('%d.png' % row)) for row in range(3)]
    assert (batch_of(files, 'fashion-mnist') == expected[:3]).all()
    assert abs(shown(expected, 'fashion-mnist') - pixels / 255).max() < 1e-6


@pytest.mark.parametrize('dataset', ['cifar10', 'cifar100'])
def test_cifar_equals_its_batches(dataset):
    pixels = np.random.RandomState(0).randint(0, 256, (7, 3, 32, 32)).astype('uint8')
    batches = ArrayBatches(pixels, np.zeros(7, 'uint8'), 10, cifar.MEAN, cifar.STD, 7, train=False)
    expected, _ = next(batches.epoch(0))
    assert (batch_of(pixels.transpose(0, 2, 3, 1), dataset) == expected).all()
    assert abs(shown(expected, dataset) - pixels.transpose(0, 2, 3, 1) / 255).max() < 1e-6


def test_imagenet_equals_its_validation_batches(record_folder):
    source = ImageFolder(str(record_folder), train=False)
    batches = ImageBatches(source, 10, len(source), False, size=32, crop_ratio=0.8)
    expected, _ = next(batches.epoch(0))
    files = [path for path, _ in source.items]
    assert (batch_of(files, 'imagenet', 32, 0.8) == expected).all()
    assert (batch_of([read_picture(path) for path in files], 'imagenet', 32, 0.8) == expected).all()


def test_imagenet_pictures_keep_red_red():
    red = np.zeros((300, 400, 3), 'uint8')
    red[..., 0] = 255
    batch = batch_of([red])
    assert batch.shape == (1, 3, 224, 224) and batch.dtype == np.float32
    assert abs(shown(batch) - [1, 0, 0]).max() < 1e-6


def test_a_large_photo_becomes_the_square_in_its_middle():
    picture = np.zeros((64, 128, 3), 'uint8')
    picture[:, 32:96] = photo(64, 64)
    expected = cv2.resize(photo(64, 64), (32, 32), interpolation=cv2.INTER_AREA)
    assert abs(shown(batch_of([picture], 'cifar10'), 'cifar10')[0] - expected / 255).max() < 1e-6


def test_a_product_photo_becomes_what_fashion_mnist_holds():
    """A dark coat of 140x56 on white fills 28 rows, 11 columns in the middle, bright on black."""
    picture = np.full((300, 400, 3), 250, 'uint8')
    picture[100:240, 200:256] = (20, 30, 40)
    view = shown(batch_of([picture], 'fashion-mnist'), 'fashion-mnist')[0]
    inside = np.zeros((32, 32), bool)
    inside[2:30, 10:21] = True
    grey = 255 - np.rint(0.299 * 20 + 0.587 * 30 + 0.114 * 40)
    assert abs(view[inside] * 255 - grey).max() < 1e-3 and abs(view[~inside]).max() < 1e-6
    on_black = batch_of([255 - picture], 'fashion-mnist')
    assert abs(shown(on_black, 'fashion-mnist')[0] - view).max() < 1.5 / 255


def coat(ground=250, clothes=(20, 30, 40)):
    picture = np.full((300, 400, 3), ground, 'uint8')
    picture[100:240, 200:256] = clothes
    return picture


def test_the_ground_is_judged_by_the_border_as_a_whole_and_what_was_assumed_is_said(caplog, tmp_path):
    expected = batch_of([coat()], 'fashion-mnist')
    assert caplog.messages == ['a picture: 100 % of its border is light: taken for a picture on a light ground, and '
                               'negated']
    for part in np.s_[0, 0], np.s_[-1, -1], np.s_[:30, :40], np.s_[280:, 150:300], np.s_[:, :9]:
        picture = coat()
        picture[part] = 0  # of something else
        cv2.imwrite(str(tmp_path / 'a.png'), picture[..., ::-1])
        assert (batch_of([picture], 'fashion-mnist') == expected).all()
        assert (batch_of([tmp_path / 'a.png'], 'fashion-mnist') == expected).all()
    assert caplog.messages[-1].startswith('%s: ' % (tmp_path / 'a.png'))
    caplog.clear()
    on_black = batch_of([coat(0, (235, 225, 215))], 'fashion-mnist')
    assert abs(on_black - expected).max() < 0.1 and caplog.messages == []


def test_clothes_that_fill_the_picture_are_not_taken_for_something_else():
    picture = coat()
    picture[:, 50:350] = 60
    view = shown(batch_of([picture], 'fashion-mnist'), 'fashion-mnist')[0, ..., 0]
    assert abs(view[2:30, 2:30] - 195 / 255).max() < 1e-3
    picture[5:20, 5:20] = 90  # a button beside it
    assert (shown(batch_of([picture], 'fashion-mnist'), 'fashion-mnist')[0, ..., 0] > 0.5).sum() >= 28 * 20


@pytest.mark.parametrize('change', ['white ground', 'black corner', 'black under it', 'white under it',
                                    'grey under it'])
def test_product_photographs_of_clothes_are_told_apart(change, tmp_path):
    """Three of each class, enlarged, by weights of this repository: 28 of the 30 are right in the data set itself."""
    classifier = inference.load(os.path.join(ROOT, 'params', 'fashion-mnist-ChaATAC-b2.params'))
    pixels, labels, names = load_mini(False)
    rows = np.concatenate([np.flatnonzero(labels == label)[:3] for label in range(10)])
    paths = []
    for row in rows:
        bright = np.pad(cv2.resize(pixels[row, 0, 2:-2, 2:-2], (280, 280), interpolation=cv2.INTER_CUBIC), 40)
        picture = np.repeat(255 - bright[..., None], 3, axis=2)
        if change == 'black corner':
            picture[:20, :20] = 0
        if change.endswith('under it'):
            opacity = np.where(bright > 12, 255, 0).astype('uint8')
            hidden = {'black under it': 0, 'white under it': 255, 'grey under it': 128}[change]
            picture = np.dstack([np.where(opacity[..., None], picture, hidden).astype('uint8'), opacity])
        paths.append(str(tmp_path / ('%d.png' % row)))
        Image.fromarray(picture).save(paths[-1])
    found = [top[0][0] for top in classifier.top_k(paths, 1)]
    assert sum(name == names[labels[row]] for name, row in zip(found, rows)) >= 27


def test_there_is_a_name_for_every_class():
    imagenet, coarse, fine = DATASETS['imagenet'], *map(DATASETS['cifar100'].class_names, ('coarse', 'fine'))
    assert len(imagenet.class_names()) == 1000 and imagenet.class_names()[0].startswith('tench')
    assert imagenet.class_names(classes=10) == ()  # somebody's own
    assert len(coarse) == 20 and len(set(fine)) == 100 and DATASETS['cifar100'].class_names() == coarse
    assert [coarse, fine] == [tuple(sorted(names)) for names in (coarse, fine)]
    for dataset in ('cifar10', 'fashion-mnist', 'fashion-mnist-mini'):
        assert len(set(DATASETS[dataset].class_names())) == DATASETS[dataset].classes
        with pytest.raises(UserError, match="unknown label set 'fine'; there are none"):
            DATASETS[dataset].class_names('fine')


def test_a_file_may_have_any_name(tmp_path):
    """OpenCV's own reader ends the process at a name that is not UTF-8."""
    path = os.path.join(os.fsencode(str(tmp_path)), b'odd\xff.png')
    with open(path, 'wb') as file:
        file.write(cv2.imencode('.png', np.full((3, 2, 3), 7, 'uint8'))[1].tobytes())
    assert (read_picture(os.fsdecode(path)) == 7).all()
