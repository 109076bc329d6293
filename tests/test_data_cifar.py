"""CIFAR in every form in which it is on disks: the same images with the same labels, or one sentence."""
import io
import os
import pickle
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from runtime import UserError

import numpy as np
import pytest
from PIL import Image

from data import cifar, download
from data.cifar_files import PIXELS

CIFAR10, CIFAR100 = cifar.CIFAR10, cifar.CIFAR100


def small(variant, per_file=3):
    """A variant whose files hold a few records, so that a test need not write 180 MB."""
    return variant._replace(**{
        version: files._replace(train=dict.fromkeys(files.train, per_file), test=dict.fromkeys(files.test, 2))
        for version, files in (('binary', variant.binary), ('python', variant.python))})


def records_of(variant, seed=0):
    """Random records with labels in range: [(labels (n, label sets), pixels (n, 3072)) of a file]."""
    random, files = np.random.RandomState(seed), []
    for count in [*variant.binary.train.values(), *variant.binary.test.values()]:
        pixels = random.randint(0, 256, (count, PIXELS)).astype('uint8')
        finest = random.randint(0, len(list(variant.labels.values())[-1]), count)
        files.append((labels_of(variant, finest), pixels))
    return files


def labels_of(variant, finest):
    """Of CIFAR-100 also the superclass of a class."""
    *coarse, names = variant.labels.values()
    columns = [[parents.index(variant.parents[names[label]]) for label in finest] for parents in coarse]
    return np.array([*columns, finest], 'uint8').T


def binary_files(variant):
    """{name: bytes} of the binary version."""
    return {name: np.concatenate([labels, pixels], axis=1).tobytes() for name, (labels, pixels) in
            zip([*variant.binary.train, *variant.binary.test], records_of(variant))}


def python_files(variant, written):
    """{name: bytes} of the Python version.   written: by a function of (dictionary)"""
    return {name: written({'batch_label': 'training batch 1 of 5', 'data': pixels, 'filenames': ['a.png'] * len(pixels),
                           **{key: labels[:, column].tolist() for column, key in enumerate(variant.labels)}})
            for name, (labels, pixels) in zip([*variant.python.train, *variant.python.test], records_of(variant))}


def text(value):
    """As Python 2 pickles it."""
    value = value if isinstance(value, bytes) else value.encode('latin-1')
    return b'T' + len(value).to_bytes(4, 'little') + value


def python_2(facts):
    """The pickle of a dictionary as Python 2 and NumPy of 2009 wrote it, which is what the archives hold."""
    pickled = b'\x80\x02}q\x01('
    for number, (key, value) in enumerate(facts.items()):
        pickled += text(key) + b'q' + bytes([2 + number])
        if isinstance(value, str):
            pickled += text(value)
        elif isinstance(value, list):
            items = [text(item) if isinstance(item, str) else b'K' + bytes([item]) for item in value]
            pickled += b']q\x20(' + b''.join(items) + b'e'
        else:
            shape = b''.join(b'J' + length.to_bytes(4, 'little') for length in value.shape)
            minus_one = b'J\xff\xff\xff\xff'
            kind = b'cnumpy\ndtype\nq\x24U\x02u1K\x00K\x01\x87Rq\x25(K\x03U\x01|NNN' + 2 * minus_one + b'K\x00tb'
            pickled += (b'cnumpy.core.multiarray\n_reconstruct\nq\x21cnumpy\nndarray\nq\x22K\x00\x85U\x01b\x87Rq\x23'
                        b'(K\x01' + shape + b'\x86' + kind + b'\x89' + text(value.tobytes()) + b'tb')
    return pickled + b'u.'


def python_3(facts):
    return pickle.dumps({key.encode(): value for key, value in facts.items()}, 4)


def write_files(folder, files):
    os.makedirs(str(folder), exist_ok=True)
    for name, content in files.items():
        with open(os.path.join(str(folder), name), 'wb') as file:
            file.write(content)
    return str(folder)


def write_cifar(folder, variant):
    """The binary version; returns {name: bytes}."""
    write_files(folder, binary_files(variant))
    return binary_files(variant)


