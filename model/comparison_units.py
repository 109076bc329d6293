"""Activation units of other papers, which go into the same plug as ATAC and are compared with it.

Every unit is a HybridBlock of (N, C, H, W) -> (N, C, H, W) that takes the output of a BatchNorm. Its first argument
`channels` is C, also where the formula needs none. The docstrings give the trainable parameters as a formula in C.
PReLU with a slope per channel is not here, it is gluon's nn.PReLU(in_channels=C): max(0, x) + alpha * min(0, x).

A parameter with one value per channel is stored as (1, C, 1, 1), the shape in which it meets the map. It brings its
own initialiser, because those for weights (MSRAPrelu) know neither its name nor its meaning.
"""
import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from .ground import UserError
from .layers import GlobalMean, MapGated, depthwise, pointwise, reduced


def _per_channel(block, name, channels, init):
    """A new trainable parameter of the block, with one value per channel."""
    return block.params.get(name, shape=(1, channels, 1, 1), init=init)


class Mish(HybridBlock):
    """Mish: a smooth, non-monotonic activation that gates its input with the tanh of its softplus.

        y = x * tanh(ln(1 + exp(x)))

    Parameters: 0. In, out: (N, C, H, W).
    Paper: D. Misra, "Mish: A self regularized non-monotonic activation function", BMVC 2020.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)

    def hybrid_forward(self, F, x):
        return x * F.tanh(F.Activation(x, act_type='softrelu'))


class HardSwish(HybridBlock):
    """Hard-swish: swish with its sigmoid made of three straight lines.

        y = x * min(max(x + 3, 0), 6) / 6

    Parameters: 0. In, out: (N, C, H, W).
    Paper: A. Howard, M. Sandler, G. Chu, et al., "Searching for MobileNetV3", ICCV 2019.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)

    def hybrid_forward(self, F, x):
        return x * F.clip(x + 3, 0, 6) / 6


class SReLU(HybridBlock):
    """S-shaped ReLU: three straight lines per channel, whose two corners and two outer slopes are learned.

        y = t_r + a_r (x - t_r)  for x >= t_r;      x  between;      t_l + a_l (x - t_l)  for x <= t_l

    Parameters: 4C trainable. In, out: (N, C, H, W).
    Paper: X. Jin, C. Xu, J. Feng, Y. Wei, J. Xiong, S. Yan, "Deep learning with S-shaped rectified linear activation
    units", AAAI 2016.

    Start: t_l = 0, a_l = 0.2, a_r = 1, as in the paper, a leaky ReLU. Our reading is t_r = 1, one standard deviation of
    the BatchNorm before the unit. The paper freezes the leaky ReLU for some epochs and then sets t_r to a quantile of
    the inputs; this is left out. While a_r = 1 the value of t_r has no influence, so its first gradient is 0.
    Nothing keeps t_l below t_r in the paper. We add the bends up, which is the formula above where t_l <= t_r and stays
    continuous where they have crossed.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.t_l = _per_channel(self, 't_l', channels, mx.init.Zero())
            self.a_l = _per_channel(self, 'a_l', channels, mx.init.Constant(0.2))
            self.t_r = _per_channel(self, 't_r', channels, mx.init.One())
            self.a_r = _per_channel(self, 'a_r', channels, mx.init.One())

    def hybrid_forward(self, F, x, t_l, a_l, t_r, a_r):
        above = F.relu(F.broadcast_sub(x, t_r))
        below = F.relu(F.broadcast_sub(t_l, x))
        return x + F.broadcast_mul(above, a_r - 1) - F.broadcast_mul(below, a_l - 1)


class FReLU(HybridBlock):
    """Funnel ReLU: the 0 of ReLU becomes a spatial condition, made from the neighbourhood of each channel.

        y = max(x, BN(D x))                   D: depthwise k x k with bias

    Parameters: (k^2 + 3)C trainable, 12C for k = 3. In, out: (N, C, H, W).
    Paper: N. Ma, X. Zhang, J. Sun, "Funnel activation for visual recognition", ECCV 2020; the bias is in the code that
    the authors released.

    channels: C. kernel_size: k, odd. norm_layer, norm_kwargs: called as norm_layer(in_channels=..., **norm_kwargs).
    Raises UserError for an even kernel or one below 1.
    """

    def __init__(self, channels, kernel_size=3, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.funnel = nn.HybridSequential()
            self.funnel.add(depthwise(channels, kernel_size), norm_layer(in_channels=channels, **norm_kwargs or {}))

    def hybrid_forward(self, F, x):
        return F.maximum(x, self.funnel(x))


class DYReLU(HybridBlock):
    """Dynamic ReLU: the largest of K = 2 lines, whose slopes and intercepts are computed from the whole input.

        y = max(a_1 x + b_1, a_2 x + b_2)
        a_k = alpha_k + lambda_a theta,  b_k = beta_k + lambda_b theta,      theta = 2 sigmoid(W2 relu(W1 mean(x))) - 1

    alpha = (1, 0), beta = (0, 0), lambda_a = 1, lambda_b = 0.5, so that it is ReLU where W2 gives 0. Every a_k and b_k
    has its own theta.  W1: C -> C/r, W2: C/r -> 2K (mode 'A', channels share their lines) or 2KC (mode 'B', each has
    its own), both with bias.

    Parameters: C^2/r + 5C/r + 4 trainable in mode 'A', 5C^2/r + C/r + 4C in mode 'B'. In, out: (N, C, H, W).
    Paper: Y. Chen, X. Dai, M. Liu, D. Chen, L. Yuan, Z. Liu, "Dynamic ReLU", ECCV 2020. Its third mode, 'C', with
    attention over positions, is left out.

    Our reading: the default r = 8 is the paper's as we recall it; a common re-implementation has 4. The outputs of W2
    are a_1, a_2, b_1, b_2, with C channels each in mode 'B'.

    channels: C. mode: 'A' or 'B'. r: reduction, a divisor of C. Raises UserError for another mode or r.
    """

    # alpha_1, alpha_2, beta_1, beta_2: the lines of ReLU, max(1 x + 0, 0 x + 0); and how far theta can move each.
    START = (1, 0, 0, 0)
    REACH = (1, 1, 0.5, 0.5)

    def __init__(self, channels, mode='B', r=8, **kwargs):
        super().__init__(**kwargs)
        if mode not in ('A', 'B'):
            raise UserError("mode=%r must be 'A' (channels share their lines) or 'B' (each has its own)" % (mode,))
        hidden = reduced(channels, r)
        outputs = len(self.START) * (channels if mode == 'B' else 1)
        with self.name_scope():
            self.theta = nn.HybridSequential()
            self.theta.add(GlobalMean(), pointwise(channels, hidden, use_bias=True), nn.Activation('relu'),
                           pointwise(hidden, outputs, use_bias=True), nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x):
        thetas = F.split(2 * self.theta(x) - 1, num_outputs=len(self.START), axis=1)
        a_1, a_2, b_1, b_2 = [start + reach * theta for start, reach, theta in zip(self.START, self.REACH, thetas)]
        return F.maximum(F.broadcast_add(F.broadcast_mul(x, a_1), b_1),
                         F.broadcast_add(F.broadcast_mul(x, a_2), b_2))


def _acon(F, x, p1, p2, beta):
    """(p1 - p2) x sigmoid(beta (p1 - p2) x) + p2 x, the smooth maximum of p1 x and p2 x."""
    difference = F.broadcast_mul(x, p1 - p2)
    return difference * F.sigmoid(F.broadcast_mul(difference, beta)) + F.broadcast_mul(x, p2)


class ACONC(HybridBlock):
    """ACON-C: the smooth maximum of two learned lines per channel; it can learn whether to be linear.

        y = (p1 - p2) x sigmoid(beta (p1 - p2) x) + p2 x

    Parameters: 3C trainable. In, out: (N, C, H, W). Start: p1, p2 from N(0, 1), beta = 1.
    Paper: N. Ma, X. Zhang, M. Liu, J. Sun, "Activate or not: Learning customized activation", CVPR 2021.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.p1 = _per_channel(self, 'p1', channels, mx.init.Normal(1))
            self.p2 = _per_channel(self, 'p2', channels, mx.init.Normal(1))
            self.beta = _per_channel(self, 'beta', channels, mx.init.One())

    def hybrid_forward(self, F, x, p1, p2, beta):
        return _acon(F, x, p1, p2, beta)


