"""A file of weights says what it is: whatever takes it believes its description, and nothing that contradicts it."""
import json
import os
import re
import shutil
from functools import partial

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

import evaluate
import inference
import train_cifar
import train_imagenet
from cli.trained import find_description
from data import DATASETS
from data.labels import readable
from model import MODELS, get_model
from tests.test_scripts import ROOT, refusal
from tools.look import checkpoint, classify, visualize
from tools.records import make_small
from tools.share import check_params, describe, export, half
from training.logs import read_run
from training.weights.arrays import save_weights
from training.weights.checksums import sealed
from training.weights.description import description_path, read_description
from training.weights.network import graph_of
from training.weights.params_file import read_params

PARAMS = sorted(name for name in os.listdir(os.path.join(ROOT, 'params')) if name.endswith('.params'))


def kind_of(name):
    """What the drawing and the export of a network depend on."""
    found = read_description(os.path.join(ROOT, 'params', name))
    return found.network, found.options.get('act_type')


FIRST_OF_KIND = {kind_of(name): name for name in reversed(PARAMS)}


def train(folder, data, *flags):
    """The folder of a run of one epoch."""
    train_cifar.main(['--data-dir', data, '--blocks', '1', '--num-epochs', '1', '--lr', '0.05', '--batch-size', '50',
                      '--lr-mode', 'cosine', '-j', '0', '--log-interval', '0', '--save-dir', str(folder),
                      '--logging-file', str(folder) + '.log', *flags])
    return folder


@pytest.fixture(scope='module')
def runs(tiny_data, tmp_path_factory):
    """A folder of runs: relu, ChaATAC, SpaATAC dilated, and SE-ReLU."""
    folder = tmp_path_factory.mktemp('runs')
    train(folder / 'relu', tiny_data, '--act-type', 'relu')
    train(folder / 'ChaATAC', tiny_data, '--act-type', 'ChaATAC', '--useReLU', '--r', '4')
    train(folder / 'dilated', tiny_data, '--act-type', 'SpaATAC', '--act-dilation', '2')
    train(folder / 'se', tiny_data, '--model', 'se')
    return folder


def best_of(folder):
    best, = [name for name in os.listdir(folder) if name.endswith('best.params')]
    return os.path.join(folder, best)


def picture(tmp_path, row=0):
    """A test image of Fashion-MNIST, as a file."""
    import cv2
    pixels = DATASETS['fashion-mnist-mini'].load(False).pixels[row]
    path = str(tmp_path / f'{row}.png')
    cv2.imwrite(path, pixels.transpose(1, 2, 0)[..., ::-1])
    return path


def test_every_file_of_a_run_has_its_description(runs):
    for path in (str(runs / 'ChaATAC' / 'last.params'), best_of(runs / 'ChaATAC')):
        found = read_description(path)
        assert (found.network, found.options['act_type'], found.options['r'], found.options['use_relu']) == (
            'cifar_resnet', 'ChaATAC', 4, True)
        assert found.class_names == list(DATASETS['fashion-mnist-mini'].class_names()) and found.dataset == \
            'fashion-mnist-mini' and found.input_size == 32 and found.colour_order == 'RGB'
        assert found.epoch == 0 and 0 < found.errors['val_top1_error'] < 1
        assert found.command.startswith('python train_cifar.py --data-dir') and found.version and found.commit


def test_the_checkpoint_tool_says_what_weights_are(runs, capsys):
    """Of a folder, of a file in it, and of a description beside one."""
    folder = str(runs / 'dilated')
    best = best_of(folder)
    description = read_description(best)
    facts = [f'options: {json.dumps(description.options)}', 'network: cifar_resnet', 'dataset: fashion-mnist-mini',
             'class_names: ' + ', '.join(description.class_names), f'params_sha256: {description.params_sha256}']
    for path, times in ((folder, 2), (best, 1), (description_path(best), 1), (os.path.join(folder, 'last.json'), 2)):
        checkpoint.main([path])
        lines = capsys.readouterr().out.splitlines()
        assert all(lines.count('  ' + fact) == times for fact in facts), path
        assert f'{best}: of the best epoch, SHA-256 {description.params_sha256}: verified' in lines or times == 1


