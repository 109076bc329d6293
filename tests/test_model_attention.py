"""Attention layers and gates against NumPy in float64: values, gradients, modes of running, sizes, bad input."""
from functools import partial
from math import prod

import runtime  # noqa: F401  (before mxnet)
from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

from model import get_model
from model.attention import AugmentedConv
from model.complexity import parameters
from model.gate import GatherExcite, LocalGatherExcite, SqueezeExcitation
from model.local_attention import BLOCK, AttentionStem, LocalAttention
from model.resnet_v1b import check_input_size
from tests.numpy_layers import batch_norm, convolution, part, randomise, relu, sigmoid

# The formulas once more, pixel by pixel. p: arrays by their names in the block.


def softmax(logits):
    """Over the first axis."""
    shares = np.exp(logits - logits.max(axis=0))
    return shares / shares.sum(axis=0)


def excitation(x, p, first):
    x = convolution(x, p['module.%d.weight' % first], p['module.%d.bias' % first])
    second = first + 2
    return convolution(relu(x), p['module.%d.weight' % second], p['module.%d.bias' % second])


def squeeze_excitation(x, p):
    return x * sigmoid(excitation(x.mean((2, 3), keepdims=True), p, 1))


def gather_excite(x, p):
    gathered = np.einsum('nchw,cohw->nc', x, p['module.0.weight'])[:, :, None, None]
    gathered = batch_norm(gathered, **part(p, 'module.1'))
    return x * sigmoid(excitation(relu(gathered), p, 3))


def local_gather_excite(x, p):
    gathered = convolution(x, p['gather.weight'], stride=2, padding=1, groups=x.shape[1])
    gathered = batch_norm(gathered, **part(p, 'norm')).repeat(2, axis=2).repeat(2, axis=3)
    return x * sigmoid(gathered[:, :, :x.shape[2], :x.shape[3]])


def mean_pool(x, size, stride, padding):
    """Means of windows, of those of their pixels that exist."""
    (height, width), rows = x.shape[2:], []
    for top in range(-padding, height + 2 * padding - size - padding + 1, stride):
        rows.append([x[:, :, max(top, 0):top + size, max(left, 0):left + size].mean((2, 3))
                     for left in range(-padding, width + 2 * padding - size - padding + 1, stride)])
    return np.array(rows).transpose(2, 3, 0, 1)


def enlarge(x, height, width):
    """Bilinear, half-pixel centres."""
    for axis, size in ((2, height), (3, width)):
        last = x.shape[axis] - 1
        place = np.clip((np.arange(size) + 0.5) * x.shape[axis] / size - 0.5, 0, last)
        low = place.astype(int)
        share = (place - low).reshape((-1, 1) if axis == 2 else (-1,))
        x = (1 - share) * x.take(low, axis) + share * x.take(np.minimum(low + 1, last), axis)
    return x


def augmented(x, p, heads, extent, stride=1, downsample=False):
    convolved = convolution(x, p['conv.weight'], stride=stride, padding=1)
    qkv = convolution(mean_pool(x, 3, 2, 1) if downsample else x, p['qkv.weight'], stride=stride)
    size, values = p['relative_x'].shape[1], len(p['out.weight'])
    n, _, height, width = qkv.shape
    query, key, value = np.split(qkv, [heads * size, 2 * heads * size], axis=1)
    query, key = (part.reshape(n, heads, size, height, width) for part in (query / size ** 0.5, key))
    value = value.reshape(n, heads, -1, height, width)
    mixed = np.zeros_like(value)
    pixels = list(np.ndindex(height, width))
    for y, x in pixels:
        near = [(np.clip(b - x + extent - 1, 0, 2 * extent - 2), np.clip(a - y + extent - 1, 0, 2 * extent - 2))
                for a, b in pixels]
        logits = np.array([(query[..., y, x] * (key[..., a, b] + p['relative_x'][r] + p['relative_y'][s])).sum(-1)
                           for (a, b), (r, s) in zip(pixels, near)])
        mixed[..., y, x] = sum(share[..., None] * value[..., a, b] for share, (a, b) in zip(softmax(logits), pixels))
    attended = convolution(mixed.reshape(n, values, height, width), p['out.weight'])
    return np.concatenate([convolved, enlarge(attended, *convolved.shape[2:]) if downsample else attended], axis=1)


