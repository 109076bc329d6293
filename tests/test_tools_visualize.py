"""The pages of tools.visualize: they equal formulas, and what cannot be drawn is refused in one sentence."""
import os

from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest
from matplotlib.axes import Axes
from mxnet.gluon import nn

from data.fashion_mnist import load_mini
from model import ACTIVATIONS, get_model
from model.activation import SEReLU
from model.gate import GatherExcite, LocalGatherExcite, SqueezeExcitation
from tests.numpy_layers import batch_norm, convolution, part, randomise
from tests.test_model_activation import C, gate_of
from tests.test_scripts import refusal
from tools.look import visualize
from tools.look.gates import Findings, blocks_of, choose_layers, examine, gated_units, histograms, most_selective
from tools.look.page import draw_page
from training.weights.params_file import read_params

GATED = ['xUnit', 'SpaATAC', 'ChaATAC', 'SeqATAC', 'MSSeqATAC', 'SE-activation', 'SE-ReLU', 'ChaATAC-linear',
         'SeqATAC-linear']
FLAGS = ['--model', 'atac', '--blocks', '1', '--useReLU', '--dataset', 'fashion-mnist-mini']


def image(size=6, seed=3):
    return np.random.RandomState(seed).randn(3, size, size).astype('float32')


def net_of(unit):
    """Convolution, unit, mean, dense layer: C channels, 5 classes. Returns it and its parameters."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(C, 1, in_channels=3), unit, nn.GlobalAvgPool2D(), nn.Dense(5, in_units=C))
    net.initialize()
    return net, randomise(net)


@pytest.mark.parametrize('kind,options', [('ChaATAC', {}), ('ChaATAC', dict(use_relu=False)), ('SpaATAC', {}),
                                          ('ChaATAC', dict(use_global=True)), ('xUnit', {}), ('SeqATAC', {})])
def test_gates_equal_their_formula(kind, options):
    net, arrays = net_of(ACTIVATIONS[kind](C, **options))
    x = convolution(image().astype('float64')[None], arrays['0.weight'], arrays['0.bias'])
    expected = gate_of(part(arrays, '1'), x, kind, **{'use_relu': True, 'use_global': False, 'dilation': 1, **options})
    gates = examine(net, image()).gates
    assert list(gates) == ['1']
    np.testing.assert_allclose(gates['1'], expected[0], rtol=1e-4, atol=1e-5)


def test_gates_inside_a_network_equal_their_formula():
    net = get_model('cifar_resnet', blocks=1)
    net.initialize()
    arrays = randomise(net)
    block = net.features[3][0]
    x = block.bn1(net.features[2](net.features[1](net.features[0](mx.nd.array(image(8)[None]))))).asnumpy()
    gates = examine(net, image(8)).gates
    assert list(gates) == ['features.%s' % path for path in '1.0.act1 1.0.act2 2.0.act1 2.0.act2 3.0.act1 3.0.act2 5'
                           .split()]
    expected = gate_of(part(arrays, 'features.3.0.act1'), x.astype('float64'), 'ChaATAC', True, False, 1)
    np.testing.assert_allclose(gates['features.3.0.act1'], expected[0], rtol=1e-4, atol=1e-5)


def branch_gates():
    return [SqueezeExcitation(C, r=4), GatherExcite(C, 6, r=4), LocalGatherExcite(C)]


@pytest.mark.parametrize('unit', [ACTIVATIONS[name](C) for name in GATED] + branch_gates())
def test_every_gate_is_what_its_unit_multiplies_with(unit):
    net, _ = net_of(unit)
    gate, = examine(net, image()).gates.values()
    x = net[0](mx.nd.array(image()[None]))
    gated = x.relu() if isinstance(unit, SEReLU) else x
    np.testing.assert_allclose(gated.asnumpy()[0] * gate, unit(x).asnumpy()[0], rtol=1e-5, atol=1e-6)


def test_no_other_unit_has_a_gate():
    nets = {name: net_of(ACTIVATIONS[name](C))[0] for name in ACTIVATIONS}
    assert [name for name, net in nets.items() if gated_units(net)] == sorted(GATED, key=list(nets).index)


def test_grad_cam_equals_finite_differences():
    """The layers after the pooling hold a BatchNorm, whose gradient in training mode would be another."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3), nn.GlobalAvgPool2D(), nn.Dense(6, in_units=8), nn.BatchNorm(in_channels=6),
            nn.Activation('tanh'), nn.Dropout(0.5), nn.Dense(4, in_units=6))
    net.initialize()
    arrays = randomise(net)
    maps = convolution(image().astype('float64')[None], arrays['0.weight'], arrays['0.bias'])

    def scores(x):
        x = x.mean((2, 3)) @ arrays['2.weight'].T + arrays['2.bias']
        x = np.tanh(batch_norm(x[..., None, None], **part(arrays, '3'))[..., 0, 0])
        return (x @ arrays['6.weight'].T + arrays['6.bias'])[0]

    shifts = 1e-5 * np.eye(8)[:, None, :, None, None]
    # A shift of a whole map moves the score by the sum of the derivatives at its 16 positions.
    means = np.array([(scores(maps + shift) - scores(maps - shift)) / 2e-5 / 16 for shift in shifts])
    for target in range(4):
        findings = examine(net, image(), target)
        expected = np.maximum(np.einsum('k,khw->hw', means[:, target], maps[0]), 0)
        assert findings.target == target and findings.cam.shape == (4, 4)
        np.testing.assert_allclose(findings.cam, expected, rtol=1e-4, atol=1e-6)
    findings, wanted = examine(net, image()), scores(maps)
    assert findings.target == findings.predicted == wanted.argmax()
    np.testing.assert_allclose(findings.probabilities, np.exp(wanted) / np.exp(wanted).sum(), rtol=1e-4)