def test_the_checkpoint_tool_counts_many_classes():
    found = read_description(os.path.join(ROOT, 'params', PARAMS[0]))._replace(class_names=list('abcdefghijkl'))
    assert '  class_names: a, b, c, d, e, f, g, h, i, j and 2 more' in checkpoint.said_by(found)


@pytest.mark.parametrize('name', PARAMS)
def test_every_file_in_params_needs_no_flag(name, tmp_path, capsys):
    """Its images are named; the network it describes takes its weights in every tool."""
    path, image = os.path.join(ROOT, 'params', name), picture(tmp_path)
    found = read_description(path)
    assert found, 'it has no description'
    top = inference.load(path).top_k([image], 1)[0][0][0]
    said = classify.main([image, '--params', path, '--top', '1'])[0]['top'][0]['class']
    names = readable(found.class_names)  # synsets have words
    assert top == said and said in names
    if name not in FIRST_OF_KIND.values():
        return
    pages = visualize.main(['--params', path, image, '--out', str(tmp_path / 'pages')])
    assert pages[0]['predicted'] == names.index(top)
    export.main(['--params', path, '--symbol', str(tmp_path / 'net')])
    assert os.path.isfile(tmp_path / 'net-symbol.json')


def test_evaluate_needs_no_flag_but_the_place_of_the_data(runs, tiny_data):
    for unit in ('relu', 'ChaATAC', 'dilated', 'se'):
        path = str(runs / unit / 'last.params')
        score = evaluate.main(['--params', path, '--data-dir', tiny_data, '--json'])
        assert score['top1_error'] == pytest.approx(100 * read_description(path).errors['val_top1_error'])


@pytest.mark.parametrize('run,flags,words', [
    ('relu', ['--act-type', 'swish'], '--act-type swish contradicts it'),
    ('dilated', ['--act-dilation', '1'], '--act-dilation 1 contradicts it'),
    ('se', ['--model', 'atac', '--act-type', 'SE-activation'], '--act-type SE-activation contradicts it'),
    ('ChaATAC', ['--r', '2'], '--r 2 contradicts it'), ('ChaATAC', ['--blocks', '2'], '--blocks 2 contradicts it'),
    ('ChaATAC', ['--act-type', 'ChaATAC-linear'], '--act-type ChaATAC-linear contradicts it'),
    ('ChaATAC', ['--model', 'atac_resnet50_v1b'], '--model atac_resnet50_v1b contradicts it'),
    ('relu', ['--dataset', 'cifar10'], '--dataset cifar10 contradicts it'),
    ('relu', ['--dataset', 'imagenet'], '--dataset imagenet contradicts it')])
def test_a_flag_that_contradicts_is_refused_by_all(run, flags, words, runs, tmp_path, capsys, monkeypatch):
    path, image = str(runs / run / 'last.params'), picture(tmp_path)
    for main, more in ((evaluate.main, []), (classify.main, [image]), (visualize.main, [image]),
                       (export.main, ['--symbol', str(tmp_path / 'net')])):
        assert refusal(main, ['--params', path, *flags, *more], capsys, monkeypatch).endswith(words)
    assert not os.path.exists(tmp_path / 'net-symbol.json')


@pytest.mark.parametrize('run,flags', [
    ('se', ['--act-type', 'SE-ReLU', '--model', 'atac']), ('relu', ['--model', 'cifar_resnet']),
    ('relu', ['--dataset', 'fashion-mnist']), ('ChaATAC', ['--act-type', 'ChaATAC', '--useReLU', '--r', '4']),
    ('relu', ['--act-dilation', '2'])])
def test_flags_that_make_the_same_network_are_taken(run, flags, runs):
    assert evaluate.parse_args(['--params', str(runs / run / 'last.params'), *flags]).description


def test_the_network_of_a_unit_is_the_plain_one_with_this_unit():
    args = evaluate.parse_args(['--params', os.path.join(ROOT, 'params', 'fashion-mnist-SE-ReLU-b1.params'),
                                '--model', 'se'])
    assert args.description.network == 'cifar_resnet' and args.description.options['act_type'] == 'SE-ReLU'


