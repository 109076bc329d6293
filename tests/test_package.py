"""The package `atac` as it is installed: beside folders and files of a user that have the names of ours."""
import os
import shutil
import subprocess
import sys

import runtime

import pytest

from model import load
from tests.test_description import harmed
from tests.test_scripts import ROOT
from training.weights.description import read_description

STEP = '''
import atac
import mxnet as mx
from mxnet.gluon import nn
assert atac.__version__ == %r and atac.__file__.startswith(%r)
net = nn.HybridSequential()
net.add(nn.Conv2D(64, 3, padding=1), nn.BatchNorm(), atac.ACTIVATIONS['ChaATAC'](64, r=2), nn.GlobalAvgPool2D(),
        nn.Dense(10))
net.initialize(mx.init.MSRAPrelu())
net.hybridize()
trainer, losses = mx.gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.1}), []
x, y = mx.nd.random.normal(shape=(8, 3, 16, 16)), mx.nd.arange(8)
for _ in range(3):
    with mx.autograd.record():
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(net(x), y)
    loss.backward()
    trainer.step(8)
    losses.append(loss.mean().asscalar())
assert losses[-1] < losses[0], losses
trained = atac.load(%r)
assert trained(mx.nd.ones((1, 3, 32, 32))).shape == (1, 10)
assert atac.get_model('atac_resnet50_v1b', classes=5)
try:
    atac.load(%r)
except ValueError as error:
    assert 'has no description' in str(error), error
else:
    raise AssertionError
assert atac.load(%r, 'cifar_resnet', act_type='ChaATAC')
try:
    atac.load(%r)
except ValueError as error:
    assert str(error).endswith('misdescribed.json describes a network that cannot be: it has no option params'), error
else:
    raise AssertionError
for wrong in ({'blocks': 3, 'r': 16}, {'network': 'atac_resnet50_v1b'}, {'classes': 20}):
    try:
        atac.load(%r, **wrong)
    except ValueError as error:
        assert ' and not ' in str(error), error
    else:
        raise AssertionError(wrong)
print('ok')
'''


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """What `pip install` puts into site-packages, of the source distribution."""
    folder = tmp_path_factory.mktemp('site')

    def setup(where, *command):
        subprocess.run([sys.executable, '-W', 'ignore', 'setup.py', '-q', 'egg_info', '--egg-base', str(folder),
                        *command], cwd=where, check=True, timeout=100, capture_output=True)

    setup(ROOT, 'sdist', '--dist-dir', str(folder))
    shutil.unpack_archive(str(folder / f'atac-{runtime.__version__}.tar.gz'), str(folder))
    setup(str(folder / f'atac-{runtime.__version__}'), 'build', '--build-base', str(folder))
    return str(folder / 'lib')


def test_a_unit_trains_beside_files_that_have_our_names(installed, tmp_path):
    for name in ('data', 'tools', 'training', 'cli'):
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text('raise RuntimeError("of the user")')
    for name in ('model.py', 'runtime.py', 'inference.py'):
        (tmp_path / name).write_text('raise RuntimeError("of the user")')
    undescribed = tmp_path / 'x.params'
    undescribed.write_bytes(b'')
    weights = os.path.join(ROOT, 'params', 'fashion-mnist-ChaATAC-b1.params')
    misdescribed = str(tmp_path / 'misdescribed.params')
    shutil.copy(weights, misdescribed)
    harmed(misdescribed, read_description(weights), network='resnet50_v1b', options={'params': 'x'})
    code = STEP % (runtime.__version__, installed, weights, str(undescribed), weights, misdescribed, weights)
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=str(tmp_path), timeout=100, text=True,
                          env={**os.environ, 'PYTHONPATH': installed}, capture_output=True)
    assert done.stdout == 'ok\n', done.stderr


def test_beside_the_scripts_load_says_what_to_use():
    with pytest.raises(runtime.UserError, match='beside the scripts there is inference.load'):
        load('x.params')
