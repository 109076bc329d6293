"""RecordIO files and what goes with them: whole, damaged, cut, of others, without an index."""
import errno
import os

from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest

from cli.exits import run_script
from data.images import ImageBatches
from data.recordio import LABEL, MADE_BY, RecordFile, read_class_names
from data.sealing import make_index
from disk import write_whole
from tools.records import make_small, seal


@pytest.fixture
def rec(record_folder):
    return str(record_folder / 'val.rec')


@pytest.fixture
def unsealed(rec, tmp_path):
    """(path of an unsealed copy of 21 records, lines of its index)"""
    path = str(tmp_path / 'unsealed.rec')
    for ending in '.rec', '.idx':
        copy(rec[:-4] + ending, path[:-4] + ending)
    with open(path[:-4] + '.idx') as file:
        return path, file.readlines()


def copy(source, target, cut=None):
    with open(source, 'rb') as file:
        content = file.read()
    with open(target, 'wb') as file:
        file.write(content[:cut])


def write_index(rec, lines):
    with open(rec[:-4] + '.idx', 'w') as file:
        file.writelines(lines)


def write_records(path, records):
    """records: [(label or labels, bytes)]"""
    writer = mx.recordio.MXIndexedRecordIO(str(path)[:-4] + '.idx', str(path), 'w')
    for row, (label, content) in enumerate(records):
        writer.write_idx(row, mx.recordio.pack(mx.recordio.IRHeader(0, label, row, 0), content))
    writer.close()
    return str(path)


def jpeg():
    return cv2.imencode('.jpg', np.zeros((40, 40, 3), 'uint8'))[1].tobytes()


def score(rec, classes=10):
    """Labels as a script reads them: all of the file, in one pass."""
    source = RecordFile(rec)
    return next(ImageBatches(source, classes, len(source), False, size=32).epoch(0))[1].tolist()


def test_a_record_with_the_magic_number_in_it_is_read_whole(tmp_path):
    """Such a record is written in parts."""
    magic = np.array([0xced7230a], '<u4').tobytes()
    contents = [b'abcd' + magic + b'efgh' + magic + b'i' + bytes([row]) for row in range(3)]
    records = [*enumerate(contents), ([7], b'a vector of one label')]
    source = RecordFile(write_records(tmp_path / 'x.rec', records))
    assert [source.read(row) for row in range(3)] == [(contents[row], row) for row in range(3)]
    assert source.read(3) == (b'a vector of one label', 7)
    assert [source.label(row) for row in range(4)] == [0, 1, 2, 7] and source.class_names == ()


@pytest.mark.parametrize('labels', [(1, 5, 0.1, 0.2, 0.9, 0.8), (0, 1, 1, 0)])
def test_a_record_of_detection_or_with_several_labels_is_refused_as_mxnet_refuses_it(tmp_path, labels):
    rec = write_records(tmp_path / 'x.rec', [(3, jpeg()), (labels, jpeg()), (4, jpeg())])
    with pytest.raises(UserError, match='record 1 of .*x.rec has %d labels: only files with one' % len(labels)):
        score(rec)
    with pytest.raises(mx.MXNetError, match='label_width|labels'):
        next(mx.io.ImageRecordIter(path_imgrec=rec, path_imgidx=rec[:-4] + '.idx', data_shape=(3, 32, 32),
                                   batch_size=3, preprocess_threads=1)).data[0].asnumpy()


def test_the_header_record_of_insightface_is_not_a_broken_image(tmp_path):
    rec = write_records(tmp_path / 'x.rec', [((3, 5), b''), (0, jpeg()), (1, jpeg())])
    with pytest.raises(UserError, match='record 0 of .* is not an image but a header, as insightface writes it'):
        score(rec)


@pytest.mark.parametrize('missing', [slice(15, None), slice(20, None), slice(7, 8), slice(3, 18), slice(0, 1),
                                     slice(0, 6)])
def test_an_index_that_is_cut_or_has_a_hole_is_not_a_smaller_data_set(unsealed, missing, capsys):
    rec, lines = unsealed
    assert len(score(rec)) == 21
    del lines[missing]
    write_index(rec, lines)
    with pytest.raises(UserError, match=r'unsealed.idx lacks (the first record of|what comes in) .*unsealed.rec'):
        score(rec)
    with pytest.raises(SystemExit):
        run_script(lambda: seal.main([rec]))
    assert 'lacks' in capsys.readouterr().err and not os.path.exists(rec[:-4] + '.crc32')


