"""From small archives of ILSVRC2012's structure, 33 training and 15 validation images of 3 synsets, to RecordIO."""
import hashlib
import json
import os
import resource
import runpy
import shutil
import subprocess
import sys
import tarfile

from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest

from data.images import ImageBatches
from data.record_writer import whole_records
from data.recordio import RecordFile
from tests.test_data_ilsvrc import SYNSETS, member, real_images, tar_of, write_ilsvrc
from tests.test_scripts import refusal
from tools.records import ilsvrc, one_split
from tools.records import prepare_imagenet as prepare

ENDINGS = '.rec', '.idx', '.crc32', '.json'
SIZE = 40
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    return write_ilsvrc(tmp_path_factory.mktemp('ilsvrc'))


def flags(archives, out, *further):
    return ['--train-tar', str(archives / 'train.tar'), '--val-tar', str(archives / 'val.tar'), '--devkit',
            str(archives / 'devkit.tar.gz'), '--no-checksum', '--out', str(out), '-j', '2', '--size', str(SIZE),
            *further]


@pytest.fixture(scope='module')
def made(archives, tmp_path_factory):
    """The folder of a run that nothing has interrupted."""
    out = tmp_path_factory.mktemp('made')
    prepare.main(flags(archives, out))
    return out


def contents(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(str(folder))}


def copied(source, target):
    shutil.copytree(str(source), str(target))
    return target


def unfinished(made, folder):
    """A run that had written everything and verified nothing."""
    copied(made, folder)
    for ending in ENDINGS:
        os.rename(str(folder / ('train' + ending)), str(folder / ('train.part' + ending)))
    return folder


def refused(capsys, monkeypatch, *arguments):
    return refusal(lambda: prepare.main([str(argument) for argument in arguments]), (), capsys, monkeypatch)


def test_the_files_are_those_of_im2rec(archives, made, tmp_path, monkeypatch, capsys):
    """--recursive --resize 40 --quality 95 of the same images in class folders, training images shuffled."""
    for split, order in (('train', []), ('val', ['--no-shuffle'])):
        prefix, root = str(tmp_path / split), str(archives / split)
        for call in (['--list', '--recursive', *order], ['--resize', str(SIZE), '--quality', '95']):
            monkeypatch.setattr(sys, 'argv', ['im2rec', *call, prefix, root])
            left = runpy.run_module('mxnet.tools.im2rec', run_name='__main__')
        left['record'].close()
        for ending in ('.rec', '.idx'):
            assert (made / (split + ending)).read_bytes() == (tmp_path / (split + ending)).read_bytes()
    assert 'error' not in capsys.readouterr().out


def test_archives_folders_and_kaggles_labels_give_the_same_files(archives, made, tmp_path):
    prepare.main(['--folder', str(archives), '--out', str(tmp_path / 'folders'), '--size', str(SIZE), '-j', '1'])
    assert contents(tmp_path / 'folders') == contents(made)
    prepare.main(['--val-tar', str(archives / 'val.tar'), '--val-labels', str(archives / 'labels.csv'), '--no-checksum',
                  '--out', str(tmp_path / 'val'), '--size', str(SIZE)])
    assert contents(tmp_path / 'val') == {name: content for name, content in contents(made).items() if 'val' in name}


def kaggles(archives, root):
    """A folder as Kaggle has it: class folders of train/, a flat val/."""
    copied(archives / 'train', root / 'train')
    os.makedirs(str(root / 'val'))
    for synset in SYNSETS:
        for name in os.listdir(str(archives / 'val' / synset)):
            shutil.copy(str(archives / 'val' / synset / name), str(root / 'val'))
    return root


def test_kaggles_folder_with_a_flat_val_gives_the_same_files(archives, made, tmp_path, capsys, monkeypatch):
    root = kaggles(archives, tmp_path / 'kaggle')
    flags = ['--folder', str(root), '--out', str(tmp_path / 'out'), '--size', str(SIZE)]
    prepare.main([*flags, '--val-labels', str(archives / 'labels.csv')])
    assert contents(tmp_path / 'out') == contents(made)
    assert 'val has no class folder with an image: ' in refused(capsys, monkeypatch, *flags)
    labels = (archives / 'labels.csv').read_text().splitlines(True)
    (tmp_path / 'few.csv').write_text(''.join(labels[:-1]))
    message = refused(capsys, monkeypatch, *flags, '--val-labels', tmp_path / 'few.csv')
    assert "there is no label for 'ILSVRC2012_val_00000001.JPEG', one of 1 such images in" in message


