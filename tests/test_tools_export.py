"""tools.export: what is written gives the network's logits elsewhere, and what cannot be written is refused."""
import ast
import json
import os
import re
import sys
import warnings

import cv2
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from cli.exits import run_script
from cli.flags import CIFAR_MODELS
from data.fashion_mnist import load_mini
from model import ACTIVATIONS, MODELS, get_model
from tests.numpy_layers import randomise
from tests.test_scripts import refusal
from tools.share import export
from training.weights.params_file import read_params

FLAGS = ['--model', 'atac', '--blocks', '1', '--useReLU', '--act-type', 'ChaATAC', '--dataset', 'fashion-mnist-mini']
REASON = 'requirements/export.txt is not installed'


def random_net(net):
    net.initialize()
    randomise(net)
    net.hybridize()
    return net


def small(name, monkeypatch):
    """A network of one block a stage and few channels, with random weights, and the side of its images."""
    if MODELS[name].host.name == 'cifar':
        return random_net(get_model(name, blocks=1)), 12
    # 80 channels are the least that the 8 heads of AugmentedConv can share.
    monkeypatch.setattr(sys.modules['model.resnet_v1b'], 'STAGE_CHANNELS', (16, 80, 80, 80))
    return random_net(get_model(name, layers=(1, 1, 1, 1), classes=5, input_size=40)), 40


def noise(side, images=3):
    return np.random.RandomState(1).randn(images, 3, side, side).astype('float32')


def lambda_net(function):
    net = nn.HybridSequential()
    net.add(nn.HybridLambda(function))
    net.hybridize()
    return net


def run_graph(symbol, arrays, x):
    """The output of a symbol in MXNet's executor."""
    auxiliary = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    return symbol.bind(mx.cpu(), {**arrays, 'data': x}, aux_states=auxiliary).forward()[0].asnumpy()


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('weights') / 'net.params')
    random_net(get_model('cifar_resnet', blocks=1)).save_parameters(path)
    return path


@pytest.fixture
def flags(weights):
    return [*FLAGS, '--params', weights]


@pytest.fixture
def onnx():
    pytest.importorskip('onnxruntime', reason=REASON)
    return pytest.importorskip('onnx', reason=REASON)


def difference(net, side, path, **options):
    """Of ONNX Runtime from a network, in standard deviations of its logits."""
    export.write_onnx(net, (3, side, side), str(path), **options)
    found = export.differences(export.runner(str(path)), net, {'noise': noise(side)}, options.get('batch_size'))
    return found['noise']


@pytest.mark.parametrize('unit', ACTIVATIONS)
def test_onnx_runtime_gives_the_logits_with_every_unit(unit, onnx, tmp_path):
    assert difference(random_net(get_model('cifar_resnet', blocks=1, act_type=unit)), 12, tmp_path / 'x.onnx') < 2e-5


@pytest.mark.parametrize('name', MODELS)
def test_onnx_runtime_gives_the_logits_of_every_network(name, onnx, tmp_path, monkeypatch):
    assert difference(*small(name, monkeypatch), tmp_path / 'x.onnx') < 2e-5


@pytest.mark.parametrize('name', ['cifar_resnet', 'ge_cifar_resnet', 'aa_resnet50', 'fa_resnet50'])
def test_the_graph_for_onnx_gives_the_logits_in_mxnet_and_has_constant_weights(name, monkeypatch):
    """Without ONNX: reshapes to numbers, x for x + 0 y, and 1 for a gamma that counts as 1 change nothing."""
    monkeypatch.setenv('MXNET_SUBGRAPH_BACKEND', 'NONE')
    net, side = small(name, monkeypatch)
    symbol, arrays = export.graph_of(net, (3, side, side))
    nodes = json.loads(symbol.tojson())['nodes']
    assert {node['name'] for node in nodes if node['op'] == 'null'} == {'data', *arrays}
    assert 'reshape_like' not in {node['op'] for node in nodes}
    assert all(min(ast.literal_eval(node['attrs']['shape'])) >= -1 for node in nodes if node['op'] == 'Reshape')
    convolutions = [node for node in nodes if node['op'] == 'Convolution' and 'value' not in node['name']]
    assert len(convolutions) > 4
    assert all(nodes[node['inputs'][1][0]]['op'] == 'null' for node in convolutions)
    for images in (1, 3):
        x = mx.nd.array(noise(side, images))
        np.testing.assert_allclose(run_graph(symbol, arrays, x), net(x).asnumpy(), rtol=1e-4, atol=1e-5)


