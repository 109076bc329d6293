import os

import cv2
import mxnet as mx
import numpy as np
import pytest

from data.augment import colour_map, generator, random_resized_box
from data.folders import ImageFolder, folder_sources
from data.images import MEAN, STD, ImageBatches, validation_view
from data.recordio import RecordFile
from tools.records import make_small, seal


@pytest.fixture
def rec(record_folder):
    return str(record_folder / 'val.rec')


def whole_epoch(source, number=0, start=0):
    data, labels = zip(*source.epoch(number, start))
    return np.concatenate(data), np.concatenate(labels)


@pytest.mark.parametrize('batch_size', [1, 4, 7, 21, 64])
@pytest.mark.parametrize('workers', [0, 3])
def test_validation_yields_every_image_once_in_order_in_every_pass(rec, batch_size, workers):
    source = ImageBatches(RecordFile(rec), 10, batch_size, False, workers=workers, size=32)
    expected = [RecordFile(rec).label(row) for row in range(21)]
    for _ in range(3):
        data, labels = whole_epoch(source)
        assert list(labels) == expected and data.shape == (21, 3, 32, 32)


def test_both_paths_give_the_same_images(record_folder, rec):
    records = whole_epoch(ImageBatches(RecordFile(rec), 10, 8, False, size=32))
    train, val = folder_sources(str(record_folder))
    folders = whole_epoch(ImageBatches(val, 10, 8, False, size=32))
    assert len(train) == 48 and sorted(records[1]) == list(folders[1])
    assert (np.sort(records[0].sum((1, 2, 3))) == np.sort(folders[0].sum((1, 2, 3)))).all()


def test_validation_pixels_equal_those_of_mxnets_iterator(rec):
    """The arithmetic that the published numbers were measured with: resize, centre crop, mean and std."""
    iterator = mx.io.ImageRecordIter(
        path_imgrec=rec, path_imgidx=rec[:-3] + 'idx', data_shape=(3, 32, 32), batch_size=21, resize=37, shuffle=False,
        round_batch=False, mean_r=MEAN[0], mean_g=MEAN[1], mean_b=MEAN[2], std_r=STD[0], std_g=STD[1], std_b=STD[2])
    theirs = next(iterator).data[0].asnumpy()
    ours = whole_epoch(ImageBatches(RecordFile(rec), 10, 21, False, size=32))[0]
    np.testing.assert_allclose(ours, theirs, atol=1.01 * 2 / 57)  # two of 256 levels: rounding in two JPEG decoders
    assert np.abs(ours - theirs).mean() < 0.1 / 57


def test_training_epochs_are_a_function_of_seed_and_epoch_for_any_number_of_threads(rec):
    def source(seed=0, workers=0):
        return ImageBatches(RecordFile(rec), 10, 4, True, seed=seed, workers=workers, size=32)

    first = whole_epoch(source(), 3)
    for again in (whole_epoch(source(workers=2), 3), whole_epoch(source(workers=1), 3)):
        assert (again[0] == first[0]).all() and (again[1] == first[1]).all()
    rest = whole_epoch(source(workers=2), 3, start=2)
    assert (rest[0] == first[0][8:]).all()
    assert (whole_epoch(source(), 4)[0] != first[0]).any() and (whole_epoch(source(seed=1), 3)[0] != first[0]).any()
    assert sorted(first[1]) == sorted(RecordFile(rec).label(row) for row in range(21))


def test_the_colour_map_is_its_steps_one_after_the_other():
    """A generator that replays fixed draws: order contrast, saturation, brightness, each with its own strength."""
    class Draws:
        def __init__(self):
            self.strengths = iter([0.3, -0.2, 0.1])

        def permutation(self, _):
            return [1, 2, 0]

        def uniform(self, *_):
            return next(self.strengths)

        def normal(self, *_):
            return np.array([1.0, -2.0, 0.5])

    image = np.random.RandomState(0).randint(0, 256, (6, 5, 3)).astype('float64')
    matrix, offset = colour_map(image.mean((0, 1)), Draws())
    luma = np.array([0.299, 0.587, 0.114])
    expected = 1.3 * image - 0.3 * (image @ luma).mean()
    expected = 0.8 * expected + 0.2 * (expected @ luma)[..., None]
    expected = 1.1 * expected
    eigenvectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected += eigenvectors @ (np.array([55.46, 4.794, 1.148]) * [1.0, -2.0, 0.5])
    np.testing.assert_allclose(image @ matrix.T.astype('float64') + offset, expected, rtol=1e-4, atol=1e-3)


