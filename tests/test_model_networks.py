"""Both hosts: exact parameter counts of every name, the released names, equality with GluonCV and with NumPy."""
import json
import os

from runtime import UserError

import gluoncv
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from model import ACTIVATIONS, MODELS, get_model
from model.activation import ChaATAC
from model.complexity import layers, parameters
from tests.numpy_layers import batch_norm, convolution, max_pool, part, randomise, relu, sigmoid

GOLDEN = os.path.join(os.path.dirname(__file__), 'golden', 'atac_resnet50_v1b_')

# name -> (all arrays, trainable), 1000 classes (cifar_resnet: 10 classes, blocks=3)
COUNTS = {
    'cifar_resnet': (310310, 306858), 'se_cifar_resnet': (310310, 306858),
    # 11 C trainable and 2 C running values in each of the 9 blocks, over the plain network
    'ge_cifar_resnet': (273670 + 13 * 3 * 112, 272282 + 11 * 3 * 112),
    'resnet50': (25610152, 25557032), 'se_resnet50': (28141144, 28088024), 'se_resnet50_v1b': (28141144, 28088024),
    'ge_theta_plus_resnet50': (33720920, 33637592), 'ge_theta_plus_resnet50_v1b': (33720920, 33637592),
    'aa_resnet50': (25862512, 25809392), 'fa_resnet50': (18084040, 18030920),
    'resnet50_v1b': (25610152, 25557032), 'atac_resnet50_v1b': (28006312, 27934760),
    'resnet101_v1b': (44654504, 44549160), 'resnet152_v1b': (60344232, 60192808),
    # Two units a block: C^2 + 3C trainable and 3C running values each, at C = 256 (23, 36 blocks) and 512 (3 blocks).
    'atac_resnet101_v1b': (44654504 + 2 * (23 * (256 ** 2 + 6 * 256) + 3 * (512 ** 2 + 6 * 512)),
                           44549160 + 2 * (23 * (256 ** 2 + 3 * 256) + 3 * (512 ** 2 + 3 * 512))),
    'atac_resnet152_v1b': (60344232 + 2 * (36 * (256 ** 2 + 6 * 256) + 3 * (512 ** 2 + 6 * 512)),
                           60192808 + 2 * (36 * (256 ** 2 + 3 * 256) + 3 * (512 ** 2 + 3 * 512))),
}


@pytest.mark.parametrize('name', MODELS)
def test_every_network_has_its_number_of_parameters(name):
    assert parameters(get_model(name)) == COUNTS[name]


@pytest.mark.parametrize('options,count', [
    (dict(r=4), 26820520), (dict(act_layers=0), 25610152), (dict(act_layers=1), 27201448),
    (dict(act_layers=4), 28170408)])
def test_imagenet_counts_by_option(options, count):
    assert parameters(get_model('atac_resnet50_v1b', **options))[0] == count


@pytest.mark.parametrize('blocks', range(1, 6))
def test_cifar_counts_by_depth(blocks):
    relu_all = (84192, 181856, 279520, 377184, 474848)[blocks - 1]
    atac_all = (96640, 206400, 316160, 425920, 535680)[blocks - 1]
    options = dict(blocks=blocks, classes=100)
    assert parameters(get_model('cifar_resnet', act_type='relu', **options)) == (relu_all, 83700 + 97216 * (blocks - 1))
    assert parameters(get_model('cifar_resnet', act_type='ChaATAC', r=2, use_relu=True, **options)) == \
        (atac_all, 95428 + 108640 * (blocks - 1))


def test_xunit_has_the_counts_of_the_published_figure():
    for blocks in range(1, 6):
        net = get_model('cifar_resnet', blocks=blocks, act_type='xUnit', classes=100)
        assert parameters(net)[1] == 86580 + 99904 * (blocks - 1)


def test_the_net_has_the_released_names_and_shapes():
    with open(GOLDEN + 'parameters.json') as file:
        released = {name: tuple(shape) for name, shape in json.load(file).items()}
    net = get_model('atac_resnet50_v1b', act_type='ChaATAC', r=2, act_layers=2, classes=1000, last_gamma=True)
    assert {name: parameter.shape for name, parameter in net._collect_params_with_prefix().items()} == released


