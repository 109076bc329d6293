"""Attention as activation: the units of the paper, and the plain activations that they are compared with.

An ATAC unit stands where a network has its activation function. It gates its input with attention computed from it,

    X' = X * sigmoid(L(X))            X, X' and the gate: (N, C, H, W)

so it is at once a non-linear activation and a feature refinement. X is the output of the BatchNorm before the unit,
without a ReLU.

Source: Y. Dai, S. Oehmcke, F. Gieseke, Y. Wu, K. Barnard, "Attention as Activation", arXiv 2007.07729 (ICPR 2020).
The authors released ChaATAC alone. SpaATAC, SeqATAC and xUnit are our reading, each docstring says on what it rests.
"""
import inspect

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from . import comparison_units as other
from .ground import UserError
from .layers import GlobalMean, depthwise, pointwise, reduced


class ChaATAC(HybridBlock):
    """Channel-wise ATAC: a bottleneck of two pointwise convolutions makes the gate, at every position by itself.

        X' = X * sigmoid(BN(W2 relu(BN(W1 X))))          W1: C -> C/r, W2: C/r -> C, no biases

    Parameters: 2C^2/r + 2C/r + 2C trainable. In, out: (N, C, H, W). Paper: section III; released by the authors.

    channels: C. r: reduction, a divisor of C. use_relu: the inner ReLU (without it the bottleneck is linear).
    use_global: a global average pooling first, so the context is global and the gate is (N, C, 1, 1), as in SE.
    norm_layer, norm_kwargs: called as norm_layer(in_channels=..., **norm_kwargs).
    Raises UserError if r is below 1 or does not divide C.
    """

    def __init__(self, channels, r=2, use_relu=True, use_global=False, norm_layer=nn.BatchNorm, norm_kwargs=None,
                 **kwargs):
        super().__init__(**kwargs)
        hidden = reduced(channels, r)
        norm_kwargs = norm_kwargs or {}
        with self.name_scope():
            # `module` and the order in it are the names inside the released .params file.
            self.module = nn.HybridSequential()
            if use_global:
                self.module.add(GlobalMean())
            self.module.add(pointwise(channels, hidden), norm_layer(in_channels=hidden, **norm_kwargs))
            if use_relu:
                self.module.add(nn.Activation('relu'))
            self.module.add(pointwise(hidden, channels), norm_layer(in_channels=channels, **norm_kwargs),
                            nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x):
        return F.broadcast_mul(x, self.module(x))