def positions(p, heads, k):
    """r by head, row and column of a k x k neighbourhood: (heads, k, k, size)"""
    rows, columns = p['relative.weight'].reshape(heads, 2, k, -1).transpose(1, 0, 2, 3)
    return np.concatenate([np.repeat(rows[:, :, None], k, axis=2), np.repeat(columns[:, None], k, axis=1)], axis=-1)


def local(x, p, heads, k=7, stride=1):
    (n, channels, height, width), margin = x.shape, k // 2
    query, key, value = (convolution(x, p[name + '.weight']).reshape(n, heads, -1, height, width)
                         for name in ('query', 'key', 'value'))
    border = ((0, 0),) * 3 + ((margin, margin),) * 2
    key, value, relative = np.pad(key, border), np.pad(value, border), positions(p, heads, k)
    y = np.zeros_like(query)
    for i, j in np.ndindex(height, width):
        window = list(np.ndindex(k, k))
        logits = np.array([(query[..., i, j] * (key[..., i + a, j + b] + relative[:, a, b])).sum(-1)
                           for a, b in window])
        y[..., i, j] = sum(share[..., None] * value[..., i + a, j + b]
                           for share, (a, b) in zip(softmax(logits), window))
    y = y.reshape(n, channels, height, width)
    return y if stride == 1 else mean_pool(np.pad(y, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), mode='edge'),
                                           stride, stride, 0)


