"""A run that is killed, stopped, locked out or refused by the disk loses nothing; a small version of `make faults`."""
import glob
import json
import os
import re
import resource
import signal
import threading

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

import train_cifar
from data.batches import ArrayBatches
from data.images import ImageBatches
from data.recordio import RecordFile
from model import get_model
from native import product
from tests.faults import runs
from training import checkpoint
from training.fit import Run, fit, last_good
from training.learner import Learner, make_trainer
from training.loss import Objective
from training.signals import ASKING, watching

CPU = [mx.cpu(0)]


def test_a_run_stopped_and_killed_within_epochs_equals_the_uninterrupted_one(tiny_data, tmp_path):
    """SIGTERM in the first epoch, SIGKILL in the second, and meanwhile a second run that the lock refuses.

    All with the operator of native/, where there is one.
    """
    whole, hindered = str(tmp_path / 'whole'), str(tmp_path / 'hindered')
    train_cifar.main(runs.flags_of(tiny_data, whole))
    flags, log = runs.flags_of(tiny_data, hindered), os.path.join(hindered, 'run.log')

    process = runs.start(flags)
    assert runs.wait_for_line(process, log, 'Epoch[0] Batch [1]'), process.communicate()
    with pytest.raises(OSError, match='another run is using .*run: wait for it, or choose another --save-dir'):
        train_cifar.main(flags + ['--resume'])
    assert runs.kill(process, signal.SIGTERM)[0] == 143
    with open(log) as file:
        assert re.search(r'SIGTERM: stopped after epoch \d(, batch \d)?, which is saved in .*; --resume', file.read())

    process = runs.start(flags + ['--resume', '--save-every-steps', '1'])
    for line in ('Continues after', 'Epoch[1] Batch [2]'):  # the first run may have come to the second already
        assert runs.wait_for_line(process, log, line), process.communicate()
    assert runs.kill(process)[0] == -signal.SIGKILL
    assert checkpoint.load(os.path.join(hindered, 'run'))[0]['epoch'] >= 0

    train_cifar.main(flags + ['--resume'])
    assert runs.equal(runs.outcome(whole), runs.outcome(hindered))
    places = [re.findall(r'.{24}(\[?Epoch.\d+\](?: Batch .\d+\])?)', open(os.path.join(folder, 'run.log')).read())
              for folder in (whole, hindered)]
    assert places[0] == places[1] and len(places[0]) == 3 * (5 + 1)
    products = re.findall(r'Product of gate and map: (\w+)', open(log).read())
    assert products == 3 * ['MXNet' if product.why_not() else 'native']


def small_run(folder, **options):
    return Run(**{**dict(save_dir=os.path.join(folder, 'run'), logging_file=os.path.join(folder, 'run.log'), title='x',
                         options={'num_epochs': 2}, seed=0, num_epochs=2, log_interval=1, resume=True), **options})


def network_with_dropout():
    net = get_model('cifar_resnet', blocks=1, act_type='relu', classes=10)
    net.features.add(mx.gluon.nn.Dropout(0.5))
    return net


def smallest_network():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(8, 3, in_channels=3), mx.gluon.nn.BatchNorm(in_channels=8),
            mx.gluon.nn.Activation('relu'), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Dense(10, in_units=8))
    return net


def small_fit(run, train, validation, lr_at, build=network_with_dropout):
    mx.random.seed(0)
    net = build()
    net.initialize(mx.init.MSRAPrelu(), ctx=CPU)
    net.hybridize(static_alloc=True, static_shape=True)
    return fit(run, Learner(net, make_trainer(net, 0.9, 1e-4), lr_at, Objective(10), CPU), train, validation)


def interrupting(number, epoch, batch):
    """A learning rate that sends this process a signal before a step."""
    def lr_at(*place):
        if place == (epoch, batch):
            os.kill(os.getpid(), number)
        return 0.01
    return lr_at


@pytest.fixture
def heard():
    """Signals that a shell has this process ignore, as it does for what it starts in the background, are heard."""
    before = {asking: signal.signal(asking, signal.default_int_handler) for asking in ASKING}
    yield
    for asking, handler in before.items():
        signal.signal(asking, handler)


def test_what_is_ignored_stays_ignored(heard):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with watching() as watch:
        os.kill(os.getpid(), signal.SIGINT)
        assert watch.signal is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert watch.signal == signal.SIGTERM and signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler


@pytest.mark.parametrize('first', ASKING)
def test_a_second_signal_ends_a_run_but_for_that_of_a_closing_terminal(first, heard):
    """Of which the kernel and the shell each send one."""
    with watching() as watch:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGHUP)
        assert watch.signal == first
        assert [signal.getsignal(asking) for asking in (signal.SIGTERM, signal.SIGINT)] == 2 * [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGHUP) == signal.default_int_handler