def test_a_hole_between_the_labels_that_are_looked_at_first_is_found_when_the_image_is_read(unsealed, monkeypatch):
    rec, lines = unsealed
    write_index(rec, lines[:9] + lines[10:])
    monkeypatch.setattr('data.images.LABELS_CHECKED', 2)
    source = RecordFile(rec)
    batches = ImageBatches(source, 10, 8, False, size=32).epoch(0)
    assert len(next(batches)[1]) == 8
    with pytest.raises(UserError, match='lacks what comes in .* after record 8: remove it, and `python -m tools.seal'):
        next(batches)


def test_a_hole_fills_no_memory(unsealed):
    """A sparse file of 64 GB, of which the index names the first records only."""
    rec, lines = unsealed
    with open(rec, 'r+b') as file:
        file.truncate(1 << 36)
    with pytest.raises(UserError, match='lacks what comes in'):
        RecordFile(rec)
    write_index(rec, [lines[0], '1\t%d\n' % ((1 << 36) - 100)])
    with pytest.raises(UserError, match='is damaged'):
        RecordFile(rec)


def test_an_index_in_another_order_is_whole(unsealed):
    rec, lines = unsealed
    labels = score(rec)
    write_index(rec, lines[::-1])
    assert score(rec) == labels[::-1]


def test_checksums_belong_to_records_whatever_the_index_and_the_path(unsealed, tmp_path):
    """They are in the order of the index that goes with the .rec, and are found through a link."""
    rec, lines = unsealed
    seal.main([rec])
    labels = score(rec)
    (tmp_path / 'other.idx').write_text(''.join(lines[::-1]))
    (tmp_path / 'elsewhere').mkdir()
    link = str(tmp_path / 'elsewhere' / 'link.rec')
    os.symlink(rec, link)
    for path, idx, expected in ((rec, str(tmp_path / 'other.idx'), labels[::-1]), (link, None, labels),
                                (link, str(tmp_path / 'other.idx'), labels[::-1])):
        source = RecordFile(path, idx)
        assert source.sums and [source.read(row)[1] for row in range(len(source))] == expected
    with open(rec, 'r+b') as file:
        file.seek(200)
        file.write(b'\0\1\2')
    with pytest.raises(UserError, match='record 0 of .*link.rec is damaged: its checksum is another'):
        RecordFile(link).read(0)
    (tmp_path / 'other.idx').write_text(''.join([*lines[:-1], '99\t%d\n' % (int(lines[-1].split()[1]) + 8)]))
    with pytest.raises(UserError, match='other.idx and .*unsealed.idx are not of the same records'):
        RecordFile(link, str(tmp_path / 'other.idx'))


def test_of_several_files_each_is_sealed_that_can_be(unsealed, tmp_path, capsys):
    rec, _ = unsealed
    with pytest.raises(SystemExit) as leaving:
        run_script(lambda: seal.main([str(tmp_path / 'absent.rec'), rec]))
    assert leaving.value.code == 2 and RecordFile(rec).sums
    said = capsys.readouterr()
    assert 'absent.rec' in said.err and said.out.endswith('unsealed.crc32: 21 records\n')


def test_files_that_do_not_belong_together_are_named(record_folder, tmp_path, rec, unsealed):
    bad = str(tmp_path / 'bad.rec')
    copy(rec, bad, cut=-2000)
    with pytest.raises(UserError, match='does not belong to .*, or the file was cut short|is damaged'):
        RecordFile(bad, rec[:-3] + 'idx')
    with pytest.raises(UserError, match='does not belong to'):
        RecordFile(rec, str(record_folder / 'train.idx'))
    for text, message in (('', 'is empty'), ('0\tx\n', 'is not an index'), ('0\t0\n1\t0\n', 'names a record twice'),
                          ('0\t4\n', 'lacks the first record'), ('0\t-8\n', 'is not an index'),
                          ('0\t%d\n' % (2 ** 63 - 8), 'points outside'), ('0\t0\n1\n', 'is not an index'),
                          ('0\t0\n1\t8\n', 'is damaged'), ('\xff\x00' * 9, 'is not an index')):
        write_index(unsealed[0], text)
        with pytest.raises(UserError, match=message):
            score(unsealed[0])
    with pytest.raises(OSError, match='absent'):
        RecordFile(str(tmp_path / 'absent.rec'))
    write_index(unsealed[0], unsealed[1])
    for length, message in (0, 'unsealed.rec is empty'), (40, 'idx is too large for .*.rec: was that cut short'):
        copy(rec, unsealed[0], length)
        with pytest.raises(UserError, match=message):
            RecordFile(unsealed[0])


