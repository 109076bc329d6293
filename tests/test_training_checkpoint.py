"""Weights and checkpoints: what is saved comes back, exactly, and what is damaged is refused."""
import hashlib
import json
import os
import re
import struct
from contextlib import nullcontext

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from model import get_model
from tools.look import checkpoint as command
from training import checkpoint
from training.learner import make_trainer
from training.loop import restore_plain_layouts
from training.weights import arrays as weights
from training.weights.checksums import sealed
from training.weights.params_file import read_params, write_params


def network(seed=0, **options):
    mx.random.seed(seed)
    net = get_model('cifar_resnet', blocks=1, classes=4, **options)
    net.initialize(mx.init.MSRAPrelu())
    return net


def step(net, trainer, seed):
    x = mx.nd.array(np.random.RandomState(seed).randn(4, 3, 32, 32))
    trainer.set_learning_rate(0.1)
    with mx.autograd.record():
        loss = net(x).square().mean()
    loss.backward()
    trainer.step(4)
    mx.nd.waitall()


def arrays_of(net):
    return {name: parameter.data().asnumpy() for name, parameter in net._collect_params_with_prefix().items()}


def assert_same(one, other):
    assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoints of two steps, and the nets as they were."""
    net = network()
    trainer = make_trainer(net, 0.9, 1e-4)
    states = []
    for epoch in range(2):
        step(net, trainer, epoch)
        checkpoint.save(str(tmp_path), net, trainer, {'epoch': epoch})
        states.append(arrays_of(net))
    return str(tmp_path), states, net, trainer


def test_a_restored_run_continues_bit_for_bit(saved):
    folder, _, net, trainer = saved
    step(net, trainer, 2)
    other = network(seed=9)
    fresh = make_trainer(other, 0.9, 1e-4)
    facts, arrays, _ = checkpoint.load(folder)
    assert facts['epoch'] == 1
    weights.set_weights(other, arrays['params'], folder)
    checkpoint.set_trainer_arrays(fresh, other, arrays['states'])
    step(other, fresh, 2)
    assert_same(arrays_of(net), arrays_of(other))


def test_files_are_arrays_and_json_and_any_gluon_net_loads_them(saved):
    folder, states, _, _ = saved
    assert sorted(os.listdir(folder)) == sorted(
        '%s.%s' % (stem, end) for stem in ('last', 'previous') for end in ('params', 'states', 'json'))
    net = network(seed=5)
    net.load_parameters(os.path.join(folder, 'last.params'))
    assert_same(arrays_of(net), states[1])
    assert_same(read_params(os.path.join(folder, 'previous.params')), states[0])
    with open(os.path.join(folder, 'last.json')) as file:
        assert json.load(file)['arrays']['params']['size'] == os.path.getsize(os.path.join(folder, 'last.params'))


@pytest.mark.parametrize('name', ['last.params', 'last.states', 'last.json'])
@pytest.mark.parametrize('harm', ['cut', 'flip', 'remove'])
def test_a_damaged_checkpoint_is_named_and_the_previous_one_is_taken(saved, name, harm, caplog):
    folder, states, _, _ = saved
    path = os.path.join(folder, name)
    with open(path, 'rb') as file:
        content = bytearray(file.read())
    if harm == 'remove':
        os.remove(path)
    else:
        content[len(content) // 2] ^= 0x80
        with open(path, 'wb') as file:
            file.write(content[:len(content) // 2] if harm == 'cut' else content)
    facts, arrays, _ = checkpoint.load(folder)
    assert facts['epoch'] == 0 and 'continuing from the previous checkpoint' in caplog.text
    assert_same(arrays['params'], states[0])


def test_a_crash_between_any_two_renames_leaves_a_whole_checkpoint(saved, monkeypatch):
    folder, states, net, trainer = saved
    step(net, trainer, 2)
    states.append(arrays_of(net))
    replace, crash_at = os.replace, [0]

    def crashing(source, target):
        if crash_at[0] == 0:
            raise KeyboardInterrupt
        crash_at[0] -= 1
        replace(source, target)

    monkeypatch.setattr(checkpoint.os, 'replace', crashing)
    for moment in [0, 1, 2, 3, 0, 1, 2, 1, 0]:  # after the fourth, last.* is half new and only three renames are left
        crash_at[0] = moment
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(folder, net, trainer, {'epoch': 2})
        facts, arrays, _ = checkpoint.load(folder)
        assert_same(arrays['params'], states[facts['epoch']])
        assert os.path.exists(os.path.join(folder, 'last.params'))
    monkeypatch.undo()
    checkpoint.save(folder, net, trainer, {'epoch': 2})
    assert checkpoint.load(folder)[0]['epoch'] == 2


@pytest.mark.parametrize('renamed', [0, 1, 2, 3])
def test_the_first_checkpoint_is_there_once_it_is_whole(saved, tmp_path, monkeypatch, renamed):
    """Killed, so that nothing is cleaned up, after some of its three renames."""
    _, _, net, trainer = saved
    folder = str(tmp_path / 'new')
    os.mkdir(folder)
    replace, done = os.replace, []

    def killed(source, target):
        if len(done) == renamed:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', killed)
        patch.setattr('disk.os.remove', lambda _: None)
        with pytest.raises(KeyboardInterrupt) if renamed < 3 else nullcontext():
            checkpoint.save(folder, net, trainer, {'epoch': 0, 'within': None, 'last': None})
    assert checkpoint.exists(folder) == (renamed == 3)
    checkpoint.save(folder, net, trainer, {'epoch': 1, 'within': None, 'last': None})
    assert checkpoint.load(folder)[0]['epoch'] == 1


def test_half_a_keeping_of_the_previous_checkpoint_leaves_nothing(saved):
    folder, _, net, trainer = saved
    for kind in 'params', 'states', 'json':
        os.replace(os.path.join(folder, 'last.' + kind), os.path.join(folder, 'previous.' + kind))
        os.link(os.path.join(folder, 'previous.' + kind), os.path.join(folder, 'last.' + kind))
    checkpoint.save(folder, net, trainer, {'epoch': 2})
    assert not [name for name in os.listdir(folder) if name.endswith('.new')]


def test_weights_that_are_not_finite_are_not_saved(saved):
    folder, states, net, trainer = saved
    net.output.bias.set_data(mx.nd.array([1, np.inf, 0, 0]))
    with pytest.raises(FloatingPointError, match='output.bias is not finite'):
        checkpoint.save(folder, net, trainer, {'epoch': 2})
    assert_same(checkpoint.load(folder)[1]['params'], states[1])


def test_nothing_whole_or_nothing_at_all_is_said(saved, tmp_path):
    folder = saved[0]
    for stem in ('last', 'previous'):
        with open(os.path.join(folder, stem + '.json'), 'w') as file:
            file.write('{}')
    with pytest.raises(UserError, match='no checkpoint in .* is whole: last.json'):
        checkpoint.load(folder)
    with pytest.raises(OSError, match='there is no checkpoint in'):
        checkpoint.load(str(tmp_path / 'absent'))


def test_the_best_file_replaces_older_ones_of_its_run_alone(tmp_path):
    folder, net = str(tmp_path), network()
    others = ['0.1000-imagenet-ResNet50_v1b-3-best.params',
              '0.1000-my-imagenet-ResNet50_v1b_ChaATAC-of-r4-5-best.params']
    for other in others:
        open(os.path.join(folder, other), 'w').close()
    for error, epoch in ((0.5, 1), (0.21409, 155)):
        numbers = {'val_top1_error': error, 'val_top5_error': error, 'epoch': epoch}
        best = checkpoint.save_best(folder, 'imagenet-ResNet50_v1b_ChaATAC', numbers, net)
        checkpoint.remove_older_bests(folder, 'imagenet-ResNet50_v1b_ChaATAC', best['file'])
    assert sorted(os.listdir(folder)) == [*others, '0.2141-imagenet-ResNet50_v1b_ChaATAC-155-best.params']


def test_best_files_stay_where_the_one_to_keep_is_gone(tmp_path):
    """As where a run continues from previous.*, whose best file a better one had replaced."""
    numbers = {'val_top1_error': 0.5, 'val_top5_error': 0.5, 'epoch': 5}
    best = checkpoint.save_best(str(tmp_path), 'title', numbers, network())
    checkpoint.remove_older_bests(str(tmp_path), 'title', '0.6000-title-3-best.params')
    assert os.listdir(tmp_path) == [best['file']]


@pytest.mark.parametrize('number', [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite_are_refused_and_the_net_is_untouched(number):
    net = network()
    arrays = {name: array.asnumpy().astype('float64') for name, array in weights.network_arrays(net).items()}
    before = {name: array.copy() for name, array in arrays.items()}
    arrays['output.bias'][0] = number
    with pytest.raises(UserError, match='x.params holds numbers that are not finite: output.bias'):
        weights.set_weights(net, arrays, 'x.params')
    assert all((array.asnumpy() == before[name]).all() for name, array in weights.network_arrays(net).items())


def test_weights_of_three_devices_are_saved_and_renewed_to_the_bit():
    net = nn.Dense(500, in_units=20)
    net.initialize(mx.init.Uniform(1), ctx=[mx.cpu(index) for index in range(3)])
    held = net.weight.list_data()[0].asnumpy()
    assert (weights.network_arrays(net)['weight'].asnumpy() == held).all()
    restore_plain_layouts(net)
    assert all((data.asnumpy() == held).all() for data in net.weight.list_data())


def test_weights_of_another_architecture_are_refused_and_the_net_is_untouched(tmp_path):
    path = str(tmp_path / 'relu.params')
    network(act_type='relu').save_parameters(path)
    net = network()
    before = arrays_of(net)
    with pytest.raises(UserError, match=re.escape('lacks features.1.0.act1.module.0.weight')):
        weights.load_weights(net, path)
    other = network(r=4)
    with pytest.raises(UserError, match=r'other shapes .*module.0.weight \(8, 16, 1, 1\) instead of \(4, 16, 1, 1\)'):
        net.save_parameters(path)
        weights.load_weights(other, path)
    assert_same(arrays_of(net), before)


def test_float16_files_load_into_float32_nets_and_back(tmp_path):
    net, path = network(), str(tmp_path / 'x.params')
    net.cast('float16')
    net.save_parameters(path)
    target = network(seed=1)
    weights.load_weights(target, path)
    assert {array.dtype for array in arrays_of(target).values()} == {np.dtype('float32')}
    np.testing.assert_array_equal(target.output.weight.data().asnumpy(), net.output.weight.data().asnumpy())
    target.save_parameters(path)
    weights.load_weights(net, path)
    assert net.output.weight.data().dtype == np.float16


def test_weights_go_into_a_net_that_was_not_initialised(tmp_path):
    path = str(tmp_path / 'x.params')
    net = network()
    net.save_parameters(path)
    other = get_model('cifar_resnet', blocks=1, classes=4)
    weights.load_weights(other, path, [mx.cpu(0), mx.cpu(1)])
    assert_same({name: parameter.data(mx.cpu(1)).asnumpy() for name, parameter
                 in other._collect_params_with_prefix().items()}, arrays_of(net))


def test_params_files_are_read_as_mxnet_reads_them(tmp_path):
    path = str(tmp_path / 'x.params')
    arrays = {'a': mx.nd.random.normal(shape=(2, 3)), 'arg:b': mx.nd.array([[7]], dtype='uint8'),
              'c': mx.nd.array([1, 2], dtype='float16'), 'd': mx.nd.zeros((1, 2, 3, 4), dtype='int64')}
    mx.nd.save(path, arrays)
    found = read_params(path)
    for name, array in arrays.items():
        array, mine = array.asnumpy(), found[name.replace('arg:', '')]
        assert mine.dtype == array.dtype and mine.shape == array.shape and (mine == array).all()


def test_params_files_are_written_as_mxnet_writes_them(tmp_path):
    arrays = {'a': mx.nd.random.normal(shape=(2, 3)), 'b.c': mx.nd.array([[7]], dtype='uint8'),
              'c': mx.nd.array([1, 2], dtype='float16'), 'd': mx.nd.zeros((1, 2, 3, 4), dtype='int64')}
    mx.nd.save(str(tmp_path / 'theirs'), arrays)
    written = write_params(str(tmp_path / 'ours'), {name: array.asnumpy() for name, array in arrays.items()})
    ours = (tmp_path / 'ours').read_bytes()
    assert ours == (tmp_path / 'theirs').read_bytes()
    assert written == {'size': len(ours), 'sha256': hashlib.sha256(ours).hexdigest()}


def test_a_changed_number_in_the_json_is_noticed(saved, caplog):
    path = os.path.join(saved[0], 'last.json')
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(text.replace('"epoch": 1', '"epoch": 3'))
    assert checkpoint.load(saved[0])[0]['epoch'] == 0 and 'last.json is damaged: its checksum is another' in caplog.text


@pytest.mark.parametrize('best', ['x', [1], {'file': '/dev/zero', 'sha256': ''}, {'file': '../x', 'sha256': ''}])
def test_a_best_file_elsewhere_is_not_read(saved, best, capsys):
    path = os.path.join(saved[0], 'last.json')
    with open(path) as file:
        facts = json.load(file)
    with open(path, 'w') as file:
        json.dump(sealed(dict(facts, best=best)), file)
    with pytest.raises(SystemExit, match='2'):
        command.main([path])
    assert 'last.json in %s: its best file is none' % saved[0] in capsys.readouterr().err


def test_states_of_another_optimiser_are_refused(saved):
    folder, _, net, _ = saved
    states = checkpoint.load(folder)[1]['states']
    for harm in ('momentum:output.bias', 'momentum:0', 'momentum:absent', 'momentum:999'):
        with pytest.raises(UserError, match='is of another optimiser'):
            checkpoint.set_trainer_arrays(make_trainer(net, 0.9, 1e-4), net, {**states, harm: np.zeros(7)})


def test_a_run_that_has_not_made_a_step_yet_is_saved_and_restored(tmp_path):
    """Its steps so far overflowed, or its first one is under way: the optimiser has nothing."""
    net = network()
    trainer = make_trainer(net, 0.9, 1e-4)
    checkpoint.save(str(tmp_path), net, trainer, {'epoch': -1})
    arrays = checkpoint.load(str(tmp_path))[1]
    other = network(seed=1)
    weights.set_weights(other, arrays['params'], 'it')
    restored = make_trainer(other, 0.9, 1e-4)
    checkpoint.set_trainer_arrays(restored, other, arrays['states'])
    for each, of in ((net, trainer), (other, restored)):
        step(each, of, 0)
    assert arrays['states'] == {} and checkpoint.trainer_arrays(restored, other)
    assert_same(arrays_of(net), arrays_of(other))


class Twins(nn.HybridBlock):
    """Two layers that are made in one order or the other, and so have the automatic names of one another."""

    def __init__(self, names):
        super().__init__(prefix='twins_')
        with self.name_scope():
            for name in names:
                setattr(self, name, nn.Dense(2, in_units=2, use_bias=False))

    def hybrid_forward(self, F, x):
        return self.first(x) + 2 * self.second(x)


def test_momentum_is_found_by_name_and_in_older_files_by_place():
    nets = [Twins(names) for names in (('first', 'second'), ('first', 'second'), ('second', 'first'))]
    trainers = []
    for net in nets:
        net.initialize()
        trainers.append(make_trainer(net, 0.9, 1e-4))
    trainers[0].set_learning_rate(0.1)
    with mx.autograd.record():
        loss = nets[0](mx.nd.array([[1, 2]])).sum()
    loss.backward()
    trainers[0].step(1)
    saved = {name: array.asnumpy() for name, array in checkpoint.trainer_arrays(trainers[0], nets[0]).items()}
    assert saved.keys() == {'momentum:first.weight', 'momentum:second.weight'}
    older = {'momentum:0': saved['momentum:first.weight'], 'momentum:1': saved['momentum:second.weight']}
    for net, trainer, arrays in ((nets[1], trainers[1], older), (nets[2], trainers[2], saved)):
        checkpoint.set_trainer_arrays(trainer, net, arrays)
        found = checkpoint.trainer_arrays(trainer, net)
        assert_same({name: array.asnumpy() for name, array in found.items()}, saved)


def test_the_command_says_what_is_inside(saved, capsys):
    folder, _, net, _ = saved
    command.main([folder, os.path.join(folder, 'last.params')])
    text = capsys.readouterr().out
    assert 'last.json: epoch 1' in text and 'previous.json: epoch 0' in text and 'options: null' in text
    assert text.count(': verified') == 4 and text.count('  output.bias (4,) float32') == 3
    os.truncate(os.path.join(folder, 'last.params'), 1000)
    with pytest.raises(SystemExit, match='2'):  # the one before is whole
        command.main([folder])
    out, error = capsys.readouterr()
    assert 'previous.json: epoch 0' in out and 'last.json' not in out and error.count('error: ') == 1
    os.truncate(os.path.join(folder, 'previous.json'), 100)
    for name in ('last.params', 'last.json', 'previous.json', 'absent.params', ''):
        with pytest.raises(SystemExit, match='2'):
            command.main([os.path.join(folder, name)])
        out, error = capsys.readouterr()
        assert out == '' and len(error.splitlines()) == (1 if name else 2) and folder in error


def test_damaged_params_files_raise_and_never_more(tmp_path):
    """Cut at every length and flipped at random bits: a UserError, or arrays whose sizes are those of the file."""
    path = str(tmp_path / 'x.params')
    mx.nd.save(path, {'weight': mx.nd.ones((2, 3)), 'bias': mx.nd.ones((4,))})
    with open(path, 'rb') as file:
        whole = file.read()
    for length in range(len(whole)):
        with open(path, 'wb') as file:
            file.write(whole[:length])
        with pytest.raises(UserError, match='cut short or damaged' if length >= 16 else 'it does not begin as one'):
            read_params(path)
    random, refused = np.random.RandomState(0), 0
    for _ in range(500):
        flipped = bytearray(whole)
        flipped[random.randint(len(whole))] ^= 1 << random.randint(8)
        with open(path, 'wb') as file:
            file.write(flipped)
        try:
            assert sum(array.nbytes for array in read_params(path).values()) <= len(whole)
        except UserError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize('shape', [(0, 2 ** 62, 2 ** 62), (0, 2 ** 40, 2 ** 40), (2 ** 62, 2 ** 62), (0,), (-1, -1)])
def test_sizes_that_no_array_has_are_refused(shape, tmp_path):
    path = tmp_path / 'x.params'
    head = struct.pack('<QQQIii%dqiii' % len(shape), 0x112, 0, 1, 0xF993FAC9, 0, len(shape), *shape, 1, 0, 0)
    path.write_bytes(head + struct.pack('<QQ', 1, 1) + b'a')
    with pytest.raises(UserError, match='x.params is'):
        read_params(str(path))


def test_a_name_of_an_array_is_no_longer_than_names_are(tmp_path):
    """Looking for the counter in a name of 200,000 digits took 80 seconds."""
    path = str(tmp_path / 'x.params')
    write_params(path, {'1' * 200000: np.zeros(1, 'float32')})
    with pytest.raises(UserError, match='x.params is damaged or no .params file: a name has 200000 bytes'):
        read_params(path)


def other_names(net, tmp_path, way):
    """A file of a network's weights, with names of another scheme."""
    path = str(tmp_path / 'x.params')
    if way == 'export':
        net.hybridize()
        net(mx.nd.ones((1, 3, 32, 32)))
        net.export(str(tmp_path / 'net'))
        return str(tmp_path / 'net-0000.params')
    if way == 'save_params':
        net.collect_params().save(path)
    elif way == 'Module':  # in the order of the graph, with names of somebody's own
        graph = net(mx.sym.var('data'))
        names = [name for name in graph.list_arguments() + graph.list_auxiliary_states() if name != 'data']
        held = net.collect_params()
        arrays = {f'layer{row}_{name.rsplit("_", 2)[-1] if "running" not in name else name[name.index("running"):]}':
                  held[name]._reduce() for row, name in enumerate(names)}  # laid out plainly
        mx.nd.save(path, {('aux:' if 'running' in name else 'arg:') + name: array for name, array in arrays.items()})
    return path


