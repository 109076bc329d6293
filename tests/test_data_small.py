"""Fashion-MNIST, and batches of small images."""
import gzip
import hashlib
import os

from runtime import UserError

import numpy as np
import pytest

from data import DATASETS, fashion_mnist, load_dataset
from data.augment import crop_and_flip, generator, normalise, pad
from data.batches import ArrayBatches
from data.opencv import Missing
from tests.test_data_images import whole_epoch
from tools.records import make_mini
from tools.records.make_mini import write_idx


def test_the_embedded_set_is_balanced_small_and_split():
    train, train_labels, names = fashion_mnist.load_mini(True)
    test, test_labels, _ = fashion_mnist.load_mini(False)
    assert names[9] == 'ankle boot'
    assert train.shape == (6400, 3, 32, 32) and test.shape == (1600, 3, 32, 32) and train.dtype == 'uint8'
    assert (np.bincount(train_labels) == 640).all() and (np.bincount(test_labels) == 160).all()
    assert not train[:, :, :2].any() and (train[:, 0] == train[:, 2]).all()
    sizes = [os.path.getsize(os.path.join(fashion_mnist.MINI, name)) for name in os.listdir(fashion_mnist.MINI)]
    assert sum(sizes) < 4e6
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def write_fashion(folder, mark='-', ending='.gz', seed=0):
    """Four files of random images and labels of each class; returns {part: MD5 of a file unpacked}."""
    random, sums = np.random.RandomState(seed), {}
    os.makedirs(str(folder), exist_ok=True)
    for part, count in (('train', 30), ('t10k', 20)):
        for kind, array in (('images%sidx3', random.randint(0, 256, (count, 28, 28))),
                            ('labels%sidx1', np.arange(count) % 10)):
            path = os.path.join(str(folder), '%s-%s-ubyte' % (part, kind % mark))
            write_idx(path + '.gz', array.astype('uint8'))
            with gzip.open(path + '.gz') as file:
                content = file.read()
            sums['%s-%s' % (part, kind[:6])] = hashlib.md5(content).hexdigest()
            if not ending:
                os.remove(path + '.gz')
                with open(path, 'wb') as file:
                    file.write(content)
    return sums


@pytest.mark.parametrize('folder', ['', 'raw', 'FashionMNIST/raw'])
@pytest.mark.parametrize('ending', ['', '.gz'])
@pytest.mark.parametrize('mark', ['-', '.'])
def test_fashion_mnist_is_found_packed_or_not_under_both_names_and_where_torchvision_leaves_it(
        tmp_path, folder, ending, mark, monkeypatch, caplog):
    monkeypatch.setattr(fashion_mnist, 'UNPACKED', write_fashion(tmp_path / folder, mark, ending))
    for train, count in (True, 30), (False, 20):
        found = fashion_mnist.load(train, str(tmp_path))
        assert found.pixels.shape == (count, 3, 32, 32) and found.labels.tolist() == [n % 10 for n in range(count)]
    assert not caplog.messages


def test_other_content_under_fashion_mnists_names_is_said(tmp_path, monkeypatch, caplog):
    sums = write_fashion(tmp_path)
    fashion_mnist.load(False, str(tmp_path))
    assert caplog.messages == ['%s is not that of Fashion-MNIST: its MD5 is %s, and not %s' % (
        tmp_path / ('t10k-%s-ubyte.gz' % kind), sums[part], fashion_mnist.UNPACKED[part])
        for kind, part in (('images-idx3', 't10k-images'), ('labels-idx1', 't10k-labels'))]
    monkeypatch.setattr(fashion_mnist, 'DIGITS', tuple(sums.values()))
    fashion_mnist.load(True, str(tmp_path))
    assert 'train-images-idx3-ubyte.gz is of MNIST, whose classes are digits: its MD5 is' in caplog.messages[-2]


def test_the_part_in_the_repository_is_the_first_images_of_each_class(tmp_path, monkeypatch):
    write_fashion(tmp_path / 'all')
    monkeypatch.setattr(make_mini, 'PER_CLASS', {'train': 2, 't10k': 1})
    make_mini.write(str(tmp_path / 'all'), str(tmp_path / 'mini'))
    for train, count in (True, 20), (False, 10):
        whole, part = (fashion_mnist.load_mini(train, str(tmp_path / name)) for name in ('all', 'mini'))
        np.testing.assert_array_equal(part.pixels, whole.pixels[:count])
        np.testing.assert_array_equal(part.labels, whole.labels[:count])


def test_without_opencv_an_error_comes_with_the_first_use():
    with pytest.raises(OSError, match=r'opencv cannot be loaded \(no libGL\): install libgl1'):
        Missing(ImportError('no libGL')).imdecode  # noqa: B018


def test_with_a_data_dir_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, 'fetch', None)
    (tmp_path / 'train-images-idx3-ubyte').write_bytes(b'')
    for load in fashion_mnist.load, fashion_mnist.load_mini:
        with pytest.raises(UserError) as refusal:
            load(True, str(tmp_path))
        assert str(refusal.value) == (
            'there is no Fashion-MNIST in %s: looked for train-images-idx3-ubyte and train-labels-idx1-ubyte, packed '
            '(.gz) or not, there, in raw and in FashionMNIST/raw: %s holds train-images-idx3-ubyte'
            % (tmp_path, tmp_path))


