"""The ImageNet host: ResNet-v1b (stride in the 3x3 convolution) with plugs in its bottlenecks.

A plug is a factory, one for each of the four stages:

    act(channels)                                   takes the place of the two inner ReLUs
    spatial(channels, stride, dilation, extent)     takes the place of the 3x3 convolution
    gate(channels, extent)                          rescales the residual branch before the addition
    stem()                                          turns the image into 64 channels at a quarter of its size

extent is the side of the map that a plug makes or gets. The ReLU after the addition stays.

Sources: He et al., "Deep residual learning for image recognition", 2016; the v1b layout and its options are those of
GluonCV's resnet50_v1b, with which this host agrees to the last bit for the same weights.
"""
from functools import partial

import mxnet as mx
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from .attention import AugmentedConv
from .gate import GatherExcite, SqueezeExcitation
from .ground import UserError
from .layers import whole
from .local_attention import AttentionStem, LocalAttention
from .units import act_factory, acts_of

STEM_CHANNELS = 64  # of every stem
STAGE_CHANNELS = (64, 128, 256, 512)
EXPANSION = 4
STEM_STRIDE = 4
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def conv3x3(channels, stride=1, dilation=1, extent=None):
    """The plain spatial plug: a 3x3 convolution without a bias, for maps of any extent."""
    return nn.Conv2D(channels, 3, strides=stride, padding=dilation, dilation=dilation, use_bias=False,
                     in_channels=channels)