def test_logits_equal_the_golden_ones():
    """These were not made by this repository."""
    net = get_model('atac_resnet50_v1b', act_type='ChaATAC', r=2, act_layers=2, classes=1000, last_gamma=True)
    net.initialize()
    randomise(net, gamma=small_last_gamma)
    logits = net(mx.nd.array(np.random.RandomState(1).randn(2, 3, 96, 96))).asnumpy()
    expected = np.loadtxt(GOLDEN + 'logits.csv.gz', delimiter=',')
    assert expected.shape == logits.shape and np.abs(logits - expected).max() < 1e-4 * expected.std()


def small_last_gamma(name):
    """With 1, noise of 1e-6 in the input moves the logits by more than their standard deviation."""
    return 0.2 if name.endswith('bn3.gamma') else 1


@pytest.mark.parametrize('options', [{}, dict(dilated=True), dict(deep_stem=True, avg_down=True),
                                     dict(last_gamma=True)])
def test_relu_net_equals_gluoncv(options):
    """Bit for bit, in prediction and in training mode."""
    theirs = gluoncv.model_zoo.resnet50_v1b(pretrained=False, **options)
    ours = get_model('resnet50_v1b', **options)
    x = mx.nd.random.normal(shape=(2, 3, 64, 64))
    ours.initialize()
    theirs.initialize()
    theirs(x)
    for name, parameter in ours._collect_params_with_prefix().items():
        if options.get('last_gamma') and name.endswith('bn3.gamma'):
            assert not parameter.data().asnumpy().any()
        parameter.set_data(theirs._collect_params_with_prefix()[name].data())
    assert (ours(x).asnumpy() == theirs(x).asnumpy()).all()
    with mx.autograd.train_mode():
        assert (ours(x).asnumpy() == theirs(x).asnumpy()).all()


def numpy_resnet(arrays, x, depths, act_layers):
    """ATAC-ResNet-v1b with r given by the arrays, in float64."""
    def conv(x, name, **options):
        return convolution(x, arrays[name + '.weight'], **options)

    def norm(x, name):
        return batch_norm(x, **part(arrays, name))

    def act(x, name):
        if name + '.module.0.weight' not in arrays:
            return relu(x)
        gate = relu(norm(conv(x, name + '.module.0'), name + '.module.1'))
        return x * sigmoid(norm(conv(gate, name + '.module.3'), name + '.module.4'))

    x = max_pool(relu(norm(conv(x, 'conv1', stride=2, padding=3), 'bn1')), 3, 2, 1)
    for stage, blocks in enumerate(depths, 1):
        for block in range(blocks):
            name, stride = 'layer%d.%d.' % (stage, block), 2 if stage > 1 and block == 0 else 1
            assert (name + 'relu1.module.0.weight' in arrays) == (stage > 4 - act_layers)
            shortcut = x if block else norm(conv(x, name + 'downsample.0', stride=stride), name + 'downsample.1')
            x = act(norm(conv(x, name + 'conv1'), name + 'bn1'), name + 'relu1')
            x = act(norm(conv(x, name + 'conv2', stride=stride, padding=1), name + 'bn2'), name + 'relu2')
            x = relu(norm(conv(x, name + 'conv3'), name + 'bn3') + shortcut)
    return x.mean((2, 3)) @ arrays['fc.weight'].T + arrays['fc.bias']


@pytest.mark.parametrize('r,act_layers', [(2, 2), (4, 1), (2, 4)])
def test_logits_equal_numpy(r, act_layers):
    """To 1e-4 of their standard deviation. Small bn3.gamma keep the activations, and so the gates, off saturation."""
    depths = (1, 2, 1, 2)
    net = get_model('atac_resnet50_v1b', layers=depths, r=r, act_layers=act_layers, classes=10)
    net.initialize()
    arrays = randomise(net, gamma=small_last_gamma)
    x = np.random.RandomState(1).randn(2, 3, 64, 64).astype('float32')
    expected = numpy_resnet(arrays, x.astype('float64'), depths, act_layers)
    assert np.abs(net(mx.nd.array(x)).asnumpy() - expected).max() < 1e-4 * expected.std()


