"""tools.export: what is written gives the network's logits elsewhere, and what cannot be written is refused."""
import json
import os
import resource
import sys

from runtime import UserError

import cv2
import mxnet as mx
import numpy as np
import pytest

from cli.exits import run_script
from cli.flags import CIFAR_MODELS
from data.fashion_mnist import load_mini
from disk import file_digest
from model import get_model
from tests.random_networks import FLAGS, noise, random_net, write_weights
from tests.test_scripts import refusal
from tools import ROOT
from tools.share import export, onnx_file
from tools.share.onnx_file import runner
from training.weights.description import read_description

REASON = 'requirements/export.txt is not installed'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp('weights'))


@pytest.fixture
def flags(weights):
    return [*FLAGS, '--params', weights]


@pytest.fixture
def onnx():
    pytest.importorskip('onnxruntime', reason=REASON)
    return pytest.importorskip('onnx', reason=REASON)


def facts_in(model):
    """{key: text} of the metadata of an ONNX file."""
    return {fact.key: fact.value for fact in model.metadata_props}


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
    facts = facts_in(model)
    assert (facts['network'], facts['unit'], facts['dataset']) == ('cifar_resnet', 'ChaATAC', 'fashion-mnist-mini')
    assert json.loads(facts['class_names'])[9] == 'ankle boot' and '--useReLU' in facts['command']
    assert facts['params_sha256'] == file_digest(flags[-1]) and 'trained_by' not in facts
    pixels = load_mini(False).pixels[5:9]
    mean, std = (np.reshape(json.loads(facts[key]), (3, 1, 1)) for key in ('mean', 'std'))
    images = ((pixels / 255 - mean) / std).astype('float32')
    net = get_model('cifar_resnet', blocks=1)
    net.load_parameters(flags[-1])
    np.testing.assert_allclose(runner(path)(images), net(mx.nd.array(images)).asnumpy(), rtol=1e-3, atol=1e-3)


def test_the_file_says_what_the_description_of_the_weights_says(onnx, tmp_path):
    weights, path = os.path.join(ROOT, 'params', 'fashion-mnist-SeqATAC-b1.params'), str(tmp_path / 'net.onnx')
    export.main(['--params', weights, '--onnx', path])
    facts, description = facts_in(onnx.load(path)), read_description(weights)
    assert facts.pop('command') == f'python -m tools.export --params {weights} --onnx {path}'
    assert facts.pop('trained_by') == description.command
    assert facts.pop('unit') == 'SeqATAC' and facts.pop('output').startswith('logits')
    assert facts.pop('input') == 'float32 (N, 3, H, W), RGB, (pixel / 255 - mean) / std for every colour'
    said = {**description._asdict(), 'command': None}
    for name, value in said.items():
        if value not in (None, ''):
            assert facts.pop(name) == (value if isinstance(value, str) else json.dumps(value))
    assert not facts


def test_a_fixed_batch_and_pictures_of_ones_own(flags, onnx, tmp_path, capsys):
    picture = str(tmp_path / 'cat.png')
    assert cv2.imwrite(picture, np.random.RandomState(0).randint(0, 255, (30, 40, 3), 'uint8'))
    path = str(tmp_path / 'net.onnx')
    export.main([*flags, picture, '--onnx', path, '--batch-size', '3'])
    assert 'on 8 random and' in capsys.readouterr().out
    run = runner(path)
    assert run(noise(32)).shape == (3, 10)
    with pytest.raises(Exception, match='Got: 2 Expected: 3'):
        run(noise(32, 2))


def test_a_file_that_differs_is_not_written(flags, onnx, tmp_path, monkeypatch, capsys):
    """MXNet's own exporter forgets that a gamma counts as 1: without exportable_graph the file would be wrong."""
    path = tmp_path / 'net.onnx'
    path.write_bytes(b'kept')

    def as_mxnet_has_it(net, shape):
        return (mx.sym.identity(net(mx.sym.var('data')), name='logits'),
                {name: parameter._reduce() for name, parameter in net.collect_params().items()})

    monkeypatch.setattr(onnx_file, 'exportable_graph', as_mxnet_has_it)
    with pytest.raises(SystemExit) as leaving:
        run_script(lambda: export.main([*flags, '--onnx', str(path), '--overwrite']))
    assert leaving.value.code == 1 and 'net.onnx is not written' in capsys.readouterr().err
    assert path.read_bytes() == b'kept' and os.listdir(str(tmp_path)) == ['net.onnx']


@pytest.mark.parametrize('kind', ['random', 'real'])
def test_a_difference_that_is_not_a_number_is_refused(kind, flags, onnx, tmp_path, monkeypatch):
    found = {'random': 0.0, 'real': 0.0, kind: float('nan')}
    monkeypatch.setattr(export, 'logit_differences', lambda *_: found)
    with pytest.raises(FloatingPointError, match='more than 1e-04'):
        export.main([*flags, '--onnx', str(tmp_path / 'net.onnx')])
    assert not os.listdir(str(tmp_path))


