"""To begin from trained weights: what is taken, what stays, gradients that are added up, and gradients that are cut."""
import os
import re
from contextlib import nullcontext

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

import train_cifar
import train_imagenet
from cli.build import load_data
from data import DATASETS
from model import get_model
from tests.test_scripts import ROOT, refusal
from training.learner import Learner, Measures, all_finite, clip, make_trainer
from training.loop import Progress, train_epoch
from training.loss import Objective
from training.start import freeze, idle_statistics, start_from
from training.weights.arrays import network_arrays, save_weights
from training.weights.description import description_path, read_description
from training.weights.params_file import read_params

CPU = [mx.cpu()]
FASHION = os.path.join(ROOT, 'params', 'fashion-mnist-ChaATAC-b1.params')
RELU = FASHION.replace('ChaATAC', 'relu')


def network(seed=0, frozen_statistics=False, devices=CPU, **options):
    mx.random.seed(seed)
    net = get_model('cifar_resnet', **{'blocks': 1, 'classes': 4, 'act_type': 'relu', **options})
    net.initialize(mx.init.MSRAPrelu(), ctx=devices)
    if frozen_statistics:
        freeze(net, 'running_')
    return net


def arrays_of(net):
    return {name: array.asnumpy() for name, array in network_arrays(net).items()}


def one_step(net, rows=12, devices=CPU, **options):
    """The Measures of a step, after which the network has learnt."""
    random = np.random.RandomState(0)
    data, labels = random.randn(rows, 3, 32, 32).astype('float32'), random.randint(0, 4, rows).astype('int32')
    learner = Learner(net, make_trainer(net, 0.9, 1e-4), lambda *_: 0.1, Objective(4), devices, **options)
    learner.trainer.set_learning_rate(0.1)
    return Measures(*np.sum([measure.asnumpy() for measure in learner.step(data, labels, rows, 0, 0)], axis=0))


@pytest.mark.parametrize('parts', [2, 5, 12, 20])
@pytest.mark.parametrize('devices', [1, 2])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts, devices):
    """But for BatchNorm, which here uses its running statistics. More parts than rows are as many as there are rows."""
    devices = [mx.cpu(number) for number in range(devices)]
    whole, cut = (network(frozen_statistics=True, devices=devices) for _ in range(2))
    before = arrays_of(whole)
    expected, found = one_step(whole, devices=devices), one_step(cut, devices=devices, accumulate=parts)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for (name, one), other in zip(arrays_of(whole).items(), arrays_of(cut).values()):
        moved = abs(one - before[name]).max()
        assert abs(one - other).max() <= 1e-4 * moved + 1e-8, name


def test_accumulation_makes_no_batch_of_the_validation_larger(cifar_flags):
    """They are scored at once, on a device for which --batch-size was chosen."""
    args = train_cifar.parse_args([*cifar_flags, '--batch-size', '16', '--accumulate', '4'])
    assert [source.batch_size for source in load_data(args, args.batch_size)] == [64, 16]


def gradient_norm(net):
    gradients = [parameter.grad().asnumpy() for parameter in net.collect_params().values()
                 if parameter.grad_req != 'null']
    return np.sqrt(sum((gradient.astype('float64') ** 2).sum() for gradient in gradients))


@pytest.mark.parametrize('devices', [1, 2])
def test_a_long_gradient_is_cut_to_the_norm_and_a_short_one_is_not_touched(devices):
    devices = [mx.cpu(number) for number in range(devices)]
    plain, cut, loose = (network(frozen_statistics=True, devices=devices) for _ in range(3))
    assert one_step(plain, devices=devices).clipped == 0
    norm = gradient_norm(plain) / 12
    assert one_step(cut, devices=devices, clip_norm=norm / 2).clipped == 1
    assert gradient_norm(cut) / 12 == pytest.approx(norm / 2, rel=1e-5)
    assert one_step(loose, devices=devices, clip_norm=2 * norm).clipped == 0
    plain, loose = arrays_of(plain), arrays_of(loose)
    assert all((plain[name] == loose[name]).all() for name in plain)


def test_gradients_of_several_types_are_cut_as_one():
    """As with --dtype float16, whose BatchNorms are float32."""
    net = network()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.cast('float16')
    trainer = make_trainer(net, 0.9, 1e-4)
    trained = [parameter for parameter in trainer._params if parameter.grad_req != 'null']
    for parameter in trained:
        parameter.grad()[:] = 1
    assert {np.dtype(parameter.dtype).name for parameter in trained} == {'float16', 'float32'}
    norm = sum(parameter.grad().size for parameter in trained) ** 0.5
    assert (all_finite(trainer, CPU[0]).asscalar(), clip(trainer, CPU[0], 2 * norm).asscalar()) == (1, 0)
    assert clip(trainer, CPU[0], norm / 2).asscalar() == 1
    for parameter in trained:
        np.testing.assert_allclose(parameter.grad().astype('float32').asnumpy(), 0.5, rtol=1e-3)
    trained[0].grad()[:] = np.inf
    assert all_finite(trainer, CPU[0]).asscalar() == 0


