"""CIFAR, Fashion-MNIST and the batches made of them."""
import gzip
import io
import os
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from data import DATASETS, cifar, download, fashion_mnist, load_dataset
from data.augment import crop_and_flip, generator, normalise, pad
from data.batches import ArrayBatches
from tools.records.make_mini import write_idx


def small(variant, per_file=3):
    """A variant whose files hold a few records, so that a test need not write 180 MB."""
    return variant._replace(train=dict.fromkeys(variant.train, per_file), test=dict.fromkeys(variant.test, 2))


def write_cifar(folder, variant, seed=0):
    """Random records with labels in range; returns {name: bytes}."""
    random, contents = np.random.RandomState(seed), {}
    os.makedirs(folder, exist_ok=True)
    for name, count in {**variant.train, **variant.test}.items():
        records = random.randint(0, 256, (count, variant.label_bytes + cifar.PIXELS)).astype('uint8')
        for column, classes in enumerate(variant.label_classes):
            records[:, column] %= classes
        contents[name] = records.tobytes()
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(contents[name])
    return contents


def write_archive(path, variant, contents):
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo('%s/%s' % (variant.folder, name))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize('variant,column', [(small(cifar.CIFAR10), 0), (small(cifar.CIFAR100), 0),
                                            (small(cifar.CIFAR100), 1)])
def test_cifar_is_found_flat_in_its_folder_and_in_the_archive(tmp_path, variant, column):
    flat, inside, packed = (str(tmp_path / name) for name in ('flat', 'inside', 'packed'))
    contents = write_cifar(flat, variant)
    write_cifar(os.path.join(inside, variant.folder), variant)
    os.makedirs(packed)
    write_archive(os.path.join(packed, variant.archive), variant, contents)
    for folder in (flat, inside, packed):
        pixels, labels = cifar._load(variant, True, folder, column)
        test_pixels, _ = cifar._load(variant, False, folder, column)
        first = np.frombuffer(contents[list(variant.train)[0]], 'uint8')
        assert pixels.shape == (3 * len(variant.train), 3, 32, 32) and test_pixels.shape == (2, 3, 32, 32)
        assert (pixels[0].ravel() == first[variant.label_bytes:variant.label_bytes + cifar.PIXELS]).all()
        assert labels[0] == first[column]


def test_bad_cifar_files_are_named(tmp_path):
    variant = small(cifar.CIFAR100)
    folder = str(tmp_path)
    contents = write_cifar(folder, variant)
    with open(os.path.join(folder, 'train.bin'), 'ab') as file:
        file.write(b'x')
    with pytest.raises(ValueError, match='train.bin holds more bytes where 9222 belong'):
        cifar._load(variant, True, folder, 0)
    with open(os.path.join(folder, 'train.bin'), 'wb') as file:
        file.write(contents['train.bin'][:-5])
    with pytest.raises(ValueError, match='train.bin holds 9217 bytes where 9222 belong'):
        cifar._load(variant, True, folder, 0)
    with open(os.path.join(folder, 'train.bin'), 'wb') as file:
        file.write(b'\xff' + contents['train.bin'][1:])
    with pytest.raises(ValueError, match='label 255 is out of range .* 20 classes'):
        cifar._load(variant, True, folder, 0)