def test_random_boxes_lie_inside_and_keep_area_and_aspect():
    for trial in range(300):
        top, left, height, width = random_resized_box(50, 70, generator(trial))
        assert 0 <= top <= 50 - height and 0 <= left <= 70 - width
        assert 0.07 * 3500 < height * width <= 3500 and 0.7 < width / height < 1.4
    assert random_resized_box(10, 1000, generator(0)) == (0, 493, 10, 13)


def test_a_batch_is_rgb():
    blue = np.zeros((40, 40, 3), 'uint8')
    blue[..., 0] = 255  # opencv's order is BGR
    view = validation_view(blue, 32, 36)
    np.testing.assert_allclose(view[:, 0, 0], (np.array([0, 0, 255]) - MEAN) / STD, rtol=1e-5)


def test_a_record_with_the_magic_number_in_it_is_read_whole(tmp_path):
    """Such a record is written in parts."""
    paths = str(tmp_path / 'x.idx'), str(tmp_path / 'x.rec')
    magic = np.array([0xced7230a], '<u4').tobytes()
    content = b'abcd' + magic + b'efgh' + magic + b'i'
    writer = mx.recordio.MXIndexedRecordIO(*paths, 'w')
    for row in range(3):
        writer.write_idx(row, mx.recordio.pack(mx.recordio.IRHeader(0, row, row, 0), content + bytes([row])))
    writer.write_idx(3, mx.recordio.pack(mx.recordio.IRHeader(0, [7, 8], 3, 0), b'two labels'))
    writer.close()
    source = RecordFile(paths[1])
    assert [source.read(row) for row in range(3)] == [(content + bytes([row]), row) for row in range(3)]
    assert source.read(3) == (b'two labels', 7) and source.label(3) == 7


def copy(source, target, cut=None):
    with open(source, 'rb') as file:
        content = file.read()
    with open(target, 'wb') as file:
        file.write(content[:cut])


def test_files_that_do_not_belong_together_are_named(record_folder, tmp_path, rec):
    bad = str(tmp_path / 'bad.rec')
    copy(rec, bad, cut=-2000)
    with pytest.raises(ValueError, match='does not belong to .*, or the file was cut short|points outside'):
        source = RecordFile(bad, rec[:-3] + 'idx')
        whole_epoch(ImageBatches(source, 10, 8, False, size=32))
    with pytest.raises(ValueError, match='does not belong to'):
        RecordFile(rec, str(record_folder / 'train.idx'))
    index, unsealed = tmp_path / 'bad.idx', str(tmp_path / 'unsealed.rec')
    copy(rec, unsealed)
    for text, message in (('', 'is empty'), ('0\tx\n', 'is not an index'), ('0\t0\n1\t0\n', 'names a record twice'),
                          ('0\t4\n', 'is damaged'), ('0\t-8\n', 'points outside'),
                          ('0\t%d\n' % (2 ** 63 - 8), 'points outside'), ('0\t0\n1\n', 'is not an index')):
        index.write_text(text)
        with pytest.raises(ValueError, match=message):
            ImageBatches(RecordFile(unsealed, str(index)), 10, 1, False, size=32)
    with pytest.raises(OSError, match='absent'):
        RecordFile(str(tmp_path / 'absent.rec'))


def write_record(folder, content, label=0):
    paths = str(folder / 'one.idx'), str(folder / 'one.rec')
    writer = mx.recordio.MXIndexedRecordIO(*paths, 'w')
    writer.write_idx(0, mx.recordio.pack(mx.recordio.IRHeader(0, label, 0, 0), content))
    writer.close()
    return paths[1]


def test_an_index_may_lack_records(rec, tmp_path):
    """The record before one that it lacks is not read to the next one that it names."""
    unsealed, index = str(tmp_path / 'unsealed.rec'), str(tmp_path / 'some.idx')
    copy(rec, unsealed)
    with open(rec[:-3] + 'idx') as file, open(index, 'w') as some:
        some.writelines(file.readlines()[::4])
    whole, fewer = RecordFile(rec), RecordFile(unsealed, index)
    assert [fewer.read(row) for row in range(len(fewer))] == [whole.read(row) for row in range(0, len(whole), 4)]
    with open(unsealed, 'r+b') as file:
        file.truncate(1 << 36)  # sparse: read to its end, the last record would fill the memory
    assert RecordFile(unsealed, index).read(len(fewer) - 1) == fewer.read(len(fewer) - 1)


