"""Horovod under the names of MXNet's stores, so that a Trainer takes it: what MXNet 2 brings and 1.9.1 lacks."""
from runtime import UserError

import mxnet as mx


class HorovodStore(mx.kvstore.KVStoreBase):
    """Sums over the workers of a Horovod job, each with one device.   Raises UserError where it is not installed."""

    type, rank, num_workers = 'horovod', 0, 1

    def __init__(self):
        try:
            import horovod.mxnet as horovod
        except ImportError as error:
            raise UserError('Horovod cannot be loaded (%s): make horovod builds it into its own environment' % error) \
                from error
        horovod.init()
        self.horovod = horovod
        self.rank = horovod.rank()
        self.num_workers = horovod.size()

    def devices_of(self, devices):
        """One of a machine's devices, by the number of this process there."""
        number = self.horovod.local_rank()
        if 1 < len(devices) != self.horovod.local_size():
            raise UserError('%d devices for the %d Horovod processes of a machine: each takes one'
                            % (len(devices), self.horovod.local_size()))
        return [devices[number]] if len(devices) > 1 else devices

    def is_capable(self, capability):
        return False

    def broadcast(self, key, value, out, priority=0):
        result = self.horovod.broadcast(value, root_rank=0, name='broadcast.%s' % key, priority=priority)
        for array in out if isinstance(out, list) else [out]:
            array[:] = result

    def pushpull(self, key, value, out=None, priority=0):
        """In place, as all that is here asks for."""
        value, = value if isinstance(value, list) else [value]
        self.horovod.allreduce_(value, op=self.horovod.Sum, name='sum.%s' % key, priority=priority)

    def _barrier(self):
        """All workers are here when it returns."""
        here = mx.nd.zeros(1)
        self.pushpull('barrier', here)
        here.wait_to_read()