@pytest.fixture
def full_disk():
    """Files end at 64 KB, as on a disk that is full then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('flag, says', [
    ('--onnx', 'cannot write {0}'), ('--symbol', 'cannot write {0}-symbol.json')])
def test_a_full_disk_is_one_sentence_that_names_the_file(flag, says, flags, tmp_path, capsys, monkeypatch, full_disk):
    if flag == '--onnx':
        pytest.importorskip('onnxruntime', reason=REASON)
    path = str(tmp_path / ('net.onnx' if flag == '--onnx' else 'net'))
    sentence = refusal(lambda: export.main([*flags, flag, path]), [], capsys, monkeypatch)
    assert sentence == f'script.py: error: {says.format(path)}: File too large'
    assert not os.listdir(str(tmp_path))


def test_chaotic_weights_are_at_fault_themselves(onnx, tmp_path, capsys):
    """Written as a symbol they are: MXNet does the same operations on what is read back."""
    weights = str(tmp_path / 'net.params')
    random_net(get_model('cifar_resnet', blocks=9)).save_parameters(weights)
    flags = [*FLAGS, '--blocks', '9', '--params', weights]
    with pytest.raises(SystemExit) as leaving:
        run_script(lambda: export.main([*flags, '--onnx', str(tmp_path / 'net.onnx')]))
    assert leaving.value.code == 1 and 'the network is at fault, not ONNX Runtime' in capsys.readouterr().err
    assert os.listdir(str(tmp_path)) == ['net.params']
    assert export.main([*flags, '--symbol', str(tmp_path / 'net')]) == {'symbol': {'random': 0, 'real': 0}}


@pytest.mark.parametrize('model,unit,expected', [
    ('atac', None, 'ChaATAC'), ('atac', 'xUnit', 'xUnit'), ('se', None, 'SE-ReLU'), ('ge', None, 'relu'),
    ('atac_resnet50_v1b', None, 'ChaATAC'), ('resnet50_v1b', None, 'relu'), ('aa_resnet50', None, 'relu')])
def test_the_unit_is_named_also_where_no_flag_names_it(model, unit, expected, tmp_path):
    (tmp_path / 'x.params').write_bytes(b'')
    data = ['--dataset', 'cifar10' if model in CIFAR_MODELS else 'imagenet']
    flags = ['--model', model, '--params', str(tmp_path / 'x.params'), *data]
    args = export.parse_args(flags + ['--act-type', unit] * bool(unit))
    assert export.metadata_of(args)['unit'] == expected


@pytest.mark.parametrize('extra,words', [
    ([], 'say what to write: --onnx FILE, --symbol PREFIX or both'),
    (['--symbol', '{folder}/'], 'it is a folder'),
    (['--symbol', '{folder}/none/net'], 'there is no folder'), (['--onnx', '{folder}/none/net'], 'there is no folder'),
    (['--onnx', '{folder}', '--overwrite'], 'it is not an ordinary file'),
    (['--onnx', '{there}'], 'is there already: --overwrite replaces it'),
    (['--onnx', '/dev/null', '--overwrite'], '/dev/null cannot be written: it is not an ordinary file'),
    (['--symbol', '{folder}/there'], 'there-0000.params is there already'),
    (['--symbol', '{folder}/x', '--batch-size', '4'], '--batch-size is for --onnx'),
    (['--onnx', '{folder}/x.onnx', '--batch-size', '100000000'], 'a batch of 100000000 images needs about'),
    (['--onnx', '{weights}', '--overwrite'], 'is what is read'),
    (['--onnx', '{there}', '--overwrite'], 'its name must end in .onnx'),
    (['{there}', '--symbol', '{folder}/there', '--overwrite'], 'there-0000.params is what is read'),
    (['--onnx', '{folder}/x-symbol.json', '--symbol', '{folder}/x'], 'name the same file'),
    (['--symbol', '{folder}/x', '--blocks', '2'], 'of another architecture'),
    (['--symbol', '{folder}/x', '--params', '{there}'], 'there-0000.params'),
    (['--symbol', '{folder}/x', '--params', '{folder}/none'], 'No such file'),
    (['{there}', '--symbol', '{folder}/x'], 'is not an image'),
    (['--symbol', '{folder}/x', '--dtype', 'bfloat16'], 'an export is float32 or int8: --dtype bfloat16'),
    (['--symbol', '{folder}/x', '--onnx', '{folder}/y.onnx', '--dtype', 'int8'], '--dtype int8 is for --symbol'),
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
    with pytest.raises(UserError, match='not finite'):
        export.main(arguments)
    assert os.listdir(str(tmp_path)) == ['nan.params']


@pytest.mark.parametrize('package', ['onnx', 'onnxruntime'])
def test_a_missing_package_is_named_with_the_command(package, flags, tmp_path, capsys, monkeypatch):
    if package == 'onnxruntime':
        pytest.importorskip('onnx', reason=REASON)
    monkeypatch.setitem(sys.modules, package, None)
    sentence = refusal(lambda: export.main([*flags, '--onnx', str(tmp_path / 'x.onnx')]), [], capsys, monkeypatch)
    assert sentence.endswith('--onnx needs %s: make export-setup' % package)
