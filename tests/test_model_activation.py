"""The units of the paper against NumPy in float64; what the registry makes of names and options."""
from runtime import UserError

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from model import ACTIVATIONS
from model.complexity import parameters
from model.layers import GlobalMean
from model.units import act_factory, stage_plan
from tests.numpy_layers import batch_norm, convolution, part, randomise, relu, sigmoid

C = 32


def gate_of(arrays, x, kind, use_relu, use_global, dilation):
    """The gate of a unit by its formula, layer after layer of `module`."""
    def bn(x, index):
        return batch_norm(x, **part(arrays, 'module.%d' % index))

    def conv(x, index, **options):
        return convolution(x, arrays['module.%d.weight' % index], arrays.get('module.%d.bias' % index), **options)

    wide = dict(padding=dilation, dilation=dilation, groups=C)
    inner = relu if use_relu else (lambda x: x)
    step = 3 if use_relu else 2
    if kind == 'ChaATAC':
        first = 1 if use_global else 0
        x = x.mean((2, 3), keepdims=True) if use_global else x
        x = inner(bn(conv(x, first), first + 1))
        return sigmoid(bn(conv(x, first + step), first + step + 1))
    if kind == 'SpaATAC':
        return sigmoid(bn(conv(x, 0, **wide), 1))
    if kind == 'xUnit':
        return sigmoid(bn(conv(relu(x), 1, **wide), 2))
    x = inner(bn(conv(x, 0), 1))
    x = inner(bn(conv(x, step, **wide), step + 1))
    return sigmoid(bn(conv(x, 2 * step), 2 * step + 1))


@pytest.mark.parametrize('kind,use_relu,use_global,dilation', [
    ('ChaATAC', True, False, 1), ('ChaATAC', False, False, 1), ('ChaATAC', True, True, 1), ('SpaATAC', True, False, 2),
    ('xUnit', True, False, 1), ('SeqATAC', True, False, 1), ('SeqATAC', False, False, 2)])
