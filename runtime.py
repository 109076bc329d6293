"""What must happen before MXNet is imported: `import runtime` is enough to prepare a process.

MXNet 1.9.1 reads its thread count once, while it loads, and takes half of the processors it sees; it accumulates
float16 sums in float16 unless told otherwise; it uses names that NumPy removed in 1.24; its CUDA wheels do not look for
CUDA in site-packages; and with DMLC_ROLE=server its import never returns. A value that the user has set in the
environment always wins. Cores and memory of this machine are known here too.

    python -m runtime          says what this machine has and whether a training can work here

UserError, which every package raises, and what makes its sentences are here, because every package may import this
file.
"""
import ctypes
import glob
import itertools
import os
import re
import runpy
import signal
import sys
import warnings
from importlib.util import find_spec

try:
    import numpy
except Exception:  # a broken installation may raise anything
    numpy = None  # MXNet's import will fail; `python -m runtime` says why

__version__ = '1.1.0'  # of this repository, and of the package that it makes

REMOVED_FROM_NUMPY = {'bool': bool, 'int': int, 'float': float, 'object': object, 'complex': complex, 'str': str}

# What the wheels nvidia-*-cu11 put below site-packages/nvidia and libmxnet.so of mxnet-cu11x needs, in the order in
# which it loads: cuBLAS needs cuBLASLt, cuSOLVER and cuDNN need cuBLAS.
CUDA_LIBRARIES = ('cuda_runtime/lib/libcudart.so.11.0', 'cuda_nvrtc/lib/libnvrtc.so.11.2',
                  'nvtx/lib/libnvToolsExt.so.1', 'cublas/lib/libcublasLt.so.11', 'cublas/lib/libcublas.so.11',
                  'cufft/lib/libcufft.so.10', 'curand/lib/libcurand.so.10', 'cusparse/lib/libcusparse.so.11',
                  'cusolver/lib/libcusolver.so.11', 'cudnn/lib/libcudnn.so.8', 'nccl/lib/libnccl.so.2')

# This repository's scripts. Another program that imports this file, or the package, may be a parameter server.
SCRIPTS = re.compile(r'(train_cifar|train_imagenet|evaluate)\.py|tools/.*\.py')

WITHOUT_MXNET = re.compile(r'/tools/(machine|launch)/[^/]*\.py$')

NAMED = 5  # names in a message, at most
LARGEST_PICTURE = 178956970  # pixels, as many as Pillow decodes; OpenCV reads its own limit once, while it loads


class UserError(ValueError):
    """What a user can mend: a flag, a file or an argument that does not fit. The message is one sentence.

    A script prints it and leaves with exit code 2. Every other ValueError is a defect, and keeps its traceback.
    """


def listed(names, most=NAMED):
    """A few names, for a message."""
    return ', '.join(map(printable, names[:most])) + (f' and {len(names) - most} more' if len(names) > most else '')


def printable(text):
    """A text of somebody else, without what a terminal would obey."""
    return ''.join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def sentence_of(error):
    """What an error says, for a user."""
    text = str(error)
    if isinstance(error, OSError) and error.filename and error.strerror:
        says = {FileExistsError: ' is not a folder', IsADirectoryError: ' is a folder, where a file is wanted'}
        text = f'{error.filename}{says.get(type(error), ": " + error.strerror)}'
    return '\n'.join(map(printable, text.split('\n')))  # what another program has said may have lines


def changes(before, now):
    """Where two lists of names differ, for a message: 'ant is bee, none is cat'."""
    pairs = itertools.zip_longest(before, now, fillvalue='none')
    return listed([f'{old} is {new}' for old, new in pairs if old != new])


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
    return max(1, min([len(siblings), *processor_quotas()]))