def test_frozen_parameters_and_statistics_stay_and_the_others_learn():
    net = network()
    frozen = freeze(net, r'^features\.[012]\.')
    before = arrays_of(net)
    assert 'features.0.bn.running_mean' in frozen and 'features.3.0.bn1.gamma' not in frozen
    for _ in range(2):
        one_step(net)
    after = arrays_of(net)
    assert frozen == {name for name in before if (before[name] == after[name]).all()}


@pytest.mark.parametrize('pattern,words', [
    ('(', 'is not a regular expression'), ('nothing', 'no parameter has such a name'),
    ('.', 'leaves nothing to train')])
def test_patterns_that_freeze_nothing_or_all_are_refused(pattern, words):
    with pytest.raises(UserError, match=words):
        freeze(network(), pattern)


@pytest.mark.parametrize('pattern,refused', [
    (r'^(?!output).*(weight|gamma|beta)$', True), (r'^features\.0\.weight$', True),
    (r'^features\.[01]\..*(weight|gamma|beta)$', True), (r'^features\.[01]\.', False), ('gamma|beta', False)])
def test_statistics_that_training_would_neither_use_nor_change_are_refused(pattern, refused):
    """They are those that a step leaves as they were, though they are not frozen."""
    net = network()
    before = arrays_of(net)
    with pytest.raises(UserError, match='too, features.0.bn.running_mean') if refused else nullcontext():
        freeze(net, pattern)
    idle = idle_statistics(net)
    one_step(net)
    after = arrays_of(net)
    assert bool(idle) == refused and idle == {
        parameter.name for name, parameter in net._collect_params_with_prefix().items()
        if name.endswith('running_mean') and not re.search(pattern, name) and (before[name] == after[name]).all()}


def test_the_layers_of_the_readme_may_be_frozen():
    net = get_model('atac_resnet50_v1b', layers=(1, 1, 1, 1), classes=4)
    assert 'layer1.0.bn1.running_mean' in freeze(net, '^(conv1|bn1|layer[12])')


def test_what_fits_is_taken_and_another_number_of_classes_begins_anew():
    trained, net = arrays_of(network(seed=1)), network(seed=2)
    assert start_from(net, trained, 'x.params', 'output') == []
    assert all((array == trained[name]).all() for name, array in arrays_of(net).items())
    other = network(seed=2, classes=7)
    first = arrays_of(other)
    assert start_from(other, trained, 'x.params', 'output') == ['output.weight', 'output.bias']
    for name, array in arrays_of(other).items():
        assert (array == (first if name.startswith('output') else trained)[name]).all()
    assert start_from(network(seed=3), trained, 'x.params', 'output', same_classes=False)
    for wrong in ({'blocks': 2}, {'act_type': 'ChaATAC'}):
        with pytest.raises(UserError, match='x.params is of another architecture'):
            start_from(network(**wrong), trained, 'x.params', 'output')


def test_a_run_from_weights_with_frozen_layers_is_resumed_bit_for_bit(cifar_flags, tmp_path):
    flags = [*cifar_flags, '--r', '2', '--init-from', FASHION, '--freeze', r'^features\.1', '--accumulate', '2',
             '--clip-grad', '0.5', '--batch-size', '16', '--log-interval', '0', '--lr-mode', 'step']
    train_cifar.main(flags)
    log = (tmp_path / 'run.log').read_text()
    assert 'Begun from: %s, all of it; ' % FASHION in log and 'arrays stay as they are (--freeze' in log
    assert 'clipped=' in log
    whole = read_params(str(tmp_path / 'run' / 'last.params'))
    split = [*flags, '--save-dir', str(tmp_path / 'split'), '--logging-file', str(tmp_path / 'split.log')]
    train_cifar.main([*split, '--num-epochs', '1'])
    train_cifar.main([*split, '--resume'])
    again = read_params(str(tmp_path / 'split' / 'last.params'))
    assert all((whole[name] == again[name]).all() for name in whole)
    start = read_params(FASHION)
    assert (whole['features.1.0.conv1.weight'] == start['features.1.0.conv1.weight']).all()
    assert (whole['features.2.0.conv1.weight'] != start['features.2.0.conv1.weight']).any()


def test_weights_of_other_classes_begin_with_a_new_classifier(tmp_path, cifar_flags, capsys, monkeypatch):
    """Also where there are as many of them: those of CIFAR-10 are not those of Fashion-MNIST."""
    known = read_description(FASHION)
    path = str(tmp_path / 'cifar10.params')
    names = [f'class {number}' for number in range(10)]
    save_weights(path, read_params(FASHION), known._replace(class_names=names))
    train_cifar.main([*cifar_flags, '--r', '2', '--num-epochs', '1', '--init-from', path])
    assert 'but for output.weight, output.bias, which begin anew' in (tmp_path / 'run.log').read_text()
    again = [*cifar_flags, '--r', '2', '--init-from', path, '--save-dir', str(tmp_path / 'x'), '--logging-file',
             str(tmp_path / 'x.log'), '--freeze', 'features.0|output.bias']
    assert 'output.bias would stay random' in refusal(train_cifar.main, again, capsys, monkeypatch)


