"""The operator of native/: what it computes, where it is used, and what happens without it."""
import json
import os
import shutil
import subprocess
import sys
import threading

import runtime

import mxnet as mx
import numpy as np
import pytest

import train_cifar
from model import ACTIVATIONS, get_model
from native import build, channels, check, compiled, library, product
from native.graph import nodes_of
from tests.cpu import DTYPES, needs_bfloat16
from training.precision import BFLOAT16
from training.scoring import compile_for_scoring

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATIENCE = 120
# Units whose networks must have the operator; others may.
WITH_PRODUCT = {'swish', 'xUnit', 'SpaATAC', 'ChaATAC', 'SeqATAC', 'MSSeqATAC', 'SE-activation', 'SE-ReLU',
                'ChaATAC-linear', 'SeqATAC-linear', 'mish', 'hard_swish', 'ACON-C', 'Meta-ACON', 'DY-ReLU-B'}
WAYS = [{}, {'static_alloc': True}, {'static_alloc': True, 'static_shape': True}]
needs_operator = pytest.mark.skipif(bool(product.why_not()), reason=product.why_not())


def python(code, **environment):
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', 'import runtime\n' + code], cwd=ROOT, timeout=PATIENCE,
                          env=dict(os.environ, **environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def running(monkeypatch):
    """A function that returns the operators of the network that was compiled last, as it runs."""
    graphs, make = [], mx.nd.CachedOp
    monkeypatch.setattr(mx.nd, 'CachedOp', lambda graph, flags: graphs.append(graph) or make(graph, flags))
    return lambda: [node['op'] for node in nodes_of(graphs[-1])]


def at_once(name, *arrays, out=None):
    """An operator, run imperatively."""
    handle = mx.base.OpHandle()
    mx.base.check_call(mx.base._LIB.NNGetOpHandle(name.encode(), mx.base.ctypes.byref(handle)))
    return mx._ctypes.ndarray._imperative_invoke(handle.value, arrays, (), (), out, False, False)


def multiply(*arrays, out=None):
    return at_once(product.OPERATOR, *arrays, out=out)


def random(*shape, dtype='float32', seed=0):
    return mx.nd.array(np.random.RandomState(seed).randn(*shape), dtype=dtype)


def blocked(array):
    """The same numbers in the layout in which a convolution leaves them."""
    channels = array.shape[1]
    one = mx.nd.array(np.eye(channels).reshape(channels, channels, 1, 1))
    return mx.nd.Convolution(array, one, kernel=(1, 1), num_filter=channels, no_bias=True)


def test_it_is_there_where_it_can_be():
    built = os.path.exists(library.place()[0] or '')
    if (built or shutil.which('g++')) and library.place()[0] and os.environ.get(library.SWITCH) != '0':
        assert product.why_not() == ''
    else:
        assert product.why_not()


@needs_operator
def test_it_computes_what_broadcast_mul_does_bit_for_bit():
    agreeing, differing = check.compare()
    assert not differing and agreeing == 36 * len(check.products(1))  # shapes, ways to compile and requests


@needs_operator
@pytest.mark.parametrize('shape', [(2, 16, 8, 8), (1, 3, 5, 7), (3, 20, 1, 1), (4, 10, 3, 3), (6, 32, 9, 4)])
def test_at_once_it_equals_numpy_in_every_mixture_of_layouts(shape):
    x, gate, head = random(*shape), random(*shape, seed=1), random(*shape, seed=2)
    for first in (x, blocked(x)):
        for second in (gate, blocked(gate)):
            np.testing.assert_array_equal(multiply(first, second).asnumpy(), x.asnumpy() * gate.asnumpy())
            for array in (first, second):
                array.attach_grad()
            with mx.autograd.record():
                out = multiply(first, second)
            out.backward(head)
            np.testing.assert_array_equal(first.grad.asnumpy(), (head * gate).asnumpy())
            np.testing.assert_array_equal(second.grad.asnumpy(), (head * x).asnumpy())


@needs_operator
def test_products_of_bfloat16_are_rounded_to_the_nearest_where_mxnet_truncates_them():
    factors = [random(2, 16, 8, 8, seed=seed).astype(BFLOAT16) for seed in (0, 1)]
    bits = np.multiply(*(factor.astype('float32').asnumpy() for factor in factors)).view('uint32')
    found = [multiply(*factors), mx.nd.broadcast_mul(*factors)]
    ours, theirs = (product.astype('float32').asnumpy().view('uint32') >> 16 for product in found)
    np.testing.assert_array_equal(ours, bits + 0x7fff + (bits >> 16 & 1) >> 16)
    np.testing.assert_array_equal(theirs, bits >> 16)


@needs_operator
@pytest.mark.parametrize('second', [mx.nd.NDArray.copy, blocked])
@pytest.mark.parametrize('first', [mx.nd.NDArray.copy, blocked])
def test_at_once_it_writes_adds_and_works_in_place(first, second):
    a, b, c = (random(4, 16, 6, 6, seed=seed) for seed in range(3))
    for place in (0, 1):  # in which factor the product is written
        factors = first(a), second(b)
        assert multiply(*factors, out=factors[place]) is factors[place]
        np.testing.assert_array_equal(factors[place].asnumpy(), (a * b).asnumpy())
    both = first(a)
    np.testing.assert_array_equal(multiply(both, both, out=both).asnumpy(), (a * a).asnumpy())

    for head in (c.copy(), blocked(c)):  # of which the memory becomes a gradient
        gradient = mx.nd.zeros(a.shape)
        at_once('_backward' + product.OPERATOR, head, first(a), second(b), out=[gradient, head])
        np.testing.assert_array_equal(gradient.asnumpy(), (c * b).asnumpy())
        np.testing.assert_array_equal(head.asnumpy(), (c * a).asnumpy())

    factors = first(a), second(b)
    for factor in factors:
        factor.attach_grad('add')
    for _ in range(2):
        with mx.autograd.record():
            out = multiply(*factors)
        out.backward(c)
    for factor, other in zip(factors, (b, a)):
        np.testing.assert_array_equal(factor.grad.asnumpy(), (c * other + c * other).asnumpy())


@needs_operator
def test_parts_of_blocked_arrays_are_read_right():
    x, gate = random(6, 32, 5, 5), random(6, 32, 5, 5, seed=1)
    wide, wide_gate = blocked(x), blocked(gate)
    expected = x.asnumpy() * gate.asnumpy()
    np.testing.assert_array_equal(multiply(wide[2:4], wide_gate[2:4]).asnumpy(), expected[2:4])
    np.testing.assert_array_equal(multiply(wide[1:3], gate[1:3]).asnumpy(), expected[1:3])
    np.testing.assert_array_equal(multiply(wide.reshape((6, 32, 25)), gate.reshape((6, 32, 25))).asnumpy(),
                                  expected.reshape(6, 32, 25))
    np.testing.assert_array_equal(wide.asnumpy(), blocked(x).asnumpy())


@needs_operator
@pytest.mark.parametrize('dtype', ['float64', 'float16', 'int32', 'uint8'])
def test_other_types_are_multiplied_as_before(dtype):
    x, gate = (10 * random(2, 16, 4, 4, seed=seed).abs().astype(dtype) for seed in (0, 1))
    found = multiply(x, gate)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.asnumpy(), mx.nd.broadcast_mul(x, gate).asnumpy())