@pytest.mark.parametrize('way', ['export', 'save_params', 'Module'])
@pytest.mark.parametrize('name,options', [('cifar_resnet', dict(blocks=1)), ('resnet50_v1b', dict(layers=(1, 1, 1, 1))),
                                          ('atac_resnet50_v1b', dict(layers=(1, 2, 1, 1)))])
def test_weights_with_names_of_another_scheme_are_taken(way, name, options, tmp_path):
    nets = [get_model(name, **options, classes=5) for _ in range(2)]
    for seed, net in enumerate(nets):
        mx.random.seed(seed)
        net.initialize(mx.init.Normal(0.1))
        net(mx.nd.random.normal(shape=(1, 3, 32, 32)))
    path = other_names(nets[0], tmp_path, way)
    assert all('.' not in name for name in read_params(path))
    weights.load_weights(nets[1], path)
    assert_same(arrays_of(nets[0]), arrays_of(nets[1]))


def test_weights_of_gluoncv_are_taken_by_order_and_shapes(tmp_path, caplog):
    gluoncv = pytest.importorskip('gluoncv')
    theirs = gluoncv.model_zoo.get_model('resnet50_v1b', pretrained=False, classes=4)
    theirs.initialize(mx.init.Normal(0.1))
    theirs(mx.nd.ones((1, 3, 64, 64)))
    theirs.collect_params().save(str(tmp_path / 'x.params'))
    net = get_model('resnet50_v1b', classes=4)
    weights.load_weights(net, str(tmp_path / 'x.params'))
    x = mx.nd.random.normal(shape=(1, 3, 64, 64))
    assert (net(x).asnumpy() == theirs(x).asnumpy()).all() and 'x.params' in caplog.text


