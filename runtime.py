"""What must happen before MXNet is imported: `import runtime` alone prepares a process.

MXNet 1.9.1 reads its thread count once, while it loads, and takes half of the processors it sees; it accumulates
float16 sums in float16 unless told otherwise; and it uses names that NumPy removed in 1.24. A value that the user has
set in the environment always wins.
"""
import os
import sys
import warnings

import numpy

REMOVED_FROM_NUMPY = {'bool': bool, 'int': int, 'float': float, 'object': object, 'complex': complex, 'str': str}


def physical_cores():
    """Number of physical cores that this process may use: affinity and container quota count, hyper-threads do not."""
    allowed = sorted(os.sched_getaffinity(0))
    siblings = set()
    for cpu in allowed:
        try:
            with open('/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list' % cpu) as file:
                siblings.add(file.read().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, min(len(siblings), _container_quota()))


def _container_quota():
    """Whole processors that the container's cgroup grants (cpu.max holds `quota period`, in microseconds)."""
    try:
        with open('/sys/fs/cgroup/cpu.max') as file:
            quota, period = file.read().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return sys.maxsize


def prepare():
    """Set threads and numerics in the environment, and give NumPy back the aliases that MXNet imports."""
    if 'mxnet' in sys.modules:
        warnings.warn('mxnet was imported before runtime, so its thread count is already fixed: import runtime first',
                      stacklevel=2)
    os.environ.setdefault('OMP_NUM_THREADS', str(physical_cores()))
    os.environ.setdefault('MXNET_SAFE_ACCUMULATION', '1')
    for name, builtin in REMOVED_FROM_NUMPY.items():
        if name not in vars(numpy):
            setattr(numpy, name, builtin)


prepare()