def test_bad_beginnings_are_one_sentence(cifar_flags, record_folder, tmp_path, capsys, monkeypatch):
    for flags, words in ((['--init-from', '/absent.params'], 'absent.params'),
                         (['--init-from', FASHION], 'is of another architecture'),  # r is 4 here
                         (['--init-from', RELU, '--act-type', 'swish'],
                          'is of another architecture: cifar_resnet with relu'),
                         (['--freeze', '['], 'is not a regular expression'), (['--accumulate', '0'], 'at least 1'),
                         (['--clip-grad', '0'], 'must be positive'),
                         (['--teacher-params', FASHION, '--teacher', 'se_cifar_resnet'],
                          'holds cifar_resnet: --teacher se_cifar_resnet contradicts it')):
        assert words in refusal(train_cifar.main, [*cifar_flags, *flags], capsys, monkeypatch)
    imagenet = ['--data-dir', str(record_folder), '--num-classes', '10', '--input-size', '32', '--batch-size', '16',
                '--save-dir', str(tmp_path / 'x'), '--logging-file', str(tmp_path / 'x.log'), '--init-from', FASHION]
    assert 'is of another architecture' in refusal(train_imagenet.main, imagenet, capsys, monkeypatch)


def test_a_run_that_continues_needs_the_weights_no_more_that_it_began_with(cifar_flags, tmp_path):
    path = str(tmp_path / 'first.params')
    save_weights(path, read_params(FASHION), read_description(FASHION))
    flags = [*cifar_flags, '--r', '2', '--init-from', path]
    train_cifar.main([*flags, '--num-epochs', '1'])
    os.remove(path)
    train_cifar.main([*flags, '--resume'])
    assert 'Begun from: %s, at its first start' % path in (tmp_path / 'run.log').read_text()


def test_a_teacher_stays_and_knows_the_classes_of_the_images(cifar_flags, tmp_path, capsys, monkeypatch):
    other = str(tmp_path / 'cifar10.params')
    names = [f'class {number}' for number in range(10)]
    save_weights(other, read_params(FASHION), read_description(FASHION)._replace(class_names=names))
    assert 'a teacher of other classes (class 0, class 1, class 2 and 7 more) than those of the images (T-shirt' in \
        refusal(train_cifar.main, [*cifar_flags, '--teacher-params', other], capsys, monkeypatch)
    mine = str(tmp_path / 'mine.params')
    save_weights(mine, read_params(FASHION), read_description(FASHION))
    train_cifar.main([*cifar_flags, '--num-epochs', '1', '--teacher-params', mine])
    assert 'teacher_params was %s and is None' % mine in \
        refusal(train_cifar.main, [*cifar_flags, '--resume'], capsys, monkeypatch)
    moved = str(tmp_path / 'moved.params')
    os.rename(mine, moved)
    os.rename(description_path(mine), description_path(moved))
    train_cifar.main([*cifar_flags, '--num-epochs', '2', '--teacher-params', moved, '--resume'])
    arrays = read_params(moved)
    arrays['output.bias'] = arrays['output.bias'] + 1
    save_weights(mine, arrays, read_description(moved))
    assert 'had other options: teacher_digest was ' in \
        refusal(train_cifar.main, [*cifar_flags, '--teacher-params', mine, '--resume'], capsys, monkeypatch)


def test_a_teacher_is_any_file_with_a_description(cifar_flags, tmp_path):
    """Whatever its options: one block of ChaATAC teaches a network of another reduction."""
    last = train_cifar.main([*cifar_flags, '--num-epochs', '1', '--teacher-params', FASHION, '--hard-weight', '0.3'])
    assert np.isfinite(last['last']['train_loss'])


def test_an_epoch_of_accumulated_steps_measures_every_image_once(tiny_data):
    record = DATASETS['fashion-mnist-mini']
    found = []
    for parts in 1, 3:
        source = record.batches(record.load(True, tiny_data), 32, True)
        net = network(classes=10, frozen_statistics=True)
        learner = Learner(net, make_trainer(net, 0.9, 1e-4), lambda *_: 0.01, Objective(10), CPU, accumulate=parts)
        progress = Progress(learner)
        numbers = train_epoch(learner, source, 0, progress)
        found.append([progress.images, numbers['train_error'], numbers['train_loss']])
    assert found[0][0] == 150 and found[0][1] > 0.5
    assert found[1] == pytest.approx(found[0], rel=1e-5)
