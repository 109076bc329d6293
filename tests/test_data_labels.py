"""A label is a name: whatever is in val/, a class keeps the number that the network gives it."""
import json
import os

from runtime import UserError

import pytest

from data import load_dataset
from data.folders import ImageFolder
from data.labels import imagenet_names, labelled, readable, same_classes, synsets
from data.recordio import MADE_BY, RecordFile
from tests.test_data_decode import encoded, photo
from tests.test_data_folders import write_folder
from tests.test_data_recordio import write_records

TEN = ['apple', 'bus', 'cat', 'dog', 'eel', 'fox', 'goat', 'hen', 'ibis', 'jay']


def labels_in(source):
    """{class folder or name: its labels} as they are read, which must be those that are told beforehand."""
    found = {}
    for row in range(len(source)):
        assert source.read(row)[1] == source.label(row)
        found.setdefault(os.path.basename(os.path.dirname(source.name(row))), set()).add(source.label(row))
    return found


def scored(root, class_names, classes=10):
    """Validation batches of class folders for a network with these class names."""
    shape = dict(classes=classes, size=8, crop_ratio=1)
    return load_dataset('imagenet', 4, training=False, shape=shape, class_names=class_names, data_dir=str(root))[1]


def test_classes_that_val_lacks_are_allowed_and_said(tmp_path, caplog):
    write_folder(tmp_path, 'val', TEN[:2] + TEN[3:6] + TEN[7:])
    batches = scored(tmp_path, TEN)
    assert labels_in(batches.source) == {name: {TEN.index(name)} for name in TEN if name not in ('cat', 'goat')}
    assert batches.class_names == tuple(TEN) and batches.source.absent == ('cat', 'goat')
    assert caplog.messages == ['%s has 8 of 10 classes; absent are cat, goat' % (tmp_path / 'val')]
    assert {label for _, labels in batches.epoch(0) for label in labels} == set(range(10)) - {2, 6}


def test_hidden_and_empty_folders_move_no_label(tmp_path):
    write_folder(tmp_path, 'val', ['.ipynb_checkpoints', '@eaDir', 'lost+found', *TEN[1:]])
    os.makedirs(str(tmp_path / 'val' / 'apple'))
    batches = scored(tmp_path, TEN)
    assert labels_in(batches.source) == {name: {label} for label, name in enumerate(TEN) if label}
    assert batches.source.absent == ('apple',)


def test_a_class_that_the_network_does_not_know_is_refused_by_name(tmp_path):
    write_folder(tmp_path, 'val', [*TEN, 'kiwi'])
    with pytest.raises(UserError, match='the class kiwi of .*val is none of the 10 known classes: apple, bus,'):
        scored(tmp_path, TEN)


def test_training_and_validation_folders_go_together_by_name(tmp_path):
    """Whatever was renamed or is missing in val/: its labels are those of train/."""
    write_folder(tmp_path, 'train', TEN)
    write_folder(tmp_path, 'val', TEN[4:6])
    shape = dict(classes=10, size=8, crop_ratio=1)
    train, val = load_dataset('imagenet', 4, shape=shape, data_dir=str(tmp_path))
    assert labels_in(train.source) == {name: {label} for label, name in enumerate(TEN)}
    assert labels_in(val.source) == {'eel': {4}, 'fox': {5}} and train.class_names == val.class_names == tuple(TEN)
    write_folder(tmp_path, 'val', ['foxes'])
    with pytest.raises(UserError, match='the class foxes of .*val is none of the 10 known classes'):
        load_dataset('imagenet', 4, shape=shape, data_dir=str(tmp_path))


def test_synsets_under_1000_outputs_are_imagenets(tmp_path):
    """A subset such as Imagenette is scored with the authors' weights, of whose classes there is no record."""
    subset = {'n01440764': 0, 'n02102040': 217, 'n02979186': 482, 'n03000684': 491, 'n03888257': 701}
    write_folder(tmp_path, 'val', subset)
    for names in (), imagenet_names(), synsets():
        batches = scored(tmp_path, names, classes=1000)
        assert labels_in(batches.source) == {name: {label} for name, label in subset.items()}
        assert len(batches.source.absent) == 995
    assert labels_in(scored(tmp_path, (), classes=5).source) == {name: {row} for row, name in enumerate(subset)}
    # A network that was trained on these folders says so, and has its own order.
    own = scored(tmp_path, [*list(subset)[::-1], 'x'], classes=1000)
    assert labels_in(own.source) == {name: {4 - row} for row, name in enumerate(subset)}
    assert [imagenet_names()[label] for label in subset.values()] == [
        'tench', 'English springer', 'cassette player', 'chain saw', 'parachute']


