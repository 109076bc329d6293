"""The workers of a job: processes, on one machine or many, that train one network together.

Gradients are summed by MXNet's own engines: ps-lite, which is inside the MXNet wheel, or Horovod where it is installed.
Workers also tell one another losses, counts, a request to stop and a checkpoint: each is a sum through the same engine,
so all of them must make the same calls in the same order. `Alone` is the job of one worker, which asks nobody.
"""
import io
import json
import os
import struct
from collections import deque
from math import ceil

from runtime import UserError

import mxnet as mx
import numpy as np

from training.horovod_store import HorovodStore
from training.signals import ASKING
from training.watchdog import Watchdog

KVSTORES = ('local', 'device', 'nccl', 'dist_sync', 'dist_device_sync', 'horovod')
JOB_VARIABLES = ('DMLC_ROLE', 'DMLC_PS_ROOT_URI', 'DMLC_PS_ROOT_PORT', 'DMLC_NUM_SERVER', 'DMLC_NUM_WORKER')
OWN_KEYS = 1 << 20         # of sums that are no gradients; the Trainer numbers those of its parameters from 0
ANSWERS_AWAITED = 2        # steps until a request to stop is known to all, so that no step waits for it
WORDS_A_PIECE = 1 << 16    # of 16 bits, each as a float32: 256 KB
SHARED_ERRORS = (FloatingPointError, OSError, UserError, ValueError)


def join(kvstore, stall_timeout=0):
    """Alone, or Workers once all workers of the job are there.

    Raises UserError if the kvstore cannot be had here, and says what to do.
    """
    if kvstore == 'horovod':
        return Workers(HorovodStore(), stall_timeout)
    if kvstore.startswith('dist'):
        missing = [name for name in JOB_VARIABLES if name not in os.environ]
        if missing:
            raise UserError('--kvstore %s is for a worker of a job, which this process is not (%s not set): start it '
                            'with python -m tools.launch' % (kvstore, ', '.join(missing)))
        return Workers(mx.kv.create(kvstore), stall_timeout)
    if os.environ.get('DMLC_ROLE') == 'worker':
        raise UserError('this is a worker of a job (DMLC_ROLE is set), which would train without the others by '
                        '--kvstore %s: use dist_sync' % kvstore)
    if kvstore == 'nccl' and not mx.runtime.Features().is_enabled('NCCL'):
        raise UserError('this MXNet has no NCCL, which comes with the GPU wheels: use --kvstore device')
    return Alone(kvstore)


class Alone:
    """The only worker of a job.   store: what mx.gluon.Trainer takes for its kvstore"""

    rank, size = 0, 1

    def __init__(self, store='device'):
        self.store = store

    def __str__(self):
        return '1 worker'

    def devices_of(self, devices):
        """Those of a machine's devices that this worker uses."""
        return devices

    def begin(self, trainer):
        """Let every worker begin with the weights of the first, before anything is summed."""

    def total(self, parts):
        """The sum over workers and devices, queued, as arrays of which the sum is still to be taken.

        parts: float32 arrays of one shape, on this worker's devices.
        """
        return parts

    def share(self, function):
        """What function() gives in the first worker, in every worker; what it raises is raised in every worker.

        The function gives what JSON can hold, or (that, {kind: {name: array}}).
        """
        return function()

    def average_statistics(self, net):
        """Give every device of every worker the mean over all of them of what BatchNorm has seen, as each has seen its
        own images."""
        for name, parameter in net.collect_params().items():
            if name.endswith(('running_mean', 'running_var')):
                parameter.set_data(self.total([parameter._reduce()])[0] / self.size)

    def tell(self, signal):
        """Tell the others of a signal, or None; to be called by all workers equally often."""

    def asked(self, signal):
        """The signal on which all workers are to stop, or None.   signal: what this one has been sent"""
        return signal

    def finish(self):
        """All workers leave the job, none in the middle of something."""


ALONE = Alone()


def own_number(rank):
    """The DMLC_WORKER_ID of this worker, or else a rank; one that no worker has for what is not a number."""
    given = os.environ.get('DMLC_WORKER_ID', str(rank))
    return int(given) if given.isdecimal() else -1


