"""The counter, and the published table that it reproduces row by row."""
import json
import os
from functools import partial

from runtime import UserError

import mxnet as mx
import pytest
from mxnet.gluon import nn

from cli.exits import run_script
from model import ACTIVATIONS, MODELS, get_model
from model import complexity as counter
from model.local_attention import LocalAttention
from tests.test_scripts import ROOT
from tools.share import complexity as table
from tools.share.published import PUBLISHED

COUNTING = os.path.join(ROOT, 'docs', 'counting.md')


@pytest.fixture(scope='module')
def facts():
    return {fact['name']: fact for fact in table.every_fact()}


def test_every_network_and_unit_is_counted(facts):
    assert set(facts) == set(MODELS) | {'cifar_resnet with ' + unit for unit in ACTIVATIONS}


@pytest.mark.parametrize('name', PUBLISHED)
def test_every_published_number_is_reached_by_its_rule(facts, name):
    fact = facts[name]
    digits = len(str(PUBLISHED[name].gflops).split('.')[1])
    assert round(fact['gflops_by_published_rule'], digits) == PUBLISHED[name].gflops
    counted = fact['parameters' if PUBLISHED[name].counted == 'all' else 'trainable_parameters']
    assert round(counted / 1e6, 1) == PUBLISHED[name].parameters


def test_the_table_of_the_page_is_the_commands(facts):
    rows = [table.cells(facts[name]) for name in MODELS if name in PUBLISHED]
    with open(COUNTING) as file:
        assert table.table(rows, markdown=True) in file.read()


def test_layers_are_counted_by_hand():
    def macs(layer, shape):
        return [row.macs for row in counter.layers(layer, shape) if row.macs]

    assert macs(nn.Conv2D(8, 3, padding=1, groups=4, in_channels=8), (1, 8, 5, 5)) == [8 * 25 * 2 * 9]
    assert macs(nn.Dense(7, in_units=6), (3, 6)) == [3 * 7 * 6]
    attention = LocalAttention(16, heads=2, kernel_size=3)
    # three projections, q . r for 3 rows and 3 columns of half a head each, q . k and a . v for 9 neighbours
    expected = [2 * 49 * 16 * 3] + [2 * 49 * 16 * 9] * 2 + [2 * 49 * 256] * 3
    assert sorted(macs(attention, (2, 16, 7, 7))) == expected


def test_matrix_products_are_counted_in_both_layouts():
    left, right = mx.sym.var('data'), mx.sym.var('right', shape=(2, 4, 5))
    for transposed, shape in ((False, (2, 3, 4)), (True, (2, 4, 3))):
        product = mx.sym.batch_dot(left, right, transpose_a=transposed)
        row, = counter.layers(lambda _, product=product: product, shape)
        assert row.macs == 2 * 3 * 4 * 5


def test_macs_grow_with_the_batch_and_sum_to_the_summary():
    net = get_model('atac_resnet50_v1b')
    one, two = (sum(row.macs for row in counter.layers(net, (batch, 3, 224, 224))) for batch in (1, 2))
    assert one == 4397465600 and two == 2 * one
    assert 'multiply-adds: 4,397,465,600 (4.397 G)' in counter.summary(net, (1, 3, 224, 224))
    rows = counter.layers(get_model('cifar_resnet'), (1, 3, 32, 32))
    assert sum(row.parameters for row in rows) == 310310


def test_the_command_prints_json_layers_and_mistakes(capsys):
    assert table.main(['--model', 'aa_resnet50', '--input-size', '64', '--batch', '3', '--json']) is None
    fact, = json.loads(capsys.readouterr().out)
    assert set(fact) >= {'name', 'parameters', 'trainable_parameters', 'macs', 'published_gflops',
                         'published_parameters', 'gflops_by_published_rule'}
    table.main(['--model', 'cifar_resnet'])
    assert 'Convolution' in capsys.readouterr().out
    for flags, sentence in ((['--model', 'x'], "unknown model 'x'; there are"), (['--batch', '0'], 'at least 1'),
                            (['--model', 'resnet50', '--markdown'], '--markdown is for the table of all networks')):
        with pytest.raises(SystemExit) as leaving:
            run_script(partial(table.main, flags))
        assert leaving.value.code == 2 and sentence in capsys.readouterr().err


def test_parameters_whose_shapes_are_not_known_are_not_counted():
    """Layers that learn their number of inputs from the first batch: README's network has one."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(16, 3), ACTIVATIONS['ChaATAC'](16), nn.Flatten(), nn.Dense(2, in_units=16))
    for count in partial(counter.summary, net, (1, 3, 3, 3)), partial(counter.parameters, net):
        with pytest.raises(UserError, match='the shape of .*weight is not known yet'):
            count()
    net.infer_shape(mx.nd.zeros((1, 3, 3, 3)))
    rows = counter.layers(net, (1, 3, 3, 3))
    assert sum(row.parameters for row in rows) == counter.parameters(net)[0]
    assert 'parameters: %d in all' % counter.parameters(net)[0] in counter.summary(net, (1, 3, 3, 3))


def test_a_network_of_one_input_size_says_which_it_takes():
    net = get_model('ge_theta_plus_resnet50', input_size=64, classes=3)
    net.initialize()
    net.hybridize()
    assert net(mx.nd.ones((1, 3, 64, 64))).shape == (1, 3)
    with pytest.raises(UserError, match='takes images of 61 to 64 pixels a side, not of 96x96'):
        net(mx.nd.ones((1, 3, 96, 96)))


@pytest.mark.parametrize('name', ['se_resnet50', 'aa_resnet50', 'fa_resnet50', 'ge_theta_plus_resnet50_v1b',
                                  'resnet50'])
def test_every_network_saves_loads_and_exports(name, tmp_path):
    """On one block a stage: no parameter is lost or gained, and the compiled network comes back from its export."""
    net = get_model(name, layers=(1, 1, 1, 1), classes=3, input_size=48)
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize()
    x = mx.nd.random.normal(shape=(2, 3, 48, 48))
    expected = net(x).asnumpy()
    net.save_parameters(str(tmp_path / 'x.params'))
    mx.random.seed(1)
    net = get_model(name, layers=(1, 1, 1, 1), classes=3, input_size=48)
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize()
    assert abs(net(x).asnumpy() - expected).max() > 1e-2 * abs(expected).max()
    net.load_parameters(str(tmp_path / 'x.params'))
    assert (net(x).asnumpy() == expected).all()
    net.export(str(tmp_path / 'net'))
    again = mx.gluon.SymbolBlock.imports(str(tmp_path / 'net-symbol.json'), ['data'], str(tmp_path / 'net-0000.params'))
    assert abs(again(x).asnumpy() - expected).max() < 1e-4 * abs(expected).max()