def stem(x, p, heads, mixtures):
    x = np.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % 4), (0, -x.shape[3] % 4)))
    (n, _, height, width), relative = x.shape, positions(p, heads, 7)
    query, key = (convolution(x, p[name + '.weight']).reshape(n, heads, -1, height, width) for name in ('query', 'key'))
    value = np.zeros_like(query).reshape(n, -1, height, width)
    for i, j in np.ndindex(height, width):
        shares = softmax(p['mixture'] @ (p['row'][i % 4] + p['column'][j % 4]))
        matrix = sum(share * part for share, part in zip(shares, p['value_weight'].reshape(mixtures, -1, 3)))
        value[:, :, i, j] = x[:, :, i, j] @ matrix.T
    value, y = value.reshape(query.shape), np.zeros_like(query)
    for i, j in np.ndindex(height, width):
        block = [(i // 4 * 4 + a, j // 4 * 4 + b) for a, b in np.ndindex(4, 4)]
        logits = np.array([(query[..., i, j] * (key[..., a, b] + relative[:, a - i + 3, b - j + 3])).sum(-1)
                           for a, b in block])
        y[..., i, j] = sum(share[..., None] * value[..., a, b] for share, (a, b) in zip(softmax(logits), block))
    y = batch_norm(y.reshape(n, -1, height, width), **part(p, 'norm'))
    return y.reshape(n, -1, height // 4, 4, width // 4, 4).max((3, 5))


# name: block, formula, shapes: the usual one and others
CASES = {
    'SE': (partial(SqueezeExcitation, 8, r=4), squeeze_excitation, [(2, 8, 5, 4), (1, 8, 2, 3)]),
    'GE-theta-plus': (partial(GatherExcite, 8, 5, r=4), gather_excite, [(3, 8, 5, 5)]),
    'GE-theta of extent 2': (partial(LocalGatherExcite, 8), local_gather_excite, [(2, 8, 6, 4), (1, 8, 5, 7)]),
    # A table of extent 3: the map fits it, is smaller, is larger.
    'AA': (partial(AugmentedConv, 24, extent=3, heads=2), partial(augmented, heads=2, extent=3),
           [(2, 24, 3, 3), (1, 24, 2, 1), (2, 24, 5, 4)]),
    'AA of stride 2': (partial(AugmentedConv, 24, 2, extent=3, heads=2, upsilon=0.4),
                       partial(augmented, heads=2, extent=3, stride=2), [(2, 24, 6, 6), (1, 24, 5, 3)]),
    'AA downsampled': (partial(AugmentedConv, 24, extent=2, heads=2, kappa=2, downsample=True),
                       partial(augmented, heads=2, extent=2, downsample=True), [(1, 24, 4, 4), (1, 24, 5, 3)]),
    'AA of stride 2 downsampled': (partial(AugmentedConv, 24, 2, extent=2, heads=2, downsample=True),
                                   partial(augmented, heads=2, extent=2, stride=2, downsample=True),
                                   [(1, 24, 8, 8), (1, 24, 7, 9)]),
    'FA': (partial(LocalAttention, 8, heads=2), partial(local, heads=2), [(2, 8, 4, 4), (1, 8, 9, 6), (1, 8, 1, 2)]),
    'FA of k 3': (partial(LocalAttention, 8, heads=2, kernel_size=3), partial(local, heads=2, k=3),
                  [(2, 8, 7, 5), (1, 8, 3, 8)]),
    'FA of stride 2': (partial(LocalAttention, 8, 2, heads=2), partial(local, heads=2, stride=2),
                       [(1, 8, 6, 4), (1, 8, 5, 7)]),
    'FA stem': (partial(AttentionStem, 8, heads=2, mixtures=3), partial(stem, heads=2, mixtures=3),
                [(2, 3, 8, 4), (1, 3, 7, 5)]),
}
SHAPES = [(name, shape) for name, (_, _, shapes) in CASES.items() for shape in shapes]


def build(name):
    """A block with random parameters and these as arrays."""
    block = CASES[name][0]()
    block.initialize(mx.init.MSRAPrelu())
    p = randomise(block)
    for key in p:
        if key.startswith('relative_') or key in ('row', 'column', 'mixture', 'value_weight'):
            p[key] *= 10  # as large as they are after their own initialisation
            block.collect_params()[block._collect_params_with_prefix()[key].name].set_data(p[key])
    return block, p


def images(shape):
    return np.random.RandomState(sum(shape)).randn(*shape).astype('float32').astype('float64')


@pytest.mark.parametrize('name, shape', SHAPES)
def test_values(name, shape):
    block, p = build(name)
    expected = CASES[name][1](images(shape), p)
    y = block(mx.nd.array(images(shape))).asnumpy()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name, shape', [(name, shapes[-1]) for name, (_, _, shapes) in CASES.items()])
def test_gradients(name, shape):
    """Of the input and of every trainable parameter, along random directions, by central differences of the formula."""
    block, p = build(name)
    formula, random, step = CASES[name][1], np.random.RandomState(1), 1e-6
    x = mx.nd.array(images(shape))
    x.attach_grad()
    with mx.autograd.record(train_mode=False):
        y = block(x)
    weight = random.randn(*y.shape).astype('float32')
    y.backward(mx.nd.array(weight), train_mode=False)
    gradients = {key: parameter.grad().asnumpy() for key, parameter in block._collect_params_with_prefix().items()
                 if parameter.grad_req != 'null'}
    for key, gradient in [('input', x.grad.asnumpy()), *gradients.items()]:
        for _ in range(3):
            direction = random.randn(*gradient.shape)
            ahead, behind = (formula(images(shape) + sign * step * direction, p) if key == 'input' else
                             formula(images(shape), {**p, key: p[key] + sign * step * direction}) for sign in (1, -1))
            slope = ((ahead - behind) * weight).sum() / (2 * step)
            error = abs((gradient.astype('float64') * direction).sum() - slope)
            assert error < 1e-4 * max(np.linalg.norm(gradient), 1e-2), key


@pytest.mark.parametrize('name', CASES)
def test_compiled_alike_and_one_net_takes_every_size(name):
    block, _ = build(name)
    shapes = CASES[name][2]
    plain = [run(block, shape) for shape in shapes]
    block.hybridize()
    for shape, expected in zip(shapes, plain):
        for found, wanted in zip(run(block, shape), expected):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def run(block, shape):
    """Output, gradient of the input and of one parameter, in training mode."""
    x = mx.nd.array(images(shape))
    x.attach_grad()
    with mx.autograd.record():
        y = block(x)
    y.backward(y)
    parameter = next(iter(block.collect_params().values()))
    return y.asnumpy(), x.grad.asnumpy(), parameter.grad().asnumpy()


@pytest.mark.parametrize('name', CASES)
def test_shapes_are_known_without_data(name):
    make, formula, shapes = CASES[name]
    block = make()
    assert all(prod(parameter.shape) > 0 for parameter in block.collect_params().values())
    found = block(mx.sym.var('data')).infer_shape(data=shapes[0])[1]
    assert found == [formula(images(shapes[0]), build(name)[1]).shape]


def test_parameters_of_the_docstrings():
    c = 64
    for block, count in ((SqueezeExcitation(c), 2 * c * c // 16 + c // 16 + c),
                         (GatherExcite(c, 7), 49 * c + 2 * c + 2 * c * c // 16 + c // 16 + c),
                         (AugmentedConv(128, extent=14), 9 * 128 * 120 + 128 * (2 * 160 + 8) + 64 + 2 * 27 * 20),
                         (LocalAttention(c), 3 * c * c + 7 * c),
                         (AttentionStem(c), 6 * c + 12 * c + 12 * c // 8 + 7 * c + 2 * c)):
        assert parameters(block)[1] == count, block


def test_local_attention_never_holds_all_neighbourhoods():
    """No array of the graph comes near the 49 copies of a map that an unfolding makes."""
    shape = (1, 64, 56, 56)
    symbol = LocalAttention(64)(mx.sym.var('data')).get_internals()
    largest = max(prod(found) for found in symbol.infer_shape(data=shape)[1])
    assert largest == 8 * (BLOCK + 6) ** 2 * 56 * 56  # the logits, a quarter of 49 maps


@pytest.mark.parametrize('make', [
    partial(LocalAttention, 12, heads=8), partial(LocalAttention, 8, heads=8), partial(LocalAttention, 16, heads=0),
    partial(LocalAttention, 16, kernel_size=4), partial(LocalAttention, 16, kernel_size=1),
    partial(LocalAttention, 16, dilation=2), partial(AttentionStem, 60), partial(AttentionStem, 8, heads=8),
    partial(AugmentedConv, 100, extent=7), partial(AugmentedConv, 64, extent=7), partial(AugmentedConv, 128, extent=0),
    partial(AugmentedConv, 128, extent=7, upsilon=1), partial(AugmentedConv, 128, extent=7.5),
    partial(AttentionStem, 64, mixtures=0), partial(SqueezeExcitation, 24),
    partial(SqueezeExcitation, 24, r=0), partial(GatherExcite, 24, 7), partial(GatherExcite, 32, 0)])
def test_bad_numbers_are_refused_when_built(make):
    with pytest.raises(UserError):
        make()


def test_gather_excite_names_the_sizes_it_takes():
    gate = GatherExcite(16, 5)
    gate.initialize()
    for _ in range(2):
        with pytest.raises(UserError, match='only maps of 5x5, not of 4x5'):
            gate(mx.nd.zeros((1, 16, 4, 5)))
        gate.hybridize()
    net = get_model('ge_theta_plus_resnet50')
    assert [stage[0].gate._extent for stage in (net.layer1, net.layer2, net.layer3, net.layer4)] == [56, 28, 14, 7]
    for side in (221, 222, 224):
        check_input_size((1, 3, side, 224), 224)
    for side in (220, 225):
        with pytest.raises(UserError, match='221 to 224 pixels a side, not of %dx224' % side):
            check_input_size((1, 3, side, 224), 224)
