"""The loss scale: its arithmetic, steps that are left out, and that both survive a resume."""
import json

import mxnet as mx
import numpy as np
import pytest

import train_cifar
from tests.test_scripts import refusal
from training import checkpoint
from training import learner as learning
from training.learner import Learner, make_trainer
from training.loss import Objective
from training.loss_scale import LossScale
from training.weights.params_file import read_params

CPU = [mx.cpu()]


def test_a_dynamic_scale_is_halved_and_doubled(monkeypatch):
    monkeypatch.setattr('training.loss_scale.WINDOW', 3)
    scale, seen = LossScale('dynamic'), []
    for finite in (True, False, False, True, True, True, True, True, False):
        scale.after(finite)
        seen.append(scale.value / 2 ** 16)
    assert seen == [1, 0.5, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.25]
    scale.value = 2.0 ** 24
    for _ in range(3):
        scale.after(True)
    assert scale.value == 2 ** 24


def test_a_scale_of_one_cannot_be_halved():
    scale = LossScale('dynamic')
    for _ in range(16):
        scale.after(False)
    assert scale.value == 1
    with pytest.raises(FloatingPointError, match='loss scale of 1 either in epoch 2, batch 3'):
        scale.after(False, ' in epoch 2, batch 3')


def net_and_trainer(setting):
    mx.random.seed(3)
    net = mx.gluon.nn.Dense(4, in_units=27)
    net.initialize(mx.init.Normal(0.1))
    return net, make_trainer(net, 0.9, 1e-4, loss_scale=setting)


def steps(setting, overflows=(), monkeypatch=None):
    """Weights after five steps; the gradients of some of them are said to be infinite."""
    net, trainer = net_and_trainer(setting)
    flat = mx.gluon.nn.HybridSequential()
    flat.add(mx.gluon.nn.Flatten(), net)
    learner, random = Learner(flat, trainer, None, Objective(4), CPU), np.random.RandomState(0)
    for batch in range(5):
        trainer.set_learning_rate(0.1)
        data, labels = random.randn(6, 3, 3, 3).astype('float32'), random.randint(0, 4, 6).astype('int32')
        if batch in overflows:
            monkeypatch.setattr(learning, 'all_finite', lambda *_: mx.nd.zeros(1))
        learner.step(data, labels, 6, 0, batch)
        monkeypatch and monkeypatch.undo()
    return net.weight.data().asnumpy(), trainer


@pytest.mark.parametrize('setting', [256.0, 'dynamic'])
def test_a_power_of_two_changes_no_bit(setting):
    """In float32, where nothing is lost by it."""
    assert (steps(setting)[0] == steps(1.0)[0]).all()


def test_a_step_that_overflows_is_left_out(monkeypatch):
    weights, trainer = steps('dynamic', overflows=(0, 3), monkeypatch=monkeypatch)
    assert trainer.loss_scale.state() == {'value': 2.0 ** 14, 'steps': 1}
    assert trainer._optimizer.num_update == 3
    assert not (weights == steps('dynamic')[0]).all()


def overflowing(real, verdicts):
    return lambda *args: mx.nd.array([verdicts.pop(0)]) if verdicts else real(*args)


def test_skipped_steps_are_logged_and_the_scale_is_resumed(cifar_flags, tmp_path, monkeypatch):
    """150 images are five batches an epoch; two of the first four verdicts are bad."""
    whole = [*cifar_flags, '--loss-scale', 'dynamic', '--num-epochs', '2', '--lr-mode', 'step', '--lr-decay-epoch', '9']
    monkeypatch.setattr(learning, 'all_finite', overflowing(learning.all_finite, [1, 0, 1, 0]))
    train_cifar.main(whole)
    with open(str(tmp_path / 'run.jsonl')) as file:
        numbers = [json.loads(line) for line in file]
    assert [(epoch['skipped_steps'], epoch['loss_scale']) for epoch in numbers] == [(2, 2.0 ** 14), (0, 2.0 ** 14)]
    assert 'loss-scale=16384 skipped=2' in (tmp_path / 'run.log').read_text()

    other = whole[:]
    other[other.index('--save-dir') + 1], other[other.index('--logging-file') + 1] = \
        str(tmp_path / 'split'), str(tmp_path / 'split.log')
    monkeypatch.setattr(learning, 'all_finite', overflowing(learning.all_finite, [1, 0, 1, 0]))
    train_cifar.main([*other, '--num-epochs', '1'])
    train_cifar.main([*other, '--resume'])
    assert checkpoint.load(str(tmp_path / 'split'))[0]['loss_scale'] == {'value': 2.0 ** 14, 'steps': 6}
    first, second = (read_params(str(tmp_path / name / 'last.params')) for name in ('run', 'split'))
    assert all((first[name] == second[name]).all() for name in first)


def test_senseless_scales_are_refused(cifar_flags, capsys, monkeypatch):
    for setting in ('0', '-1', 'nan', 'inf', 'auto'):
        assert '--loss-scale' in refusal(train_cifar.main, [*cifar_flags, '--loss-scale', setting], capsys, monkeypatch)


def test_gradients_of_float32_are_looked_at_by_the_fast_check(monkeypatch):
    """A network that was not cast names its type by a class, not by a string."""
    monkeypatch.setattr(mx.nd, 'multi_all_finite', None)
    net = mx.gluon.nn.Dense(1, in_units=1)
    net.initialize()
    assert learning.all_finite(make_trainer(net, 0.9, 0), mx.cpu()).asscalar() == 1


@pytest.mark.parametrize('value, finite', [(0, 1), (-65504, 1), (np.inf, 0), (-np.inf, 0), (np.nan, 0)])
def test_one_number_that_is_not_finite_shows_in_any_gradient(value, finite):
    """Of either type, the last of many as well as the first."""
    net = mx.gluon.nn.HybridSequential()
    for _ in range(learning.ARRAYS_PER_CHECK):
        net.add(mx.gluon.nn.Dense(1, in_units=1))
    net.add(mx.gluon.nn.BatchNorm(in_channels=1))
    net.initialize()
    net.cast('float16')
    trainer = make_trainer(net, 0.9, 0)
    trained = [parameter for parameter in trainer._params if parameter.grad_req != 'null']
    assert {parameter.dtype for parameter in trained} == {'float16', 'float32'}
    for parameter in trained[0], trained[-1]:
        parameter.grad()[:] = value
        assert learning.all_finite(trainer, mx.cpu()).asscalar() == finite
        parameter.grad()[:] = 0