def test_making_the_graph_leaves_the_network_alone():
    net = random_net(get_model('cifar_resnet', blocks=1))
    before = {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}
    export.graph_of(net, (3, 12, 12))
    for name, parameter in net.collect_params().items():
        assert (parameter.data().asnumpy() == before[name]).all(), name


@pytest.mark.parametrize('window', [
    dict(kernel=(3, 2)), dict(kernel=(3, 3), stride=(2, 3), pad=(1, 2)), dict(kernel=(2, 3), dilate=(2, 1))])
def test_windows_are_translated_exactly(window, onnx, tmp_path):
    net = lambda_net(lambda F, x: F.im2col(x, **window))
    assert difference(net, 9, tmp_path / 'x.onnx') == 0


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('before,after', [(5, 9), (9, 5), (4, 8), (7, 13)])
def test_resizing_is_translated(before, after, aligned, onnx, tmp_path):
    net = lambda_net(lambda F, x: F.contrib.BilinearResize2D(x, height=after, width=after + 1, align_corners=aligned))
    assert difference(net, before, tmp_path / 'x.onnx') < 1e-5


def test_an_operator_without_translation_is_named(onnx, tmp_path):
    with pytest.raises(ValueError, match='cannot export this network as ONNX: .* of the operator erfinv, gamma$'):
        export.write_onnx(lambda_net(lambda F, x: F.erfinv(F.gamma(x))), (3, 4, 4), str(tmp_path / 'x.onnx'))
    assert not os.listdir(str(tmp_path))


def test_translations_are_taken_back(onnx):
    before = dict(export.MXNetGraph.registry_[export.OPSET]), onnx.checker.DEFAULT_CONTEXT.opset_imports
    with pytest.raises(KeyError), export.translating(onnx):
        assert export.MXNetGraph.registry_[export.OPSET]['im2col'] is export.translate_im2col
        raise KeyError
    assert before == (export.MXNetGraph.registry_[export.OPSET], onnx.checker.DEFAULT_CONTEXT.opset_imports)


