"""Several workers: whose images are whose, what they tell one another, and one job of two processes.

`make dist-test` has the rest: many jobs, more workers, and what happens to them.
"""
import signal
import subprocess
import sys

from runtime import UserError

import mxnet as mx
import numpy as np
import pytest

from data.batches import ArrayBatches
from data.images import ImageBatches
from data.recordio import RecordFile
from tests.dist import trials, worker
from tests.dist.bench import TOLERANCE, Bench
from tools import ROOT
from training import distributed
from training.distributed import ANSWERS_AWAITED, WORDS_A_PIECE, Alone, Workers, join
from training.learner import make_trainer


def arrays(count, batch_size, train):
    pixels = np.random.RandomState(0).randint(0, 256, (count, 3, 32, 32)).astype('uint8')
    return ArrayBatches(pixels, np.arange(count), count, (0.5,) * 3, (0.25,) * 3, batch_size, train)


def divided(source, rank, ranks):
    source.divide(rank, ranks)
    return list(source.epoch(1))


@pytest.mark.parametrize('steps, code', [('time.sleep(30)', 3),
                                         ('[(dog.renew(), time.sleep(0.5)) for _ in range(6)]', 0)])
def test_a_worker_that_hears_nothing_ends_with_3(steps, code):
    script = ('import time\nfrom training.watchdog import Watchdog\ndog = Watchdog(1, 2)\ndog.begin()\n%s\ndog.end()'
              % steps)
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert done.returncode == code
    assert ('worker 2 has heard nothing for 1 seconds: ' in done.stderr) == bool(code)


@pytest.mark.parametrize('ranks', [1, 2, 3, 4])
@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('count,batch_size', [(23, 8), (18, 8), (17, 8), (16, 16)])
def test_workers_divide_each_batch_among_them(count, batch_size, train, ranks):
    """Each image once, as it is without them; partners in mixup together; as many batches for each, of about a size."""
    whole = list(arrays(count, batch_size, train).epoch(1))
    parts = [divided(arrays(count, batch_size, train), rank, ranks) for rank in range(ranks)]
    assert all(len(part) == len(whole) for part in parts)
    for (data, labels), *shares in zip(whole, *parts):
        place = {label: number for number, label in enumerate(labels)}
        assert sorted(label for _, share in shares for label in share) == sorted(labels)
        for images, share in shares:
            assert len(images) == len(share)
            if len(share):
                assert (images == data[[place[label] for label in share]]).all()
            assert [place[label] for label in share[::-1]] == [len(labels) - 1 - place[label] for label in share]
        sizes = [len(share) for _, share in shares]
        assert max(sizes) - min(sizes) <= 2


def test_decoded_images_are_divided_as_they_are(record_folder):
    def source():
        return ImageBatches(RecordFile(str(record_folder / 'train.rec')), 10, 10, True, workers=2, size=32)

    whole = list(source().epoch(2))
    first, second = source(), source()
    first.divide(0, 2)
    second.divide(1, 2)
    for number, ((data, labels), (one, some), (other, more)) in enumerate(zip(whole, first.epoch(2), second.epoch(2))):
        back = len(some) // 2
        np.testing.assert_array_equal(np.concatenate([one[:back], other, one[back:]]), data)
        np.testing.assert_array_equal(np.concatenate([some[:back], more, some[back:]]), labels)
        assert first.images_in(number) == len(labels)


def test_a_batch_too_small_for_the_workers_is_refused():
    arrays(9, 7, True).divide(0, 4)
    with pytest.raises(UserError, match='a batch of 6 images is too small for 4 workers'):
        arrays(9, 6, True).divide(0, 4)


@pytest.fixture
def one():
    """A job of one worker on MXNet's store of this process, with the code of several."""
    return Workers(mx.kv.create('local'))


