"""Small archives of ILSVRC2012's structure, 33 training and 15 validation images of 3 synsets, whole and damaged."""
import gzip
import io
import os
import tarfile

from runtime import UserError

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from data.archives import plain_files
from data.fashion_mnist import load_mini
from tools.records import ilsvrc

SYNSETS = ['n01440764', 'n02105855', 'n04336792']


def jpeg(pixels):
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def turned(pixels):
    """A JPEG whose EXIF says that its first row is its right side (orientation 6)."""
    saved, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels[..., ::-1]).save(saved, 'JPEG', exif=exif)
    return saved.getvalue()


def cmyk(pixels):
    saved = io.BytesIO()
    Image.fromarray(pixels).convert('CMYK').save(saved, 'JPEG')
    return saved.getvalue()


def real_images(split, count):
    """{synset: {file name: bytes}} with the oddities of the real archive: a PNG named .JPEG, CMYK, EXIF, grey."""
    pixels, labels, _ = load_mini(split == 'train')
    images = {}
    for label, synset in enumerate(SYNSETS):
        rows = np.flatnonzero(labels == label)[:count]
        pictures = [cv2.resize(pixels[row].transpose(1, 2, 0), (32 + row % 31, 48 - row % 17)) for row in rows]
        coded = [jpeg(picture) for picture in pictures]
        coded[1:5] = [cv2.imencode('.png', pictures[1])[1].tobytes(), cmyk(pictures[2]), turned(pictures[3]),
                      jpeg(pictures[4][..., 0])]
        images[synset] = {'%s_%d.JPEG' % (synset, row): content for row, content in zip(rows, coded)}
    return images


def tar_of(files, mode='w', pax_headers=None):
    """The bytes of a tar.   files: [(name or TarInfo, bytes)]   pax_headers: that hold for all of them"""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, format=tarfile.PAX_FORMAT, pax_headers=pax_headers) as tar:
        for member, content in files:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def devkit(truth, synsets):
    """Numbers are those of ILSVRC2012: not in the order of the synsets, and groups of classes come after them."""
    fields = ['ILSVRC2012_ID', 'WNID', 'words', 'gloss', 'num_children', 'children', 'wordnet_height',
              'num_train_images']
    numbers = {synset: number for number, synset in enumerate(reversed(synsets), 1)}
    rows = [(float(number), synset, 'a thing', 'what it is', 0.0, np.zeros((0, 0)), 0.0, 1300.0)
            for synset, number in numbers.items()] + [(4.0, 'n00001740', 'things', '', 3.0, [1.0, 2.0, 3.0], 1.0, 0.0)]
    table = np.zeros((len(rows), 1), [(field, object) for field in fields])
    for row, values in enumerate(rows):
        table[row, 0] = values
    meta = io.BytesIO()
    savemat(meta, {'synsets': table}, do_compression=True)
    lines = ''.join('%d\n' % numbers[synset] for synset in truth)
    return tar_of([('ILSVRC2012_devkit_t12/readme.txt', b'read me'), ('ILSVRC2012_devkit_t12/data/meta.mat',
                                                                      meta.getvalue()),
                   ('ILSVRC2012_devkit_t12/evaluation/readme.txt', b'read me too'),
                   ('ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt', lines.encode())], 'w:gz')


def write_ilsvrc(folder):
    """Fill a folder with train.tar, val.tar, devkit.tar.gz, labels.csv and the same images in class folders."""
    train, val = real_images('train', 11), real_images('val', 5)
    # The archive's order is neither that of the synsets nor that of the names.
    classes = [(synset + '.tar', tar_of(list(train[synset].items())[::-1])) for synset in SYNSETS[::-1]]
    (folder / 'train.tar').write_bytes(tar_of(classes))
    flat = [(synset, content) for synset in SYNSETS for content in val[synset].values()]
    flat = [flat[row] for row in np.random.RandomState(0).permutation(len(flat))]
    names = ['ILSVRC2012_val_%08d.JPEG' % (row + 1) for row in range(len(flat))]
    (folder / 'val.tar').write_bytes(tar_of([(name, content) for name, (_, content) in zip(names, flat)]))
    (folder / 'devkit.tar.gz').write_bytes(devkit([synset for synset, _ in flat], SYNSETS))
    lines = ['%s,%s 1 2 30 40 %s 3 4 5 6\n' % (name[:-5], synset, synset) for name, (synset, _) in zip(names, flat)]
    (folder / 'labels.csv').write_text('ImageId,PredictionString\n' + ''.join(lines[::-1]))
    trees = {'train': [(synset, name, content) for synset in train for name, content in train[synset].items()],
             'val': [(synset, name, content) for name, (synset, content) in zip(names, flat)]}
    for split, files in trees.items():
        for synset, name, content in files:
            os.makedirs(str(folder / split / synset), exist_ok=True)
            (folder / split / synset / name).write_bytes(content)
    return folder


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    return write_ilsvrc(tmp_path_factory.mktemp('ilsvrc'))


