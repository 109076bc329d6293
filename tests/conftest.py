"""What the tests share: tiny data sets of real images, and a network small enough to train in a second."""
import runtime  # noqa: F401  (before mxnet)

import pytest

from tests.faults.runs import write_tiny
from tools.records import make_small


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """A folder of fashion-mnist-mini's form with 150 training and 70 test images of every class."""
    return write_tiny(str(tmp_path_factory.mktemp('tiny')), 150, 70)


@pytest.fixture(scope='session')
def record_folder(tmp_path_factory):
    """RecordIO files and class folders of 48 training and 21 validation images at 40 pixels."""
    folder = tmp_path_factory.mktemp('records')
    make_small.write(str(folder), size=40, train=48, val=21)
    return folder


@pytest.fixture
def cifar_flags(tiny_data, tmp_path):
    """Flags of a train_cifar.py run of seconds that leaves everything in tmp_path."""
    return ['--data-dir', tiny_data, '--blocks', '1', '--act-type', 'ChaATAC', '--useReLU', '--r', '4', '--num-epochs',
            '2', '--lr', '0.05', '--lr-mode', 'cosine', '--batch-size', '32', '-j', '1', '--log-interval', '2',
            '--save-dir', str(tmp_path / 'run'), '--logging-file', str(tmp_path / 'run.log')]
