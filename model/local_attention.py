"""Attention to the neighbourhood of each pixel: the layers of FA-ResNet.

LocalAttention goes into the plug `spatial(channels, stride, dilation, extent)` of the ImageNet host, without its
extent; AttentionStem replaces the stem of the host. Inside a hybridised block no sizes are known, see attention.py.
"""
import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from .attention import check_heads, regroup
from .ground import UserError
from .layers import odd, pointwise, whole

# LocalAttention works on blocks of BLOCK x BLOCK queries, which share the (BLOCK + k - 1)^2 keys around them: for k = 7
# 100 logits a query instead of 49, and each key held 6.25 times instead of 49. One layer, forward and back,
# compiled, (8, 64, 56, 56), 8 heads: blocks of 2, 3, 4, 5, 7 take 690, 470, 390, 470, 510 MB and 1.2 to 1.7 s of a CPU.
# A loop over the 49 offsets takes 1220 MB and 7.4 s, one with the operator Correlation for q . k 820 MB and 6.8 s.
BLOCK = 4
HALVINGS = 4  # until one of the BLOCK ** 2 pixels of a block is left
# Logit of a key outside of the neighbourhood. Two of them add up, and must stay finite in float16.
OUTSIDE = -3e4


def relative_positions(channels, heads, k):
    """q . r for k relative rows and k relative columns of every head: (N, C, H, W) -> (N, 2k heads, H, W).

    r = concat(row, column), half a head each: a group of a 1x1 convolution, whose filters are the k embeddings.
    """
    return nn.Conv2D(2 * k * heads, 1, groups=2 * heads, use_bias=False, in_channels=channels,
                     weight_initializer=mx.init.Normal(1.0), prefix='relative_')


def squares(F, x, size, margin):
    """The square of BLOCK + 2 margin pixels a side around each of the L blocks of a map, zeros beyond its border.

    (N, C, H, W) -> (NC / size, L, size, pixels of a square)         L = ceil(H / BLOCK) ceil(W / BLOCK)
    """
    side = BLOCK + 2 * margin
    after = BLOCK + margin - 1
    x = F.pad(x, mode='constant', pad_width=(0, 0, 0, 0, margin, after, margin, after))
    x = F.im2col(x, kernel=(side, side), stride=(BLOCK, BLOCK))
    return F.transpose(F.reshape(x, shape=(-1, size, side * side, 0), reverse=True), (0, 3, 1, 2))


def grid(F, x):
    """An array of which only the shape matters: (N, C, H, W) -> (N, ceil(H / BLOCK), ceil(W / BLOCK))"""
    x = F.slice(x, begin=(None, 0, None, None), end=(None, 1, None, None), step=(1, 1, BLOCK, BLOCK))
    return F.BlockGrad(F.reshape(x, shape=(0, -3, 0)))


def shear(F, x, k, margin):
    """From logits of k relative positions to those of the pixels of a square: pixel u is at u - i for row i of a block.

    (M, p, BLOCK, k) -> (M, p, BLOCK, BLOCK + 2 margin), OUTSIDE where a pixel is none of the k
    """
    first = k // 2 - margin
    if margin:
        x = F.pad(x, mode='constant', constant_value=OUTSIDE, pad_width=(0, 0, 0, 0, 0, 0, 0, BLOCK))
        k += BLOCK
    # Read as rows shorter by one, each row begins one position earlier than the one above it.
    x = F.slice_axis(F.reshape(x, shape=(0, 0, -3)), axis=2, begin=first, end=first + BLOCK * (k - 1))
    x = F.reshape(x, shape=(0, 0, -4, BLOCK, k - 1))
    return x if margin else F.slice_axis(x, axis=3, begin=0, end=BLOCK)


