"""Class folders as they are on disks: what is a class, what is an image, what is left out and said."""
import os

from runtime import UserError

import numpy as np
import pytest
from PIL import Image

from data.folders import ImageFolder
from data.images import ImageBatches


def write_folder(root, split, classes, images=2, ending='.png'):
    """Class folders of small images, each class of another grey."""
    for label, name in enumerate(classes):
        os.makedirs(str(root / split / name), exist_ok=True)
        for row in range(images):
            write_image(root / split / name / ('%d%s' % (row, ending)), np.full((8, 9, 3), 20 * label + row, 'uint8'))
    return str(root)


def write_image(path, pixels):
    """In the format of the ending."""
    Image.fromarray(pixels).save(str(path))


def test_classes_and_images_are_in_the_order_of_their_names(tmp_path):
    source = ImageFolder(write_folder(tmp_path, 'train', ['b', 'a', 'C']), True)
    assert source.class_names == ('C', 'a', 'b') and len(source) == 6
    assert [source.label(row) for row in range(6)] == [0, 0, 1, 1, 2, 2]
    names = [os.path.relpath(source.name(row), str(tmp_path)) for row in range(6)]
    assert names == ['train/C/0.png', 'train/C/1.png', 'train/a/0.png', 'train/a/1.png', 'train/b/0.png',
                     'train/b/1.png']


def test_what_programs_leave_is_no_class(tmp_path, caplog):
    write_folder(tmp_path, 'train', ['a', 'b', '.ipynb_checkpoints', '@eaDir', 'lost+found', '__MACOSX'])
    (tmp_path / 'train' / 'labels.csv').write_text('')
    assert ImageFolder(str(tmp_path), True).class_names == ('a', 'b')
    message, = caplog.messages
    assert message.endswith('train: left out, as they are no class folders: .ipynb_checkpoints, @eaDir, __MACOSX, '
                            'labels.csv, lost+found')


def test_an_empty_class_folder_is_an_error_in_train_and_an_absent_class_in_val(tmp_path, caplog):
    for split in 'train', 'val':
        write_folder(tmp_path, split, ['a', 'c'])
        os.makedirs(str(tmp_path / split / 'b'))
    with pytest.raises(UserError, match='there is no image in the class folder .*train.b'):
        ImageFolder(str(tmp_path), True)
    assert ImageFolder(str(tmp_path), False).class_names == ('a', 'c')
    assert caplog.messages == ['%s: left out, as there is no image in them: b' % (tmp_path / 'val')]
    (tmp_path / 'train' / 'b' / 'notes.txt').write_text('no image')
    with pytest.raises(UserError, match='there is no image in the class folder .*train.b'):
        ImageFolder(str(tmp_path), True)


@pytest.mark.parametrize('ending', ['.webp', '.bmp', '.JPG', '.PNG', '.JPEG', '.ppm'])
def test_every_kind_of_picture_is_trained_on(tmp_path, ending):
    source = ImageFolder(write_folder(tmp_path, 'train', ['a', 'b'], ending=ending), True)
    data, labels = next(ImageBatches(source, 2, 4, True, size=8).epoch(0))
    assert sorted(labels) == [0, 0, 1, 1] and np.isfinite(data).all()


def test_files_that_are_no_images_are_named_once_for_each_class(tmp_path, caplog):
    write_folder(tmp_path, 'val', ['a', 'b'])
    for name in ['notes.txt', 'thumbs.db', 'a.pdf', 'c.heic', 'd.svg', 'e.mp4', '.DS_Store', '._0.png']:
        (tmp_path / 'val' / 'a' / name).write_text('no image')
    os.makedirs(str(tmp_path / 'val' / 'b' / 'folder.png'))
    os.symlink('/dev/zero', str(tmp_path / 'val' / 'b' / 'endless.png'))
    os.symlink('nowhere', str(tmp_path / 'val' / 'b' / 'broken.png'))
    assert len(ImageFolder(str(tmp_path), False)) == 4
    assert [message.split('val/')[1] for message in caplog.messages] == [
        'a: left out, as they are no images of a kind that is read: a.pdf, c.heic, d.svg, e.mp4, notes.txt and 1 more',
        'b: left out, as they are no images of a kind that is read: broken.png, endless.png, folder.png']


