"""Layers in plain NumPy float64, to compare networks with."""
from zlib import crc32

import numpy as np


def convolution(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """x (N, C, H, W), weight (C_out, C / groups, k, k)"""
    size = dilation * (weight.shape[2] - 1) + 1
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride, ::dilation, ::dilation]
    inputs, outputs = np.split(windows, groups, axis=1), np.split(weight, groups, axis=0)
    y = np.concatenate([np.einsum('nchwij,ocij->nohw', i, o, optimize=True) for i, o in zip(inputs, outputs)], axis=1)
    return y if bias is None else y + bias[:, None, None]


def batch_norm(x, gamma, beta, running_mean, running_var):
    scale = gamma / np.sqrt(running_var + 1e-5)
    return x * scale[:, None, None] + (beta - running_mean * scale)[:, None, None]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def relu(x):
    return np.maximum(x, 0)


def max_pool(x, size, stride, padding):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].max((-1, -2))


def randomise(net, seed=0, gamma=None):
    """Give every parameter of an initialised net random values, by a generator that is seeded with its name, as those
    of the golden logits have them; returns {name: float64 array}.

    gamma(name): what to multiply a gamma by.
    """
    arrays = {}
    for name, parameter in sorted(net._collect_params_with_prefix().items()):
        random = np.random.RandomState((crc32(name.encode()) + seed) % 2 ** 32)
        kind = name.rsplit('.', 1)[-1]
        value = (random.rand if kind == 'running_var' else random.randn)(*parameter.shape)
        if kind == 'gamma':
            value = (1 + 0.1 * value) * (gamma(name) if gamma else 1)
        elif kind == 'running_var':
            value += 0.5
        elif kind == 'weight':
            value *= np.sqrt(2 / np.prod(parameter.shape[1:]))
        else:
            value *= 0.1
        arrays[name] = value.astype('float32').astype('float64')
        parameter.set_data(arrays[name])
    return arrays


def part(arrays, prefix):
    """The arrays below a name, without it: part(arrays, 'bn1') -> {'gamma': ...}."""
    return {name[len(prefix) + 1:]: array for name, array in arrays.items() if name.startswith(prefix + '.')}
