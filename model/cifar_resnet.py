"""The CIFAR host: a pre-activation ResNet of depth 6 * blocks + 2 with plugs for its activations.

    BN -> conv 3x3 -> 3 stages of `blocks` blocks (16, 32, 64 channels at stride 1, 2, 2) -> BN -> act -> mean -> Dense

A block is x + conv(act(BN(conv(act(BN(x)))))), with a 1x1 convolution of the raw x as its shortcut where the number of
channels changes. Source: He et al., "Identity mappings in deep residual networks", 2016, as the authors of ATAC lay
it out (paper, section IV; their first BatchNorm has neither scale nor shift).
"""
import numpy as np
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from .gate import LocalGatherExcite
from .ground import UserError
from .layers import whole
from .units import acts_of

STEM_CHANNELS = 16
STAGE_CHANNELS = (16, 32, 64)
MOST_BLOCKS = 1000


class PreActivationBlock(HybridBlock):
    """x + gate(conv(act(BN(conv(act(BN(x))))))).   (N, in_channels, H, W) -> (N, channels, H/stride, W/stride)"""

    def __init__(self, in_channels, channels, stride, act, gate=None, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.bn1 = nn.BatchNorm(in_channels=in_channels)
            self.act1 = act(in_channels)
            self.conv1 = nn.Conv2D(channels, 3, strides=stride, padding=1, use_bias=False, in_channels=in_channels)
            self.bn2 = nn.BatchNorm(in_channels=channels)
            self.act2 = act(channels)
            self.conv2 = nn.Conv2D(channels, 3, padding=1, use_bias=False, in_channels=channels)
            self.gate = gate and gate(channels)
            self.shortcut = None
            if in_channels != channels:
                self.shortcut = nn.Conv2D(channels, 1, strides=stride, use_bias=False, in_channels=in_channels)

    def hybrid_forward(self, F, x):
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = self.conv1(self.act1(self.bn1(x)))
        x = self.conv2(self.act2(self.bn2(x)))
        return (x if self.gate is None else self.gate(x)) + shortcut


class DataNorm(nn.BatchNorm):
    """BatchNorm without scale and shift of the data themselves.

    On a CPU MXNet updates running statistics only in the backward pass. A BatchNorm without parameters that is fed by
    data is no part of that pass, and would keep mean 0 and variance 1 for ever. A zero makes it one: by it gamma (which
    counts as 1 without scale) depends on the weight of the convolution that follows.
    """

    def __init__(self, **kwargs):
        super().__init__(scale=False, center=False, **kwargs)

    def hybrid_forward(self, F, x, weight, gamma, beta, running_mean, running_var):
        zero = F.cast(0 * F.sum(weight), np.dtype(self.gamma.dtype).name)  # float32 in a float16 network
        gamma = F.broadcast_add(gamma, zero)
        return F.BatchNorm(x, gamma, beta, running_mean, running_var, name='fwd', **self._kwargs)


class Stem(HybridBlock):
    """Normalised data through a 3x3 convolution.   (N, 3, H, W) -> (N, channels, H, W)"""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self._convolution = dict(num_filter=channels, kernel=(3, 3), pad=(1, 1), no_bias=True)
        with self.name_scope():
            self.bn = DataNorm(in_channels=3)
            self.weight = self.params.get('weight', shape=(channels, 3, 3, 3))

    def hybrid_forward(self, F, x, weight):
        return F.Convolution(self.bn(x, weight), weight, **self._convolution)


class CifarResNet(HybridBlock):
    """The host.   (N, 3, H, W) -> (N, classes)

    blocks: per stage, at least 1. acts: four factories act(channels) -> HybridBlock, for the three stages and for the
    activation after them. gate: a factory gate(channels) of what rescales every residual branch, or None.
    Raises UserError for blocks out of range, and for classes below 1.
    """

    def __init__(self, blocks, acts, classes, gate=None, **kwargs):
        super().__init__(**kwargs)
        blocks = whole('blocks', blocks)
        if blocks > MOST_BLOCKS:
            raise UserError('blocks=%d must be at most %d' % (blocks, MOST_BLOCKS))
        with self.name_scope():
            self.features = nn.HybridSequential()
            self.features.add(Stem(STEM_CHANNELS))
            in_channels = STEM_CHANNELS
            for stage, channels in enumerate(STAGE_CHANNELS):
                layer = nn.HybridSequential()
                for block in range(blocks):
                    stride = 2 if stage > 0 and block == 0 else 1
                    layer.add(PreActivationBlock(in_channels, channels, stride, acts[stage], gate))
                    in_channels = channels
                self.features.add(layer)
            self.features.add(nn.BatchNorm(in_channels=in_channels), acts[-1](in_channels), nn.GlobalAvgPool2D(),
                              nn.Flatten())
            self.output = nn.Dense(whole('classes', classes), in_units=in_channels)

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))


def cifar_resnet(blocks=3, act_type='ChaATAC', act_layers=4, act_order='bac', replace_act='relu', classes=10, r=2,
                 use_relu=True, use_global=False, kernel_size=3, dilation=1, gate=None):
    """The CIFAR ResNet of depth 6 * blocks + 2.

    act_type: a name of ACTIVATIONS. act_layers: how many of the four positions (three stages and the last activation)
    get it, from the back (act_order 'bac') or from the front ('pre'); the others get replace_act.
    r, use_relu, use_global, kernel_size, dilation: of the unit (model.activation). gate: of CifarResNet.
    Raises UserError for a name that is not there and for a number out of range.
    """
    acts = acts_of(act_type, replace_act, act_layers, act_order, r=r, use_relu=use_relu, use_global=use_global,
                   kernel_size=kernel_size, dilation=dilation)
    return CifarResNet(blocks, acts, classes, gate)


def se_cifar_resnet(**options):
    """SENet of the paper's second CIFAR figure: a squeeze-and-excitation gate before every ReLU, in our reading."""
    return cifar_resnet(act_type='SE-ReLU', **options)


def ge_cifar_resnet(act_type='relu', **options):
    """GENet-theta of the paper's second CIFAR figure: plain activations and a gather-excite gate in every block."""
    return cifar_resnet(act_type=act_type, gate=LocalGatherExcite, **options)