def test_the_file_says_what_it_takes_and_gives(flags, onnx, tmp_path, capsys):
    path = str(tmp_path / 'net.onnx')
    found = export.main([*flags, '--onnx', path])
    assert os.listdir(str(tmp_path)) == ['net.onnx'] and max(found['onnx'].values()) < 2e-5
    assert set(found) == {'onnx'} and set(found['onnx']) == {'random', 'real'}
    line = capsys.readouterr().out
    assert 'on 8 random and' in line and '%.1e' % found['onnx']['real'] in line
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(part.domain, part.version) for part in model.opset_import] == [('', 13)] and model.ir_version == 7
    shapes = [[side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
              for value in (*model.graph.input, *model.graph.output)]
    assert shapes == [['N', 3, 32, 32], ['N', 10]]
    facts = {fact.key: fact.value for fact in model.metadata_props}
    assert (facts['model'], facts['unit'], facts['dataset']) == ('atac', 'ChaATAC', 'fashion-mnist-mini')
    assert json.loads(facts['class_names'])[9] == 'ankle boot' and '--useReLU' in facts['command']
    pixels = load_mini(False).pixels[5:9]
    mean, std = (np.reshape(json.loads(facts[key]), (3, 1, 1)) for key in ('mean', 'std'))
    images = ((pixels / 255 - mean) / std).astype('float32')
    net = get_model('cifar_resnet', blocks=1)
    net.load_parameters(flags[-1])
    np.testing.assert_allclose(export.runner(path)(images), net(mx.nd.array(images)).asnumpy(), rtol=1e-3, atol=1e-3)


def test_a_fixed_batch_and_pictures_of_ones_own(flags, onnx, tmp_path, capsys):
    picture = str(tmp_path / 'cat.png')
    assert cv2.imwrite(picture, np.random.RandomState(0).randint(0, 255, (30, 40, 3), 'uint8'))
    path = str(tmp_path / 'net.onnx')
    export.main([*flags, picture, '--onnx', path, '--batch-size', '3'])
    assert 'on 8 random and' in capsys.readouterr().out
    run = export.runner(path)
    assert run(noise(32)).shape == (3, 10)
    with pytest.raises(Exception, match='Got: 2 Expected: 3'):
        run(noise(32, 2))


def test_a_file_that_differs_is_not_written(flags, onnx, tmp_path, monkeypatch, capsys):
    """MXNet's own exporter forgets that a gamma counts as 1: without graph_of the file would be wrong."""
    path = tmp_path / 'net.onnx'
    path.write_bytes(b'kept')

    def as_mxnet_has_it(net, shape):
        return (mx.sym.identity(net(mx.sym.var('data')), name='logits'),
                {name: parameter._reduce() for name, parameter in net.collect_params().items()})

    monkeypatch.setattr(export, 'graph_of', as_mxnet_has_it)
    with pytest.raises(SystemExit) as leaving:
        run_script(lambda: export.main([*flags, '--onnx', str(path), '--overwrite']))
    assert leaving.value.code == 1 and 'net.onnx is not written' in capsys.readouterr().err
    assert path.read_bytes() == b'kept' and os.listdir(str(tmp_path)) == ['net.onnx']


def test_the_difference_is_measured_in_standard_deviations():
    def net(x):
        return 2 * x

    images = {'some': np.array([[-1.0], [1.0], [1.0], [-1.0]], 'float32'), 'none': np.zeros((4, 1), 'float32')}
    found = export.differences(lambda x: 2 * x + 0.25 * (len(x) == 1), net, images)
    assert found == {'some': pytest.approx(0.25 / np.std([-2, 2, 2, -2, -2])), 'none': 0.25}
    sizes = []
    found = export.differences(lambda x: sizes.append(len(x)) or 2 * x + 0.5 * (len(sizes) == 2), net, images, 3)
    assert sizes == [3, 3, 3, 3] and found == {'some': pytest.approx(0.5 / np.std([-2, 2, 2, -2, -2, 2])), 'none': 0}
    assert np.isnan(export.differences(lambda x: 2 * x * (1 if len(x) == 4 else np.nan), net, images)['some'])
    with pytest.raises(FloatingPointError, match="logits of some images are not finite"):
        export.differences(net, lambda x: x / 0, images)


@pytest.mark.parametrize('kind', ['random', 'real'])
def test_a_difference_that_is_not_a_number_is_refused(kind, flags, onnx, tmp_path, monkeypatch):
    found = {'random': 0.0, 'real': 0.0, kind: float('nan')}
    monkeypatch.setattr(export, 'differences', lambda *_: found)
    with pytest.raises(FloatingPointError, match='more than 1e-04'):
        export.main([*flags, '--onnx', str(tmp_path / 'net.onnx')])
    assert not os.listdir(str(tmp_path))


def test_the_symbol_is_read_back_and_equals_the_network(flags, weights, tmp_path):
    prefix = str(tmp_path / 'net')
    assert export.main([*flags, '--symbol', prefix]) == {'symbol': {'random': 0, 'real': 0}}
    assert sorted(os.listdir(str(tmp_path))) == ['net-0000.params', 'net-symbol.json']
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        again = mx.gluon.SymbolBlock.imports(prefix + '-symbol.json', ['data'], prefix + '-0000.params')
    net = get_model('cifar_resnet', blocks=1)
    net.load_parameters(weights)
    net.hybridize()
    for images in (1, 5):
        x = mx.nd.array(noise(32, images))
        assert (again(x).asnumpy() == net(x).asnumpy()).all()
    assert {name.split('_', 1)[1] for name in read_params(prefix + '-0000.params')} == \
        {name.split('_', 1)[1] for name in net.collect_params()}


@pytest.mark.parametrize('name', ['cifar_resnet', 'ge_cifar_resnet', 'atac_resnet50_v1b', 'aa_resnet50'])
def test_the_symbol_gives_the_logits_in_mxnets_fusing_executor(name, tmp_path, monkeypatch):
    monkeypatch.setenv('MXNET_SUBGRAPH_BACKEND', 'MKLDNN')
    net, side = small(name, monkeypatch)
    export.export_symbol(net, str(tmp_path / 'net'), {'real': noise(side)})
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(tmp_path / 'net'), 0)
    x = mx.nd.array(noise(side))
    found = run_graph(symbol, {**arguments, **auxiliary}, x)
    assert abs(found - net(x).asnumpy()).max() < 1e-4 * net(x).asnumpy().std()


def test_the_int8_symbol_is_near_to_the_network(flags, weights, tmp_path, capsys):
    prefix = str(tmp_path / 'net')
    found = export.main([*flags, '--symbol', prefix, '--dtype', 'int8', '--calib-images', '16'])
    assert found == {'symbol': {'random': 0, 'real': 0}}
    assert len(re.findall(r'int8: cosine .* 0\.9\d+, the same class on \d of 8 r', capsys.readouterr().out)) == 2
    symbol, arguments, auxiliary = mx.model.load_checkpoint(prefix, 0)
    assert '_sg_mkldnn_conv' in symbol.tojson() and '_contrib_quantize_v2' in symbol.tojson()
    net = get_model('cifar_resnet', blocks=1)
    net.load_parameters(weights)
    x = mx.nd.array(noise(32, 8))
    wanted, found = net(x).asnumpy(), run_graph(symbol, {**arguments, **auxiliary}, x)
    assert (wanted * found).sum() > 0.98 * np.linalg.norm(wanted) * np.linalg.norm(found) and (wanted != found).any()