def attend(F, query, key, value, relative, k, margin):
    """Attention of the queries of each block to the square around it, as far as that is in their k x k neighbourhoods.

    query: (M, L, size, BLOCK^2), key, value: (M, L, size, pixels), relative: q . r for k rows and then k columns,
    (M, L, 2k, BLOCK^2)  ->  (M, L, size, BLOCK^2)
    """
    relative = F.reshape(relative, shape=(-3, 0, -4, BLOCK, BLOCK))
    rows, columns = (F.slice_axis(relative, axis=1, begin=begin, end=begin + k) for begin in (0, k))
    rows = F.transpose(shear(F, F.transpose(rows, (0, 3, 2, 1)), k, margin), (0, 2, 1, 3))
    columns = shear(F, F.transpose(columns, (0, 2, 3, 1)), k, margin)
    relative = F.broadcast_add(F.expand_dims(rows, axis=4), F.expand_dims(columns, axis=3))
    blocks = query
    query, key, value = (F.reshape(x, shape=(-3, 0, 0)) for x in (query, key, value))
    logits = F.batch_dot(query, key, transpose_a=True, name='local_qk')
    weights = F.softmax(logits + F.reshape(relative, shape=(0, -3, -3)), axis=-1)
    return F.reshape_like(F.batch_dot(value, weights, transpose_b=True, name='local_av'), blocks)


