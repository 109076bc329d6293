"""Self-attention instead of convolutions: that of AA-ResNet, and what it shares with FA-ResNet's.

    y_i = sum_j softmax_j(q_i . k_j + q_i . r_(j - i)) v_j        for every head; r: learned, of relative positions

AugmentedConv attends to the whole map, LocalAttention (local_attention.py) to the k x k neighbourhood of each pixel.
Both go into the plug `spatial(channels, stride, dilation, extent)` of the ImageNet host, the latter without the extent.

Inside a hybridised block no sizes are known. Shapes follow those of other arrays (reshape codes 0, -3, -4; *_like).
"""
import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from .ground import UserError
from .layers import pointwise, whole


def regroup(F, x, channels):
    """Heads into the batch or back, each a group of channels: (N, C, H, W) -> (NC / channels, channels, H, W)"""
    return F.reshape(x, shape=(-1, channels, 0, 0), reverse=True)


def flat(F, x):
    """(N, C, H, W) -> (N, C, HW)"""
    return F.reshape(x, shape=(0, 0, -3))


def check_heads(channels, heads, halves=False):
    """The number of heads as an int. UserError if they cannot share the channels evenly, in halves where a row and a
    column get one each."""
    heads = whole('heads', heads)
    if channels % (heads * (2 if halves else 1)):
        raise UserError('heads=%s must divide the %d channels of the layer%s'
                        % (heads, channels, ' into even numbers' if halves else ''))
    return heads


class AugmentedConv(HybridBlock):
    """Attention-augmented convolution: a 3x3 convolution and, beside it, multi-head attention to the whole map.

        Y = concat(conv3x3(X), W_o MHA(X))                         conv: C -> C - d_v, MHA: C -> d_v, W_o: d_v -> d_v
        MHA_i = sum_j softmax_j(q_i . (k_j + r^x_(x_j - x_i) + r^y_(y_j - y_i))) v_j           i, j: pixels; every head
        d_k = max(20 heads, kappa C), d_v = upsilon C, both rounded down to multiples of heads; q / sqrt(d_k / heads)

    Parameters: 9C(C - d_v) + C(2d_k + d_v) + d_v^2 + 2(2 extent - 1) d_k / heads.
    In: (N, C, H, W), out: (N, C, H/s, W/s), rounded up, any H and W.
    Paper: I. Bello, B. Zoph, A. Vaswani, J. Shlens, Q. V. Le, "Attention augmented convolutional networks", ICCV 2019.

    Our reading: no biases, which the published sizes neither ask for nor exclude; a stride is that of the 1x1
    convolution that makes q, k and v; `downsample` is a 3x3 average pooling of stride 2 before it, and a bilinear
    upsampling (half-pixel centres) after it to the size of the convolution's map. The paper has one size of input.
    Here a smaller map uses the middle of the tables r, and on a larger one all distances of `extent` or more use the
    outermost row.

    channels: C. extent: side, in training, of the map that attends, after stride and downsampling. heads,
    kappa, upsilon, downsample: see above. dilation: of the convolution.
    Raises UserError if heads do not divide C, or if upsilon leaves no channel to a head or to the convolution.
    """

    def __init__(self, channels, stride=1, dilation=1, *, extent, heads=8, kappa=0.2, upsilon=0.1, downsample=False,
                 **kwargs):
        super().__init__(**kwargs)
        heads, extent = check_heads(channels, heads), whole('extent', extent)
        key_size = max(20, int(kappa * channels) // heads)
        value_size = int(upsilon * channels) // heads
        keys, values = key_size * heads, value_size * heads
        if not 0 < values < channels:
            raise UserError('upsilon=%s of %d channels must be at least one for each of %d heads and not all of them'
                            % (upsilon, channels, heads))
        self._extent = extent
        self._heads = heads
        self._sizes = (key_size, value_size)
        table = dict(shape=(2 * extent - 1, key_size), init=mx.init.Normal(key_size ** -0.5))
        with self.name_scope():
            self.conv = nn.Conv2D(channels - values, 3, strides=stride, padding=dilation, dilation=dilation,
                                  use_bias=False, in_channels=channels)
            self.pool = nn.AvgPool2D(3, 2, 1, count_include_pad=False) if downsample else None
            self.qkv = nn.Conv2D(2 * keys + values, 1, strides=stride, use_bias=False, in_channels=channels)
            self.out = pointwise(values, values)
            self.relative_x = self.params.get('relative_x', **table)
            self.relative_y = self.params.get('relative_y', **table)

    def hybrid_forward(self, F, x, relative_x, relative_y):
        convolved = self.conv(x)
        attended = self._attend(F, self.qkv(x if self.pool is None else self.pool(x)), relative_x, relative_y)
        if self.pool is not None:
            attended = F.contrib.BilinearResize2D(attended, convolved, mode='like', align_corners=False)
        # In three dimensions: oneDNN's own concatenation fails in the backward pass where d_v is no multiple of the 16
        # channels that a processor with AVX-512 keeps together.
        both = F.concat(F.reshape(convolved, (0, 0, -1)), F.reshape(attended, (0, 0, -1)), dim=1)
        return F.reshape_like(both, convolved, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)

    def _attend(self, F, qkv, relative_x, relative_y):
        """(N, 2 d_k + d_v, H, W) -> (N, d_v, H, W)"""
        key_size, value_size = self._sizes
        keys, values = key_size * self._heads, value_size * self._heads
        query = regroup(F, F.slice_axis(qkv, axis=1, begin=0, end=keys), key_size) * key_size ** -0.5
        key = regroup(F, F.slice_axis(qkv, axis=1, begin=keys, end=2 * keys), key_size)
        value = regroup(F, F.slice_axis(qkv, axis=1, begin=2 * keys, end=2 * keys + values), value_size)
        along_x = self._relative(F, F.transpose(query, (3, 0, 2, 1)), relative_x, 'qr_x')
        along_y = self._relative(F, F.transpose(query, (2, 0, 3, 1)), relative_y, 'qr_y')
        relative = F.broadcast_add(F.expand_dims(F.transpose(along_x, (1, 2, 0, 3)), axis=3),
                                   F.expand_dims(F.transpose(along_y, (1, 0, 2, 3)), axis=4))  # (N heads, H, W, H, W)
        logits = F.batch_dot(flat(F, query), flat(F, key), transpose_a=True, name='qk')        # (N heads, HW, HW)
        weights = F.softmax(logits + F.reshape(relative, shape=(0, -3, -3)), axis=-1)
        mixed = F.batch_dot(flat(F, value), weights, transpose_b=True, name='av')
        mixed = F.reshape_like(mixed, query, lhs_begin=2, lhs_end=3, rhs_begin=2, rhs_end=4)
        return self.out(regroup(F, mixed, values))

    def _relative(self, F, query, table, name):
        """q_i . r_(j - i) along one axis of length L: (L, N heads, other axis, size) -> (L, N heads, other axis, L)"""
        position = F.contrib.arange_like(query, axis=0)
        distance = F.broadcast_sub(F.expand_dims(position, axis=0), F.expand_dims(position, axis=1))
        rows = F.take(table, distance + (self._extent - 1), mode='clip')                      # (L, L, size)
        logits = F.batch_dot(F.reshape(query, shape=(0, -3, 0)), rows, transpose_b=True, name=name)
        return F.reshape_like(logits, query, lhs_begin=1, lhs_end=2, rhs_begin=1, rhs_end=3)