def write_archive(path, folder, files):
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    with tarfile.open(str(path), 'w:gz') as archive:
        for name, content in files.items():
            member = tarfile.TarInfo('%s/%s' % (folder, name))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def write_class_folders(root, variant, test='test', nested=False):
    """PNG files in folders of the finest classes, with underscores for blanks as fast.ai has them."""
    *_, names = variant.labels.values()
    records = records_of(variant)
    for split, files in (('train', records[:-1]), (test, records[-1:])):
        labels, pixels = (np.concatenate(arrays) for arrays in zip(*files))
        for number, (label, row) in enumerate(zip(labels[:, -1], pixels)):
            above = [variant.parents[names[label]].replace(' ', '_')] if nested else []
            folder = os.path.join(str(root), split, *above, names[label].replace(' ', '_'))
            os.makedirs(folder, exist_ok=True)
            Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).save(os.path.join(folder, '%05d.png' % number))
    return str(root)


def by_pixels(pixels, labels):
    """{bytes of an image: its label}"""
    return {image.tobytes(): int(label) for image, label in zip(pixels, labels)}


def expected(variant, train, column):
    """The same of the records themselves, and all labels in their order."""
    files = records_of(variant)[:-1] if train else records_of(variant)[-1:]
    labels, pixels = (np.concatenate(arrays) for arrays in zip(*files))
    return by_pixels(pixels, labels[:, column]), labels[:, column].tolist()


VERSIONS = {'binary': (binary_files, 'binary'), 'Python 2': (lambda variant: python_files(variant, python_2), 'python'),
            'Python 3': (lambda variant: python_files(variant, python_3), 'python')}


@pytest.mark.parametrize('form', ['flat', 'in its folder', 'archive in the folder', 'archive'])
@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('variant,labels', [(small(CIFAR10), 'labels'), (small(CIFAR100), 'coarse_labels'),
                                            (small(CIFAR100), 'fine_labels')])
def test_both_versions_are_read_flat_in_their_folder_and_in_archives(tmp_path, variant, labels, version, form):
    files, name = VERSIONS[version]
    files, version = files(variant), getattr(variant, name)
    if form.startswith('archive'):
        path = write_archive(tmp_path / version.archives[-1], version.folder, files)
    else:
        write_files(tmp_path / ('' if form == 'flat' else version.folder), files)
    for train in True, False:
        found = cifar.load(variant, train, path if form == 'archive' else str(tmp_path), labels)
        images, in_order = expected(variant, train, list(variant.labels).index(labels))
        assert found.pixels.shape == (len(in_order), 3, 32, 32) and found.labels.tolist() == in_order
        assert by_pixels(found.pixels, found.labels) == images and found.class_names == variant.labels[labels]


def test_the_pickles_of_these_tests_are_pickles():
    files = {written: python_files(small(CIFAR100), written)['train'] for written in (python_2, python_3)}
    one, other = (pickle.loads(content, encoding='bytes') for content in files.values())
    assert (one.pop(b'data') == other.pop(b'data')).all() and one[b'fine_labels'] == other[b'fine_labels']


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('labels', ['coarse_labels', 'fine_labels'])
def test_class_folders_of_png_files_have_the_labels_of_the_binary_version(tmp_path, labels, nested, caplog):
    """Of CIFAR-100, whose 20 superclasses come from the 100 classes."""
    variant = small(CIFAR100, 700)
    write_class_folders(tmp_path / ('cifar100' if nested else ''), variant, 'test', nested)
    found = cifar.load(variant, True, str(tmp_path), labels)
    assert by_pixels(found.pixels, found.labels) == expected(variant, True, ('coarse' not in labels) * 1)[0]
    assert found.labels.max() + 1 == len(found.class_names) == (20 if 'coarse' in labels else 100)
    assert caplog.messages[-1].endswith('train holds 700 images where CIFAR-100 has 50000')