@pytest.mark.parametrize('given, words', [({'classes': 20}, 'num_classes of fashion-mnist is 10 and not 20'),
                                          ({'input_size': 64}, 'input_size of fashion-mnist is 32 and not 64')])
def test_python_refuses_what_the_data_set_has_not(given, words):
    with pytest.raises(UserError, match=words):
        inference.load(os.path.join(ROOT, 'params', 'fashion-mnist-relu-b1.params'), **given)


def test_python_believes_the_description_too(runs):
    path = str(runs / 'ChaATAC' / 'last.params')
    assert inference.load(path).names == DATASETS['fashion-mnist-mini'].class_names()
    for wrong in ({'act_type': 'swish'}, {'model': 'cifar_resnet', 'r': 2}, {'dataset': 'cifar10'}):
        with pytest.raises(UserError, match='contradicts it'):
            inference.load(path, **wrong)


def test_weights_in_the_folder_of_another_run_are_not_what_that_run_says(runs, tmp_path):
    """They are what their own description says; without one nothing is known of them."""
    shutil.copytree(runs / 'relu', tmp_path / 'relu')
    foreign = str(tmp_path / 'relu' / 'foreign.params')
    shutil.copy(runs / 'ChaATAC' / 'last.params', foreign)
    assert find_description(foreign) is None
    shutil.copy(runs / 'ChaATAC' / 'last.json', description_path(foreign))
    assert find_description(foreign).options['act_type'] == 'ChaATAC'


def test_weights_that_are_not_what_is_described_are_refused(runs, tmp_path, capsys, monkeypatch):
    """Damaged, or swapped: also where flags say all of the network."""
    path = str(tmp_path / 'x.params')
    shutil.copy(runs / 'ChaATAC' / 'last.params', path)
    network = ['--model', 'atac', '--act-type', 'ChaATAC', '--useReLU', '--r', '4', '--blocks', '1']
    for description, cure in ((runs / 'relu' / 'last.json', 'copy it again, or continue its run by --resume'),
                              (description_path(best_of(runs / 'relu')), f'or remove {description_path(path)} if')):
        shutil.copy(description, description_path(path))
        for main, flags in ((evaluate.main, ['--params', path, *network, '--dataset', 'fashion-mnist-mini']),
                            (half.main, [path, str(tmp_path / 'half.params')]), (checkpoint.main, [path]),
                            (train_cifar.main, [*network, '--init-from', path, '--save-dir', str(tmp_path / 'run')])):
            sentence = refusal(main, flags, capsys, monkeypatch)
            assert 'x.params is damaged, or not the file that' in sentence and cure in sentence
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.params']


def test_nothing_is_assumed_of_a_file_without_one(runs, tmp_path, capsys, monkeypatch):
    path, image = str(tmp_path / 'x.params'), picture(tmp_path)
    shutil.copy(runs / 'relu' / 'last.params', path)
    network = ['--model', 'atac', '--act-type', 'relu', '--blocks', '1']
    (tmp_path / 'read.md').write_text('# Read me')
    assert 'read.md is not a .params file' in refusal(evaluate.main, ['--params', str(tmp_path / 'read.md')], capsys,
                                                   monkeypatch)
    for main, more in ((evaluate.main, []), (classify.main, [image])):
        assert 'say by --model' in refusal(main, ['--params', path, *more], capsys, monkeypatch)
        assert 'say by --dataset (in Python: dataset=) what it was trained on' in refusal(
            main, ['--params', path, *network, *more], capsys, monkeypatch)
    for given, words in ({}, 'in Python: model='), ({'model': 'atac', 'blocks': 1}, 'in Python: dataset='):
        with pytest.raises(UserError, match=words):
            inference.load(path, **given)
    assert classify.main([image, '--params', path, *network, '--dataset', 'fashion-mnist'])