def test_what_the_first_worker_has_is_shared_bit_for_bit(one):
    random = np.random.RandomState(0)
    params = {'a.weight': random.randn(3 * WORDS_A_PIECE // 2 + 1).astype('float32'), 'b': np.zeros((0, 3), 'float32'),
              'half': np.array([-0.0, np.inf, np.nan, 6e-8], 'float16')}
    facts = {'epoch': 3, 'within': None, 'loss': 0.1}
    got, groups = one.share(lambda: (facts, {'params': params, 'states': {}}))
    assert got == facts and list(groups) == ['params', 'states'] and groups['states'] == {}
    for name, array in params.items():
        assert groups['params'][name].dtype == array.dtype and groups['params'][name].tobytes() == array.tobytes()
    assert one.share(lambda: None) is None and one.share(lambda: {'file': 'x'}) == {'file': 'x'}


@pytest.mark.parametrize('error,kind', [(ValueError('no'), ValueError), (FileNotFoundError(2, 'gone'), OSError),
                                        (FloatingPointError('NaN'), FloatingPointError)])
def test_what_fails_in_the_first_worker_fails_in_all(one, error, kind):
    def fail():
        raise error

    with pytest.raises(type(error)) as found:
        one.share(fail)
    assert found.value is error
    one.rank = 1  # another worker, which is sent the kind and the words
    one._send = lambda _: distributed.packed({'error': distributed.SHARED_ERRORS.index(kind), 'text': str(error)},
                                             failed=True)
    with pytest.raises(kind) as found:
        one.share(fail)
    assert type(found.value) is kind and str(found.value) == str(error)


def test_a_request_to_stop_is_heard_by_all_a_few_steps_later(one):
    heard = []
    for sent in (None, signal.SIGTERM, *[None] * ANSWERS_AWAITED):
        one.tell(sent)
        heard.append(one.asked(None))
    assert heard == [None] * (1 + ANSWERS_AWAITED) + [signal.SIGTERM]
    assert Alone().asked(signal.SIGINT) == signal.SIGINT


def test_sums_under_way_together_stay_apart(one):
    sums = [one.total([mx.nd.full(4, step), mx.nd.full(4, 1000)])[0] for step in range(50)]
    assert [int(found.asnumpy()[3]) for found in sums] == [step + 1000 for step in range(50)]


def test_the_trainer_is_begun_where_it_is_made(one, monkeypatch):
    net = worker.network()
    net(mx.nd.zeros((1, 3, 32, 32)))
    calls = []
    monkeypatch.setattr(one, '_wait', lambda: calls.append('wait'))
    trainer = make_trainer(net, 0.9, 0, workers=one)
    assert trainer._kv_initialized and not trainer._params_to_init and calls == ['wait']
    assert trainer._update_on_kvstore is False


def test_a_job_that_cannot_be_is_one_sentence(monkeypatch):
    for name in distributed.JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r'DMLC_ROLE, .* not set\): start it with python -m tools.launch'):
        join('dist_sync')
    if not mx.runtime.Features().is_enabled('NCCL'):
        with pytest.raises(UserError, match='has no NCCL'):
            join('nccl')
    monkeypatch.setitem(sys.modules, 'horovod.mxnet', None)
    with pytest.raises(UserError, match='Horovod cannot be loaded .* make horovod'):
        join('horovod')
    monkeypatch.setenv('DMLC_ROLE', 'worker')
    with pytest.raises(UserError, match='which would train without the others by --kvstore device: use dist_sync'):
        join('device')
    monkeypatch.setattr(mx.kv.KVStore, 'type', 'dist_sync')
    for number in '1', 'a', '':
        monkeypatch.setenv('DMLC_WORKER_ID', number)
        with pytest.raises(UserError, match='each of the 1 workers its own number from 0'):
            Workers(mx.kv.create('local'))


@pytest.fixture(scope='module')
def alone():
    return worker.train()


def test_two_processes_compute_what_one_does(alone, tmp_path):
    """Weights after the first step and at the end, loss, errors, and every validation image once."""
    assert trials.equal_weights(Bench(str(tmp_path), alone), 2, 'dist_sync', tries=1) == (1, True)
    assert np.abs(alone['last'] - alone['first']).max() > 100 * TOLERANCE
    assert alone['numbers'][worker.NUMBERS.index('images')] == worker.IMAGES


@pytest.mark.skipif(not trials.horovod_runs(), reason='Horovod is not installed: make horovod builds it')
def test_two_processes_by_horovod_compute_what_one_does(alone, tmp_path):
    assert trials.horovod(Bench(str(tmp_path), alone)) == (1, True)
