"""Weights in float16: BatchNorm's stay, the network is the same to the precision of float16."""
import os
import shutil

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

from model import get_model
from tests.test_scripts import ROOT, refusal
from tools.look import checkpoint
from tools.share import half
from training.weights.arrays import load_weights
from training.weights.params_file import read_params


def test_halved_weights_give_the_same_network(tmp_path):
    net, other = (get_model('cifar_resnet', blocks=1) for _ in range(2))
    net.initialize(mx.init.MSRAPrelu())
    x = mx.nd.random.normal(shape=(4, 3, 32, 32))
    with mx.autograd.record():
        net(x)
    net.save_parameters(str(tmp_path / 'whole.params'))
    half.main([str(tmp_path / 'whole.params'), str(tmp_path / 'half.params')])
    arrays = read_params(str(tmp_path / 'half.params'))
    assert {name.split('.')[-1] for name, array in arrays.items() if array.dtype == 'float32'} == set(half.BATCH_NORM)
    assert arrays['features.0.weight'].dtype == 'float16'
    load_weights(other, str(tmp_path / 'half.params'))
    expected = net(x).asnumpy()
    assert np.abs(other(x).asnumpy() - expected).max() < 1e-2 * expected.std()


def test_numbers_beyond_float16_and_existing_files_are_refused(tmp_path, capsys, monkeypatch):
    with pytest.raises(UserError, match='a.weight'):
        half.halved({'a.weight': np.array([1e6], 'float32')})
    with pytest.raises(UserError, match='names are those of a symbol'):
        half.halved({'batchnorm0_gamma': np.array([1], 'float32')})
    path = str(tmp_path / 'net.params')
    net = mx.gluon.nn.Dense(2, in_units=2)
    net.initialize()
    net.save_parameters(path)
    assert 'exists' in refusal(half.main, [path, path], capsys, monkeypatch)
    other = str(tmp_path / 'half.json')
    assert 'must end in .params' in refusal(half.main, [path, other], capsys, monkeypatch) and not os.path.exists(other)


def test_weights_are_those_of_the_checksums_beside_them(tmp_path):
    """As evaluate.py and all other readers of weights see it; a file that the list does not name is not checked."""
    folder = os.path.join(ROOT, 'params')
    names = [name for name in os.listdir(folder) if name.endswith('.params')]
    with open(os.path.join(folder, 'SHA256SUMS')) as file:
        assert sorted(line.split()[1] for line in file) == sorted(names) and len(names) >= 5
    net = get_model('cifar_resnet', blocks=1, act_type='relu')
    load_weights(net, os.path.join(folder, 'fashion-mnist-relu-b1.params'))
    content = bytearray(open(os.path.join(folder, 'fashion-mnist-relu-b1.params'), 'rb').read())
    content[len(content) // 2] ^= 1
    shutil.copy(os.path.join(folder, 'SHA256SUMS'), tmp_path)
    for name in ('fashion-mnist-relu-b1.params', 'mine.params'):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match='its checksum is not that of SHA256SUMS'):
        load_weights(net, str(tmp_path / 'fashion-mnist-relu-b1.params'))
    for reader in (checkpoint.describe, lambda path: half.main([path, str(tmp_path / 'half.params')])):
        with pytest.raises(UserError, match='its checksum is not that of SHA256SUMS'):
            reader(str(tmp_path / 'fashion-mnist-relu-b1.params'))
    load_weights(net, str(tmp_path / 'mine.params'))