class Workers(Alone):
    """One of several workers.   store: an mx.kvstore.KVStoreBase   stall_timeout: seconds, see Watchdog; 0 for none

    rank: its number, DMLC_WORKER_ID where the launcher gives one, as ps-lite numbers workers as they come.
    """

    def __init__(self, store, stall_timeout=0):
        super().__init__(store)
        self.size = store.num_workers
        self.sums = {}
        self.told = deque()
        self.signal = None
        self.rank = own_number(store.rank) if 'dist' in store.type else store.rank
        self.watchdog = Watchdog(stall_timeout, self.rank)
        self._barrier_at_exit(False)  # a worker must be able to fail and leave without the others
        places = self._sum(np.arange(self.size) == self.rank)
        if (places != 1).any():
            raise UserError('DMLC_WORKER_ID must give each of the %d workers its own number from 0' % self.size)

    def __str__(self):
        return '%d workers by %s' % (self.size, self.store.type)

    def devices_of(self, devices):
        return self.store.devices_of(devices) if isinstance(self.store, HorovodStore) else devices

    def begin(self, trainer):
        """In MXNet 1.9.1 the first step does this beside its own sums, and a worker may come out of it with the first
        gradients in place of its weights; here nothing else is under way, and all wait until it is done."""
        trainer._init_kvstore()
        trainer._init_params()
        self._wait()
        self.watchdog.begin()

    def total(self, parts):
        shape = parts[0].shape
        if shape not in self.sums:
            key = OWN_KEYS + len(self.sums)
            self.sums[shape] = key, mx.nd.zeros(shape)
            self.store.broadcast(key, mx.nd.zeros(shape), out=mx.nd.zeros(shape))
            self._wait()
        # Sums under one key that are under way together get mixed up among the steps: one array for all of them lets
        # MXNet's engine take them in turn, as it takes gradients.
        key, array = self.sums[shape]
        array[:] = mx.nd.add_n(*[part.as_in_context(mx.cpu()) for part in parts])
        self.store.pushpull(key, array)
        return [array.copy()]

    def share(self, function):
        message = b''
        failure = None
        if self.rank == 0:
            try:
                message = packed(function())
            except SHARED_ERRORS as error:
                kind = next(kind for kind in SHARED_ERRORS if isinstance(error, kind))
                message = packed({'error': SHARED_ERRORS.index(kind), 'text': str(error)}, failed=True)
                failure = error
        failed, value = unpacked(self._send(message))
        if failed:
            raise failure or SHARED_ERRORS[value['error']](value['text'])
        return value

    def tell(self, signal):
        self.watchdog.renew()
        self.told.append(self.total([mx.nd.array([signal == asking for asking in ASKING])])[0])
        if len(self.told) > ANSWERS_AWAITED:
            asking = [asking for asking, count in zip(ASKING, self.told.popleft().asnumpy()) if count]
            self.signal = self.signal or (asking[0] if asking else None)

    def asked(self, _):
        return self.signal

    def finish(self):
        self.watchdog.renew()
        self._wait()
        self.watchdog.end()
        self._barrier_at_exit(True)

    def _wait(self):
        mx.nd.waitall()
        self.store._barrier()

    def _barrier_at_exit(self, wanted):
        """Whether ps-lite lets this process end only with all the others, and the servers with them."""
        if isinstance(self.store, mx.kv.KVStore):
            mx.base.check_call(mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self.store.handle, int(wanted)))

    def _sum(self, numbers):
        """The sum over the workers, read: exact for integers up to 2^24, as MXNet's servers sum in float32."""
        return self.total([mx.nd.array(numbers, dtype='float32')])[0].asnumpy()

    def _send(self, content):
        """The bytes of the first worker, in every worker: words of 16 bits, to which the others add zeros."""
        first = self.rank == 0
        length = self._sum(np.frombuffer(struct.pack('<Q', len(content) if first else 0), '<u2'))
        length, = struct.unpack('<Q', length.astype('<u2').tobytes())
        words = np.frombuffer(content + bytes(len(content) % 2), '<u2')
        piece = np.zeros(WORDS_A_PIECE, '<u2')
        pieces = []
        for number in range(ceil(length / 2 / WORDS_A_PIECE)):
            if first:
                part = words[number * WORDS_A_PIECE:(number + 1) * WORDS_A_PIECE]
                piece[:len(part)] = part
            pieces.append(self._sum(piece).astype('<u2').tobytes())
            self.watchdog.renew()
        return b''.join(pieces)[:length]


def packed(value, failed=False):
    """Bytes of what share() shares."""
    value, groups = value if isinstance(value, tuple) else (value, None)
    head = json.dumps({'value': value, 'failed': failed, 'kinds': None if groups is None else list(groups)})
    arrays = {'%s/%s' % (kind, name): array for kind, group in (groups or {}).items() for name, array in group.items()}
    buffer = io.BytesIO()
    np.savez(buffer, head=np.frombuffer(head.encode(), 'uint8'), **arrays)
    return buffer.getvalue()


def unpacked(content):
    """(whether it is an error, the value)."""
    arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
    head = json.loads(arrays.pop('head').tobytes().decode())
    if head['kinds'] is None:
        return head['failed'], head['value']
    groups = {kind: {} for kind in head['kinds']}
    for name, array in arrays.items():
        kind, name = name.split('/', 1)
        groups[kind][name] = array
    return head['failed'], (head['value'], groups)