def test_imagenets_words_are_names_too_unless_two_classes_have_them(tmp_path):
    write_folder(tmp_path / 'words', 'val', ['tench', 'goldfish'])
    source = scored(tmp_path / 'words', imagenet_names(), classes=1000).source
    assert labels_in(source) == {'tench': {0}, 'goldfish': {1}}
    write_folder(tmp_path / 'twice', 'val', ['crane'])  # the bird and the machine
    with pytest.raises(UserError, match='the class crane of .* is the name of two of the 1000 known classes'):
        scored(tmp_path / 'twice', imagenet_names(), classes=1000)


def test_lists_of_names_are_of_the_same_classes():
    assert same_classes(['a', 'b'], ('a', 'b')) is True and same_classes(synsets(), imagenet_names()) is True
    for other in (['b', 'a'], ['a'], imagenet_names()):
        assert same_classes(['a', 'b'], other) is False
    assert same_classes(synsets()[::-1], imagenet_names()) is False
    assert same_classes([], ['a']) is None and same_classes(['a'], ()) is None


def test_where_names_are_not_known_labels_stay(tmp_path):
    write_folder(tmp_path, 'val', TEN)
    source = ImageFolder(str(tmp_path), False)
    assert labelled(source) is source and labelled(source, (), 10) is source
    os.rename(tmp_path / 'val' / 'bus', tmp_path / 'bus')  # then apple, cat, ... would be 0, 1, ...
    with pytest.raises(UserError, match='has 9 classes, and the network 10 outputs, whose names are not known'):
        scored(tmp_path, ())
    records = RecordFile(write_records(tmp_path / 'x.rec', [(1, encoded(photo())), (0, encoded(photo()))]))
    assert labelled(records, TEN) is records


def test_records_have_the_names_that_prepare_imagenet_wrote(tmp_path):
    rec = write_records(tmp_path / 'val.rec', [(label, encoded(photo())) for label in (0, 1, 2, 1)])
    (tmp_path / 'val.json').write_text(json.dumps({'made_by': MADE_BY, 'class_names': ['dog', 'apple', 'jay']}))
    shape = dict(classes=10, size=32, crop_ratio=1)
    _, val = load_dataset('imagenet', 4, training=False, shape=shape, class_names=TEN, use_rec=True, rec_val=rec)
    assert next(val.epoch(0))[1].tolist() == [3, 0, 9, 0] and len(val.source.absent) == 7
    with pytest.raises(UserError, match='the class apple of .*val.rec is none of the 2 known classes'):
        load_dataset('imagenet', 4, training=False, shape=shape, class_names=['dog', 'jay'], use_rec=True, rec_val=rec)


def test_validation_on_the_training_images_is_said(tmp_path, caplog):
    """By another path too: a link, and a folder val/ that is one to train/."""
    shape = dict(classes=10, size=32, crop_ratio=1)
    rec = write_records(tmp_path / 'train.rec', [(0, encoded(photo()))])
    other = write_records(tmp_path / 'val.rec', [(0, encoded(photo()))])
    os.symlink(rec, tmp_path / 'link.rec')
    os.symlink(tmp_path / 'train.idx', tmp_path / 'link.idx')
    write_folder(tmp_path, 'train', TEN)
    os.symlink(tmp_path / 'train', tmp_path / 'val')
    for places, warned in ((dict(use_rec=True, rec_train=rec, rec_val=other), False),
                           (dict(use_rec=True, rec_train=rec, rec_val=str(tmp_path / 'link.rec')), True),
                           (dict(data_dir=str(tmp_path)), True)):
        caplog.clear()
        load_dataset('imagenet', 1, shape=shape, **places)
        assert any('the training and the validation images' in message for message in caplog.messages) is warned


@pytest.mark.parametrize('label', [3, -1])
def test_a_label_that_no_class_of_the_json_has_is_refused(tmp_path, label):
    """A .json that stayed when its .rec was replaced says nothing of the new labels."""
    records = [(other, encoded(photo())) for other in (0, 1, label, 2)]
    for part in 'train', 'val':
        write_records(tmp_path / (part + '.rec'), records)
        (tmp_path / (part + '.json')).write_text(json.dumps({'made_by': MADE_BY, 'class_names': ['cat', 'dog', 'fox']}))
    options = dict(shape=dict(classes=4, size=32, crop_ratio=1), use_rec=True, rec_train=str(tmp_path / 'train.rec'),
                   rec_val=str(tmp_path / 'val.rec'))
    for part, names in ('val', ['ant', 'cat', 'dog', 'fox']), ('val', ()), ('train', ()):
        with pytest.raises(UserError, match='the label %d of image 2 of .*%s.rec is out of range: there are 3 classes'
                                            % (label, part)):
            load_dataset('imagenet', 4, training=part == 'train', class_names=names, **options)


def test_synsets_are_readable():
    assert readable(['n01440764', 'n99999999', 'cat']) == ('tench', 'n99999999', 'cat')
    assert readable(TEN) == tuple(TEN)
    assert readable(['n01440764', 'cat\x1b[2J']) == ('tench', r'cat\x1b[2J')