class MetaACON(HybridBlock):
    """Meta-ACON: ACON-C whose switch beta is computed from the whole input, so every image has its own.

        y = (p1 - p2) x sigmoid(beta (p1 - p2) x) + p2 x,        beta = sigmoid(BN(W2 BN(W1 mean(x))))

    W1: C -> m, W2: m -> C, both with bias, m = max(16, floor(C/16)).

    Parameters: 2Cm + 3m + 5C trainable. In, out: (N, C, H, W). Start: p1, p2 from N(0, 1).
    Paper: N. Ma, X. Zhang, M. Liu, J. Sun, "Activate or not: Learning customized activation", CVPR 2021; m, the biases
    and the absence of a ReLU are those of the code that the authors released.

    Its BatchNorms see one value per image and channel, so their statistics in training are those of N values.
    channels: C. norm_layer, norm_kwargs: called as norm_layer(in_channels=..., **norm_kwargs).
    """

    # The released code calls both r: the reduction, and the least number of hidden channels.
    R = 16

    def __init__(self, channels, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        hidden = max(self.R, channels // self.R)
        norm_kwargs = norm_kwargs or {}
        with self.name_scope():
            self.p1 = _per_channel(self, 'p1', channels, mx.init.Normal(1))
            self.p2 = _per_channel(self, 'p2', channels, mx.init.Normal(1))
            self.beta = nn.HybridSequential()
            self.beta.add(GlobalMean(),
                          pointwise(channels, hidden, use_bias=True), norm_layer(in_channels=hidden, **norm_kwargs),
                          pointwise(hidden, channels, use_bias=True), norm_layer(in_channels=channels, **norm_kwargs),
                          nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x, p1, p2):
        return _acon(F, x, p1, p2, self.beta(x))


class xUnit(MapGated):
    """xUnit as the paper plots it: the gate is made from the rectified neighbourhood of each channel.

        X' = X * sigmoid(BN(D relu(X)))           D: depthwise k x k with bias

    Parameters: (k^2 + 3)C trainable, 12C for k = 3. In, out: (N, C, H, W).
    Paper: I. Kligvasser, T. Rott Shaham, T. Michaeli, "xUnit: Learning a spatial activation function for efficient
    image restoration", CVPR 2018.

    Our reading; the authors of ATAC never released theirs. All five parameter counts of the paper's Fig. 7 need 12C a
    unit, hence a 3x3 with bias and one BatchNorm. Order and sigmoid follow the official xUnit code (its paper has
    exp(-d^2) as the gate).

    channels: C. kernel_size: k, odd. dilation: of D. norm_layer, norm_kwargs: as in ChaATAC.
    Raises UserError for an even kernel or one below 1, or a dilation below 1.
    """

    def __init__(self, channels, kernel_size=3, dilation=1, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.module = nn.HybridSequential()
            self.module.add(nn.Activation('relu'), depthwise(channels, kernel_size, dilation),
                            norm_layer(in_channels=channels, **norm_kwargs or {}), nn.Activation('sigmoid'))