def test_class_folders_of_val_get_the_labels_of_train(archives, made, tmp_path, capsys, monkeypatch):
    """Also where val lacks a class; one that train lacks is refused by name."""
    for split in 'train', 'val':
        copied(archives / split, tmp_path / split)
    shutil.rmtree(str(tmp_path / 'val' / SYNSETS[0]))
    facts = prepare.main(['--folder', str(tmp_path), '--out', str(tmp_path / 'out'), '--size', str(SIZE)])
    assert facts['val']['counts'] == [0, 5, 5] and facts['val']['class_names'] == SYNSETS
    source = RecordFile(str(tmp_path / 'out' / 'val.rec'))
    assert [source.label(row) for row in range(10)] == [1] * 5 + [2] * 5 and source.class_names == tuple(SYNSETS)
    os.rename(str(tmp_path / 'val' / SYNSETS[2]), str(tmp_path / 'val' / 'n99999999'))
    message = refused(capsys, monkeypatch, '--folder', tmp_path, '--out', tmp_path / 'other', '--size', SIZE)
    assert 'the class n99999999 of %s is none of the 3 known classes: n01440764' % (tmp_path / 'val') in message


def test_counts_labels_sizes_and_order(made):
    for split, count in (('train', 11), ('val', 5)):
        source = RecordFile(str(made / (split + '.rec')))
        labels = [source.label(row) for row in range(len(source))]
        facts = json.loads((made / (split + '.json')).read_text())
        assert facts['counts'] == [count] * 3 == np.bincount(labels).tolist() and facts['left_out'] == []
        assert facts['class_names'] == SYNSETS and len(source.sums) == 3 * count
        assert (labels == sorted(labels)) == (split == 'val')
        for row in range(len(source)):
            image = cv2.imdecode(np.frombuffer(source.read(row)[0], 'uint8'), cv2.IMREAD_UNCHANGED)
            assert min(image.shape[:2]) == SIZE and image.shape[2] == 3


def test_both_readers_read_them(made):
    """The order, the labels and, but for rounding in two JPEG decoders, the pixels of MXNet's iterator."""
    rec = str(made / 'val.rec')
    iterator = mx.io.ImageRecordIter(path_imgrec=rec, path_imgidx=rec[:-3] + 'idx', data_shape=(3, 32, 32),
                                     batch_size=15, resize=37, round_batch=False, mean_r=123.68, mean_g=116.779,
                                     mean_b=103.939, std_r=58.393, std_g=57.12, std_b=57.375)
    batch = next(iterator)
    data, labels = next(ImageBatches(RecordFile(rec), 3, 15, False, size=32).epoch(0))
    assert batch.label[0].asnumpy().tolist() == labels.tolist()
    np.testing.assert_allclose(data, batch.data[0].asnumpy(), atol=1.01 * 2 / 57)


def test_a_killed_run_continues_and_gives_the_same_bytes(archives, made, tmp_path):
    """kill -9 while the twentieth image is encoded."""
    script = ('import os, signal\nfrom tools.records import one_split, prepare_imagenet\n'
              'encoded, left = one_split.encoded, [20]\n'
              'def deadly(*arguments):\n    left[0] -= 1\n    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n'
              '    return encoded(*arguments)\none_split.encoded, one_split.AHEAD = deadly, 2\n'
              'prepare_imagenet.main(%r)' % flags(archives, tmp_path))
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, timeout=60, capture_output=True)
    assert done.returncode == -9 and 'train.rec' not in os.listdir(str(tmp_path))
    kept = whole_records(str(tmp_path / 'train.part'))[0]
    assert 5 < len(kept) < 20
    prepare.main(flags(archives, tmp_path))
    assert contents(tmp_path) == contents(made)