def test_class_folders_of_cifar_10(tmp_path):
    variant = small(CIFAR10, 30)
    variant = variant._replace(binary=variant.binary._replace(test={'test_batch.bin': 80}))
    root = write_class_folders(tmp_path, variant, 'val')
    for train in True, False:
        found = cifar.load(variant, train, root, 'labels')
        assert by_pixels(found.pixels, found.labels) == expected(variant, train, 0)[0]
    os.makedirs(str(tmp_path / 'train' / 'boat'))
    with pytest.raises(UserError, match='train/boat is not a class of CIFAR-10: airplane, automobile, bird, cat, deer'):
        cifar.load(variant, True, root, 'labels')
    os.rename(str(tmp_path / 'train' / 'ship'), str(tmp_path / 'ship'))
    os.rmdir(str(tmp_path / 'train' / 'boat'))
    with pytest.raises(UserError, match='there is no image of the class ship in .*train'):
        cifar.load(variant, True, root, 'labels')
    os.makedirs(str(tmp_path / 'train' / 'ship'))
    Image.new('RGB', (33, 32)).save(str(tmp_path / 'train' / 'ship' / 'a.png'))
    with pytest.raises(UserError, match='ship/a.png is 33x32, not 32x32'):
        cifar.load(variant, True, root, 'labels')


def test_bad_binary_files_are_named(tmp_path):
    variant = small(CIFAR100)
    contents = write_cifar(tmp_path, variant)
    for content, message in ((contents['train.bin'] + b'x', 'train.bin holds more bytes where 9222 belong'),
                             (contents['train.bin'][:-5], 'train.bin holds 9217 bytes where 9222 belong'),
                             (b'\xff' + contents['train.bin'][1:], 'label 255 is out of range .* 20 classes')):
        (tmp_path / 'train.bin').write_bytes(content)
        with pytest.raises(UserError, match=message):
            cifar.load(variant, True, str(tmp_path), 'coarse_labels')
    assert len(cifar.load(variant, False, str(tmp_path), 'coarse_labels').labels) == 2


def test_bad_python_files_are_named(tmp_path):
    variant = small(CIFAR100)
    facts = {}
    python_files(variant, lambda found: facts.setdefault('train', found) and b'')
    for change, message in (({'data': facts['train']['data'][:2]}, 'does not hold the pixels of 3 images'),
                            ({'data': facts['train']['data'][:, 1:]}, 'does not hold the pixels of 3 images'),
                            ({'data': 'no pixels'}, 'does not hold the pixels of 3 images'),
                            ({'fine_labels': [1, 2]}, 'does not hold the fine_labels of 3 images'),
                            ({'fine_labels': ['1', '2', '3']}, 'does not hold the fine_labels of 3 images'),
                            ({'fine_labels': 'abc'}, 'does not hold the fine_labels of 3 images'),
                            ({'coarse_labels': [0, 20, 1]}, 'label 20 is out of range in .*train: there are 20')):
        for written in python_2, python_3:
            (tmp_path / 'train').write_bytes(written({**facts['train'], **change}))
            with pytest.raises(UserError, match=message):
                cifar.load(variant, True, str(tmp_path), 'fine_labels')
    (tmp_path / 'train').write_bytes(bytes(10 ** 6))
    with pytest.raises(UserError, match='train is larger than a file of 3 images can be'):
        cifar.load(variant, True, str(tmp_path), 'fine_labels')
    (tmp_path / 'train').write_bytes(pickle.dumps([1, 2], 4))
    with pytest.raises(UserError, match='does not hold the pixels of 3 images'):
        cifar.load(variant, True, str(tmp_path), 'fine_labels')


