"""tools.export --symbol: MXNet reads what is written, without this repository, and gives the same logits."""
import os
import re
import warnings

import mxnet as mx
import numpy as np
import pytest

from model import get_model
from tests.random_networks import FLAGS, noise, run_graph, small, write_weights
from tools.share import export
from training.weights.params_file import read_params


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp('weights'))


@pytest.fixture
def flags(weights):
    return [*FLAGS, '--params', weights]


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
