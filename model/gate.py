"""Gates of the residual branch: what SE and GE put after its last BatchNorm, before the addition.

    X' = X * g(X)            X, X': (N, C, H, W), g: (N, C, 1, 1) or, for a local gate, (N, C, H, W), in (0, 1)

They are plugs: `gate(channels, extent) -> HybridBlock` of the ImageNet host, `gate(channels)` of the CIFAR host.
"""
import mxnet as mx
from mxnet.gluon import nn

from .ground import UserError
from .layers import Gated, GlobalMean, pointwise, reduced, whole


def excitation(channels, r):
    """The two dense layers of SE and GE, as 1x1 convolutions with biases: W2 relu(W1 x + b1) + b2."""
    hidden = reduced(channels, r)
    return pointwise(channels, hidden, use_bias=True), nn.Activation('relu'), pointwise(hidden, channels, use_bias=True)


class SqueezeExcitation(Gated):
    """Squeeze-and-excitation: each channel is scaled by what a bottleneck makes of the means of all channels.

        X' = X * sigmoid(W2 relu(W1 mean(X) + b1) + b2)          W1: C -> C/r, W2: C/r -> C

    Parameters: 2C^2/r + C/r + C trainable. In, out: (N, C, H, W).
    Paper: J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018.

    channels: C. r: reduction. Raises UserError if r is below 1 or does not divide C.
    """

    def __init__(self, channels, r=16, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.module = nn.HybridSequential()
            self.module.add(GlobalMean(), *excitation(channels, r), nn.Activation('sigmoid'))


class GatherExcite(Gated):
    """Gather-excite of global extent: one depthwise kernel as large as the map gathers, a bottleneck excites.

        X' = X * sigmoid(W2 relu(W1 relu(BN(D X)) + b1) + b2)
        D: depthwise e x e, no padding, no bias; W1: C -> C/r, W2: C/r -> C

    The theta-plus of its paper. Parameters: Ce^2 + 2C^2/r + C/r + 3C trainable. In, out: (N, C, e, e).
    Paper: J. Hu, L. Shen, S. Albanie, G. Sun, A. Vedaldi, "Gather-excite: Exploiting feature context in convolutional
    neural networks", NeurIPS 2018. The ReLU after the gathering BatchNorm is that of the authors' network definition.

    channels: C. extent: e, the side of the only map that the unit takes. r: reduction. norm_layer,
    norm_kwargs: called as norm_layer(in_channels=..., **norm_kwargs).
    Raises UserError when it is built if r is below 1 or does not divide C, and when it is called with another map. In
    a hybridised network it sees no shapes: there the network calls check_input_size.
    """

    def __init__(self, channels, extent, r=16, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        self._extent = extent = whole('extent', extent)
        with self.name_scope():
            self.module = nn.HybridSequential()
            self.module.add(nn.Conv2D(channels, extent, groups=channels, use_bias=False, in_channels=channels),
                            norm_layer(in_channels=channels, **norm_kwargs or {}), nn.Activation('relu'),
                            *excitation(channels, r), nn.Activation('sigmoid'))

    def forward(self, x, *args):
        if isinstance(x, mx.nd.NDArray) and x.shape[2:] != (self._extent, self._extent):
            raise UserError('this gate takes only maps of %dx%d, not of %s: its kernel is as large as the map'
                            % (self._extent, self._extent, 'x'.join(map(str, x.shape[2:]))))
        return super().forward(x, *args)


class LocalGatherExcite(Gated):
    """Gather-excite theta of extent 2: a strided depthwise convolution gathers, its map is upsampled to gate.

        X' = X * sigmoid(up2(BN(D X)))           D: depthwise 3x3 of stride 2, no bias; up2: nearest neighbour

    Parameters: 11C trainable. In, out: (N, C, H, W). Paper: as GatherExcite.

    Our reading of GENet-theta in the paper's second CIFAR figure, whose parameter counts ask for 11 to 12 C a block:
    the smallest extent of the GE paper, on the residual branch.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.gather = nn.Conv2D(channels, 3, strides=2, padding=1, groups=channels, use_bias=False,
                                    in_channels=channels)
            self.norm = nn.BatchNorm(in_channels=channels)
            self.sigmoid = nn.HybridLambda('sigmoid')

    @property
    def gate_block(self):
        return self.sigmoid

    def hybrid_forward(self, F, x):
        gathered = F.UpSampling(self.norm(self.gather(x)), scale=2, sample_type='nearest')
        return x * self.sigmoid(F.slice_like(gathered, x, axes=(2, 3)))