def test_names_of_a_scheme_that_do_not_tell_are_one_sentence(tmp_path):
    path = other_names(network(act_type='ChaATAC'), tmp_path, 'Module')
    relu = get_model('cifar_resnet', blocks=1, classes=4, act_type='relu')
    with pytest.raises(UserError, match='by a scheme of blocks, and neither its names nor their order and shapes fit'):
        weights.load_weights(relu, path)
    net = network(act_type='relu')
    one = {name: parameter.data() for name, parameter in net.collect_params().items()}
    first = next(iter(one))
    mx.nd.save(path, {**one, 'another9_' + first.split('_', 1)[1]: one[first]})
    with pytest.raises(UserError, match='by a scheme of blocks, and neither its names nor their order and shapes fit'):
        weights.load_weights(relu, path)
    mx.nd.save(path, {'one0_weight': mx.nd.ones((4, 4)), 'two0_weight': mx.nd.zeros((4, 4))})
    with pytest.raises(UserError, match='as one0_weight, by a scheme of blocks, and more than one order'):
        weights.load_weights(Backwards(), path)


class Backwards(mx.gluon.HybridBlock):
    """Two layers of one shape that are made in one order and used in the other."""

    def __init__(self):
        super().__init__()
        self.first = nn.Dense(4, in_units=4, use_bias=False)
        self.second = nn.Dense(4, in_units=4, use_bias=False)

    def hybrid_forward(self, F, x):
        return self.first(self.second(x))