def test_a_checkpoint_of_an_earlier_version_is_known_by_its_flags(runs, tmp_path, tiny_data):
    """Its last.json has no description, but the flags of the run; it speaks of its own files only."""
    shutil.copytree(runs / 'ChaATAC', tmp_path / 'run')
    facts = json.loads((tmp_path / 'run' / 'last.json').read_text())
    del facts['weights']
    (tmp_path / 'run' / 'last.json').write_text(json.dumps(sealed(facts)))
    best = best_of(tmp_path / 'run')
    os.remove(description_path(best))
    for path in (str(tmp_path / 'run' / 'last.params'), best):
        found = find_description(path)
        assert found.options['r'] == 4 and found.class_names[7] == 'sneaker' and found.epoch == 0
        evaluate.main(['--params', path, '--data-dir', tiny_data, '--json'])
    shutil.copy(runs / 'relu' / 'last.params', tmp_path / 'run' / 'other.params')
    assert find_description(str(tmp_path / 'run' / 'other.params')) is None


@pytest.mark.parametrize('options', [{'dataset': ['x']}, {'model': ['x']}, {'crop_ratio': 'x'}, {'r': []}])
def test_a_checkpoint_of_an_earlier_version_with_values_of_wrong_kinds_says_nothing(options, runs, tmp_path):
    shutil.copytree(runs / 'ChaATAC', tmp_path / 'run')
    facts = json.loads((tmp_path / 'run' / 'last.json').read_text())
    del facts['weights']
    if 'crop_ratio' in options:  # a flag of train_imagenet.py
        facts['options'] = {'model': 'resnet50_v1b'}
    facts['options'].update(options)
    (tmp_path / 'run' / 'last.json').write_text(json.dumps(sealed(facts)))
    assert find_description(str(tmp_path / 'run' / 'last.params')) is None


@pytest.fixture(scope='module')
def own_classes(tmp_path_factory):
    """A run on class folders of five animals, under the default head of 1000 classes, and its folder."""
    folder = tmp_path_factory.mktemp('own')
    make_small.write(str(folder / 'all'), size=40, train=60, val=30)
    names = ['ant', 'bee', 'cat', 'dog', 'eel']
    for split in ('train', 'val'):
        for number, name in enumerate(names):
            shutil.copytree(folder / 'all' / split / f'class{number}', folder / 'pictures' / split / name)
    with pytest.MonkeyPatch.context() as patch:
        one_block_a_stage(patch)
        train_imagenet.main(own_flags(folder, '--num-epochs', '1'))
    return folder


def own_flags(folder, *more):
    return ['--model', 'resnet50_v1b', '--data-dir', str(folder / 'pictures'), '--input-size', '32', '--lr', '0.01',
            '--batch-size', '10', '--lr-mode', 'step', '-j', '1', '--save-dir', str(folder / 'run'), '--logging-file',
            str(folder / 'run.log'), *more]


def one_block_a_stage(patch):
    network = MODELS['resnet50_v1b']
    patch.setitem(MODELS, 'resnet50_v1b', network._replace(make=partial(network.make, layers=(1, 1, 1, 1))))


def test_own_classes_keep_their_names(own_classes, monkeypatch, capsys):
    """Under a head of 1000 classes too, where ImageNet would say goldfish."""
    one_block_a_stage(monkeypatch)
    params = str(own_classes / 'run' / 'last.params')
    image = next(str(path) for path in (own_classes / 'pictures' / 'val' / 'bee').iterdir())
    assert read_description(params).class_names == ['ant', 'bee', 'cat', 'dog', 'eel']
    top = [entry['class'] for entry in classify.main([image, '--params', params, '--top', '1000'])[0]['top']]
    assert {'ant', 'bee', 'cat', 'dog', 'eel', 'class 5', 'class 999'} <= set(top) and 'goldfish' not in top