@needs_operator
def test_other_shapes_are_multiplied_as_before():
    for small in ((2, 16, 1, 1), (1, 16, 1, 1), (2, 1, 4, 4)):
        pairs = []
        for function in (multiply, mx.nd.broadcast_mul):
            x, gate = blocked(random(2, 16, 4, 4)), random(*small, seed=1)
            for array in (x, gate):
                array.attach_grad()
            with mx.autograd.record():
                out = function(x, gate)
            out.backward(random(2, 16, 4, 4, seed=2))
            pairs.append([array.asnumpy() for array in (out, x.grad, gate.grad)])
        for ours, theirs in zip(*pairs):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(multiply(random(3), random(3)).asnumpy(), random(3).asnumpy() ** 2)


@needs_operator
def test_several_threads_and_devices_multiply_at_once():
    x, gate = random(4, 32, 16, 16), random(4, 32, 16, 16, seed=1)
    expected, wrong = x.asnumpy() * gate.asnumpy(), []

    def work(device):
        mine, other = x.as_in_context(device), gate.as_in_context(device)
        for _ in range(50):
            if not np.array_equal(multiply(blocked(mine), other).asnumpy(), expected):
                wrong.append(device)

    threads = [threading.Thread(target=work, args=(mx.cpu(number % 2),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def trained(unit, ways, compiler=None, steps=2, **options):
    """(network, its logits and gradients in each step) of a small network, compiled in a way."""
    mx.random.seed(0)
    net = get_model('cifar_resnet', blocks=1, act_type=unit, **options)
    net.initialize(mx.init.MSRAPrelu())
    if ways is not None:
        net.hybridize(**ways)
    if compiler:
        compiler(net)
    trainer = mx.gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.01, 'momentum': 0.9})
    found = []
    for step in range(steps):
        with mx.autograd.record():
            out = net(random(4, 3, 16, 16, seed=step))
        out.backward()
        found += [out] + [parameter.grad().copy() for parameter in net.collect_params().values()
                          if parameter.grad_req != 'null']
        trainer.step(4)
    found.append(net(random(3, 3, 20, 20)))  # of other sizes
    return net, [array.asnumpy() for array in found]


def with_mxnets_product(monkeypatch, *arguments, **options):
    with monkeypatch.context() as patch:
        patch.setattr(product, 'with_product', lambda graph, shapes: graph)
        return trained(*arguments, compiler=compiled.for_cpu, **options)


@needs_operator
@pytest.mark.parametrize('unit', ACTIVATIONS)
def test_networks_of_every_unit_train_as_with_mxnets_product(monkeypatch, running, unit):
    ways = {'static_alloc': True, 'static_shape': True}
    _, ours = trained(unit, ways, compiled.for_cpu)
    assert unit not in WITH_PRODUCT or product.OPERATOR in running()
    _, theirs = with_mxnets_product(monkeypatch, unit, ways)
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, other)