def processor_quotas(groups='/proc/self/cgroup', root='/sys/fs/cgroup'):
    """Whole processors that a process's cgroup and those above it grant, at least 1 each."""
    for folder in cgroup_folders('cpu', groups, root):
        one = _content(folder, 'cpu.max')  # `quota period`, in microseconds
        two = _content(folder, 'cpu.cfs_quota_us') + ' ' + _content(folder, 'cpu.cfs_period_us')
        for numbers in (one.split(), two.split()):
            if len(numbers) == 2 and all(number.isdigit() for number in numbers):  # not `max`, nor -1
                yield max(1, int(numbers[0]) // int(numbers[1]))


def processor(path='/proc/cpuinfo'):
    """(model name, names of its flags) of the CPU."""
    with open(path) as file:
        fields = dict(re.findall(r'^(model name|flags)\s*: (.*)$', file.read(), re.MULTILINE))
    return fields.get('model name', 'unknown'), fields.get('flags', '').split()


def memory(meminfo='/proc/meminfo', groups='/proc/self/cgroup', root='/sys/fs/cgroup'):
    """(bytes in all, bytes available, bytes that the cgroups allow or None)."""
    with open(meminfo) as file:
        kilobytes = dict(re.findall(r'^(\w+):\s+(\d+) kB$', file.read(), re.MULTILINE))
    total, available = (1024 * int(kilobytes[name]) for name in ('MemTotal', 'MemAvailable'))
    return total, available, min((limit for limit in memory_limits(groups, root) if limit < total), default=None)


def memory_limits(groups, root):
    """Bytes that a process's cgroup and those above it allow."""
    for folder in cgroup_folders('memory', groups, root):
        for name in ('memory.max', 'memory.limit_in_bytes'):
            if _content(folder, name).isdigit():  # not `max`
                yield int(_content(folder, name))


def cgroup_folders(controller, groups, root):
    """The folders of a process's cgroup and of those above it, where that of a SLURM job is, in version 1 or 2.

    groups: a file with lines `number:controllers:path`, which in version 2 name no controllers.
    """
    for line in _content(*os.path.split(groups)).splitlines():
        controllers, path = line.split(':', 2)[1:]
        if controllers and controller not in controllers.split(','):
            continue
        places = {controller, controllers} if controllers else {''}  # `cpu` may be a link to `cpu,cpuacct`
        parts = [part for part in path.split('/') if part]
        for place, depth in itertools.product(sorted(places), range(len(parts) + 1)):
            yield os.path.join(root, place, *parts[:depth])


def _content(folder, name):
    """The text of a small file, or '' if there is none."""
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().strip()
    except OSError:
        return ''


def resident_size(line='VmRSS'):
    """Bytes of memory that this process holds now; with 'VmHWM' the most that it has held."""
    with open('/proc/self/status') as file:
        return int(re.search(line + r':\s*(\d+) kB', file.read()).group(1)) * 1024


def free_memory():
    """Bytes that this process may still take: what the kernel calls available, and at most the limit of the cgroups
    minus what this process holds. Other processes in the group are not counted."""
    _, available, limit = memory()
    return available if limit is None else max(0, min(available, limit - resident_size()))


def mxnet_wheels(folders):
    """{name: version} of the MXNet wheels installed in these folders: 'mxnet' is for CPUs, 'mxnet-cu117' for GPUs."""
    names = [os.path.basename(path) for folder in folders
             for path in glob.glob(os.path.join(glob.escape(folder), 'mxnet*.dist-info'))]
    wheels = [re.fullmatch(r'(mxnet(?:_cu\d+\w*|_mkl|_native)?)-([^-]+)\.dist-info', name) for name in names]
    return {wheel.group(1).replace('_', '-'): wheel.group(2) for wheel in wheels if wheel}


def load_cuda(folders):
    """Load the CUDA libraries that are in these folders beside a wheel mxnet-cu11x; returns their paths.

    The system's loader takes what is loaded already for what libmxnet.so asks for by name, so nothing needs to be
    installed or pointed at but the driver. With another wheel, or without these libraries, nothing happens.
    """
    if not any(name.startswith('mxnet-cu11') for name in mxnet_wheels(folders)):
        return []
    found = [[path for path in (os.path.join(folder, 'nvidia', library) for folder in folders) if os.path.isfile(path)]
             for library in CUDA_LIBRARIES]
    paths = [places[0] for places in found if places]
    for path in paths:
        try:
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        except OSError as error:
            warnings.warn('%s; `python -m runtime` says what to do' % error, stacklevel=2)
    return paths


def blocking_role(environ):
    """The DMLC_ROLE with which `import mxnet` serves other processes instead of returning, or None."""
    role = environ.get('DMLC_ROLE')
    return role if role in ('server', 'scheduler') else None


def check_start():
    """Leave with exit code 2 and one sentence where `import mxnet` would hang, abort or fail in our script."""
    script = our_script()
    why = script and why_no_import(script, os.environ)
    if why:
        print('%s: error: %s' % (os.path.basename(script), why), file=sys.stderr)
        sys.exit(2)


def why_no_import(script, environ):
    """What keeps `import mxnet` of a script from returning, or None."""
    if blocking_role(environ):
        return ('DMLC_ROLE=%s is set, with which `import mxnet` serves other processes and never returns: unset '
                'DMLC_ROLE (python -m tools.launch starts servers)' % environ['DMLC_ROLE'])
    if not (find_spec('mxnet') or WITHOUT_MXNET.search(script)):
        return 'this Python has no MXNet: run `make setup`, and then `. .venv/bin/activate`'
    threads = environ.get('OMP_NUM_THREADS', '1')
    return None if threads.isdecimal() and int(threads) else 'OMP_NUM_THREADS=%s is not a number of threads' % threads


def our_script():
    """The script of this repository that runs, or None."""
    script = os.path.abspath(getattr(sys.modules['__main__'], '__file__', None) or '')
    ours = SCRIPTS.fullmatch(os.path.relpath(script, os.path.dirname(os.path.abspath(__file__))))
    return script if ours else None


def let_go():
    """Let Ctrl-C end a script of ours without a traceback while it imports; cli.exits then gives Python its own way."""
    if our_script() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def prepare():
    """Set threads and numerics in the environment, load CUDA, and give NumPy back the aliases that MXNet imports."""
    if 'mxnet' in sys.modules:
        ours = __name__.split('.')[0]  # atac, or runtime
        warnings.warn(f'mxnet was imported before {ours}, so its thread count is already fixed: import {ours} first',
                      stacklevel=2)
    os.environ.setdefault('OMP_NUM_THREADS', str(physical_cores()))
    os.environ.setdefault('MXNET_SAFE_ACCUMULATION', '1')
    os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(LARGEST_PICTURE))
    for name, builtin in REMOVED_FROM_NUMPY.items():
        if numpy and name not in vars(numpy):
            setattr(numpy, name, builtin)
    load_cuda(sys.path)


check_start()
let_go()
prepare()

if __name__ == '__main__':
    runpy.run_module('tools.doctor', run_name='__main__')