def test_folders_are_scored_by_their_names(own_classes, tmp_path, monkeypatch, caplog, capsys):
    """A class that lacks in val/ or a folder that is none moves no label; one that the weights do not know is named."""
    one_block_a_stage(monkeypatch)
    params = str(own_classes / 'run' / 'last.params')
    shutil.copytree(own_classes / 'pictures', tmp_path / 'pictures')
    whole = evaluate.main(['--params', params, '--data-dir', str(tmp_path / 'pictures'), '--json'])
    shutil.rmtree(tmp_path / 'pictures' / 'val' / 'ant')
    for folder in ('.ipynb_checkpoints', '@eaDir', 'lost+found'):
        (tmp_path / 'pictures' / 'val' / folder).mkdir()
    part = evaluate.main(['--params', params, '--data-dir', str(tmp_path / 'pictures'), '--json'])
    ants = len(os.listdir(own_classes / 'pictures' / 'val' / 'ant'))
    assert part['images'] == whole['images'] - ants and 'has 4 of 5 classes; absent are ant' in caplog.text
    right = round(whole['images'] * (1 - whole['top1_error'] / 100))
    assert right - ants <= round(part['images'] * (1 - part['top1_error'] / 100)) <= right
    os.rename(tmp_path / 'pictures' / 'val' / 'bee', tmp_path / 'pictures' / 'val' / 'wasp')
    sentence = refusal(evaluate.main, ['--params', params, '--data-dir', str(tmp_path / 'pictures')], capsys,
                       monkeypatch)
    assert 'the class wasp of' in sentence and 'is none of the 5 known classes' in sentence


def test_weights_of_pictures_are_checked_where_the_user_says_the_pictures_are(own_classes, monkeypatch, capsys):
    one_block_a_stage(monkeypatch)
    params = str(own_classes / 'run' / 'last.params')
    row, = check_params.main([params, '--data-dir', str(own_classes / 'pictures')])
    assert row['measured (%)'] == pytest.approx(row['described (%)']) and (row['unit'], row['blocks']) == ('relu', None)
    assert 'none of the files is scored' in refusal(check_params.main, [params], capsys, monkeypatch)
    sentence = refusal(check_params.main, [params, '--rec-val', str(own_classes / 'absent.rec')], capsys, monkeypatch)
    assert 'none of the files is scored' in sentence


def test_a_class_that_was_renamed_is_noticed_on_resume(own_classes, tmp_path, monkeypatch, capsys):
    one_block_a_stage(monkeypatch)
    for name in ('run', 'pictures'):
        shutil.copytree(own_classes / name, tmp_path / name)
    shutil.copy(own_classes / 'run.log', tmp_path)
    shutil.copy(own_classes / 'run.jsonl', tmp_path)
    for split in ('train', 'val'):
        os.rename(tmp_path / 'pictures' / split / 'ant', tmp_path / 'pictures' / split / 'zebra')
    sentence = refusal(train_imagenet.main, own_flags(tmp_path, '--num-epochs', '2', '--resume'), capsys, monkeypatch)
    assert 'the classes are not those of the run in' in sentence and 'ant is bee, bee is cat, cat is dog' in sentence


def test_synsets_are_scored_by_imagenets_labels(own_classes, tmp_path, monkeypatch, caplog):
    """A subset such as Imagenette, by weights of 1000 classes that have no description, as the authors' have none."""
    one_block_a_stage(monkeypatch)
    net = MODELS['resnet50_v1b'].make(classes=1000)
    net.initialize(mx.init.Zero())
    bias = np.zeros(1000, 'float32')
    bias[482] = 1  # n02979186, cassette player
    net.fc.bias.set_data(mx.nd.array(bias))
    net.save_parameters(str(tmp_path / 'x.params'))
    for number, synset in enumerate(('n01440764', 'n02979186')):
        shutil.copytree(own_classes / 'all' / 'val' / f'class{number}', tmp_path / 'val' / synset)
    score = evaluate.main(['--model', 'resnet50_v1b', '--params', str(tmp_path / 'x.params'), '--data-dir',
                           str(tmp_path), '--input-size', '32', '--json'])
    right = len(os.listdir(tmp_path / 'val' / 'n02979186'))
    assert score['top1_error'] == pytest.approx(100 * (1 - right / score['images']))
    assert 'has 2 of 1000 classes' in caplog.text


def test_the_graph_of_a_network_is_the_same_whenever_it_is_asked_for():
    net = get_model('cifar_resnet', blocks=1)
    assert graph_of(net) == graph_of(net) == graph_of(get_model('cifar_resnet', blocks=1))