@needs_operator
@pytest.mark.parametrize('ways', WAYS)
def test_networks_train_alike_however_they_are_compiled(monkeypatch, running, ways):
    _, ours = trained('ChaATAC', ways, compiled.for_cpu)
    assert running().count(product.OPERATOR) == 7
    _, theirs = with_mxnets_product(monkeypatch, 'ChaATAC', ways)
    assert running().count('broadcast_mul') == 7
    for mine, other in zip(ours, theirs):
        np.testing.assert_array_equal(mine, other)


def test_compiled_networks_compute_what_they_compute_uncompiled():
    ways = {'static_alloc': True, 'static_shape': True}
    for unit in ('ChaATAC', 'SE-ReLU', 'relu'):
        for mine, other in zip(trained(unit, ways, compiled.for_cpu, steps=1)[1], trained(unit, None, steps=1)[1]):
            np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4 * abs(other).max())


@needs_operator
@pytest.mark.parametrize('ways', WAYS)
def test_gates_of_channels_and_means_are_dots(running, ways):
    trained('SE-ReLU', ways, compiled.for_cpu)
    counts = [running().count(name) for name in ('broadcast_mul', 'mean', product.OPERATOR, 'dot')]
    assert counts == [0, 0, 7, 14]


def with_gradients(run, *arrays):
    """What a function computes of arrays, and its gradients."""
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        out = run(*arrays)
    out.backward(random(*out.shape, seed=5))
    return [array.asnumpy() for array in (out, *(array.grad for array in arrays))]