def test_an_archive_that_is_cut_or_lacks_a_member_is_named(tmp_path):
    variant = small(CIFAR10)
    contents, folder = binary_files(variant), variant.binary.folder
    path = write_archive(tmp_path / variant.binary.archives[0], folder, contents)
    with open(path, 'rb') as file:
        whole = file.read()
    for spoilt in whole[:len(whole) // 2], whole[:-10], b'no archive':
        with open(path, 'wb') as file:
            file.write(spoilt)
        with pytest.raises(UserError, match='cut short'):
            cifar.load(variant, True, str(tmp_path), 'labels')
    del contents['data_batch_5.bin']
    write_archive(path, folder, contents)
    with pytest.raises(UserError, match='lacks the member cifar-10-batches-bin/data_batch_5.bin'):
        cifar.load(variant, True, str(tmp_path), 'labels')
    with tarfile.open(path, 'w:gz') as archive:
        link = tarfile.TarInfo('%s/data_batch_1.bin' % folder)
        link.type, link.linkname = tarfile.SYMTYPE, 'data_batch_1.bin'
        archive.addfile(link)
    with pytest.raises(UserError, match='holds no file'):
        cifar.load(variant, True, str(tmp_path), 'labels')
    write_archive(path, 'photos', {'cat.jpg': b'x'})
    with pytest.raises(UserError, match='is not an archive of CIFAR-10: it holds photos/cat.jpg'):
        cifar.load(variant, True, path, 'labels')


def test_an_archive_of_gigabytes_of_zeros_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr('data.cifar_files.ARCHIVE_BYTES', 1 << 20)
    path = write_archive(tmp_path / 'x.tar.gz', CIFAR10.binary.folder, {'data_batch_1.bin': bytes(1 << 21)})
    with pytest.raises(UserError, match='unpacks to more than the 1 MB that are read'):
        cifar.load(CIFAR10, True, path, 'labels')


@pytest.mark.parametrize('variant,lacking', [(CIFAR10, 'data_batch_5.bin'), (CIFAR100, 'test.bin')])
def test_a_file_that_is_missing_is_named_and_starts_no_download(tmp_path, variant, lacking, monkeypatch):
    variant = small(variant)._replace(place=str(tmp_path))
    files = binary_files(variant)
    del files[lacking]
    write_files(tmp_path / variant.binary.folder, files)
    monkeypatch.setattr(cifar, 'fetch', None)
    for data_dir in str(tmp_path), None:
        with pytest.raises(UserError, match='%s lacks %s$' % (variant.binary.folder, lacking)):
            cifar.load(variant, variant.name == 'CIFAR-10', data_dir, [*variant.labels][-1])


def test_with_a_data_dir_nothing_is_downloaded_and_the_sentence_says_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, 'fetch', None)
    (tmp_path / 'data_batch_0.bin').write_bytes(b'')
    with pytest.raises(UserError) as refusal:
        cifar.load_cifar10(True, str(tmp_path))
    assert str(refusal.value) == (
        'there is no CIFAR-10 in %s: looked for data_batch_1.bin and data_batch_1, there or in cifar-10-batches-bin '
        'and cifar-10-batches-py, for cifar-10-binary.tar.gz, cifar-10-python.tar.gz, cifar-10-batches-py.tar.gz, and '
        'for class folders in train: %s holds data_batch_0.bin' % (tmp_path, tmp_path))
    with pytest.raises(UserError, match='there is no CIFAR-100 in .* for test.bin and test, .*: there is no .*/x$'):
        cifar.load_cifar100(False, str(tmp_path / 'x'))


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
    target = tmp_path / 'target'
    variant = small(CIFAR10)._replace(place=str(target), md5='0' * 32)
    name = variant.binary.archives[0]
    path = write_archive(tmp_path / name, variant.binary.folder, binary_files(variant))
    md5 = download.pooch.file_hash(path, alg='md5')
    server, url = serve(str(tmp_path))
    try:
        monkeypatch.setattr(cifar, 'URL', url)
        with pytest.raises(OSError, match='checksum md5:0+: the download was cut or tampered with'):
            cifar.load(variant, True, None, 'labels')
        assert not target.exists()
        assert len(cifar.load(variant._replace(md5=md5), True, None, 'labels').pixels) == 15
        assert os.listdir(str(target)) == [name]
        (target / name).write_bytes(b"somebody's own")
        assert download.fetch(url + name, 'md5:' + md5, str(target)) == str(target / name)
        assert (target / name).read_bytes() == b"somebody's own"
        with pytest.raises(OSError, match='cannot download'):
            download.fetch(url + 'absent.gz', 'md5:' + md5, str(target))
        assert os.listdir(str(target)) == [name]
        (target / 'folder.gz').mkdir()
        with pytest.raises(OSError, match='folder.gz is a folder, where a download would go'):
            download.fetch(url + 'folder.gz', 'md5:' + md5, str(target))
    finally:
        server.shutdown()
        server.server_close()


def test_every_fine_class_has_one_superclass_of_five():
    fine, coarse = cifar.CLASS_NAMES_100['fine'], cifar.CLASS_NAMES_100['coarse']
    assert len(set(fine)) == 100 and len(coarse) == 20 and all(len(names) == 5 for names in cifar.SUPERCLASSES.values())
    assert set(CIFAR100.parents) == set(fine) and set(CIFAR100.parents.values()) == set(coarse)
    # The first twenty as the binary version has them.
    assert labels_of(CIFAR100, range(20))[:, 0].tolist() == [
        4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11]
