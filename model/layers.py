"""What the units are made of: a gate and its product, convolutions, and the mean that global ones begin with."""
import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from .ground import UserError


def check_arrays():
    """UserError after mx.npx.set_np(): what is here computes with arrays of mx.nd, which MXNet then refuses."""
    if mx.util.is_np_array():
        raise UserError('these units and networks take arrays of mx.nd, not of mx.np: call mx.npx.reset_np() first')


def whole(name, value, least=1):
    """A number as an int; UserError, which names the option, unless it is whole and at least `least`."""
    try:
        if int(value) == value >= least:
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError('%s=%s must be a whole number of at least %d' % (name, value, least))


def odd(name, value, least=1):
    """The same of a number that must be odd, such as the side of a kernel with a middle."""
    value = whole(name, value, least)
    if value % 2 == 0:
        raise UserError('%s=%d must be odd' % (name, value))
    return value


class Gated(HybridBlock):
    """A block that multiplies its input by a gate, which it makes from it: X' = X * g(X), X and X': (N, C, H, W)."""

    @property
    def gate_block(self):
        """The block inside of it whose output is the gate, (N, C, H, W) or (N, C, 1, 1)."""
        return self.module

    def hybrid_forward(self, F, x):
        return F.broadcast_mul(x, self.module(x))


class MapGated(Gated):
    """A Gated whose gate always has the shape of its input.

    The operator is elemwise_mul: it has the same bits as broadcast_mul, and mixed precision leaves it in bfloat16 where
    it casts the other to float32.
    """

    def hybrid_forward(self, F, x):
        return x * self.module(x)


class GlobalMean(HybridBlock):
    """The mean of each channel over all positions, (N, C, H, W) -> (N, C, 1, 1), which is GlobalAvgPool2D.

    MXNet's pooling is slow backward on a CPU: it took two thirds of a training step where every unit is global.
    """

    def hybrid_forward(self, F, x):
        return F.mean(x, axis=(2, 3), keepdims=True)


def reduced(channels, r):
    """Channels inside a bottleneck, C/r; UserError unless r is a whole number of at least 1 that divides C."""
    r = whole('r', r)
    if channels % r:
        raise UserError('r=%d must divide the %d channels of the unit' % (r, channels))
    return channels // r


def pointwise(in_channels, channels, use_bias=False, **names):
    """1x1 convolution. names: prefix, where the counter (model.complexity) has to find it."""
    return nn.Conv2D(channels, kernel_size=1, in_channels=in_channels, use_bias=use_bias, **names)


def depthwise(channels, kernel_size, dilation=1):
    """k x k convolution of every channel by itself, with a bias, that keeps the size of the map."""
    kernel_size, dilation = odd('kernel_size', kernel_size), whole('dilation', dilation)
    return nn.Conv2D(channels, kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation, groups=channels,
                     in_channels=channels)