@needs_operator
@pytest.mark.parametrize('ways', WAYS)
@pytest.mark.parametrize('first', [(4, 16, 8, 8), (1, 16, 8, 8)])  # a gate of one image is spread to all later ones
@pytest.mark.parametrize('convolved', [True, False])
def test_dots_compute_what_broadcast_mul_and_mean_do_at_any_size(convolved, first, ways):
    x, gate = mx.sym.var('data'), mx.sym.var('gate')
    if convolved:  # that is, blocked
        x = mx.sym.Convolution(x, mx.sym.var('weight'), kernel=(1, 1), num_filter=16, no_bias=True)
    for graph in (mx.sym.broadcast_mul(x, gate), mx.sym.mean(x, axis=(2, 3), keepdims=True)):
        ours = channels.with_dots(graph, {'data': first, 'gate': (first[0], 16, 1, 1)})
        assert 'dot' in [node['op'] for node in nodes_of(ours)]
        runs = [mx.nd.CachedOp(each, list(ways.items())) for each in (graph, ours)]
        for batch, height, width in ((first[0], 8, 8), (3, 5, 7), (6, 1, 1), (2, 1, 9)):
            arrays = {'data': random(batch, 16, height, width), 'weight': random(16, 16, 1, 1, seed=1),
                      'gate': random(1 if first[0] == 1 else batch, 16, 1, 1, seed=2)}
            found = [with_gradients(run, *(arrays[name] for name in graph.list_arguments())) for run in runs]
            if 'gate' in graph.list_arguments():
                np.testing.assert_array_equal(found[0][0], found[1][0])
            for theirs, mine in zip(*found):
                np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-6 * abs(theirs).max())


@needs_operator
@pytest.mark.parametrize('ways', WAYS)
@pytest.mark.parametrize('gate', [(2, 16, 3, 3), (2, 16, 8, 8), (2, 16, 1, 4)])
def test_a_gate_of_another_size_than_at_first_is_an_error(ways, gate):
    graph = mx.sym.broadcast_mul(mx.sym.var('data'), mx.sym.var('gate'))
    ours = channels.with_dots(graph, {'data': (2, 16, 8, 8), 'gate': (2, 16, 1, 1)})
    run = mx.nd.CachedOp(ours, list(ways.items()))
    run(random(2, 16, 8, 8), random(2, 16, 1, 1)).wait_to_read()
    with pytest.raises(mx.MXNetError, match='dot shape error'):
        run(random(2, 16, 8, 8), random(*gate)).wait_to_read()


@needs_operator
def test_mixed_precision_and_a_process_without_the_operator_have_no_dots(monkeypatch):
    x, shapes = mx.sym.var('data'), {'data': (2, 16, 4, 4)}
    graph = mx.sym.broadcast_mul(x, mx.sym.mean(mx.sym.amp_cast(x, dtype='float32'), axis=(2, 3), keepdims=True))
    assert channels.with_dots(graph, shapes) is graph
    monkeypatch.setattr(product, 'why_not', lambda: 'ATAC_NATIVE=0 switches it off')
    graph = mx.sym.mean(x, axis=(2, 3), keepdims=True)
    assert compiled.changed(graph, shapes) is graph


@needs_operator
def test_threads_that_look_for_the_operator_at_once_have_it():
    code = ('import threading; from native import product; found = []\n'
            'threads = [threading.Thread(target=lambda: found.append(product.why_not())) for _ in range(8)]\n'
            '[thread.start() for thread in threads]; [thread.join() for thread in threads]; print(found == [""] * 8)')
    assert python(code) == 'True'