def test_another_number_of_classes_than_outputs_is_said(tmp_path, caplog):
    source = ImageFolder(write_folder(tmp_path, 'train', ['cat', 'dog', 'emu']), train=True)
    with pytest.raises(UserError, match='train has 3 classes, and the network 2 outputs: --num-classes 3'):
        ImageBatches(source, 2, 2, train=True)
    assert ImageBatches(source, 3, 2, train=True) and not caplog.text
    ImageBatches(source, 1000, 2, train=True)
    assert 'train has 3 classes: 997 of the 1000 outputs have none' in caplog.text


def test_numbers_in_the_order_of_text_are_said(tmp_path, caplog):
    ImageFolder(write_folder(tmp_path / 'few', 'train', map(str, range(10))), True)
    assert caplog.messages == []
    assert ImageFolder(write_folder(tmp_path / 'more', 'train', map(str, range(12))), True).class_names[2] == '10'
    assert caplog.messages == ['%s: the class folders are in the order of text, not of numbers: labels count 0, 1, 10, '
                               '11, 2, 3, 4, 5, 6, 7, 8, 9' % (tmp_path / 'more' / 'train')]


def test_folders_that_are_not_there_say_what_is(tmp_path):
    with pytest.raises(OSError, match='there is no folder .*absent.train: there is no .*absent'):
        ImageFolder(str(tmp_path / 'absent'), True)
    os.makedirs(str(tmp_path / 'Training'))
    with pytest.raises(OSError, match='there is no folder .*train: .* holds Training'):
        ImageFolder(str(tmp_path), True)
    os.makedirs(str(tmp_path / 'val'))
    with pytest.raises(UserError, match='val has no class folder with an image: .*val holds nothing'):
        ImageFolder(str(tmp_path), False)
    write_image(tmp_path / 'val' / 'ILSVRC2012_val_00000001.JPEG', np.zeros((8, 8, 3), 'uint8'))
    with pytest.raises(UserError, match='no class folder with an image: .*val holds ILSVRC2012_val_00000001.JPEG'):
        ImageFolder(str(tmp_path), False)


def test_an_image_that_cannot_be_used_is_named_by_its_path(tmp_path):
    write_folder(tmp_path, 'val', ['a'], images=1)
    (tmp_path / 'val' / 'a' / 'bad.jpg').write_bytes(b'\xff\xd8\xff no JPEG')
    source = ImageFolder(str(tmp_path), False)
    with pytest.raises(UserError, match='val/a/bad.jpg is not an image|val/a/bad.jpg cannot be decoded'):
        list(ImageBatches(source, 1, 2, False, size=8).epoch(0))
    os.remove(str(tmp_path / 'val' / 'a' / 'bad.jpg'))
    with pytest.raises(OSError, match='No such file or directory: .*val/a/bad.jpg'):
        list(ImageBatches(source, 1, 2, False, size=8).epoch(0))
    (tmp_path / 'val' / 'a' / 'bad.jpg').write_bytes(b'')
    os.truncate(str(tmp_path / 'val' / 'a' / 'bad.jpg'), 1 << 33)  # sparse
    with pytest.raises(UserError, match='val/a/bad.jpg is too large for a picture: at most 64 MB'):
        source.read(1)


def test_a_name_that_no_terminal_shows_is_escaped(tmp_path, caplog):
    write_folder(tmp_path, 'val', ['a'])
    (tmp_path / 'val' / 'a' / '\x1b[2Jx').write_text('')
    ImageFolder(str(tmp_path), False)
    assert r'read: \x1b[2Jx' in caplog.text and '\x1b' not in caplog.text