def member(name, kind=tarfile.REGTYPE, size=0, link=''):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def sparse(name, size):
    """A file with holes, as GNU tar writes it: its content begins with a map."""
    info = member(name, size=size)
    info.pax_headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': name,
                        'GNU.sparse.realsize': '0'}
    return info


def claims(size):
    """A tar whose first header claims a size, as a number of base 256, which may be negative."""
    header = bytearray(tarfile.TarInfo('n01440764.tar').tobuf())
    header[124:136] = (size % (1 << 96)).to_bytes(12, 'big') if size < 0 else b'\x80' + size.to_bytes(11, 'big')
    header[148:156] = b'%06o\0 ' % (256 + sum(header[:148]) + sum(header[156:512]))
    return bytes(header) + bytes(2048)


def one_class(*files):
    return tar_of([('n01440764.tar', tar_of(list(files)))])


LONG_NAME = bytearray(claims(1 << 40))
LONG_NAME[156:157] = b'L'
LONG_NAME[148:156] = b'%06o\0 ' % (256 + sum(LONG_NAME[:148]) + sum(LONG_NAME[156:512]))
BAD_TRAIN = {
    'holds no file': tar_of([]),
    'is damaged, cut short, or no tar archive .truncated header': b'no tar',
    'is damaged, cut short, or no tar archive .unexpected end of data': tar_of([('n01440764.tar', bytes(5000))])[:2000],
    "it holds 'n01440764.tar' twice": tar_of([('n01440764.tar', b'x'), ('a/n01440764.tar', b'y')]),
    "holds 'cats.tar', which is not the archive of a class": tar_of([('cats.tar', b'x')]),
    r"holds '\\x1b\[2J.tar', which": tar_of([('\x1b[2J.tar', b'x')]),
    'n01440764.tar in .* is damaged, cut short, or no tar archive': tar_of([('n01440764.tar', b'x' * 600)]),
    "holds 'a.sh', which is not an image": one_class(('a.sh', b'x')),
    'tar archive .a negative size': claims(-1024),
    'tar archive .unexpected end of data.': claims(1 << 50),
    'tar archive .a header of more than 16384 bytes': bytes(LONG_NAME),
}
NOTHING = b'0\n' * 10 ** 5
HOSTILE = {
    'a global header of many entries': tar_of([('n01440764.tar', b'x')], pax_headers={str(n): '' for n in range(20)}),
    'a large global header': tar_of([('n01440764.tar', b'x')], pax_headers={'comment': 'x' * (1 << 20)}),
    'a global header whose entries hold one another': tar_of(
        [(member('././@PaxHeader', tarfile.XGLTYPE, 1 << 20), b'2 ' * (1 << 19)), ('n01440764.tar', b'x')]),
    'a map of nothing': tar_of([(sparse('n01440764.tar', len(NOTHING) + 7), b'100000\n' + NOTHING)]),
}


@pytest.mark.parametrize('kind', HOSTILE)
def test_archives_that_would_fill_memory_are_refused(tmp_path, kind):
    """tarfile keeps all members, with a copy of the global header in each, and a list of all numbers of a map."""
    path = tmp_path / 'bad.tar'
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(UserError, match='bad.tar is damaged.*(more than 16 entries that hold for all members|'
                                        'a header of more than 16384 bytes)'):
        plain_files(open(str(path), 'rb'), 0, len(HOSTILE[kind]), str(path))


def test_a_few_global_entries_and_long_names_are_read_and_no_member_is_kept(monkeypatch):
    name, kept = 'n01440764/' + 'x' * 3000, []
    content = tar_of([(name + str(number), b'x') for number in range(50)], pax_headers={'comment': 'of git'})
    following = tarfile.TarFile.next
    monkeypatch.setattr(tarfile.TarFile, 'next', lambda tar: kept.append(len(tar.members)) or following(tar))
    assert len(plain_files(io.BytesIO(content), 0, len(content), 'x.tar', parts=2)) == 50 and max(kept) <= 1


@pytest.mark.parametrize('message', BAD_TRAIN)
def test_bad_training_archives_are_named(tmp_path, message):
    path = tmp_path / 'bad.tar'
    path.write_bytes(BAD_TRAIN[message])
    with pytest.raises(UserError, match=message):
        ilsvrc.train_archive(str(path))