def stem_extent(side):
    """Side of the map that the stem makes of an image: 224 -> 56. Those of the four stages follow from it."""
    return -(-side // STEM_STRIDE)


def check_input_size(shape, input_size):
    """UserError if a net whose gates were built for images of input_size cannot take a batch of shape (N, C, H, W)."""
    extent = stem_extent(input_size)
    if any(stem_extent(side) != extent for side in shape[2:]):
        raise UserError('this network takes images of %d to %d pixels a side, not of %s: its gates gather with '
                        'kernels as large as its maps, so another input size needs a network built for it'
                        % (STEM_STRIDE * (extent - 1) + 1, STEM_STRIDE * extent, 'x'.join(map(str, shape[2:]))))


class Bottleneck(HybridBlock):
    """relu(shortcut(x) + gate(BN(W3 act(BN(spatial(act(BN(W1 x)))))))).   (N, in_channels, H, W) -> (N, 4C, H/s, W/s)

    act(channels), spatial(channels, stride, dilation), gate(channels) or None, norm(channels): what makes the blocks,
    with the extents already in place. downsample: the projection of the shortcut, or None.
    v1: the stride is in the first 1x1 convolution.
    """

    def __init__(self, in_channels, channels, stride, dilation, act, spatial, gate, norm, last_gamma, v1, downsample,
                 **kwargs):
        super().__init__(**kwargs)
        out_channels = channels * EXPANSION
        strides = (stride, 1) if v1 else (1, stride)
        with self.name_scope():
            # relu1 and relu2 hold whatever `act` makes: files of weights, the released one among them, name them so.
            self.conv1 = nn.Conv2D(channels, 1, strides=strides[0], use_bias=False, in_channels=in_channels)
            self.bn1 = norm(channels)
            self.relu1 = act(channels)
            self.conv2 = spatial(channels, strides[1], dilation)
            self.bn2 = norm(channels)
            self.relu2 = act(channels)
            self.conv3 = nn.Conv2D(out_channels, 1, use_bias=False, in_channels=channels)
            self.bn3 = norm(out_channels, **({'gamma_initializer': 'zeros'} if last_gamma else {}))
            self.gate = gate and gate(out_channels)
            self.downsample = downsample
            self.relu3 = nn.Activation('relu')

    def hybrid_forward(self, F, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        if self.gate is not None:
            x = self.gate(x)
        return self.relu3(x + shortcut)


class ResNetV1b(HybridBlock):
    """The host.   (N, 3, H, W) -> (N, classes)

    layers: blocks in each of the four stages. acts, spatials, gates: a factory for each of them. stem: a factory, for
    another one than conv 7x7, BN, ReLU, max-pool. input_size: side of the images, from which the plugs learn their
    extents; fixed_input: they take no others. v1: ResNet-v1's strides. last_gamma: the last BatchNorm of every block
    starts at gamma 0.

    The options below are GluonCV's. No registered network and no flag sets them; get_model takes them.
    dilated: stages 3 and 4 keep stride 8 and dilate instead. deep_stem: three 3x3 convolutions for the 7x7.
    avg_down: the shortcut averages, then projects. final_drop: dropout before the classifier.
    norm_layer, norm_kwargs: called as norm_layer(in_channels=..., **norm_kwargs).
    Raises UserError for layers, classes, input_size or final_drop out of range, and for two stems.
    """

    def __init__(self, layers, acts, classes=1000, spatials=(conv3x3,) * 4, gates=(None,) * 4, stem=None,
                 input_size=224, fixed_input=False, v1=False, last_gamma=False, dilated=False, deep_stem=False,
                 avg_down=False, final_drop=0.0, norm_layer=nn.BatchNorm, norm_kwargs=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(layers, (list, tuple)) or len(layers) != 4:
            raise UserError('layers=%s must be four numbers' % (layers,))
        layers, input_size = [whole('layers', blocks) for blocks in layers], whole('input_size', input_size)
        if not 0 <= final_drop < 1:
            raise UserError('final_drop=%s must be in [0, 1)' % (final_drop,))
        if stem and deep_stem:
            raise UserError('deep_stem is a stem of its own: this network has another')
        self._norm = lambda channels, **extra: norm_layer(in_channels=channels, **{**(norm_kwargs or {}), **extra})
        self._bottleneck = partial(Bottleneck, norm=self._norm, last_gamma=last_gamma, v1=v1)
        self._avg_down = avg_down
        self._input_size = input_size if fixed_input else None
        strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))
        with self.name_scope():
            self.stem = stem and stem()
            in_channels = STEM_CHANNELS
            if stem is None:
                self.conv1 = self._deep_stem(STEM_CHANNELS // 2) if deep_stem else nn.Conv2D(
                    STEM_CHANNELS, 7, strides=2, padding=3, use_bias=False, in_channels=3)
                self.bn1 = self._norm(in_channels)
                self.relu = nn.Activation('relu')
                self.maxpool = nn.MaxPool2D(3, 2, 1)
            extent = stem_extent(input_size)
            for stage in range(4):
                channels = STAGE_CHANNELS[stage]
                extent = -(-extent // strides[stage])
                plugs = dict(act=acts[stage], spatial=partial(spatials[stage], extent=extent),
                             gate=gates[stage] and partial(gates[stage], extent=extent))
                setattr(self, 'layer%d' % (stage + 1), self._stage(
                    in_channels, channels, layers[stage], strides[stage], dilations[stage], plugs))
                in_channels = channels * EXPANSION
            self.avgpool = nn.GlobalAvgPool2D()
            self.flat = nn.Flatten()
            self.drop = nn.Dropout(final_drop) if final_drop else None
            self.fc = nn.Dense(whole('classes', classes), in_units=in_channels)

    def _deep_stem(self, width):
        stem = nn.HybridSequential()
        for in_channels, channels, stride in ((3, width, 2), (width, width, 1)):
            stem.add(nn.Conv2D(channels, 3, strides=stride, padding=1, use_bias=False, in_channels=in_channels),
                     self._norm(channels), nn.Activation('relu'))
        stem.add(nn.Conv2D(2 * width, 3, padding=1, use_bias=False, in_channels=width))
        return stem

    def _stage(self, in_channels, channels, blocks, stride, dilation, plugs):
        """The blocks of a stage; its first one takes the stride, half of the dilation, and a projection shortcut."""
        stage = nn.HybridSequential()
        stage.add(self._bottleneck(in_channels, channels, stride, max(1, dilation // 2), **plugs,
                                   downsample=self._downsample(in_channels, channels * EXPANSION, stride)))
        for _ in range(1, blocks):
            stage.add(self._bottleneck(channels * EXPANSION, channels, 1, dilation, **plugs, downsample=None))
        return stage

    def _downsample(self, in_channels, channels, stride):
        projection = nn.HybridSequential()
        if self._avg_down:
            projection.add(nn.AvgPool2D(stride, stride, ceil_mode=True, count_include_pad=False))
            stride = 1
        projection.add(nn.Conv2D(channels, 1, strides=stride, use_bias=False, in_channels=in_channels),
                       self._norm(channels))
        return projection

    def forward(self, x, *args):
        # Compiled blocks see no shapes, so a net of one input size says so here.
        if self._input_size and isinstance(x, mx.nd.NDArray):
            check_input_size(x.shape, self._input_size)
        return super().forward(x, *args)

    def hybrid_forward(self, F, x):
        x = self.stem(x) if self.stem is not None else self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.flat(self.avgpool(x))
        if self.drop is not None:
            x = self.drop(x)
        return self.fc(x)


def resnet_v1b(layers=DEPTHS[50], act_type='ChaATAC', act_layers=2, act_order='bac', replace_act='relu', r=2,
               use_relu=True, use_global=False, kernel_size=3, dilation=1, norm_layer=nn.BatchNorm, norm_kwargs=None,
               **host_options):
    """ResNet-v1b with a named unit in the activations of its last (act_order 'bac') or first ('pre') act_layers stages.

    layers: blocks per stage. r, use_relu, use_global, kernel_size, dilation: of the unit (model.activation).
    norm_layer, norm_kwargs: of the host and of its units alike. host_options: those of ResNetV1b.
    Raises UserError for a name that is not there and for a number out of range.
    """
    acts = acts_of(act_type, replace_act, act_layers, act_order, r=r, use_relu=use_relu, use_global=use_global,
                   kernel_size=kernel_size, dilation=dilation, norm_layer=norm_layer, norm_kwargs=norm_kwargs)
    return ResNetV1b(layers, acts, norm_layer=norm_layer, norm_kwargs=norm_kwargs, **host_options)


def se_resnet(layers, r=16, **options):
    """SE-ResNet: a squeeze-and-excitation gate in every block (Hu et al., CVPR 2018).   options: of ResNetV1b"""
    gate = partial(_any_extent, SqueezeExcitation, r=r)
    return ResNetV1b(layers, _relus(), gates=(gate,) * 4, **options)


def ge_theta_plus_resnet(layers, r=16, **options):
    """GE-theta-plus-ResNet: a gather-excite gate of global extent in every block (Hu et al., NeurIPS 2018).

    Its kernels are as large as its maps, so it takes images of one size, input_size.   options: of ResNetV1b
    """
    gate = partial(GatherExcite, r=r, **_norms(options))
    return ResNetV1b(layers, _relus(), gates=(gate,) * 4, fixed_input=True, **options)


def aa_resnet(layers, **options):
    """AA-ResNet: attention beside the 3x3 convolutions of the last three stages (Bello et al., ICCV 2019).

    In the second stage the attention works at half of the size.   options: of ResNetV1b
    """
    def halved(channels, stride, dilation, extent):
        return AugmentedConv(channels, stride, dilation, extent=-(-extent // 2), downsample=True)

    return ResNetV1b(layers, _relus(), spatials=(conv3x3, halved, AugmentedConv, AugmentedConv), **options)


def fa_resnet(layers, **options):
    """FA-ResNet: local attention for every 3x3 convolution and for the stem (Ramachandran et al., NeurIPS 2019).

    options: of ResNetV1b. Images have at least 17 pixels a side, so that maps can be halved in every stage; UserError
    for a smaller input_size.
    """
    whole('input_size', options.get('input_size', 224), least=17)
    return ResNetV1b(layers, _relus(), spatials=(partial(_any_extent, LocalAttention),) * 4,
                     stem=partial(AttentionStem, **_norms(options)), **options)


def _relus():
    return (act_factory('relu'),) * 4


def _norms(options):
    """Those of the host's options that its plugs with a BatchNorm take too."""
    return {name: options[name] for name in ('norm_layer', 'norm_kwargs') if name in options}


def _any_extent(block, *args, extent, **options):
    """A plug of a block that takes maps of any extent."""
    return block(*args, **options)