def test_examining_leaves_no_hook():
    net, _ = net_of(ACTIVATIONS['ChaATAC'](C))
    examine(net, image())
    assert not any(block._forward_hooks or block._forward_pre_hooks for _, block in blocks_of(net))


def test_histograms_count_every_value_once():
    gates = {'layer3.0.relu1': np.array([[[0.0, 1.0]]]), 'layer3.1.relu2': np.full((3, 2, 2), 0.51),
             'layer4.0.relu1': np.random.RandomState(0).rand(5, 7, 7)}
    counts = histograms(gates)
    assert list(counts) == ['stage 3', 'stage 4']
    assert counts['stage 3'].sum() == 2 + 12 and counts['stage 4'].sum() == 245
    assert counts['stage 3'][[0, 25, -1]].tolist() == [1, 12, 1]
    values = gates['layer4.0.relu1']
    assert counts['stage 4'].tolist() == [((values >= i / 50) & (values < (i + 1) / 50)).sum() for i in range(50)]


def test_the_most_selective_channels_differ_most_between_positions():
    gate = 0.5 + np.array([0.1, 0.4, 0.0, 0.2, 0.05, 0.3])[:, None, None] * np.array([[-1, 1], [1, -1]])
    gate[2] = 0.9  # large, and the same everywhere
    assert most_selective(gate).tolist() == [1, 5, 3, 0]


def test_layers_are_the_last_of_each_stage_or_the_one_named():
    paths = ['layer3.0.relu1', 'layer3.1.relu2', 'layer4.0.relu1', 'layer4.0.relu2']
    assert choose_layers(paths) == ['layer3.1.relu2', 'layer4.0.relu2']
    assert choose_layers(paths, 'layer3.0.relu1') == ['layer3.0.relu1']
    assert choose_layers(['features.1.0.act1', 'features.1.0.act2', 'features.5']) == \
        ['features.1.0.act2', 'features.5']
    with pytest.raises(UserError, match='called layer9; there are layer3.0.relu1, layer3.1.relu2, layer4.0.relu1'):
        choose_layers(paths, 'layer9')


def test_a_hybridised_network_is_refused():
    net, _ = net_of(ACTIVATIONS['ChaATAC'](C))
    net.hybridize()
    with pytest.raises(UserError, match='the network is hybridised'):
        examine(net, image())


