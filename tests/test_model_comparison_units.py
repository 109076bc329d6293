"""The units of other papers against NumPy in float64: values, gradients, parameter counts, modes of running."""
import runtime  # noqa: F401  (before mxnet)
from runtime import UserError

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from model.activation import MSSeqATAC
from model.comparison_units import ACONC, DYReLU, FReLU, HardSwish, MetaACON, Mish, SReLU
from tests.numpy_layers import batch_norm, convolution, part, sigmoid

SHAPE = (2, 8, 5, 4)


# The formulas once more, in NumPy. p: parameters by their names in the unit.

def norm(x, p, name):
    return batch_norm(x, **part(p, name))


def dense(x, p, name):
    """1x1 convolution."""
    return convolution(x, p[name + '.weight'], p.get(name + '.bias'))


def neighbourhood(x, p, name, dilation=1):
    """Depthwise k x k convolution with bias."""
    weight = p[name + '.weight']
    return convolution(x, weight, p[name + '.bias'], padding=dilation * (weight.shape[-1] // 2), dilation=dilation,
                       groups=len(weight))


def mean(x):
    return x.mean(axis=(2, 3), keepdims=True)


def mish(x, p):
    square = (1 + np.exp(x)) ** 2           # tanh(ln u) = (u^2 - 1) / (u^2 + 1)
    return x * (square - 1) / (square + 1)


def hard_swish(x, p):
    return np.where(x <= -3, 0, np.where(x >= 3, x, x * (x + 3) / 6))


def s_relu(x, p):
    return np.where(x >= p['t_r'], p['t_r'] + p['a_r'] * (x - p['t_r']),
                    np.where(x <= p['t_l'], p['t_l'] + p['a_l'] * (x - p['t_l']), x))


def f_relu(x, p):
    return np.maximum(x, norm(neighbourhood(x, p, 'funnel.0'), p, 'funnel.1'))


def dy_relu(x, p):
    theta = 2 * sigmoid(dense(np.maximum(dense(mean(x), p, 'theta.1'), 0), p, 'theta.3')) - 1
    a, b = theta.reshape(len(x), 2, 2, -1, 1, 1).swapaxes(0, 1)         # (N, K, C or 1, 1, 1)
    lines = (np.array([1, 0]).reshape(1, 2, 1, 1, 1) + a) * x[:, None] + 0.5 * b
    return lines.max(axis=1)


def smooth_maximum(x, p, beta):
    share = sigmoid(beta * (p['p1'] - p['p2']) * x)
    return share * p['p1'] * x + (1 - share) * p['p2'] * x


def acon_c(x, p):
    return smooth_maximum(x, p, p['beta'])


def meta_acon(x, p):
    hidden = norm(dense(mean(x), p, 'beta.1'), p, 'beta.2')
    return smooth_maximum(x, p, sigmoid(norm(dense(hidden, p, 'beta.3'), p, 'beta.4')))


def ms_seq_atac(x, p, dilation=1, use_relu=True):
    floor = 0 if use_relu else -np.inf
    first = 1 if use_relu else 0
    mixed = np.maximum(norm(dense(x, p, 'mix.0'), p, 'mix.1'), floor)
    near = norm(neighbourhood(mixed, p, 'near.0', dilation), p, 'near.1')
    far = norm(neighbourhood(mixed, p, 'far.0', 2 * dilation), p, 'far.1')
    return x * sigmoid(norm(dense(np.maximum(near + far, floor), p, 'gate.%d' % first), p, 'gate.%d' % (first + 1)))


# name -> unit, its options, its formula, its trainable parameters for C channels
CASES = {
    'Mish': (Mish, {}, mish, lambda C: 0),
    'HardSwish': (HardSwish, {}, hard_swish, lambda C: 0),
    'SReLU': (SReLU, {}, s_relu, lambda C: 4 * C),
    'FReLU': (FReLU, {}, f_relu, lambda C: 12 * C),
    'FReLU-5x5': (FReLU, dict(kernel_size=5), f_relu, lambda C: 28 * C),
    'DYReLU-A': (DYReLU, dict(mode='A'), dy_relu, lambda C: C * C // 8 + 5 * C // 8 + 4),
    'DYReLU-B': (DYReLU, dict(mode='B', r=4), dy_relu, lambda C: 5 * C * C // 4 + C // 4 + 4 * C),
    'ACONC': (ACONC, {}, acon_c, lambda C: 3 * C),
    'MetaACON': (MetaACON, {}, meta_acon, lambda C: 2 * C * max(16, C // 16) + 3 * max(16, C // 16) + 5 * C),
    'MSSeqATAC': (MSSeqATAC, {}, ms_seq_atac, lambda C: 2 * C * C + 28 * C),
    'MSSeqATAC-dilated': (MSSeqATAC, dict(dilation=2, use_relu=False),
                          lambda x, p: ms_seq_atac(x, p, dilation=2, use_relu=False), lambda C: 2 * C * C + 28 * C),
}
every_unit = pytest.mark.parametrize('case', CASES)


def build(case, channels=SHAPE[1], noise=0.2):
    """The unit, initialised as a network does it and then moved away from its start, so that nothing is 0 or 1."""
    mx.random.seed(0)
    random = np.random.RandomState(0)
    unit, options, _, _ = CASES[case]
    net = unit(channels, **options)
    net.initialize(mx.init.MSRAPrelu())
    for name, parameter in parameters(net).items():
        value = parameter.data().asnumpy() + noise * random.randn(*parameter.shape)
        parameter.set_data(mx.nd.array(np.abs(value) if name.endswith('running_var') else value))
    return net


def parameters(net):
    return net._collect_params_with_prefix()


def values(net):
    return {name: parameter.data().asnumpy().astype('float64') for name, parameter in parameters(net).items()}


def images(shape=SHAPE, seed=1):
    """Wide enough for every branch of every unit, in numbers that float32 holds exactly."""
    return (2.5 * np.random.RandomState(seed).randn(*shape)).astype('float32').astype('float64')


def run(net, x, weight, train_mode=False):
    """Output, and gradient of sum(weight * output) with respect to x; the parameters get theirs too."""
    x = mx.nd.array(x)
    x.attach_grad()
    with autograd.record(train_mode=train_mode):
        y = net(x)
        loss = (y * mx.nd.array(weight)).sum()
    loss.backward(train_mode=train_mode)         # its default is True, whatever record() was told
    return y.asnumpy(), x.grad.asnumpy()


def central_differences(loss, x, step=1e-6):
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * step
            ends.append(loss(moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


@every_unit
def test_values_and_input_gradients_are_those_of_the_formula(case):
    net, x, weight = build(case), images(), images(seed=2)
    formula, p = CASES[case][2], values(net)
    y, gradient = run(net, x, weight)
    np.testing.assert_allclose(y, formula(x, p), rtol=1e-4, atol=1e-5)
    expected = central_differences(lambda moved: (weight * formula(moved, p)).sum(), x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


@every_unit
def test_hybridised_equals_imperative_and_takes_any_size(case):
    net, x, dot = build(case), images((2, SHAPE[1], 3, 6)), images((1, SHAPE[1], 1, 1))
    expected = run(net, x, x)
    net.hybridize()
    for actual, wanted in zip(run(net, x, x), expected):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)
    formula = CASES[case][2]
    np.testing.assert_allclose(net(mx.nd.array(dot)).asnumpy(), formula(dot, values(net)), rtol=1e-4, atol=1e-5)


@every_unit
@pytest.mark.parametrize('shape', [SHAPE, (1, SHAPE[1], 1, 1)])
def test_symbol_keeps_the_shape_and_leaves_none_open(case, shape):
    unit, options, _, _ = CASES[case]
    symbol = unit(SHAPE[1], **options)(mx.sym.var('data'))
    arguments, outputs, statistics = symbol.infer_shape(data=shape)
    assert outputs == [shape]
    assert all(0 not in inner for inner in arguments + statistics)


@every_unit
@pytest.mark.parametrize('channels', [8, 320])
def test_trainable_parameters(case, channels):
    unit, options, _, cost = CASES[case]
    net = unit(channels, **options)
    net.initialize(mx.init.MSRAPrelu())
    trainable = [parameter for parameter in parameters(net).values() if parameter.grad_req != 'null']
    # data() raises for a parameter whose initialisation is deferred to the first input.
    assert sum(parameter.data().size for parameter in trainable) == cost(channels)


@every_unit
def test_every_parameter_is_trained(case):
    net, x, weight = build(case), images(), images(seed=2)
    trainable = {name: parameter for name, parameter in parameters(net).items() if parameter.grad_req != 'null'}
    for train_mode in (True, False):
        for parameter in trainable.values():
            parameter.grad()[:] = np.nan                # so that one which backward leaves out shows
        run(net, x, weight, train_mode)
        for name, parameter in trainable.items():
            gradient = parameter.grad().asnumpy()
            assert np.isfinite(gradient).all(), name
            # In train mode a bias before a BatchNorm has no influence, and a gradient of 0.
            assert train_mode or gradient.any(), name


@pytest.mark.parametrize('case', ['Mish', 'HardSwish'])
def test_far_inputs_neither_overflow_nor_vanish(case):
    x = np.array([-1000, -50, 50, 1000], 'float64').reshape(1, 1, 2, 2)
    y, gradient = run(build(case, 1), x, np.ones_like(x))
    np.testing.assert_allclose(y, np.maximum(x, 0), atol=1e-6)
    np.testing.assert_allclose(gradient, x > 0, atol=1e-6)


def test_s_relu_starts_as_leaky_relu():
    x = images()
    y, _ = run(build('SReLU', noise=0), x, x)
    np.testing.assert_allclose(y, np.where(x > 0, x, 0.2 * x), rtol=1e-5)


def test_s_relu_is_continuous_where_its_corners_have_crossed():
    net = build('SReLU', 1, noise=0)
    net.t_l.set_data(mx.nd.full((1, 1, 1, 1), 1))
    net.t_r.set_data(mx.nd.full((1, 1, 1, 1), -1))
    net.a_r.set_data(mx.nd.full((1, 1, 1, 1), 0.5))
    x = np.linspace(-3, 3, 601).reshape(1, 1, 1, -1)
    y, _ = run(net, x, x)
    assert np.abs(np.diff(y)).max() < 0.011


@pytest.mark.parametrize('case', ['DYReLU-A', 'DYReLU-B'])
def test_dy_relu_is_relu_where_its_logits_are_0(case):
    net, x = build(case), images()
    for name in ('theta.3.weight', 'theta.3.bias'):
        parameters(net)[name].set_data(mx.nd.zeros(parameters(net)[name].shape))
    y, _ = run(net, x, x)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_dy_relu_rejects_what_it_has_not():
    with pytest.raises(UserError, match="mode='C'"):
        DYReLU(8, mode='C')
    with pytest.raises(UserError, match='r=3'):
        DYReLU(8, r=3)


def test_acon_starts_with_normal_slopes():
    p = values(build('ACONC', 4096, noise=0))
    for name in ('p1', 'p2'):
        assert abs(p[name].mean()) < 0.1 and abs(p[name].std() - 1) < 0.1
    assert (p['beta'] == 1).all()


@pytest.mark.parametrize('unit, norms', [(FReLU, [8]), (MetaACON, [16, 8]), (MSSeqATAC, [8, 8, 8, 8])])
def test_norm_layer_and_its_options(unit, norms):
    made = []

    def norm(in_channels, **options):
        made.append((in_channels, options))
        return gluon.nn.BatchNorm(in_channels=in_channels, **options)

    unit(8, norm_layer=norm, norm_kwargs=dict(epsilon=0.5))
    assert made == [(channels, dict(epsilon=0.5)) for channels in norms]