def test_the_graph_of_a_network_is_what_it_computes_and_not_how_it_begins():
    plain, begun, other = (graph_of(get_model('resnet50_v1b', **options))
                           for options in ({}, {'last_gamma': True}, {'classes': 10}))
    assert plain == begun != other


def harmed(path, found, **harm):
    """Give the weights at a path a description that differs from a right one, well sealed."""
    content = {**found.content(), **harm}
    with open(description_path(path), 'w') as file:
        json.dump(sealed({'weights': content}), file)


@pytest.mark.parametrize('harm,words', [
    ({'format': 2}, 'is of format 2: this version reads format 1'),
    ({'network': 'resnet'}, "describes a network that cannot be: unknown model 'resnet'"),
    ({'options': {'act_type': 'nothing'}}, "describes a network that cannot be: unknown activation 'nothing'"),
    ({'options': {'blocks': 10 ** 9}}, 'blocks=1000000000 must be at most 1000'),
    ({'options': {'no_option': 1}}, 'describes a network that cannot be'),
    ({'options': {'params': 'x'}}, 'describes a network that cannot be: it has no option params'),
    ({'network': 'resnet50_v1b', 'options': {'prefix': 3}}, 'cannot be: it has no option prefix'),
    ({'options': {'classes': 10 ** 12}}, 'describes a network that cannot be'),
    ({'network': 'resnet50_v1b', 'options': {'gates': ''}}, 'describes a network that cannot be: string index out of'),
    ({'options': {'blocks': [1]}}, 'its options cannot be'), ({'options': []}, 'its options cannot be'),
    ({'dataset': 'mnist'}, 'names the unknown data set mnist'),
    ({'dataset': '\x1b[2Jx'}, r'names the unknown data set \x1b[2Jx'),
    ({'class_names': [1]}, 'its class_names cannot be'),
    ({'input_size': 10 ** 9}, 'its input_size cannot be'), ({'std': [0.0, 1.0, 1.0]}, 'its std cannot be'),
    ({'mean': [0.5]}, 'its mean cannot be'), ({'colour_order': 'BGR'}, 'its colour_order cannot be'),
    ({'more': 1}, 'its fields cannot be'),
    ({'mean': [0.5, 0.5, 0.5]}, 'x.json says of fashion-mnist-mini what is not so here: mean [0.5, 0.5, 0.5] and not '
                                '[0.286, 0.286, 0.286]'),
    ({'std': [0.5, 0.5, 0.5], 'input_size': 28}, 'what is not so here: input_size 28 and not 32, std [0.5, 0.5, 0.5]'),
    ({'class_names': ['cat']}, 'what is not so here: class_names, of which cat is T-shirt/top, none is '),
    ({'dataset': 'imagenet', 'class_names': ['a'] * 10}, 'what is not so here: crop_ratio None and not 0.875, mean'),
    ({'network': 'resnet50_v1b', 'options': {'classes': 10, 'deep_stem': True}},
     'x.json describes resnet50_v1b (classes 10, deep_stem True): the scripts can only make resnet50_v1b (')])
def test_a_description_that_cannot_be_is_one_sentence(harm, words, runs, tmp_path, capsys, monkeypatch):
    path = str(tmp_path / 'x.params')
    shutil.copy(runs / 'relu' / 'last.params', path)
    shutil.copy(runs / 'relu' / 'last.json', description_path(path))
    harmed(path, read_description(path), **harm)
    assert words in refusal(evaluate.main, ['--params', path], capsys, monkeypatch)


@pytest.mark.parametrize('content', [
    b'', b'{}', b'[1]', b'[' * 10 ** 5, b'\xff\xfe', b'{"weights": {}, "sha256": "0"}'])
def test_a_damaged_description_is_an_error_and_not_silence(content, runs, tmp_path, capsys, monkeypatch):
    path = str(tmp_path / 'x.params')
    shutil.copy(runs / 'relu' / 'last.params', path)
    with open(description_path(path), 'wb') as file:
        file.write(content)
    assert 'x.json is damaged' in refusal(evaluate.main, ['--params', path], capsys, monkeypatch)