@pytest.mark.parametrize('seed', range(30))
def test_whatever_a_crash_leaves_the_result_is_the_same(archives, made, tmp_path, seed):
    """Each file cut at a random place, or with a bit flipped, or with zeros at its end as after a power failure."""
    random, out = np.random.RandomState(seed), unfinished(made, tmp_path / 'out')
    for ending in ('.rec', '.idx', '.crc32'):
        path = out / ('train.part' + ending)
        content = bytearray(path.read_bytes()[:random.randint(len(path.read_bytes()) + 1)])
        if content and seed % 3 == 1:
            content[random.randint(len(content))] ^= 1 << random.randint(8)
        path.write_bytes(bytes(content) + bytes(100 * (seed % 3 == 2)))
    prepare.main(flags(archives, out))
    assert contents(out) == contents(made)


def test_what_is_whole_is_kept_and_only_the_rest_is_encoded_again(archives, made, tmp_path, monkeypatch):
    out, calls, encoded = unfinished(made, tmp_path / 'out'), [], one_split.encoded
    monkeypatch.setattr(one_split, 'encoded', lambda *arguments: calls.append(1) or encoded(*arguments))
    offset = int((out / 'train.part.idx').read_text().split()[2 * 20 + 1])
    os.truncate(str(out / 'train.part.rec'), offset + 7)
    prepare.main(flags(archives, out))
    assert len(calls) == 33 - 20 and contents(out) == contents(made)
    prepare.main(flags(archives, out))
    assert len(calls) == 33 - 20


@pytest.mark.parametrize('renamed', [1, 2, 3])
def test_a_crash_between_two_renames(archives, made, tmp_path, renamed):
    out = unfinished(made, tmp_path / 'out')
    for ending in one_split.ENDINGS[:renamed]:
        os.rename(str(out / ('train.part' + ending)), str(out / ('train' + ending)))
    prepare.main(flags(archives, out))
    assert contents(out) == contents(made)