def test_an_archive_that_is_cut_or_lacks_a_member_is_named(tmp_path):
    variant = small(cifar.CIFAR10)
    contents = write_cifar(str(tmp_path / 'files'), variant)
    path = str(tmp_path / variant.archive)
    write_archive(path, variant, contents)
    with open(path, 'rb') as file:
        whole = file.read()
    with open(path, 'wb') as file:
        file.write(whole[:len(whole) // 2])
    with pytest.raises(ValueError, match='cut short or damaged'):
        cifar._load(variant, True, str(tmp_path), 0)
    contents.pop('test_batch.bin')
    write_archive(path, variant, contents)
    with pytest.raises(ValueError, match='lacks a member'):
        cifar._load(variant, True, str(tmp_path), 0)
    with tarfile.open(path, 'w:gz') as archive:
        link = tarfile.TarInfo('%s/data_batch_1.bin' % variant.folder)
        link.type, link.linkname = tarfile.SYMTYPE, 'data_batch_1.bin'
        archive.addfile(link)
    with pytest.raises(ValueError, match='data_batch_1.bin is not a file'):
        cifar._load(variant, True, str(tmp_path), 0)


def serve(folder):
    """A web server of a folder on this machine, and its address."""
    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, 'http://127.0.0.1:%d/' % server.server_port


def test_a_download_is_checked_and_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    variant = small(cifar.CIFAR10)
    contents = write_cifar(str(tmp_path / 'files'), variant)
    write_archive(str(tmp_path / variant.archive), variant, contents)
    md5 = download.pooch.file_hash(str(tmp_path / variant.archive), alg='md5')
    server, url = serve(str(tmp_path))
    try:
        monkeypatch.setattr(cifar, 'URL', url)
        target = tmp_path / 'target'
        with pytest.raises(OSError, match='checksum md5:0+: the download was cut or tampered with'):
            cifar._load(variant._replace(md5='0' * 32), True, str(target), 0)
        assert not target.exists()
        pixels, _ = cifar._load(variant._replace(md5=md5), True, str(target), 0)
        assert len(pixels) == 15 and os.listdir(str(target)) == [variant.archive]
        (target / variant.archive).write_bytes(b"somebody's own")
        assert download.fetch(url + variant.archive, 'md5:' + md5, str(target)) == str(target / variant.archive)
        assert (target / variant.archive).read_bytes() == b"somebody's own"
        with pytest.raises(OSError, match='cannot download'):
            download.fetch(url + 'absent.gz', 'md5:' + md5, str(target))
        assert os.listdir(str(target)) == [variant.archive]
    finally:
        server.shutdown()
        server.server_close()


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


def test_bad_idx_files_are_named(tmp_path):
    images, labels = np.zeros((4, 28, 28), 'uint8'), np.array([0, 1, 2, 9], 'uint8')
    for part in ('train', 't10k'):
        write_idx(str(tmp_path / (part + '-images-idx3-ubyte.gz')), images)
        write_idx(str(tmp_path / (part + '-labels-idx1-ubyte.gz')), labels)
    assert fashion_mnist.load(True, str(tmp_path)).pixels.shape == (4, 3, 32, 32)
    path = str(tmp_path / 'train-labels-idx1-ubyte.gz')
    for array, message in ((labels + 1, 'label 10 .* is out of range'), (labels[:3], '4 train images but 3 labels'),
                           (images, 'is not an idx file of bytes with 1 dimensions')):
        write_idx(path, array)
        with pytest.raises(ValueError, match=message):
            fashion_mnist.load(True, str(tmp_path))
    write_idx(path, labels)
    with open(path, 'rb') as file:
        whole = file.read()
    with open(path, 'wb') as file:
        file.write(whole[:-9])
    with pytest.raises(ValueError, match='cut short or damaged'):
        fashion_mnist.load(True, str(tmp_path))
    for sizes, content, message in (([4], bytes(10 ** 6), 'holds more bytes of data where its header says 4'),
                                    ([4], b'abc', 'holds 3 bytes of data'), ([2 ** 31], b'', 'at most 1073741824 are'),
                                    ([0], b'', 'says that it holds 0 bytes')):
        with gzip.open(path, 'wb') as file:
            file.write(bytes([0, 0, 8, 1]) + np.array(sizes, '>u4').tobytes() + content)
        with pytest.raises(ValueError, match=message):
            fashion_mnist.load(True, str(tmp_path))


def batches(train=True, seed=0, workers=0, count=23, batch_size=5):
    pixels = np.random.RandomState(0).randint(0, 256, (count, 3, 32, 32)).astype('uint8')
    pixels[:, 0, 16, 16] = np.arange(count)
    return ArrayBatches(pixels, np.arange(count), count, (0.5,) * 3, (0.25,) * 3, batch_size, train, seed, workers)


def whole_epoch(source, number, start=0):
    data, labels = zip(*source.epoch(number, start))
    return np.concatenate(data), np.concatenate(labels)


@pytest.mark.parametrize('workers', [0, 2])
def test_every_image_comes_once_an_epoch(workers):
    source = batches(workers=workers)
    assert len(source) == 5 and [len(labels) for _, labels in source.epoch(0)] == [5, 5, 5, 5, 3]
    for epoch in range(3):
        assert sorted(whole_epoch(source, epoch)[1]) == list(range(23))
    assert (whole_epoch(batches(train=False, workers=workers), 0)[1] == np.arange(23)).all()


def test_order_and_augmentation_are_a_function_of_seed_and_epoch_alone():
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
    with pytest.raises(ValueError, match='unknown data set .*there are cifar10'):
        load_dataset('cifar', 32)
    with pytest.raises(ValueError, match='batch of 24 images is larger than the data set of 23'):
        batches(batch_size=24)
    with pytest.raises(ValueError, match='the validation set has no image'):
        batches(train=False, count=0)
    assert DATASETS['cifar100'].classes == 100