def test_a_missing_index_is_made_by_the_command_that_the_message_names(record_folder, unsealed, capsys):
    """It is, byte for byte, that which was written with the records."""
    rec, lines = unsealed
    os.remove(rec[:-4] + '.idx')
    with pytest.raises(UserError, match='has no index .*unsealed.idx: `python -m tools.seal .*unsealed.rec` makes'):
        RecordFile(rec)
    seal.main([rec])
    with open(rec[:-4] + '.idx') as file:
        assert file.readlines() == lines
    assert len(RecordFile(rec).sums) == 21 and capsys.readouterr().out.endswith('unsealed.crc32: 21 records\n')


def test_an_index_is_made_of_records_in_parts_and_with_equal_ids(tmp_path):
    magic = np.array([0xced7230a], '<u4').tobytes()
    writer = mx.recordio.MXRecordIO(str(tmp_path / 'x.rec'), 'w')
    for label, content in enumerate((b'one', b'abcd' + magic + b'efgh', b'three')):
        writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, label, 0, 0), content))
    writer.close()
    make_index(str(tmp_path / 'x.rec'))
    assert [line.split('\t')[0] for line in (tmp_path / 'x.idx').read_text().splitlines()] == ['0', '1', '2']
    source = RecordFile(str(tmp_path / 'x.rec'))
    assert [source.read(row) for row in range(3)] == [(b'one', 0), (b'abcd' + magic + b'efgh', 1), (b'three', 2)]


@pytest.mark.parametrize('spoil', [lambda content: content[:-3], lambda content: content + b'abc',
                                   lambda content: content[:2000] + bytes(2000) + content[4000:], lambda _: b''])
def test_no_index_is_made_of_a_file_that_is_not_recordio_to_its_end(unsealed, spoil, capsys):
    rec, _ = unsealed
    with open(rec, 'rb') as file:
        content = file.read()
    with open(rec, 'wb') as file:
        file.write(spoil(content))
    os.remove(rec[:-4] + '.idx')
    with pytest.raises(SystemExit):
        run_script(lambda: seal.main([rec]))
    assert 'there is no whole record at byte' in capsys.readouterr().err or spoil(content) == b''
    assert not os.path.exists(rec[:-4] + '.idx')


def test_a_file_that_is_cut_while_it_is_being_read_is_a_sentence(unsealed):
    source = RecordFile(unsealed[0])
    os.truncate(unsealed[0], 3000)
    for read in source.read, source.label, source.content:
        with pytest.raises(UserError, match='unsealed.rec was cut short while it was being read'):
            read(20)


def test_an_error_of_the_disk_names_the_file(unsealed, monkeypatch):
    def broken(*_):
        raise OSError(5, 'Input/output error')

    source = RecordFile(unsealed[0])
    monkeypatch.setattr(os, 'pread', broken)
    with pytest.raises(OSError, match='Input/output error: .*unsealed.rec'):
        source.read(0)


def test_more_labels_than_bytes_are_named(tmp_path):
    path = write_records(tmp_path / 'x.rec', [(0, b'x'), (0, jpeg())])
    with open(path, 'r+b') as file:
        file.seek(8)
        file.write(b'\x09')
    source = RecordFile(path)
    for read in source.read, source.label:
        with pytest.raises(UserError, match='record 0 of .* is damaged'):
            read(0)


def test_bad_images_and_labels_are_named(tmp_path, rec):
    bad = tmp_path / 'x.rec'
    with pytest.raises(UserError, match='image 0 of .*x.rec is not an image'):
        score(write_records(bad, [(3, b'no jpeg')]))
    for label in (np.nan, np.inf, 0.5):
        with pytest.raises(UserError, match='record 0 of .* has the label (nan|inf|0.5)'):
            score(write_records(bad, [(label, jpeg())]))
    with pytest.raises(UserError, match='the label [0-9] of image .* is out of range: there are 2 classes'):
        score(rec, 2)