@pytest.mark.parametrize('room, name', [(100, 'train.part.json'), (9999, 'train.part.rec')])
def test_a_full_disk_is_one_sentence_and_the_run_continues_later(archives, made, tmp_path, capsys, monkeypatch, room,
                                                               name):
    """room: in bytes a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        message = refused(capsys, monkeypatch, *flags(archives, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message.endswith('%s: File too large; once that is mended the same command continues' % name)
    assert max(map(len, contents(tmp_path).values()), default=0) == (room if name.endswith('.rec') else 0)
    prepare.main(flags(archives, tmp_path))
    assert contents(tmp_path) == contents(made)


@pytest.mark.parametrize('moment', ['write_records', 'verify', 'rename'])
def test_two_runs_do_not_write_the_same_files(archives, made, tmp_path, monkeypatch, moment):
    """The second is refused whatever the first is doing, and the first is none the worse for it."""
    out, calls, continued = tmp_path / 'out', [], getattr(one_split, moment)

    def second(*arguments):
        if not calls:
            calls.append(moment)
            with pytest.raises(OSError, match='another run is using %s: wait for it, or choose another --out' % out):
                prepare.main(flags(archives, out))
        return continued(*arguments)

    monkeypatch.setattr(one_split, moment, second)
    prepare.main(flags(archives, out))
    assert calls and contents(out) == contents(made)


def test_a_tampered_archive_is_refused(archives, tmp_path, capsys, monkeypatch):
    for flag, name in (('train_tar', 'train.tar'), ('val_tar', 'val.tar'), ('devkit', 'devkit.tar.gz')):
        monkeypatch.setitem(ilsvrc.SHA1, flag, hashlib.sha1((archives / name).read_bytes()).hexdigest())
    checked = [flag for flag in flags(archives, tmp_path / 'out') if flag != '--no-checksum']
    assert prepare.main(checked)['train']['images'] == 33
    content = bytearray((archives / 'train.tar').read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'train.tar').write_bytes(content)
    checked[1], checked[checked.index('--out') + 1] = str(tmp_path / 'train.tar'), str(tmp_path / 'other')
    message = refused(capsys, monkeypatch, *checked)
    assert 'train.tar is not the public archive: its SHA-1 is' in message
    assert not (tmp_path / 'other').exists()


def test_names_in_archives_never_become_paths_and_links_are_passed_over(archives, made, tmp_path):
    train = real_images('train', 11)
    evil = [(member('../../evil.JPEG', tarfile.SYMTYPE, link='/etc/passwd'), b''),
            (member('/etc/hosts', tarfile.LNKTYPE, link='/etc/passwd'), b''),
            (member('fifo', tarfile.FIFOTYPE), b''), (member('folder', tarfile.DIRTYPE), b'')]
    classes = [('../../../%s.tar' % synset, tar_of(evil + [('/tmp/../' * 20 + name, content) for name, content in
                                                           train[synset].items()])) for synset in SYNSETS]
    (tmp_path / 'train.tar').write_bytes(tar_of(evil[:1] + classes))
    out = tmp_path / 'a' / 'b' / 'out'
    prepare.main(['--train-tar', str(tmp_path / 'train.tar'), '--no-checksum', '--out', str(out), '--size', str(SIZE)])
    assert contents(out)['train.rec'] == contents(made)['train.rec']
    assert sorted(os.listdir(str(tmp_path))) == ['a', 'train.tar'] and os.listdir(str(tmp_path / 'a')) == ['b']


def test_splits_with_other_classes_are_refused(archives, tmp_path, capsys, monkeypatch):
    """Their labels would mean other classes: in one run, in two runs, and when the first has not been finished."""
    train = real_images('train', 5)
    (tmp_path / 'two.tar').write_bytes(tar_of([(synset + '.tar', tar_of(list(train[synset].items())))
                                               for synset in SYNSETS[:2]]))
    both = flags(archives, tmp_path / 'both')
    both[1] = str(tmp_path / 'two.tar')
    assert refused(capsys, monkeypatch, *both).endswith('have other classes: n04336792')
    out = tmp_path / 'out'
    val = ['--out', str(out), *both[2:7], '--size', str(SIZE)]
    prepare.main(['--out', str(out), *both[:2], *both[6:7], '--size', str(SIZE)])
    before = contents(out)
    assert refused(capsys, monkeypatch, *val).endswith('have other classes: n04336792')
    assert contents(out) == before
    for ending in ENDINGS:
        os.rename(str(out / ('train' + ending)), str(out / ('train.part' + ending)))
    assert refused(capsys, monkeypatch, *val).endswith('have other classes: n04336792')


def test_an_image_that_cannot_be_decoded_is_left_out_and_named(archives, tmp_path, capsys, monkeypatch):
    folder, out = tmp_path / 'images', tmp_path / 'out'
    for split in ('train', 'val'):
        copied(archives / split, folder / split)
    (folder / 'train' / SYNSETS[1] / 'a.jpg').write_bytes(b'no image')
    (folder / 'train' / SYNSETS[1] / 'z.jpg').write_bytes(b'')
    line = cv2.imencode('.png', np.zeros((1, 9000), 'uint8'))[1].tobytes()
    (folder / 'val' / SYNSETS[0] / 'long.png').write_bytes(line)
    sentence = ('the files lack images that could not be used, 3: train/n02105855/a.jpg, train/n02105855/z.jpg, '
                'val/n01440764/long.png')
    arguments = ['--folder', folder, '--out', out, '--size', SIZE]
    for again in (arguments, arguments, ['--out', out, '--verify-only']):
        assert refused(capsys, monkeypatch, *again).endswith(sentence)
    assert len(RecordFile(str(out / 'train.rec'))) == 33 and len(RecordFile(str(out / 'val.rec'))) == 15
    assert json.loads((out / 'train.json').read_text())['counts'] == [11, 11, 11]


def test_verification_finds_what_is_wrong(made, tmp_path, capsys, monkeypatch):
    assert set(prepare.main(['--out', str(made), '--verify-only'])) == {'train', 'val'}
    out = copied(made, tmp_path / 'out')
    facts = json.loads((out / 'val.json').read_text())

    def complaint(**changes):
        (out / 'val.json').write_text(json.dumps(dict(facts, **changes)))
        return refused(capsys, monkeypatch, '--out', out, '--verify-only')

    assert complaint(counts=[4, 6, 5]).endswith('val.rec holds 5 images of the class n01440764 instead of 4')
    assert 'has the label 2, and there are 2 classes' in complaint(class_names=SYNSETS[:2], counts=[5, 10])
    assert 'val.rec is 62x40: its shorter side is not 41' in complaint(size=41)
    assert 'val.json is not there, or not a file of prepare_imagenet' in complaint(made_by='me')
    for counts in ([5], [5, 5, '5']):
        assert 'does not say how many images of each class' in complaint(counts=counts)
    content = bytearray((out / 'train.rec').read_bytes())
    content[len(content) // 2] ^= 1
    (out / 'train.rec').write_bytes(content)
    assert 'is damaged: its checksum is another' in complaint()
    os.remove(str(out / 'train.crc32'))
    assert 'its .crc32 is missing' in complaint()
    assert 'is no finished train.rec or val.rec' in refused(capsys, monkeypatch, '--out', tmp_path, '--verify-only')


def test_files_of_others_and_other_settings_are_refused(archives, made, tmp_path, capsys, monkeypatch):
    for name in ('train.rec', 'val.idx', 'val.part.crc32'):
        out = tmp_path / name
        os.makedirs(str(out))
        (out / name).write_bytes(b'mine')
        message = refused(capsys, monkeypatch, *flags(archives, out))
        assert '%s is there already and prepare_imagenet did not make it' % name in message
        assert contents(out) == {name: b'mine'}
    for out in (copied(made, tmp_path / 'done'), unfinished(made, tmp_path / 'part')):
        before = contents(out)
        message = refused(capsys, monkeypatch, *flags(archives, out, '--quality', '90'))
        assert 'is there, made of other images or with other settings (quality 95 instead of 90)' in message
        assert contents(out) == before


def test_mistakes_in_the_flags(archives, tmp_path, capsys, monkeypatch):
    tar, out = ['--train-tar', archives / 'train.tar'], ['--out', tmp_path / 'out']
    val = ['--val-tar', archives / 'val.tar']
    for arguments, message in (
            (out, 'give one of these only: archives, --folder'),
            ([*tar, '--folder', archives, *out], 'give one of these only: archives, --folder'),
            ([*val, *out], '--val-tar goes with --devkit or --val-labels'),
            ([*tar, '--devkit', archives / 'devkit.tar.gz', *out], '--val-tar goes with --devkit or --val-labels'),
            (['--folder', archives, '--devkit', archives / 'devkit.tar.gz', *out], 'give one of these only: archives'),
            (['--verify-only', '--val-labels', 'x', *out], 'give one of these only: archives, --folder'),
            ([*tar, '--quality', '101', *out], '101 must be at most 100'),
            ([*tar, '--size', '0', *out], 'must be at least 1'),
            (['--verify-only', '--size', '99', *out], '--size and --quality are for files that are made'),
            (['--folder', archives, '--no-checksum', *out], '--no-checksum is for archives'),
            (['--train-tar', tmp_path / 'absent.tar', *out], 'No such file or directory'),
            (['--folder', tmp_path / 'absent', *out], 'there is no folder'),
            ([*val, '--val-labels', tmp_path / 'absent.csv', *out], 'No such file or directory')):
        assert message in refused(capsys, monkeypatch, *arguments)
    (tmp_path / 'file').write_bytes(b'')
    assert 'is not a folder: choose another --out' in refused(capsys, monkeypatch, *tar, '--out', tmp_path / 'file')


def test_it_runs_as_a_module(made, tmp_path, monkeypatch, capsys):
    for folder, code in ((made, None), (tmp_path, 2)):
        monkeypatch.delitem(sys.modules, 'tools.records.prepare_imagenet', raising=False)
        monkeypatch.setattr(sys, 'argv', ['prepare_imagenet.py', '--out', str(folder), '--verify-only'])
        with pytest.raises(SystemExit) as leaving:
            runpy.run_module('tools.records.prepare_imagenet', run_name='__main__')
        assert leaving.value.code == code
    assert 'Traceback' not in capsys.readouterr().err


def test_images_of_which_none_can_be_decoded_are_refused(tmp_path):
    for split in ('train', 'val'):
        (tmp_path / split / 'n01').mkdir(parents=True)
        (tmp_path / split / 'n01' / 'a.jpg').write_text('no JPEG')
    with pytest.raises(UserError, match='none of the 1 images for .*train.rec can be used'):
        prepare.main(['--folder', str(tmp_path), '--out', str(tmp_path / 'out'), '-j', '1'])