def test_scores_that_are_not_finite_are_refused():
    net, _ = net_of(ACTIVATIONS['ChaATAC'](C))
    net[3].bias.set_data(mx.nd.array([0, float('nan'), 0, 0, 0]))
    with pytest.raises(UserError, match='not finite'):
        examine(net, image())


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Files of random weights: of ChaATAC and of relu."""
    folder = tmp_path_factory.mktemp('weights')
    for unit in ('ChaATAC', 'relu'):
        net = get_model('cifar_resnet', blocks=1, act_type=unit)
        net.initialize(mx.init.MSRAPrelu())
        randomise(net)
        net.save_parameters(str(folder / (unit + '.params')))
    return folder


@pytest.fixture
def flags(weights, tmp_path):
    return [*FLAGS, '--act-type', 'ChaATAC', '--params', str(weights / 'ChaATAC.params'), '--out',
            str(tmp_path / 'pages')]


def picture(path, size=40):
    """Write a picture that is dark at the left; returns its path."""
    ramp = np.tile(np.arange(size, dtype='uint8')[None, :, None] * 5, (size, 1, 3))
    assert cv2.imwrite(str(path), ramp)
    return str(path)


def page_size(path):
    """(height, width) of a page, after a check that something is drawn on it."""
    page = cv2.imread(path)
    assert page is not None and page.std() > 20
    return page.shape[:2]


def test_pages_of_files_and_of_the_validation_set(flags, weights, tmp_path, capsys):
    pages = visualize.main([*flags, picture(tmp_path / 'odd $name_$.jpg'), '--index', '7'])
    assert [os.path.basename(page['page']) for page in pages] == ['odd $name_$.png', 'fashion-mnist-mini-7.png']
    assert sorted(os.listdir(str(tmp_path / 'pages'))) == ['fashion-mnist-mini-7.png', 'odd $name_$.png']
    pixels, labels, _ = load_mini(False)
    net = get_model('cifar_resnet', blocks=1)
    net.load_parameters(str(weights / 'ChaATAC.params'))
    expected = mx.nd.softmax(net(mx.nd.array((pixels[7:8] / 255 - 0.286) / 0.353))).asnumpy()[0]
    assert (pages[0]['label'], pages[1]['label']) == (None, labels[7])
    assert pages[1]['predicted'] == pages[1]['target'] == expected.argmax()
    assert pages[1]['probability'] == pytest.approx(expected.max(), rel=1e-4)
    assert pages[0]['layers'] == ['features.1.0.act2', 'features.2.0.act2', 'features.3.0.act2', 'features.5']
    for page in pages:
        height, width = page_size(page['page'])
        assert 1000 < width < 2000 and 1000 < height < 2500
    assert 'odd $name_$.jpg: ' in capsys.readouterr().out


def test_one_layer_and_one_class(flags):
    page, = visualize.main([*flags, '--index', '0', '--layer', 'features.2.0.act1', '--target-class', '4'])
    assert page['layers'] == ['features.2.0.act1'] and page['target'] == 4
    height, width = page_size(page['page'])
    assert 400 < height < 1000 < width


def test_a_network_without_gates_shows_grad_cam_only(flags, weights, capsys, monkeypatch):
    flags = [*flags, '--act-type', 'relu', '--params', str(weights / 'relu.params'), '--index', '0']
    page, = visualize.main(flags)
    assert page['layers'] == [] and page_size(page['page'])[0] < 600
    assert 'no unit of this network has a gate: the pages show Grad-CAM only' in capsys.readouterr().out
    sentence = refusal(lambda: visualize.main([*flags, '--layer', 'features.5']), [], capsys, monkeypatch)
    assert 'no unit with a gate is called features.5; there is none in this network' in sentence


def test_gates_without_positions_and_with_few_channels_are_drawn(tmp_path):
    findings = Findings(np.array([0.25, 0.75]), 1, 0, np.zeros((2, 2)), {
        'features.1.0.act2': np.full((2, 3, 3), 0.5), 'features.5': np.linspace(0, 1, 9).reshape(9, 1, 1)})
    path = str(tmp_path / 'page.png')
    draw_page(path, 'title', np.zeros((5, 4, 3)), findings, list(findings.gates), ['one'])
    assert page_size(path)[0] > 600


def test_maps_show_the_gates_and_grad_cam(monkeypatch, tmp_path):
    random, drawn = np.random.RandomState(0), []
    gate, cam = random.rand(4, 3, 3), random.rand(2, 2)
    monkeypatch.setattr('tools.figures.save', lambda figure, _: drawn.append(figure))
    findings = Findings(np.array([0.25, 0.75]), 1, 0, cam, {'features.1.0.act2': gate})
    draw_page(str(tmp_path / 'page.png'), 'title', np.zeros((6, 6, 3)), findings, list(findings.gates), ['one', 'two'])
    layers = {axes.get_title().split(',')[0]: axes.images[-1].get_array() for axes in drawn[0].findobj(Axes)
              if axes.images}
    np.testing.assert_allclose(layers['Grad-CAM: one'], cam / cam.max())
    np.testing.assert_allclose(layers['mean'], gate.mean(0))
    for channel in range(4):
        np.testing.assert_allclose(layers[f'channel {channel}'], gate[channel])


@pytest.mark.parametrize('extra,words', [
    ([], 'name image files, or images of the validation set with --index'),
    (['--index', '1', '1600'], '--index 1600: the validation set has images 0 to 1599'),
    (['{good}', '--layer', 'features.5.module'], 'there are features.1.0.act1, features.1.0.act2'),
    (['{good}', '--target-class', '10'], 'there is no class 10: the network has classes 0 to 9'),
    (['{text}'], 'text.png is not an image'), (['{missing}'], 'No such file'),
    (['{good}', '{good}'], 'would both be'), (['{good}', '--out', '{folder}'], 'would overwrite'),
    (['{good}', '--out', '{text}'], 'text.png is not a folder'), (['{good}', '--params', '{text}'], 'text.png'),
    (['{good}', '--act-type', 'xUnit'], 'of another architecture'),
    (['{good}', '--data-dir', '{folder}'], '--data-dir does nothing without --index')])
def test_mistakes_are_one_sentence_and_nothing_is_written(extra, words, flags, tmp_path, capsys, monkeypatch):
    (tmp_path / 'text.png').write_text('no picture')
    places = dict(good=picture(tmp_path / 'good.png'), text=tmp_path / 'text.png', folder=tmp_path,
                  missing=tmp_path / 'missing.png')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    arguments = flags + [flag.format(**places) for flag in extra]
    assert words in refusal(lambda: visualize.main(arguments), [], capsys, monkeypatch)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert not (tmp_path / 'pages').exists() or not os.listdir(str(tmp_path / 'pages'))


def test_a_page_is_drawn_of_every_picture_that_can_be_read(flags, tmp_path, capsys, monkeypatch):
    (tmp_path / 'text.png').write_text('no picture')
    arguments = [*flags, str(tmp_path / 'text.png'), picture(tmp_path / 'good.png')]
    assert 'text.png is not an image' in refusal(lambda: visualize.main(arguments), [], capsys, monkeypatch)
    assert os.listdir(str(tmp_path / 'pages')) == ['good.png']
    page = (tmp_path / 'pages' / 'good.png').read_bytes()
    (tmp_path / 'pages' / 'good.png').write_bytes(page + b'older')
    arguments[-2] = str(tmp_path / 'gone.png')  # and the page of an earlier call is there
    assert 'gone.png: No such file' in refusal(lambda: visualize.main(arguments), [], capsys, monkeypatch)
    assert (tmp_path / 'pages' / 'good.png').read_bytes() == page


def test_weights_are_never_overwritten(flags, weights, tmp_path, capsys, monkeypatch):
    os.link(str(weights / 'ChaATAC.params'), str(tmp_path / 'good.png'))
    (tmp_path / 'in').mkdir()
    arguments = [*flags, picture(tmp_path / 'in/good.png'), '--out', str(tmp_path)]
    assert 'would overwrite' in refusal(lambda: visualize.main(arguments), [], capsys, monkeypatch)
    assert read_params(str(tmp_path / 'good.png'))