class LocalAttention(HybridBlock):
    """Stand-alone local attention: each pixel attends to the k x k pixels around it, instead of a convolution.

        y_i = sum_(j in N(i)) softmax_j(q_i . k_j + q_i . r_(j - i)) v_j       q, k, v = W_q X, W_k X, W_v X; every head
        r_(j - i) = concat(row_(y_j - y_i), column_(x_j - x_i))                half a head each, learned, N(0, 1)

    No scale, no biases; beyond the border k and v are 0. A stride s is an s x s average pooling after the attention.
    Parameters: 3C^2 + kC. In: (N, C, H, W), out: (N, C, H/s, W/s), rounded up, H and W of at least s.
    Logits must differ by less than 3e4: a pixel outside of N(i) gets -3e4.
    Paper: P. Ramachandran, N. Parmar, A. Vaswani, I. Bello, A. Levskaya, J. Shlens, "Stand-alone self-attention in
    vision models", NeurIPS 2019.

    Our reading, which the published sizes of its networks bear out: W_q, W_k, W_v are full C -> C matrices, and every
    head has rows and columns of its own.

    channels: C. heads: share C in even numbers. kernel_size: k, odd, 3 or more. dilation: none, 1.
    Raises UserError for others.
    """

    def __init__(self, channels, stride=1, dilation=1, heads=8, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        heads = check_heads(channels, heads, halves=True)
        kernel_size = odd('kernel_size', kernel_size, least=3)
        if dilation != 1:
            raise UserError('dilation=%s must be 1: local attention is not dilated' % (dilation,))
        self._k = kernel_size
        self._channels = channels
        self._size = channels // heads
        with self.name_scope():
            self.query, self.key, self.value = (pointwise(channels, channels, prefix=name)
                                                for name in ('query_', 'key_', 'value_'))
            self.relative = relative_positions(channels, heads, kernel_size)
            self.pool = None
            if stride > 1:
                self.pool = nn.AvgPool2D(stride, stride, ceil_mode=True, count_include_pad=False)

    def hybrid_forward(self, F, x):
        k = self._k
        margin = self._k // 2
        size = self._size
        query = self.query(x)
        y = attend(F, squares(F, query, size, 0), squares(F, self.key(x), size, margin),
                   squares(F, self.value(x), size, margin), squares(F, self.relative(query), 2 * k, 0), k, margin)
        y = F.reshape_like(y, grid(F, regroup(F, query, size)), lhs_begin=1, lhs_end=2, rhs_begin=1, rhs_end=3)
        y = F.transpose(F.reshape(y, shape=(0, 0, 0, 0, -4, BLOCK, BLOCK)), (0, 3, 1, 4, 2, 5))
        y = regroup(F, F.reshape(y, shape=(0, 0, -3, -3)), self._channels)
        y = F.slice_like(y, x, axes=(2, 3))
        return y if self.pool is None else self.pool(y)


class AttentionStem(HybridBlock):
    """Attention within each 4x4 block of the image, values that depend on the place in the block, BatchNorm, maximum.

        Y = max_(i in block) BN(y_i),   y_i = sum_(j in block) softmax_j(q_i . k_j + q_i . r_(j - i)) v_j     every head
        v_j = (sum_m p_m W^m) x_j,      p = softmax_m((row_a + column_b) . nu^m)          for j at row a, column b of it

    Parameters: 6C + 3mC + (8 + m) C / heads + 7C, and those of the BatchNorm.
    In: (N, 3, H, W), out: (N, C, H/4, W/4), any H and W: zeros fill the last blocks.
    Paper: as of LocalAttention.

    From the paper: blocks, formula of v, BatchNorm, maximum, m = 4. Our reading: 8 heads, which share p, so row,
    column and nu have the size of a head; relative positions r as in the other layers, which the published count of
    operations asks for; no ReLU.

    channels: C. heads: share C in even numbers. mixtures: m, at least 1. Raises UserError for others.
    norm_layer, norm_kwargs: called as norm_layer(in_channels=..., **norm_kwargs).
    """

    def __init__(self, channels=64, heads=8, mixtures=4, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        heads, mixtures = check_heads(channels, heads, halves=True), whole('mixtures', mixtures)
        size = channels // heads
        self._channels = channels
        self._mixtures = mixtures
        self._size = size
        with self.name_scope():
            self.query, self.key = (pointwise(3, channels, prefix=name) for name in ('query_', 'key_'))
            self.relative = relative_positions(channels, heads, 2 * BLOCK - 1)
            self.norm = norm_layer(in_channels=channels, **norm_kwargs or {})
            self.value_weight = self.params.get('value_weight', shape=(mixtures * channels, 3, 1, 1))
            self.row = self.params.get('row', shape=(BLOCK, size), init=mx.init.Normal(1.0))
            self.column = self.params.get('column', shape=(BLOCK, size), init=mx.init.Normal(1.0))
            self.mixture = self.params.get('mixture', shape=(mixtures, size), init=mx.init.Normal(size ** -0.5))

    def hybrid_forward(self, F, x, value_weight, row, column, mixture):
        pixels = F.transpose(squares(F, x, 3, 0), (0, 2, 3, 1))                              # (N, 3, 16, L)
        query = self.query(pixels)
        k = 2 * BLOCK - 1
        y = attend(F, self._by_head(F, query, self._size), self._by_head(F, self.key(pixels), self._size),
                   self._values(F, pixels, self._mix(F, value_weight, row, column, mixture)),
                   self._by_head(F, self.relative(query), 2 * k), k, 0)
        y = self.norm(regroup(F, F.transpose(y, (0, 2, 3, 1)), self._channels))              # (N, C, 16, L)
        # By halves: MXNet's max gives each of equal maxima the whole gradient, and pixels beyond the border are equal.
        for _ in range(HALVINGS):
            y = F.maximum(*F.split(y, num_outputs=2, axis=2))                                # at last (N, C, 1, L)
        return F.reshape_like(y, grid(F, x), lhs_begin=2, lhs_end=4, rhs_begin=1, rhs_end=3)

    def _by_head(self, F, x, size):
        """(N, heads * size, 16, L) -> (N heads, L, size, 16)"""
        return F.transpose(regroup(F, x, size), (0, 3, 1, 2))

    def _mix(self, F, value_weight, row, column, mixture):
        """The m matrices into one for each place of a block: (16 C, 3, 1, 1)"""
        places = F.reshape(F.broadcast_add(F.expand_dims(row, axis=1), F.expand_dims(column, axis=0)), shape=(-3, 0))
        shares = F.softmax(F.dot(places, mixture, transpose_b=True), axis=-1)                # (16, m)
        return F.reshape(F.dot(shares, F.reshape(value_weight, shape=(self._mixtures, -1))), shape=(-1, 3, 1, 1))

    def _values(self, F, pixels, weight):
        """(N, 3, 16, L) -> (N heads, L, size, 16), each place of a block by its own matrix"""
        places = BLOCK ** 2
        pixels = F.reshape(F.transpose(pixels, (0, 2, 1, 3)), shape=(0, 3 * places, 1, -1))
        value = F.Convolution(pixels, weight, kernel=(1, 1), num_filter=self._channels * places, num_group=places,
                              no_bias=True, name='value')
        value = F.reshape(value, shape=(0, places, self._channels // self._size, self._size, -1))
        return F.reshape(F.transpose(value, (0, 2, 4, 3, 1)), shape=(-3, 0, 0, 0))
