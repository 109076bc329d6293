"""Attention as activation: the units of the paper.

An ATAC unit takes the place of a network's activation function. It gates its input with attention computed from it,

    X' = X * sigmoid(L(X))            X, X' and the gate: (N, C, H, W)

so it is at once a non-linear activation and a feature refinement. X is the output of the BatchNorm before the unit,
without a ReLU.

Source: Y. Dai, S. Oehmcke, F. Gieseke, Y. Wu, K. Barnard, "Attention as Activation", arXiv 2007.07729 (ICPR 2020).
The authors released only ChaATAC. The others are our reading: each docstring says on what it rests.
"""
from mxnet.gluon import nn

from .layers import Gated, GlobalMean, MapGated, depthwise, pointwise, reduced


class ChaATAC(Gated):
    """Channel-wise ATAC: a bottleneck of two pointwise convolutions makes the gate, at every position by itself.

        X' = X * sigmoid(BN(W2 relu(BN(W1 X))))          W1: C -> C/r, W2: C/r -> C, no biases

    Parameters: 2C^2/r + 2C/r + 2C trainable. In, out: (N, C, H, W). Paper: section III; released by the authors.

    channels: C. r: reduction, a divisor of C. use_relu: the inner ReLU (without it the bottleneck is linear).
    use_global: a global average pooling first, so the context is global and the gate is (N, C, 1, 1), as in SE. The
    BatchNorms then see one value per image and channel in training: with N = 1 the gate is sigmoid(beta), 0.5 at first.
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


class SpaATAC(MapGated):
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


class SeqATAC(MapGated):
    """Sequential ATAC: channel mixing, then a depthwise neighbourhood, then channel mixing make the gate.

        X' = X * sigmoid(BN(W2 relu(BN(D relu(BN(W1 X))))))     W1, W2: C -> C, no biases; D: depthwise k x k with bias

    Parameters: 2C^2 + (k^2 + 7)C trainable, 2C^2 + 16C for k = 3. In, out: (N, C, H, W).

    Our reading; never released. It rests on the authors' call sites, which pass no reduction, and on their sister cell
    SeqDyReF, which has this order of layers. Pointwise convolutions have no bias, as in ChaATAC; the depthwise one has,
    as in xUnit.

    channels: C. kernel_size: k, odd. dilation: of D. use_relu: both inner ReLUs. norm_layer, norm_kwargs: as in
    ChaATAC. Raises UserError for an even kernel or one below 1, or a dilation below 1.
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


class MSSeqATAC(Gated):
    """Multi-scale sequential ATAC: SeqATAC with two neighbourhoods side by side, the second dilated twice as far.

        X' = X * sigmoid(BN(W2 relu(BN(D1 Z) + BN(D2 Z)))),   Z = relu(BN(W1 X))
        W1, W2: C -> C, no biases; D1, D2: depthwise k x k with bias, dilations d and 2d

    Parameters: 2C^2 + (2k^2 + 10)C trainable, 2C^2 + 28C for k = 3. In, out: (N, C, H, W).

    Our reading; never released. It rests on the authors' call sites (open-aff, commit 806562e), which name MSSeqATAC
    and give it a kernel size and two dilations, (8, 16), the second twice the first; and on their sister cells
    MSSeqDyReF (unfinished) and SK_MSSeqDyReF, in which parallel dilated depthwise 3x3 convolutions, each with its
    BatchNorm, are summed. The outer layers, both ReLUs and the biases are those of our SeqATAC; the sister cell
    narrows to C/2 first, which we leave out.

    channels: C. kernel_size: k, odd. dilation: d. use_relu: both inner ReLUs. norm_layer, norm_kwargs: as in
    ChaATAC. Raises UserError for an even kernel or one below 1, or a dilation below 1.
    """

    def __init__(self, channels, kernel_size=3, dilation=1, use_relu=True, norm_layer=nn.BatchNorm, norm_kwargs=None,
                 **kwargs):
        super().__init__(**kwargs)
        norm_kwargs = norm_kwargs or {}
        with self.name_scope():
            self.mix, self.near, self.far, self.gate = [nn.HybridSequential() for _ in range(4)]
            self.mix.add(pointwise(channels, channels), norm_layer(in_channels=channels, **norm_kwargs))
            for branch, distance in ((self.near, dilation), (self.far, 2 * dilation)):
                branch.add(depthwise(channels, kernel_size, distance), norm_layer(in_channels=channels, **norm_kwargs))
            if use_relu:
                self.mix.add(nn.Activation('relu'))
                self.gate.add(nn.Activation('relu'))
            self.gate.add(pointwise(channels, channels), norm_layer(in_channels=channels, **norm_kwargs),
                          nn.Activation('sigmoid'))

    @property
    def gate_block(self):
        return self.gate

    def hybrid_forward(self, F, x):
        mixed = self.mix(x)
        return x * self.gate(self.near(mixed) + self.far(mixed))


class SEReLU(ChaATAC):
    """Squeeze-and-excitation after every BatchNorm that has an activation; that activation, a ReLU, is kept:

        X' = relu(X * sigmoid(BN(W2 relu(BN(W1 mean(X))))))          the mean is over all positions

    Parameters: 2C^2/r + 2C/r + 2C trainable, as ChaATAC. In, out: (N, C, H, W).

    Our reading of the "SENet" of the paper's second CIFAR figure, never released. It has ATAC's number of parameters at
    every depth, so we give it ATAC's module with global context. It keeps a ReLU: without one (SE-activation) a network
    mixes positions only linearly, and hardly learns. SE: Hu et al., "Squeeze-and-excitation networks", CVPR 2018.

    channels: C. r, norm_layer, norm_kwargs: as in ChaATAC, with its N = 1. Raises UserError if r is below 1 or does not
    divide C.
    """

    def __init__(self, channels, r=2, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(channels, r, use_global=True, norm_layer=norm_layer, norm_kwargs=norm_kwargs, **kwargs)

    def hybrid_forward(self, F, x):
        return F.relu(super().hybrid_forward(F, x))