@needs_operator
def test_a_graph_whose_shapes_were_equal_only_at_first_still_broadcasts(running):
    class Gated(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return F.broadcast_mul(x, F.mean(x, axis=(2, 3), keepdims=True))

    net = Gated()
    net.hybridize(static_alloc=True)
    compiled.for_cpu(net)
    for size in (1, 5):
        x = random(2, 16, size, size)
        np.testing.assert_allclose(net(x).asnumpy(), (x * x.mean(axis=(2, 3), keepdims=True)).asnumpy(), rtol=1e-6)
    assert product.OPERATOR in running()


@needs_operator
def test_global_pooling_reads_plain_maps_and_others_stay():
    data = mx.sym.var('data')
    for pooling, inserted in ((dict(global_pool=True), 1), (dict(kernel=(2, 2)), 0)):
        graph = compiled.with_plain_pooling(mx.sym.Pooling(mx.sym.relu(data), pool_type='avg', **pooling))
        assert [node['op'] for node in nodes_of(graph)].count('Reshape') == inserted
    shared = mx.sym.relu(data)
    first, second = mx.sym.split(mx.sym.var('data'), num_outputs=2)
    pooled = mx.sym.Pooling(first, global_pool=True, kernel=(1, 1))
    both = compiled.with_plain_pooling(mx.sym.broadcast_add(second, pooled))
    numbers = mx.nd.random.normal(shape=(2, 8, 5, 5))
    np.testing.assert_array_equal(
        mx.nd.CachedOp(both)(numbers).asnumpy(),
        (numbers[:, 4:] + numbers[:, :4].max(axis=(2, 3), keepdims=True)).asnumpy())
    graph = mx.sym.broadcast_mul(shared, mx.sym.Pooling(shared, global_pool=True, pool_type='avg'))
    assert 'Reshape' not in compiled.with_plain_pooling(graph).tojson()


@needs_operator
@pytest.mark.parametrize('unit', ['ChaATAC', 'SE-ReLU'])
def test_what_a_trained_network_exports_is_mxnets_own(tmp_path, running, unit):
    net, _ = trained(unit, {'static_alloc': True, 'static_shape': True}, compiled.for_cpu)
    assert product.OPERATOR in running()
    x = random(16, 3, 16, 16)
    logits = net(x).asnumpy()
    net.export(str(tmp_path / 'net'))
    for graph in (mx.sym.load(str(tmp_path / 'net-symbol.json')), net(mx.sym.var('data'))):
        operators = [node['op'] for node in nodes_of(graph)]
        assert operators.count('broadcast_mul') == 7 and not {product.OPERATOR, 'dot'} & set(operators)
    again = mx.gluon.SymbolBlock.imports(str(tmp_path / 'net-symbol.json'), ['data'], str(tmp_path / 'net-0000.params'))
    np.testing.assert_allclose(again(x).asnumpy(), logits, rtol=1e-4, atol=1e-5)


@needs_operator
@pytest.mark.parametrize('dtype', DTYPES)
def test_networks_for_scoring_run_it_too_unless_they_are_quantised(running, dtype):
    net, _ = trained('ChaATAC', {'static_alloc': True, 'static_shape': True}, compiled.for_cpu)
    x = random(16, 3, 16, 16)
    ready = compile_for_scoring(net, dtype, calibration=x.asnumpy())
    logits = ready(x).astype('float32').asnumpy()
    assert running().count(product.OPERATOR) == (0 if dtype == 'int8' else 7)
    assert product.OPERATOR not in ready(mx.sym.var('data')).tojson()
    tolerance = 1e-4 if dtype == 'float32' else 0.2
    np.testing.assert_allclose(logits, net(x).asnumpy(), rtol=tolerance, atol=tolerance * logits.std())


@needs_operator
def test_a_fork_multiplies_too():
    """With one thread: with more, libgomp hangs in a fork, in MXNet's own convolution too."""
    code = ('import os, numpy as np, mxnet as mx\nfrom tests.test_native import multiply, blocked, random\n'
            'x = blocked(random(8, 32, 16, 16)); y = multiply(x, x).asnumpy()\n'
            'child = os.fork()\n'
            'if child == 0:\n'
            '    again = multiply(blocked(random(8, 32, 16, 16)), x).asnumpy()\n'
            '    os._exit(0 if np.array_equal(again, y) else 3)\n'
            'print(os.waitpid(child, 0)[1])')
    assert python(code, OMP_NUM_THREADS='1') == '0'


def training(begin='', **environment):
    """[whose product it was, SHA-256 of all numbers] of trainings in a process of its own."""
    return python('%s\nfrom tests.test_native import WAYS, trained, compiled; import hashlib\n'
                  'runs = [trained(unit, WAYS[-1], compiled.for_cpu) for unit in ("ChaATAC", "relu")]\n'
                  'numbers = b"".join(array.tobytes() for _, found in runs for array in found)\n'
                  'print(compiled.product_of(runs[0][0]), hashlib.sha256(numbers).hexdigest())'
                  % begin, **environment).split()


@needs_operator
def test_without_onednn_it_is_off():
    assert training(MXNET_MKLDNN_ENABLED='0')[0] == 'MXNet'


@needs_operator
@needs_bfloat16
def test_mixed_precision_casts_as_it_does_without_it():
    begin = 'from training.precision import use_dtype; import mxnet as mx; use_dtype("bfloat16", [mx.cpu()])'
    native, off = (training(begin, ATAC_NATIVE=switch) for switch in '10')
    assert (native[0], off[0]) == ('native', 'MXNet') and native[1] == off[1]
    assert native[1] != training()[1]


@needs_operator
def test_a_run_says_whose_product_it_has_and_warns_when_it_is_resumed_with_other_code(cifar_flags, monkeypatch, caplog):
    log = cifar_flags[cifar_flags.index('--logging-file') + 1]
    monkeypatch.setattr('cli.build.commit', lambda: '1111111')
    train_cifar.main(cifar_flags + ['--num-epochs', '1'])
    assert 'other means' not in caplog.text
    monkeypatch.setattr(product, 'why_not', lambda: 'ATAC_NATIVE=0 switches it off')
    monkeypatch.setattr('cli.build.commit', lambda: '2222222')
    threads, version = os.environ['OMP_NUM_THREADS'], np.__version__
    monkeypatch.setenv('OMP_NUM_THREADS', '77')  # which MXNet has read before
    monkeypatch.setattr('training.resume.processor', lambda: ('Abacus', ['avx512f']))
    monkeypatch.setattr('numpy.__version__', '1.0')
    train_cifar.main(cifar_flags + ['--resume'])
    name, instructions = runtime.processor()
    before = name + (' with AVX-512' if 'avx512f' in instructions else '')
    assert f'other means (NumPy was {version} and is 1.0; OMP_NUM_THREADS was {threads} and is 77; commit was ' \
        f'1111111 and is 2222222; processor was {before} and is Abacus with AVX-512; product was native and is MXNet)' \
        in caplog.text
    with open(log) as file:
        lines = [line.split('Product of gate and map: ')[1].strip() for line in file if 'Product of' in line]
    assert lines == ['native', 'MXNet (native: ATAC_NATIVE=0 switches it off)']


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """The compiled library and its record in a folder of their own: (path, its record)."""
    if library.find()[0] is None:
        pytest.skip(library.find()[1])
    folder = shutil.copytree(library.FOLDER, str(tmp_path / 'built'))
    monkeypatch.setattr(library, 'FOLDER', folder)
    path, _ = library.find()
    assert path.startswith(folder)
    return path, library.record_of(path)


def test_only_what_was_checked_is_loaded(apart, monkeypatch):
    path, record = apart

    def why_not(**changes):
        with open(path + '.json', 'w') as file:
            json.dump(dict(record, **changes), file)
        found, reason = library.find()
        assert bool(found) != bool(reason)
        return reason

    assert why_not() == ''
    assert 'another processor' in why_not(processor=['another'])
    assert 'not passed its check: it was ended' in why_not(passed=0, failure='it was ended')
    assert 'not the library that was checked' in why_not(library='0' * 64)
    for damaged in ('', 'no JSON', '[]', '{"library": 1}'):
        with open(path + '.json', 'w') as file:
            file.write(damaged)
        assert 'not compiled' in library.find()[1]
    assert why_not() == ''
    with open(path, 'r+b') as file:
        file.write(b'damaged')
    assert 'not the library that was checked' in library.find()[1]
    os.remove(path)
    assert 'not compiled' in library.find()[1]
    monkeypatch.setattr(library, 'WHEELS', {'0' * 64: 'mxnet 0.1'})
    assert library.find() == (None, 'it is made for mxnet 0.1, and this is another MXNet')
    monkeypatch.setattr(library, 'mxnet_folder', lambda: None)
    assert library.find() == (None, 'there is no libmxnet.so')
    monkeypatch.setenv(library.SWITCH, '0')
    assert library.find() == (None, 'ATAC_NATIVE=0 switches it off')


def test_without_a_compiler_nothing_is_built_and_what_is_built_serves(apart, monkeypatch, capsys):
    path, _ = apart
    monkeypatch.setenv('PATH', os.path.dirname(path))
    assert build.main() == '' and capsys.readouterr().out == 'native product: ready\n'
    os.remove(path)
    assert 'not compiled' in build.main() and not os.path.exists(path)


def test_what_has_passed_its_check_is_not_built_again(apart, monkeypatch):
    path, record = apart
    calls = []
    monkeypatch.setattr(build, 'compiler', lambda: record['compiler'])
    monkeypatch.setattr(build, 'build', lambda *arguments: calls.append(arguments))
    for changes, again in (({}, 0), ({'compiler': 'g++ 1'}, 1), ({'processor': ['another']}, 2),
                           ({'library': '0' * 64}, 3), ({'passed': 0, 'failure': 'it had not ended'}, 4)):
        with open(path + '.json', 'w') as file:
            json.dump({**record, **changes}, file)
        build.main()
        assert len(calls) == again
    sources = library.SOURCES
    assert [os.path.basename(name) for name in sources] == ['product.cc', 'build.py', 'check.py']
    for source in sources:  # with other flags, or another check, it is another library
        monkeypatch.setattr(library, 'SOURCES', [name if name != source else __file__ for name in sources])
        assert library.place()[0] != path


@pytest.mark.parametrize('lacking,reason', [('library.FOLDER = ""', 'it is not compiled: make setup, which needs g++'),
                                            ('library.WHEELS = {}', 'this is another MXNet')])
def test_without_a_library_networks_run_mxnets_graph(lacking, reason):
    without = training('from native import library, product; %s; assert product.why_not().endswith("%s")'
                       % (lacking, reason), ATAC_NATIVE='1')
    assert without == training(ATAC_NATIVE='0') and without[0] == 'MXNet'


@pytest.mark.parametrize('check_says,reason', [
    ('os.kill(os.getpid(), 11)', 'exit code -11'), ('sys.exit("it differs")', 'it differs'),
    ('print("no number")', 'exit code 0'), ('time.sleep(100)', 'had not ended after 1 s')])
def test_a_check_that_fails_crashes_or_hangs_is_only_a_no(apart, monkeypatch, check_says, reason):
    path, record = apart
    stand_in = os.path.join(os.path.dirname(path), 'native')
    os.mkdir(stand_in)
    with open(os.path.join(stand_in, 'check.py'), 'w') as file:
        file.write('import os, sys, time\n' + check_says)
    monkeypatch.setattr(build, 'ROOT', os.path.dirname(path))
    monkeypatch.setattr(build, 'CHECKING', 1 if 'sleep' in check_says else 60)
    monkeypatch.setattr(build, 'compile_library', lambda new: shutil.copy(path, new))
    build.build(path, record['compiler'])
    assert reason in library.find()[1] and library.find()[0] is None


def test_a_source_that_does_not_compile_is_only_a_no(apart, monkeypatch, tmp_path):
    if not shutil.which('g++'):
        pytest.skip('there is no g++')
    source = tmp_path / 'product.cc'
    source.write_text('no C++')
    monkeypatch.setattr(library, 'SOURCE', str(source))
    monkeypatch.setattr(library, 'SOURCES', [str(source)])
    assert 'it cannot be compiled: ' in build.main() and library.find()[0] is None