@pytest.mark.parametrize('content,message', [
    (b'', 'image 0 of .* cannot be decoded'),
    (cv2.imencode('.png', np.zeros((1, 3000, 3), 'uint8'))[1].tobytes(), 'image 0 of .* is too thin a strip')])
def test_what_is_no_image_of_use_is_named(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        whole_epoch(ImageBatches(RecordFile(write_record(tmp_path, content)), 10, 1, False, size=32))


def test_more_labels_than_bytes_are_named(tmp_path):
    path = write_record(tmp_path, b'')
    with open(path, 'r+b') as file:
        file.seek(8)
        file.write(b'\x09')
    for read in RecordFile(path).read, RecordFile(path).label:
        with pytest.raises(ValueError, match='record 0 of .* is damaged'):
            read(0)


def test_bad_images_and_labels_are_named(tmp_path, rec):
    paths = str(tmp_path / 'x.idx'), str(tmp_path / 'x.rec')
    writer = mx.recordio.MXIndexedRecordIO(*paths, 'w')
    writer.write_idx(0, mx.recordio.pack(mx.recordio.IRHeader(0, 3, 0, 0), b'no jpeg'))
    writer.close()
    with pytest.raises(ValueError, match='image 0 of .* cannot be decoded'):
        whole_epoch(ImageBatches(RecordFile(paths[1]), 10, 1, False, size=32))
    for label in (np.nan, np.inf, 0.5):
        writer = mx.recordio.MXIndexedRecordIO(*paths, 'w')
        writer.write_idx(0, mx.recordio.pack(mx.recordio.IRHeader(0, label, 0, 0), b'no jpeg'))
        writer.close()
        with pytest.raises(ValueError, match='record 0 of .* has the label (nan|inf|0.5)'):
            ImageBatches(RecordFile(paths[1]), 10, 1, False, size=32)
    with pytest.raises(ValueError, match='label [0-9] of image .* is out of range: there are 2 classes'):
        ImageBatches(RecordFile(rec), 2, 4, False, size=32)
    with pytest.raises(ValueError, match='larger than the data set of 21'):
        ImageBatches(RecordFile(rec), 10, 22, True, size=32)
    with pytest.raises(ValueError, match='crop ratio 1.5 must not be above 1'):
        ImageBatches(RecordFile(rec), 10, 2, True, size=32, crop_ratio=1.5)


def test_class_folders_must_agree(tmp_path):
    image = np.zeros((8, 8, 3), 'uint8')
    for split, names in (('train', ('a', 'b')), ('val', ('a', 'c'))):
        for name in names:
            os.makedirs(str(tmp_path / split / name))
            cv2.imwrite(str(tmp_path / split / name / 'x.jpg'), image)
    with pytest.raises(ValueError, match='class folders of .* differ: b, c'):
        folder_sources(str(tmp_path))
    with pytest.raises(OSError, match='there is no folder .*absent.train'):
        folder_sources(str(tmp_path / 'absent'))
    os.makedirs(str(tmp_path / 'empty' / 'val' / 'a'))
    with pytest.raises(ValueError, match='there is no image'):
        ImageFolder(str(tmp_path / 'empty'), False)


def test_a_sealed_file_tells_a_flipped_bit_and_a_short_index(tmp_path):
    make_small.write(str(tmp_path), size=40, train=20, val=7, folders=False)
    rec = str(tmp_path / 'val.rec')
    with open(rec, 'r+b') as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ValueError, match='record 0 of .*val.rec is damaged: its checksum is another'):
        whole_epoch(ImageBatches(RecordFile(rec), 10, 7, False, size=32))
    index = tmp_path / 'train.idx'
    index.write_text(''.join(index.read_text().splitlines(True)[:-1]))
    with pytest.raises(SystemExit) as leaving:
        seal.main([str(tmp_path / 'absent.rec')])
    assert leaving.value.code == 2
    (tmp_path / 'val.crc32').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match='val.crc32 holds 1 checksums'):
        RecordFile(rec)
    with pytest.raises(ValueError, match='train.crc32 holds 20 checksums and the index of .*train.rec 19 records'):
        RecordFile(str(tmp_path / 'train.rec'))
