"""python -m tools.launch.server: the parameter server or the scheduler that DMLC_ROLE says, until the workers are done.

MXNet's own, which `import mxnet` would start, unpickles what a worker sends it, and does not look at the heartbeats.
"""
import ctypes
import os
import sys
import threading
import time

from training.watchdog import STALLED


def main():
    # MXNet runs what the role says while it is imported, unless there is none.
    role = os.environ.pop('DMLC_ROLE')
    import runtime  # noqa: F401  (before mxnet)

    import mxnet as mx
    os.environ['DMLC_ROLE'] = role
    server = mx.kvstore.kvstore_server.KVStoreServer(mx.kv.create('dist'))
    server._controller = lambda: leave_at_command
    timeout = int(os.environ.get('PS_HEARTBEAT_TIMEOUT', 0))
    if role == 'scheduler' and timeout:
        threading.Thread(target=watch_heartbeats, args=(server.kvstore, timeout), daemon=True).start()
    server.run()


def leave_at_command(number, *_):
    """What a worker's set_optimizer sends is a pickle, which anybody who reaches the port could send."""
    leave(f'refused command {number}: an optimizer for the server would be a pickle; '
          'make the Trainer with update_on_kvstore=False')


def watch_heartbeats(kvstore, timeout):
    """In the scheduler: end it when a node has been silent for this number of seconds, naming the node."""
    from mxnet.base import _LIB
    nodes = {f'{role} {number}': first + 2 * number  # the ids that ps-lite gives
             for role, first, variable in (('server', 8, 'DMLC_NUM_SERVER'), ('worker', 9, 'DMLC_NUM_WORKER'))
             for number in range(int(os.environ[variable]))}
    dead = ctypes.c_int()
    while True:
        # Waiting first: nobody can have been silent for this time, and ps-lite must have begun.
        time.sleep(min(timeout, 5))
        lost = []
        for name, node in nodes.items():
            if _LIB.MXKVStoreGetNumDeadNode(kvstore.handle, node, ctypes.byref(dead), timeout):
                return  # ps-lite has ended
            if dead.value:
                lost.append(name)
        if lost:
            leave(f'no heartbeat for {timeout} seconds from {", ".join(lost)}: the host, the process or the link to it '
                  'is gone', STALLED)


def leave(message, code=1):
    """End this process from whatever thread."""
    print(message, file=sys.stderr, flush=True)
    os._exit(code)


if __name__ == '__main__':
    main()