def test_a_sealed_file_tells_a_flipped_bit_and_a_short_index(tmp_path, capsys):
    make_small.write(str(tmp_path), size=40, train=20, val=7, folders=False)
    rec = str(tmp_path / 'val.rec')
    with open(rec, 'r+b') as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(UserError, match='record 0 of .*val.rec is damaged: its checksum is another'):
        score(rec)
    sums = (tmp_path / 'val.crc32').read_bytes()
    with pytest.raises(SystemExit):
        seal.main([rec])  # which would otherwise say that the damaged record is whole
    assert 'val.rec is damaged: its checksum is another' in capsys.readouterr().err
    assert (tmp_path / 'val.crc32').read_bytes() == sums
    seal.main([str(tmp_path / 'train.rec')])
    assert 'train.crc32: 20 records, all as they were sealed' in capsys.readouterr().out
    with pytest.raises(UserError, match='train.rec exists: choose another folder'):
        make_small.write(str(tmp_path), size=40, train=20, val=7, folders=False)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'val.json').write_text('{}')
    with pytest.raises(UserError, match='val.json exists: choose another folder'):
        make_small.write(str(tmp_path / 'other'))
    index = tmp_path / 'train.idx'
    index.write_text(''.join(index.read_text().splitlines(True)[:-1]))
    with pytest.raises(SystemExit) as leaving:
        run_script(lambda: seal.main([str(tmp_path / 'absent.rec')]))
    assert leaving.value.code == 2 and 'Traceback' not in capsys.readouterr().err
    (tmp_path / 'val.crc32').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='val.crc32 does not hold a checksum for each of the 7 records'):
        RecordFile(rec)
    with pytest.raises(UserError, match='train.crc32 does not hold a checksum for each of the 19 records'):
        RecordFile(str(tmp_path / 'train.rec'))


def test_the_names_of_the_classes_come_from_the_json_of_prepare_imagenet(unsealed):
    rec, _ = unsealed
    for text, names in (('{"made_by": "%s", "class_names": ["cat", "dog"]}' % MADE_BY, ('cat', 'dog')),
                        ('{"images": [], "annotations": []}', ())):  # of others
        with open(rec[:-4] + '.json', 'w') as file:
            file.write(text)
        assert read_class_names(rec, 21) == RecordFile(rec).class_names == names
    with open(rec[:-4] + '.json', 'w') as file:
        file.write('{"made_by": "%s", "class_names": ["cat", "dog"], "counts": [11, 11]}' % MADE_BY)
    with pytest.raises(UserError, match='unsealed.json is of 22 records, and .*unsealed.rec holds 21'):
        RecordFile(rec)
    for text in ('', '{', '{"made_by": "%s", "class_na', '{"made_by": "%s"}', '["%s"]',
                 '{"%s": 1, "class_names": ["a", "a"]}',
                 '{"%s": 1, "class_names": [["a"]]}', '{"%s": 1, "class_names": 7}', '{"%s": 1, "class_names": []}',
                 '{"%s": 1, "class_names": "ab"}', '{"%s": 1, "class_names": {"a": 1}}'):
        with open(rec[:-4] + '.json', 'w') as file:
            file.write(text.replace('%s', MADE_BY))
        with pytest.raises(UserError, match='unsealed.json is damaged: it does not name the classes'):
            RecordFile(rec)


def test_a_record_shorter_than_a_label_is_damaged(tmp_path):
    writer = mx.recordio.MXRecordIO(str(tmp_path / 'x.rec'), 'w')
    for content in (bytes(LABEL.size - 1), bytes(LABEL.size)):
        writer.write(content)
    writer.close()
    (tmp_path / 'x.idx').write_text('0\t0\n1\t32\n')
    source = RecordFile(str(tmp_path / 'x.rec'))
    with pytest.raises(UserError, match='record 0 of .* is damaged'):
        source.read(0)
    assert source.read(1) == (b'', 0)


def test_a_seal_that_the_disk_does_not_take_leaves_nothing(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', refuse)
    with pytest.raises(OSError, match='cannot write .*x.crc32: No space left on device$'):
        write_whole(str(tmp_path / 'x.crc32'), ['half'])
    assert not os.listdir(tmp_path)