def test_without_a_data_dir_fashion_mnist_is_looked_for_then_fetched(tmp_path, monkeypatch):
    """In its usual folder, in Debian's, on the net."""
    fetched = []
    monkeypatch.setattr(fashion_mnist, 'DEFAULT', str(tmp_path / 'usual'))
    monkeypatch.setattr(fashion_mnist, 'DEBIAN', str(tmp_path / 'debian'))
    monkeypatch.setattr(fashion_mnist, 'fetch', lambda url, checksum, folder: fetched.append(url) or (
        len(fetched) == 4 and write_fashion(folder, seed=1)))
    first = fashion_mnist.load(True).pixels
    assert [os.path.basename(url) for url in fetched] == list(fashion_mnist.FILES)
    assert (fashion_mnist.load(True).pixels == first).all() and len(fetched) == 4
    os.rename(str(tmp_path / 'usual'), str(tmp_path / 'debian'))
    assert (fashion_mnist.load(True).pixels == first).all() and len(fetched) == 4


def test_bad_idx_files_are_named(tmp_path):
    images, labels = np.zeros((4, 28, 28), 'uint8'), np.array([0, 1, 2, 9], 'uint8')
    for part in ('train', 't10k'):
        write_idx(str(tmp_path / (part + '-images-idx3-ubyte.gz')), images)
        write_idx(str(tmp_path / (part + '-labels-idx1-ubyte.gz')), labels)
    assert fashion_mnist.load(True, str(tmp_path)).pixels.shape == (4, 3, 32, 32)
    path = str(tmp_path / 'train-labels-idx1-ubyte.gz')
    for array, message in ((labels + 1, 'label 10 .* is out of range'), (labels[:3], 'holds 4 images and .* 3 labels'),
                           (images, 'is not an idx file of bytes with 1 dimensions')):
        write_idx(path, array)
        with pytest.raises(UserError, match=message):
            fashion_mnist.load(True, str(tmp_path))
    write_idx(path, labels)
    with open(path, 'rb') as file:
        whole = file.read()
    with open(path, 'wb') as file:
        file.write(whole[:-9])
    with pytest.raises(UserError, match='cut short or damaged'):
        fashion_mnist.load(True, str(tmp_path))
    for sizes, content, message in (([4], bytes(10 ** 6), 'holds more bytes of data where its header says 4'),
                                    ([4], b'abc', 'holds 3 bytes of data'),
                                    ([2 ** 26 + 1], b'', 'at most 67108864 are'),
                                    ([0], b'', 'says that it holds 0 bytes')):
        with gzip.open(path, 'wb') as file:
            file.write(bytes([0, 0, 8, 1]) + np.array(sizes, '>u4').tobytes() + content)
        with pytest.raises(UserError, match=message):
            fashion_mnist.load(True, str(tmp_path))


def batches(train=True, seed=0, workers=0, count=23, batch_size=5):
    pixels = np.random.RandomState(0).randint(0, 256, (count, 3, 32, 32)).astype('uint8')
    pixels[:, 0, 16, 16] = np.arange(count)
    return ArrayBatches(pixels, np.arange(count), count, (0.5,) * 3, (0.25,) * 3, batch_size, train, seed, workers)


@pytest.mark.parametrize('workers', [0, 2])
def test_every_image_comes_once_an_epoch(workers):
    source = batches(workers=workers)
    assert len(source) == 5 and [len(labels) for _, labels in source.epoch(0)] == [5, 5, 5, 5, 3]
    for epoch in range(3):
        assert sorted(whole_epoch(source, epoch)[1]) == list(range(23))
    assert (whole_epoch(batches(train=False, workers=workers), 0)[1] == np.arange(23)).all()


def test_order_and_augmentation_are_a_function_of_seed_and_epoch_only():
    first = whole_epoch(batches(), 2)
    source = batches(workers=2)
    whole_epoch(source, 0)
    for again in (whole_epoch(source, 2), whole_epoch(batches(), 2)):
        assert (again[0] == first[0]).all() and (again[1] == first[1]).all()
    for other in (whole_epoch(batches(), 1), whole_epoch(batches(seed=1), 2)):
        assert (other[0] != first[0]).any() and (other[1] != first[1]).any()
    rest = whole_epoch(batches(workers=1), 2, start=3)
    assert (rest[0] == first[0][15:]).all() and (rest[1] == first[1][15:]).all()


def test_augmentation_crops_flips_and_normalises():
    images = np.random.RandomState(0).randint(0, 256, (64, 3, 32, 32)).astype('uint8')
    padded, rows = pad(images, 4), np.arange(64)
    out = crop_and_flip(padded, rows, 32, generator(0, 1))
    flips = 0
    for row in rows:
        windows = [padded[row, :, y:y + 32, x:x + 32] for y in range(9) for x in range(9)]
        plain, mirrored = (any((window[..., ::step] == out[row]).all() for window in windows) for step in (1, -1))
        assert plain != mirrored
        flips += mirrored
    assert 16 < flips < 48
    expected = (images / 255 - np.array([.1, .2, .3])[:, None, None]) / np.array([.5, .6, .7])[:, None, None]
    np.testing.assert_allclose(normalise(images, (.1, .2, .3), (.5, .6, .7)), expected, atol=1e-6)


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match='unknown data set .*there are cifar10'):
        load_dataset('cifar', 32)
    with pytest.raises(UserError, match='a step of 24 images is larger than the data set of 23'):
        batches(batch_size=24)
    with pytest.raises(UserError, match='the validation set has no image'):
        batches(train=False, count=0)
    assert DATASETS['cifar100'].classes == 100