def test_the_description_goes_with_halved_weights(runs, tmp_path):
    out = str(tmp_path / 'half.params')
    half.main([str(runs / 'ChaATAC' / 'last.params'), out])
    assert read_description(out) == read_description(str(runs / 'ChaATAC' / 'last.params'))._replace(
        params_sha256=read_description(out).params_sha256)
    with pytest.raises(UserError, match='half.params exists'):
        half.main([str(runs / 'relu' / 'last.params'), out])


def test_a_log_describes_weights_that_have_none(runs, tmp_path, capsys):
    path, log = str(tmp_path / 'x.params'), str(runs / 'ChaATAC') + '.log'
    shutil.copy(runs / 'ChaATAC' / 'last.params', path)
    assert describe.main([path, log]) == read_description(path)
    known = read_description(str(runs / 'ChaATAC' / 'last.params'))
    assert read_description(path)._replace(version=known.version) == known
    of_run = str(runs / 'ChaATAC' / 'last.params')
    for flags, words in (([path, log], 'x.params is described already'), ([path, log, '--epoch', '3'], 'already'),
                         ([of_run, log], 'is of a checkpoint, which says')):
        with pytest.raises(UserError, match=words):
            describe.main(flags)
    shutil.copy(description_path(of_run), description_path(path))
    shutil.copy(runs / 'relu' / 'last.params', path)
    with pytest.raises(UserError, match='not the file that .*x.json describes'):
        describe.main([path, log])
    shutil.copy(of_run, path)
    os.remove(description_path(path))
    with pytest.raises(UserError, match='holds the epochs 0 to 0'):
        describe.main([path, log, '--epoch', '1'])
    with pytest.raises(UserError, match='x.json: its name must end in .params'):
        describe.main([description_path(path), log])
    with pytest.raises(UserError, match='of another architecture'):
        describe.main([path, str(runs / 'relu') + '.log'])
    with open(log) as file:
        text = file.read()
    with pytest.raises(UserError, match='run.log is damaged: .* its crop_ratio cannot be'):
        describe.check_content(dict(known.content(), crop_ratio=5), 'run.log')
    for harm in ('"blocks": "3"', '"blocks": 2.5', '"blocks": []'):
        (tmp_path / 'harmed.log').write_text(re.sub('"blocks": 1', harm, text))
        shutil.copy(str(runs / 'ChaATAC') + '.jsonl', tmp_path / 'harmed.jsonl')
        with pytest.raises(UserError, match='harmed.log: its options make no network'):
            describe.main([path, str(tmp_path / 'harmed.log')])
    shutil.copy(log, tmp_path / 'harmed.log')
    (tmp_path / 'harmed.jsonl').write_text(re.sub(', "val_top5_error": [0-9.]+', '', (
        runs / 'ChaATAC.jsonl').read_text()))
    with pytest.raises(UserError, match='harmed.log is damaged: its epoch 0 lacks an error'):
        describe.main([path, str(tmp_path / 'harmed.log')])