def test_unit_equals_its_formula(kind, use_relu, use_global, dilation):
    unit = ACTIVATIONS[kind](C, r=2, use_relu=use_relu, use_global=use_global, dilation=dilation)
    unit.initialize()
    arrays = randomise(unit)
    x = np.random.RandomState(1).randn(2, C, 5, 6).astype('float32')
    expected = x * gate_of(arrays, x.astype('float64'), kind, use_relu, use_global, dilation)
    np.testing.assert_allclose(unit(mx.nd.array(x)).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    unit.hybridize()
    np.testing.assert_allclose(unit(mx.nd.array(x)).asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_se_relu_is_the_global_gate_and_a_relu():
    unit = ACTIVATIONS['SE-ReLU'](C, r=2, use_relu=False)
    unit.initialize()
    arrays = randomise(unit)
    x = np.random.RandomState(1).randn(2, C, 5, 6).astype('float32')
    expected = relu(x) * gate_of(arrays, x.astype('float64'), 'ChaATAC', use_relu=True, use_global=True, dilation=1)
    np.testing.assert_allclose(unit(mx.nd.array(x)).asnumpy(), expected, rtol=1e-4, atol=1e-5)


# Trainable parameters for C channels, r = 2 and a 3x3 kernel.
COSTS = {
    'relu': 0, 'prelu': 1, 'elu': 0, 'selu': 0, 'gelu': 0, 'swish': 0,
    'xUnit': 12 * C, 'SpaATAC': 12 * C, 'ChaATAC': C * C + 3 * C, 'SeqATAC': 2 * C * C + 16 * C,
    'prelu-channel': C, 'mish': 0, 'hard_swish': 0, 'srelu': 4 * C, 'FReLU': 12 * C, 'ACON-C': 3 * C,
    'DY-ReLU-A': C * C // 8 + 5 * C // 8 + 4, 'DY-ReLU-B': 5 * C * C // 8 + C // 8 + 4 * C,
    'Meta-ACON': 2 * C * 16 + 3 * 16 + 5 * C, 'MSSeqATAC': 2 * C * C + 28 * C,
    'SE-activation': C * C + 3 * C, 'SE-ReLU': C * C + 3 * C, 'ChaATAC-linear': C * C + 3 * C,
    'SeqATAC-linear': 2 * C * C + 16 * C,
}


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_every_unit_costs_what_its_docstring_says_and_trains(name):
    unit = ACTIVATIONS[name](C, r=2)
    assert parameters(unit)[1] == COSTS[name]
    mx.random.seed(0)
    unit.initialize(mx.init.MSRAPrelu())
    unit.hybridize()
    x = mx.nd.random.normal(shape=(2, C, 6, 6))
    x.attach_grad()
    with mx.autograd.record():
        y = unit(x)
    y.backward()
    assert y.shape == x.shape
    for parameter in unit.collect_params().values():
        if parameter.grad_req != 'null':
            gradient = parameter.grad().asnumpy()
            assert np.isfinite(gradient).all()
            # A bias before a BatchNorm has none; SReLU's t_r has (1 - a_r) = 0 of it at its start.
            assert parameter.name.endswith(('bias', 't_r')) or np.abs(gradient).max() > 0


def test_ablations_keep_what_their_name_says():
    unit = ACTIVATIONS['SE-activation'](C, use_global=False)
    assert any(isinstance(layer, GlobalMean) for layer in unit.module)
    unit = ACTIVATIONS['ChaATAC-linear'](C, use_relu=True)
    assert not any(getattr(layer, '_act_type', '') == 'relu' for layer in unit.module)


def test_norm_layer_reaches_every_unit():
    for name, unit in ACTIVATIONS.items():
        blocks = []
        unit(C, norm_layer=mx.gluon.contrib.nn.SyncBatchNorm, norm_kwargs={'num_devices': 1}).apply(blocks.append)
        norms = [block for block in blocks if isinstance(block, nn.BatchNorm)]
        assert all(isinstance(block, mx.gluon.contrib.nn.SyncBatchNorm) for block in norms), name
        assert bool(norms) == ('norm_layer' in unit.options), name


@pytest.mark.parametrize('options', [dict(r=3), dict(r=0), dict(r=-1), dict(r=64)])
def test_r_must_divide_the_channels(options):
    with pytest.raises(UserError, match='must divide the 32 channels|must be a whole number of at least 1'):
        ACTIVATIONS['ChaATAC'](C, **options)


def test_bad_names_and_options_are_refused():
    with pytest.raises(UserError, match='unknown activation .*there are relu, prelu'):
        act_factory('ReLU6')
    with pytest.raises(UserError, match="unknown activation 'ChaAtac'; there are relu, prelu"):
        ACTIVATIONS['ChaAtac']
    for channels in 0, -4, 2.5, '64', None:
        for unit in ACTIVATIONS.values():
            with pytest.raises(UserError, match='channels=%s must be a whole number of at least 1' % channels):
                unit(channels)
    with pytest.raises(TypeError, match='unknown options of an activation unit: rr'):
        ACTIVATIONS['relu'](C, rr=2)
    with pytest.raises(UserError, match='must be odd'):
        ACTIVATIONS['SpaATAC'](C, kernel_size=2)


def test_stage_plan_from_the_back_and_from_the_front():
    assert [''.join(stage_plan('A', '.', k)) for k in range(5)] == ['....', '...A', '..AA', '.AAA', 'AAAA']
    assert [''.join(stage_plan('A', '.', k, 'pre')) for k in range(5)] == ['....', 'A...', 'AA..', 'AAA.', 'AAAA']
    for bad in (dict(act_layers=5), dict(act_layers=-1), dict(act_layers=2, act_order='front')):
        with pytest.raises(UserError, match='must be'):
            stage_plan('A', '.', **bad)
