"""tools.share.onnx_file: every unit and network gives its logits in ONNX Runtime, and every operator is exact."""
import ast
import json
import os

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from model import ACTIVATIONS, MODELS, get_model
from tests.random_networks import noise, random_net, run_graph, small
from tools.share import onnx_graph
from tools.share.agreement import logit_differences
from tools.share.onnx_file import runner, write_onnx

REASON = 'requirements/export.txt is not installed'


def lambda_net(function):
    net = nn.HybridSequential()
    net.add(nn.HybridLambda(function))
    net.hybridize()
    return net


@pytest.fixture
def onnx():
    pytest.importorskip('onnxruntime', reason=REASON)
    return pytest.importorskip('onnx', reason=REASON)


def difference(net, side, path, **options):
    """Of ONNX Runtime from a network, in standard deviations of its logits."""
    write_onnx(net, (3, side, side), str(path), **options)
    found = logit_differences(runner(str(path)), net, {'noise': noise(side)}, options.get('batch_size'))
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
    symbol, arrays = onnx_graph.exportable_graph(net, (3, side, side))
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
    onnx_graph.exportable_graph(net, (3, 12, 12))
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
    with pytest.raises(UserError, match='cannot export this network as ONNX: .* of the operator erfinv, gamma$'):
        write_onnx(lambda_net(lambda F, x: F.erfinv(F.gamma(x))), (3, 4, 4), str(tmp_path / 'x.onnx'))
    assert not os.listdir(str(tmp_path))


def test_translations_are_taken_back(onnx):
    before = dict(onnx_graph.MXNetGraph.registry_[onnx_graph.OPSET]), onnx.checker.DEFAULT_CONTEXT.opset_imports
    with pytest.raises(KeyError), onnx_graph.translating(onnx):
        assert onnx_graph.MXNetGraph.registry_[onnx_graph.OPSET]['im2col'] is onnx_graph.translate_im2col
        raise KeyError
    assert before == (onnx_graph.MXNetGraph.registry_[onnx_graph.OPSET], onnx.checker.DEFAULT_CONTEXT.opset_imports)