@pytest.mark.parametrize('number,code', [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_imagenet_reading_with_threads_and_dropout_resumes_exactly(record_folder, tmp_path, number, code, heard):
    sources = [ImageBatches(RecordFile(str(record_folder / (split + '.rec'))), 10, 16, split == 'train', workers=4,
                            size=32) for split in ('train', 'val')]
    small_fit(small_run(str(tmp_path / 'whole')), *sources, lambda *_: 0.01)
    handlers = [signal.getsignal(asking) for asking in ASKING]
    for place in ((0, 1), (1, 2)):  # the second is the last batch: scoring is all that is left of its epoch
        with pytest.raises(SystemExit) as leaving:
            small_fit(small_run(str(tmp_path / 'split')), *sources, interrupting(number, *place))
        assert leaving.value.code == code
        assert handlers == [signal.getsignal(asking) for asking in ASKING]
    assert checkpoint.load(str(tmp_path / 'split' / 'run'))[0]['within']['batches'] == 3
    small_fit(small_run(str(tmp_path / 'split')), *sources, lambda *_: 0.01)
    assert runs.equal(runs.outcome(str(tmp_path / 'whole')), runs.outcome(str(tmp_path / 'split')))


def few_images(count, train, kind=ArrayBatches, batch_size=None):
    random = np.random.RandomState(0)
    return kind(random.randint(0, 256, (count, 3, 32, 32)).astype('uint8'), random.randint(0, 10, count), 10,
                (0.5,) * 3, (0.25,) * 3, batch_size or count, train, workers=1)


@pytest.mark.parametrize('bytes_left', [0, 100000, 310000])
def test_a_full_disk_is_a_sentence_and_the_older_checkpoint_stays_whole(tmp_path, bytes_left):
    run = small_run(str(tmp_path), num_epochs=1, options={'num_epochs': 1})
    sources = few_images(4, True), few_images(4, False)
    small_fit(run, *sources, lambda *_: 0.01)
    before = checkpoint.load(run.save_dir)
    size = os.path.getsize(os.path.join(run.save_dir, 'last.params'))
    assert size > 310000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lr_at(epoch, batch):
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, limits[1]))
        return 0.01

    try:
        with pytest.raises(OSError, match='cannot write .*: .*File too large; the last good '
                                          'checkpoint is .*last.params of epoch 0'):
            small_fit(run._replace(num_epochs=2, log_interval=0), *sources, lr_at)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    after = checkpoint.load(run.save_dir)
    assert before[0] == after[0] and runs.same_arrays(before[1]['params'], after[1]['params'])
    assert not glob.glob(os.path.join(run.save_dir, '*.new'))
    with open(os.path.join(str(tmp_path), 'run.jsonl')) as file:
        assert [json.loads(line)['epoch'] for line in file if line.endswith('\n')] in ([0], [0, 1])


class BadPicture(ArrayBatches):
    """Of which the picture in the last place cannot be read; in training, that is the last of the epoch."""

    def load(self, rows, epoch, batch, mapped):
        if not self.train or batch + 1 == len(self):
            raise UserError('bad.jpg is not an image')
        return super().load(rows, epoch, batch, mapped)


def test_a_picture_that_cannot_be_scored_costs_no_epoch(tmp_path):
    run = small_run(str(tmp_path / 'hindered'), log_interval=0)
    with pytest.raises(UserError, match='bad.jpg is not an image; the last good checkpoint is .* of epoch 0, batch 0'):
        small_fit(run, few_images(4, True), few_images(4, False, BadPicture), lambda *_: 0.01, smallest_network)
    trained = []
    for folder in 'hindered', 'whole':
        run = small_run(str(tmp_path / folder), log_interval=0)
        small_fit(run, few_images(4, True), few_images(4, False), lambda *place: trained.append(place) or 0.01,
                  smallest_network)
    assert trained == [(1, 0), (0, 0), (1, 0)]
    assert runs.equal(runs.outcome(str(tmp_path / 'hindered')), runs.outcome(str(tmp_path / 'whole')))


def test_a_picture_that_cannot_be_trained_on_costs_no_step_before_it(tmp_path):
    run = small_run(str(tmp_path / 'hindered'), log_interval=0)
    with pytest.raises(UserError, match='bad.jpg is not an image; the last good checkpoint is .* of epoch 0, batch 1'):
        small_fit(run, few_images(6, True, BadPicture, 2), few_images(4, False), lambda *_: 0.01, smallest_network)
    trained = []
    for folder in 'hindered', 'whole':
        run = small_run(str(tmp_path / folder), log_interval=0)
        small_fit(run, few_images(6, True, batch_size=2), few_images(4, False),
                  lambda *place: trained.append(place) or 0.01, smallest_network)
    assert trained[:4] == [(0, 2), (1, 0), (1, 1), (1, 2)]
    assert runs.equal(runs.outcome(str(tmp_path / 'hindered')), runs.outcome(str(tmp_path / 'whole')))


def test_the_last_good_checkpoint_is_named_as_the_file_that_is_whole(tmp_path):
    run = small_run(str(tmp_path), log_interval=0)
    small_fit(run, few_images(4, True), few_images(4, False), lambda *_: 0.01, smallest_network)
    assert last_good(run.save_dir).endswith('last.params of epoch 1')
    os.truncate(os.path.join(run.save_dir, 'last.params'), 100)
    assert last_good(run.save_dir).endswith('previous.params of epoch 0')


def test_a_run_does_not_continue_with_other_data(tmp_path):
    run = small_run(str(tmp_path), num_epochs=1, log_interval=0)
    small_fit(run, few_images(4, True), few_images(4, False), lambda *_: 0.01, smallest_network)
    with pytest.raises(UserError, match='options: images_per_step was 4 and is 5; train_images was 4 and is 5$'):
        small_fit(run, few_images(5, True), few_images(4, False), lambda *_: 0.01, smallest_network)


def test_two_hundred_epochs_use_no_more_memory_files_or_threads(tmp_path):
    seen = []

    def lr_at(epoch, batch):
        with open('/proc/self/statm') as file:
            seen.append((int(file.read().split()[1]), len(os.listdir('/proc/self/fd')), threading.active_count()))
        return 0.001

    run = small_run(str(tmp_path), num_epochs=200, log_interval=0)
    small_fit(run, few_images(4, True), few_images(4, False), lr_at, smallest_network)
    memory, files, threads = zip(*seen)
    assert len(seen) == 200 and max(memory[100:]) <= 1.05 * max(memory[10:20])
    assert max(files[10:]) <= max(files[:10]) and max(threads[10:]) <= max(threads[:10])