def test_cifar_logits_equal_numpy():
    net = get_model('cifar_resnet', blocks=1, act_layers=2, act_order='pre', classes=7)
    net.initialize()
    arrays = randomise(net)
    x = np.random.RandomState(1).randn(2, 3, 32, 32).astype('float32')
    y = batch_norm(x.astype('float64'), **{**part(arrays, 'features.0.bn'), 'gamma': np.ones(3)})
    y = convolution(y, arrays['features.0.weight'], padding=1)
    for stage in (1, 2, 3):
        block = part(arrays, 'features.%d.0' % stage)

        def act(x, name, block=block, atac=stage < 3):
            if not atac:
                return relu(x)
            gate = relu(batch_norm(convolution(x, block[name + '.module.0.weight']), **part(block, name + '.module.1')))
            return x * sigmoid(batch_norm(convolution(gate, block[name + '.module.3.weight']),
                                          **part(block, name + '.module.4')))

        stride = 1 if stage == 1 else 2
        shortcut = convolution(y, block['shortcut.weight'], stride=stride) if 'shortcut.weight' in block else y
        z = act(batch_norm(y, **part(block, 'bn1')), 'act1')
        z = convolution(z, block['conv1.weight'], stride=stride, padding=1)
        y = convolution(act(batch_norm(z, **part(block, 'bn2')), 'act2'), block['conv2.weight'], padding=1) + shortcut
    y = relu(batch_norm(y, **part(arrays, 'features.4'))).mean((2, 3))
    expected = y @ arrays['output.weight'].T + arrays['output.bias']
    assert np.abs(net(mx.nd.array(x)).asnumpy() - expected).max() < 1e-4 * expected.std()


def test_running_statistics_of_the_data_are_learned():
    """On a CPU, MXNet would leave them at 0 and 1: DataNorm says why."""
    net = get_model('cifar_resnet', blocks=1, act_type='relu')
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize(static_alloc=True, static_shape=True)
    x = 3 + 2 * mx.nd.random.normal(shape=(16, 3, 32, 32))
    with mx.autograd.record():
        loss = net(x).sum()
    loss.backward()
    norm = net.features[0].bn
    np.testing.assert_allclose(norm.running_mean.data().asnumpy(), 0.1 * x.mean((0, 2, 3)).asnumpy(), rtol=1e-4)
    np.testing.assert_allclose(norm.running_var.data().asnumpy(), 0.9 + 0.1 * x.asnumpy().var((0, 2, 3)), rtol=1e-2)


def test_an_image_has_a_gradient_and_spoils_no_other_of_its_batch():
    net = get_model('cifar_resnet', blocks=1, act_type='relu')
    net.initialize(mx.init.MSRAPrelu())
    net.cast('float64')
    net.hybridize()
    x, direction = (mx.nd.random.normal(shape=(4, 3, 16, 16)).astype('float64') for _ in range(2))
    x.attach_grad()
    with mx.autograd.record(train_mode=False):
        out = net(x).sum()
    out.backward(train_mode=False)
    change = (net(x + 1e-6 * direction).sum() - net(x - 1e-6 * direction).sum()) / 2e-6
    np.testing.assert_allclose((x.grad * direction).sum().asscalar(), change.asscalar(), rtol=1e-3)
    x[0, 0, 0, 0] = np.inf
    assert np.isfinite(net(x).asnumpy()).all(axis=1).tolist() == [False, True, True, True]


@pytest.mark.parametrize('dtype', ['float16', 'float64'])
def test_cifar_networks_can_be_cast(dtype):
    net = get_model('cifar_resnet', blocks=1)
    net.initialize(mx.init.MSRAPrelu())
    net.cast(dtype)
    net.hybridize()
    assert net(mx.sym.var('data', dtype=dtype)).infer_type()[1][0] == np.dtype(dtype)
    if dtype == 'float64':  # float16 is for GPUs
        assert net(mx.nd.ones((2, 3, 16, 16), dtype=dtype)).dtype == np.float64


def group_norm(in_channels, **options):
    """A norm_layer that is no BatchNorm; MXNet's GroupNorm finds its channels out by itself."""
    return nn.GroupNorm(num_groups=4, **options)