class SpaATAC(HybridBlock):
    """Spatial ATAC: a depthwise convolution makes the gate, from the neighbourhood of each channel by itself.

        X' = X * sigmoid(BN(D X))             D: depthwise k x k with bias, dilation d

    Parameters: (k^2 + 3)C trainable. In, out: (N, C, H, W).

    Our reading; never released. It rests on the authors' call sites (open-aff, commit 806562e), where the unit takes a
    kernel size and a dilation and no reduction, and on their sister cell SK_SpaDyReF. The bias is that of xUnit, where
    the published parameter count proves it.

    channels: C. kernel_size: k, odd. dilation: d. norm_layer, norm_kwargs: as in ChaATAC.
    Raises UserError for an even kernel or one below 1, or a dilation below 1.
    """

    def __init__(self, channels, kernel_size=3, dilation=1, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.module = nn.HybridSequential()
            self.module.add(depthwise(channels, kernel_size, dilation),
                            norm_layer(in_channels=channels, **norm_kwargs or {}), nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x):
        return x * self.module(x)


class SeqATAC(HybridBlock):
    """Sequential ATAC: channel mixing, then a depthwise neighbourhood, then channel mixing make the gate.

        X' = X * sigmoid(BN(W2 relu(BN(D relu(BN(W1 X))))))       W1, W2: C -> C, no biases; D: depthwise 3x3 with bias

    Parameters: 2C^2 + 16C trainable (for k = 3). In, out: (N, C, H, W).

    Our reading; never released. It rests on the authors' call sites, which pass no reduction, and on their sister cell
    SeqDyReF, which has this order of layers. Pointwise convolutions have no bias, as in ChaATAC; the depthwise one has,
    as in xUnit.

    channels: C. kernel_size, dilation: of D. use_relu: both inner ReLUs. norm_layer, norm_kwargs: as in ChaATAC.
    """

    def __init__(self, channels, kernel_size=3, dilation=1, use_relu=True, norm_layer=nn.BatchNorm, norm_kwargs=None,
                 **kwargs):
        super().__init__(**kwargs)
        norm_kwargs = norm_kwargs or {}
        with self.name_scope():
            self.module = nn.HybridSequential()
            for convolution in (pointwise(channels, channels), depthwise(channels, kernel_size, dilation)):
                self.module.add(convolution, norm_layer(in_channels=channels, **norm_kwargs))
                if use_relu:
                    self.module.add(nn.Activation('relu'))
            self.module.add(pointwise(channels, channels), norm_layer(in_channels=channels, **norm_kwargs),
                            nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x):
        return x * self.module(x)


class xUnit(HybridBlock):
    """xUnit as the paper plots it: the gate is made from the rectified neighbourhood of each channel.

        X' = X * sigmoid(BN(D relu(X)))           D: depthwise k x k with bias

    Parameters: (k^2 + 3)C trainable, 12C for k = 3. In, out: (N, C, H, W).
    Paper: I. Kligvasser, T. Rott Shaham, T. Michaeli, "xUnit: Learning a spatial activation function for efficient
    image restoration", CVPR 2018.

    Our reading; the authors of ATAC never released theirs. All five parameter counts of the paper's Fig. 7 need 12C a
    unit, hence a 3x3 with bias and one BatchNorm. Order and sigmoid follow the official xUnit code (its paper has
    exp(-d^2) as the gate).

    channels: C. kernel_size: k, odd. dilation: of D. norm_layer, norm_kwargs: as in ChaATAC.
    """

    def __init__(self, channels, kernel_size=3, dilation=1, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.module = nn.HybridSequential()
            self.module.add(nn.Activation('relu'), depthwise(channels, kernel_size, dilation),
                            norm_layer(in_channels=channels, **norm_kwargs or {}), nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x):
        return x * self.module(x)


class SEReLU(ChaATAC):
    """Squeeze-and-excitation behind every BatchNorm that has an activation, and that activation, a ReLU, kept:

        X' = relu(X * sigmoid(BN(W2 relu(BN(W1 mean(X))))))          the mean is over all positions

    Parameters: 2C^2/r + 2C/r + 2C trainable, as ChaATAC. In, out: (N, C, H, W).

    Our reading of the "SENet" of the paper's second CIFAR figure, never released: it has ATAC's number of parameters at
    every depth, so it has ATAC's module with global context; and it learns, which SE-activation, the same without a
    ReLU, hardly does: with gates that are the same at every position a network mixes positions only linearly.

    channels: C. r, norm_layer, norm_kwargs: as in ChaATAC.
    """

    def __init__(self, channels, r=2, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(channels, r, use_global=True, norm_layer=norm_layer, norm_kwargs=norm_kwargs, **kwargs)

    def hybrid_forward(self, F, x):
        return F.relu(super().hybrid_forward(F, x))


# What a host may say about its units. Every unit takes from these what its signature names.
OPTIONS = frozenset(['r', 'use_relu', 'use_global', 'kernel_size', 'dilation', 'norm_layer', 'norm_kwargs'])


def _factory(unit, **fixed):
    """A factory that takes channels and any of OPTIONS and hands the unit those it knows, which `.options` names.

    fixed: what makes it an ablation.
    """
    known = OPTIONS & inspect.signature(unit).parameters.keys() - fixed.keys()

    def make(channels, **options):
        unknown = options.keys() - OPTIONS
        if unknown:
            raise TypeError('unknown options of an activation unit: %s; there are %s'
                            % (', '.join(sorted(unknown)), ', '.join(sorted(OPTIONS))))
        return unit(channels, **fixed, **{name: value for name, value in options.items() if name in known})

    make.options = known
    return make


# name -> factory(channels, **OPTIONS) -> HybridBlock
ACTIVATIONS = {
    'relu': _factory(lambda channels: nn.Activation('relu')),
    'prelu': _factory(lambda channels: nn.PReLU()),
    'elu': _factory(lambda channels: nn.ELU()),
    'selu': _factory(lambda channels: nn.SELU()),
    'gelu': _factory(lambda channels: nn.GELU()),
    'swish': _factory(lambda channels: nn.Swish()),
    'xUnit': _factory(xUnit),
    'SpaATAC': _factory(SpaATAC),
    'ChaATAC': _factory(ChaATAC),
    'SeqATAC': _factory(SeqATAC),
    # Units of other papers (model/comparison_units.py). A reduction of theirs is not the r of a host, so it is fixed.
    'prelu-channel': _factory(lambda channels: nn.PReLU(in_channels=channels)),
    'mish': _factory(other.Mish),
    'hard_swish': _factory(other.HardSwish),
    'srelu': _factory(other.SReLU),
    'FReLU': _factory(other.FReLU),
    'DY-ReLU-A': _factory(other.DYReLU, mode='A', r=8),
    'DY-ReLU-B': _factory(other.DYReLU, mode='B', r=8),
    'ACON-C': _factory(other.ACONC),
    'Meta-ACON': _factory(other.MetaACON),
    'MSSeqATAC': _factory(other.MSSeqATAC),
    # The ablations of the paper: global instead of local context (without and with a ReLU), and a bottleneck without
    # its ReLU.
    'SE-activation': _factory(ChaATAC, use_global=True),
    'SE-ReLU': _factory(SEReLU),
    'ChaATAC-linear': _factory(ChaATAC, use_relu=False),
    'SeqATAC-linear': _factory(SeqATAC, use_relu=False),
}


def act_factory(name, **options):
    """The factory act(channels) -> HybridBlock of a named unit with its options; UserError for an unknown name."""
    if name not in ACTIVATIONS:
        raise UserError('unknown activation %r; there are %s' % (name, ', '.join(ACTIVATIONS)))

    def act(channels):
        return ACTIVATIONS[name](channels, **options)

    return act


def stage_plan(act, replace, act_layers, act_order='bac'):
    """Which of four positions get the unit `act`: the last act_layers ('bac') or the first ('pre')."""
    if act_layers not in range(5):
        raise UserError('act_layers=%s must be one of 0, 1, 2, 3, 4' % (act_layers,))
    if act_order not in ('bac', 'pre'):
        raise UserError("act_order=%r must be 'bac' (from the back) or 'pre' (from the front)" % (act_order,))
    plan = [replace] * (4 - act_layers) + [act] * act_layers
    return plan if act_order == 'bac' else plan[::-1]