def test_a_full_disk_leaves_neither_weights_nor_description(runs, tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr('training.weights.arrays.write_params', full)
    with pytest.raises(OSError, match='cannot write .*x.json: No space left'):
        save_weights(str(tmp_path / 'x.params'), {'a': np.ones(1)}, read_description(str(runs / 'relu/last.params')))
    assert os.listdir(tmp_path) == []


def test_older_best_files_go_with_their_descriptions(runs, tiny_data, tmp_path):
    train(tmp_path / 'run', tiny_data, '--act-type', 'relu', '--num-epochs', '4')
    errors = [numbers['val_top1_error'] for numbers in read_run(str(tmp_path / 'run.log')).epochs]
    assert errors.index(min(errors)) > 0  # there was an older one
    names = [name for name in os.listdir(tmp_path / 'run') if 'best' in name]
    assert sorted(name.rsplit('.', 1)[1] for name in names) == ['json', 'params']


def test_weights_are_never_without_their_description(runs, tmp_path, monkeypatch):
    """At every moment of writing, whatever has the name of the weights has its description beside it."""
    path, replace, seen = str(tmp_path / 'x.params'), os.replace, []

    def watched(old, new):
        replace(old, new)
        seen.append((os.path.exists(path), os.path.exists(description_path(path))))
    monkeypatch.setattr('disk.os.replace', watched)
    save_weights(path, {'a': np.ones(1)}, read_description(str(runs / 'relu/last.params')))
    assert seen == [(False, True), (True, True)]
    with open(description_path(path)) as file:
        assert json.load(file) == sealed({'weights': read_description(path).content()})
    assert (mx.nd.load(path)['a'].asnumpy() == 1).all()


def test_the_table_of_params_is_what_the_files_give(capsys):
    """Of every file; the errors on the small data set are measured here, the others by tools.check_params."""
    with open(os.path.join(ROOT, 'params', 'README.md')) as file:
        rows = [line.strip('| \n').split(' | ') for line in file if '.params | ' in line]
    assert [cells[0] for cells in rows] == PARAMS
    for name, network, unit, blocks, epoch, described, measured, mini in rows:
        path = os.path.join(ROOT, 'params', name)
        known = read_description(path)
        assert (network, int(epoch)) == (known.network, known.epoch)
        assert blocks == str(known.options.get('blocks', '-'))
        assert unit == (known.options.get('act_type') or MODELS[network].unit)
        assert described == f'{100 * known.errors["val_top1_error"]:.2f}'
        assert float(measured) == pytest.approx(float(described), abs=0.05)  # by tools.check_params, of float16
        if mini != '-':
            found = evaluate.main(['--params', path, '--dataset', 'fashion-mnist-mini', '--json'])['top1_error']
            assert found == pytest.approx(float(mini), abs=0.1)  # one or two of 1,600 images, by rounding


def test_a_file_that_errs_otherwise_than_described_is_named(tmp_path, monkeypatch, capsys):
    path = str(tmp_path / 'x.params')
    known = read_description(os.path.join(ROOT, 'params', 'fashion-mnist-relu-b1.params'))
    save_weights(path, read_params(os.path.join(ROOT, 'params', 'fashion-mnist-relu-b1.params')),
                 known._replace(dataset='fashion-mnist-mini'))
    with pytest.raises(FloatingPointError, match='other errors than described: .*x.params'):
        check_params.main([path])
    assert check_params.main([path, '--tolerance', '5'])[0]['measured (%)'] == pytest.approx(7.12, abs=0.1)
    assert 'there is no absent.params' in refusal(check_params.main, ['absent.params'], capsys, monkeypatch)
    assert 'nan must be at least 0' in refusal(check_params.main, [path, '--tolerance', 'nan'], capsys, monkeypatch)


def test_a_file_whose_data_cannot_be_had_is_named_and_not_passed_in_silence(tmp_path, monkeypatch, capsys):
    def unreachable(*_):
        raise OSError('cannot be downloaded')

    monkeypatch.setattr('data.cifar.read_split', lambda *_: None)
    monkeypatch.setattr('data.cifar.fetch', unreachable)
    path = os.path.join(ROOT, 'params', 'cifar10-relu-b1-20epochs.params')
    assert 'none of the files is scored' in refusal(check_params.main, [path], capsys, monkeypatch)
    other = str(tmp_path / 'x.params')
    known = os.path.join(ROOT, 'params', 'fashion-mnist-relu-b1.params')
    save_weights(other, read_params(known), read_description(known)._replace(dataset='fashion-mnist-mini'))
    first, second = check_params.main([path, other, '--tolerance', '5'])
    assert first['measured (%)'] is None and second['measured (%)']
    assert f'{path} is not scored: cannot be downloaded' in capsys.readouterr().err
    undescribed = str(tmp_path / 'y.params')
    shutil.copy(known, undescribed)
    with pytest.raises(SystemExit):
        check_params.main([other, undescribed, '--tolerance', '5'])
    out, error = capsys.readouterr()
    assert 'x.params | cifar_resnet | relu' in out and f'{undescribed} has no description' in error