@pytest.mark.parametrize('options', [dict(norm_layer=group_norm), dict(norm_kwargs={'use_global_stats': True}),
                                     dict(final_drop=0.5), dict(use_global=True), dict(act_type='SeqATAC')])
def test_host_options_build_and_train(options):
    net = get_model('atac_resnet50_v1b', layers=(1, 1, 1, 1), classes=3, **options)
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize()
    with mx.autograd.record():
        loss = net(mx.nd.random.normal(shape=(2, 3, 32, 32))).sum()
    loss.backward()
    assert np.isfinite(loss.asscalar())
    if 'norm_layer' in options:
        blocks = []
        net.apply(blocks.append)
        assert not any(isinstance(block, nn.BatchNorm) for block in blocks)


@pytest.mark.parametrize('name', ACTIVATIONS)
@pytest.mark.parametrize('host', ['cifar_resnet', 'atac_resnet50_v1b'])
def test_every_unit_fits_both_hosts(name, host):
    options = dict(blocks=1, classes=4) if host == 'cifar_resnet' else dict(layers=(1, 1, 1, 1), classes=4)
    net = get_model(host, act_type=name, **options)
    assert layers(net, (1, 3, 32, 32))[-1].output_shape == (1, 4)


def test_bad_options_are_refused():
    for name, options, message in (
            ('resnet51', {}, 'unknown model .*there are cifar_resnet'),
            ('cifar_resnet', dict(blocks=0), 'blocks=0 must be a whole number of at least 1'),
            ('cifar_resnet', dict(act_type='x'), 'unknown activation'),
            ('cifar_resnet', dict(r=3), 'r=3 must divide the 16 channels'),
            ('atac_resnet50_v1b', dict(act_layers=5), 'act_layers=5 must be'),
            ('resnet50_v1b', dict(layers=(1, 1)), 'must be four numbers'),
            ('cifar_resnet', dict(r=1.6), 'r=1.6 must be a whole number of at least 1'),
            ('cifar_resnet', dict(classes=0), 'classes=0 must be a whole number of at least 1'),
            ('resnet50_v1b', dict(classes=-1), 'classes=-1 must be a whole number of at least 1'),
            ('cifar_resnet', dict(r=float('inf')), 'r=inf must be a whole number'),
            ('cifar_resnet', dict(r=float('nan')), 'r=nan must be a whole number'),
            ('cifar_resnet', dict(r='2'), 'r=2 must be a whole number'),
            ('cifar_resnet', dict(blocks=2.5), 'blocks=2.5 must be a whole number'),
            ('cifar_resnet', dict(classes=2.5), 'classes=2.5 must be a whole number'),
            ('cifar_resnet', dict(act_layers=1.5), 'act_layers=1.5 must be a whole number of at least 0'),
            ('cifar_resnet', dict(act_type='SpaATAC', kernel_size=None), 'kernel_size=None must be a whole number'),
            ('atac_resnet50_v1b', dict(layers=(1, 1, 1, 0)), 'layers=0 must be a whole number'),
            ('resnet50_v1b', dict(layers=5), 'layers=5 must be four numbers'),
            ('resnet50_v1b', dict(input_size=-3), 'input_size=-3 must be a whole number of at least 1'),
            ('ge_theta_plus_resnet50', dict(input_size='224'), 'input_size=224 must be a whole number'),
            ('fa_resnet50', dict(input_size='224'), 'input_size=224 must be a whole number of at least 17'),
            ('fa_resnet50', dict(dilated=True), 'dilation=2 must be 1: local attention is not dilated'),
            ('resnet50_v1b', dict(final_drop=1.5), 'final_drop=1.5 must be in')):
        with pytest.raises(UserError, match=message):
            get_model(name, **options)
    with pytest.raises(TypeError, match='act_type'):
        get_model('se_cifar_resnet', act_type='relu')
    get_model('cifar_resnet', r=2.0, act_layers=2.0, blocks=1.0, classes=3.0)


def test_a_unit_is_one_block_of_a_users_network():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3), nn.BatchNorm(), ChaATAC(8, r=2), nn.GlobalAvgPool2D(), nn.Dense(2))
    net.initialize()
    net.hybridize()
    assert net(mx.nd.ones((1, 3, 9, 9))).shape == (1, 2)