@pytest.mark.parametrize('damage', ['bit', 'hole', 'cut', 'zeros'])
def test_a_header_that_is_damaged_in_the_middle_is_not_the_end(archives, tmp_path, damage):
    """tarfile would give the images before it and say nothing."""
    content = bytearray((archives / 'val.tar').read_bytes())
    place = content.index(b'ILSVRC2012_val_00000008.JPEG')
    if damage == 'bit':
        content[place + 100] ^= 1
    elif damage == 'hole':
        content[place:place + 512] = bytes(512)
    else:  # a download that was cut off, and one into a file that had its full size from the beginning
        content[place:] = bytes(0 if damage == 'cut' else 1 << 17)
    (tmp_path / 'val.tar').write_bytes(content)
    labels = ilsvrc.listed_labels(str(archives / 'labels.csv'))
    assert len(ilsvrc.val_archive(str(archives / 'val.tar'), *labels).images) == 15
    with pytest.raises(UserError, match='is damaged, .*the header at byte %d' % place):
        ilsvrc.val_archive(str(tmp_path / 'val.tar'), *labels)


def test_an_archive_that_is_cut_later_is_no_undecodable_image(archives, tmp_path):
    content = (archives / 'train.tar').read_bytes()
    path = tmp_path / 'train.tar'
    path.write_bytes(content)
    images = ilsvrc.train_archive(str(path)).images
    last = max(images, key=lambda image: image.offset)
    assert ilsvrc.read_image(last) == content[last.offset:last.offset + last.size]
    os.truncate(str(path), last.offset + last.size - 1)
    with pytest.raises(OSError, match='train.tar was cut short while it was being read'):
        ilsvrc.read_image(last)


def test_an_image_too_large_is_refused(archives, monkeypatch):
    monkeypatch.setattr(ilsvrc, 'IMAGE_BYTES', 100)
    with pytest.raises(UserError, match='bytes, which is too large for an image'):
        ilsvrc.train_archive(str(archives / 'train.tar'))


def test_labels_of_the_validation_images(archives, tmp_path):
    by_devkit, names = ilsvrc.devkit_labels(str(archives / 'devkit.tar.gz'))
    assert names == SYNSETS and len(by_devkit) == 15
    assert (by_devkit, names) == ilsvrc.listed_labels(str(archives / 'labels.csv'))
    plain = tmp_path / 'plain.txt'
    plain.write_text(''.join('%s.JPEG %s\n' % item for item in by_devkit.items()))
    assert (by_devkit, names) == ilsvrc.listed_labels(str(plain))
    plain.write_text('ILSVRC2012_val_00000001.JPEG 65\n')
    with pytest.raises(UserError, match='line 1 of .*plain.txt does not name an image and its synset'):
        ilsvrc.listed_labels(str(plain))
    plain.write_text('ILSVRC2012_val_00000001 n01440764\n' * 2 + 'ILSVRC2012_val_00000001.JPEG n04336792\n')
    with pytest.raises(UserError, match='line 3 of .* gives ILSVRC2012_val_00000001 another synset'):
        ilsvrc.listed_labels(str(plain))
    del by_devkit['ILSVRC2012_val_00000003']
    with pytest.raises(UserError, match="no label for 'ILSVRC2012_val_00000003.JPEG', one of 1 such"):
        ilsvrc.val_archive(str(archives / 'val.tar'), by_devkit, names)


def one_label_changed(kit):
    """A .tar.gz in which one digit of the ground truth, and nothing else, has changed: gzip's checksum knows."""
    stored = bytearray(gzip.compress(gzip.decompress(kit), 0))
    first = stored.index(b'ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt') + tarfile.BLOCKSIZE
    stored[first] = ord('2' if stored[first] == ord('1') else '1')
    return bytes(stored)


def test_bad_devkits_are_named(archives, tmp_path):
    path = tmp_path / 'kit.tar.gz'
    meta, truth = ('kit/data/' + name for name in ('meta.mat', 'ILSVRC2012_validation_ground_truth.txt'))
    whole = (archives / 'devkit.tar.gz').read_bytes()
    with tarfile.open(str(archives / 'devkit.tar.gz')) as tar:
        whole_meta = tar.extractfile('ILSVRC2012_devkit_t12/data/meta.mat').read()
    large_meta = io.BytesIO()
    savemat(large_meta, {'synsets': np.zeros(1 << 22)}, do_compression=True)  # 32 MB of zeros
    for content, message in ((b'no gzip', 'is damaged, cut short, or no tar archive'),
                             (whole[:len(whole) // 2], 'is damaged, cut short, or no tar archive'),
                             (tar_of([(truth, b'1\n')], 'w:gz'), 'it lacks meta.mat or the ground truth'),
                             (tar_of([(truth, b'1\n'), (meta, b'no mat')], 'w:gz'), 'does not hold the labels'),
                             (tar_of([(truth, b'4\n'), (meta, whole_meta)], 'w:gz'), 'the labels: KeyError: 4'),
                             (tar_of([(truth, b'1\n'), (meta, large_meta.getvalue())], 'w:gz'), 'more than 16 MB'),
                             (one_label_changed(whole), 'is damaged, .*CRC check failed'),
                             (b'', 'cut short|holds no file')):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            ilsvrc.devkit_labels(str(path))