@pytest.mark.parametrize('model,unit,expected', [
    ('atac', None, 'ChaATAC'), ('atac', 'xUnit', 'xUnit'), ('se', None, 'SE-ReLU'), ('ge', None, 'relu'),
    ('atac_resnet50_v1b', None, 'ChaATAC'), ('resnet50_v1b', None, 'relu'), ('aa_resnet50', None, 'relu')])
def test_the_unit_is_named_also_where_no_flag_names_it(model, unit, expected, tmp_path):
    (tmp_path / 'x.params').write_bytes(b'')
    data = ['--dataset', 'cifar10' if model in CIFAR_MODELS else 'imagenet']
    flags = ['--model', model, '--params', str(tmp_path / 'x.params'), *data]
    args = export.parse_args(flags + ['--act-type', unit] * bool(unit))
    assert export.metadata_of(args, [])['unit'] == expected


@pytest.mark.parametrize('extra,words', [
    ([], 'say what to write: --onnx FILE, --symbol PREFIX or both'),
    (['--symbol', '{folder}/none/net'], 'there is no folder'), (['--onnx', '{folder}/none/net'], 'there is no folder'),
    (['--onnx', '{folder}', '--overwrite'], 'it is no ordinary file'),
    (['--onnx', '{there}'], 'is there already: --overwrite replaces it'),
    (['--onnx', '/dev/null', '--overwrite'], '/dev/null cannot be written: it is no ordinary file'),
    (['--symbol', '{folder}/there'], 'there-0000.params is there already'),
    (['--symbol', '{folder}/x', '--batch-size', '4'], '--batch-size is for --onnx'),
    (['--onnx', '{folder}/x', '--batch-size', '100000000'], 'a batch of 100000000 images needs about'),
    (['--onnx', '{weights}', '--overwrite'], 'is what is read'),
    (['{there}', '--symbol', '{folder}/there', '--overwrite'], 'there-0000.params is what is read'),
    (['--onnx', '{folder}/x-symbol.json', '--symbol', '{folder}/x'], 'name the same file'),
    (['--symbol', '{folder}/x', '--blocks', '2'], 'of another architecture'),
    (['--symbol', '{folder}/x', '--params', '{there}'], 'there-0000.params'),
    (['--symbol', '{folder}/x', '--params', '{folder}/none'], 'No such file'),
    (['{there}', '--symbol', '{folder}/x'], 'is not an image'),
    (['--symbol', '{folder}/x', '--dtype', 'bfloat16'], 'an export is float32 or int8: --dtype bfloat16'),
    (['--symbol', '{folder}/x', '--onnx', '{folder}/y', '--dtype', 'int8'], '--dtype int8 is for --symbol'),
    (['--symbol', '{folder}/x', '--dtype', 'int8', '--calib-images', '3'], 'at least 16, and 3 were given'),
    (['--symbol', '{folder}/x', '--model', 'se'], '--act-type ChaATAC does not go with it')])
def test_mistakes_are_one_sentence_and_nothing_is_written(extra, words, flags, weights, tmp_path, capsys, monkeypatch):
    there = tmp_path / 'there-0000.params'
    there.write_bytes(b'kept')
    places = dict(folder=tmp_path, there=there, weights=weights)
    arguments = flags + [flag.format(**places) for flag in extra]
    monkeypatch.setattr(export, 'packages', lambda: (None, None))
    assert words in refusal(lambda: export.main(arguments), [], capsys, monkeypatch)
    assert os.listdir(str(tmp_path)) == ['there-0000.params'] and there.read_bytes() == b'kept'


def test_useless_weights_are_refused(flags, tmp_path):
    net = random_net(get_model('cifar_resnet', blocks=1))
    net.output.bias.set_data(mx.nd.array([0, float('nan')] * 5))
    net.save_parameters(str(tmp_path / 'nan.params'))
    arguments = [*flags, '--params', str(tmp_path / 'nan.params'), '--symbol', str(tmp_path / 'net')]
    with pytest.raises(FloatingPointError, match='not finite'):
        export.main(arguments)
    assert os.listdir(str(tmp_path)) == ['nan.params']


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named_with_the_command(package, flags, tmp_path, capsys, monkeypatch):
    if package == 'onnxruntime':
        pytest.importorskip('onnx', reason=REASON)
    monkeypatch.setitem(sys.modules, package, None)
    sentence = refusal(lambda: export.main([*flags, '--onnx', str(tmp_path / 'x')]), [], capsys, monkeypatch)
    assert sentence.endswith('--onnx needs %s: make export-setup' % package)
