"""Runs of train_cifar.py as processes that are hindered, and what they leave behind. Every process has a time limit."""
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np

from data.fashion_mnist import MINI, read_idx
from tools.records.make_mini import write_idx
from training.weights.params_file import read_params

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 120  # seconds that a process may take
FLAGS = ('--blocks 1 --act-type ChaATAC --r 4 --num-epochs 3 --lr 0.05 --lr-mode cosine --batch-size 32 -j 1 --mixup '
         '--log-interval 1').split()
SCRIPT = (os.path.join(ROOT, 'train_cifar.py'),)
TIMES = ('seconds', 'images_per_second')
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def write_tiny(folder, train=150, test=70):
    """A data set of fashion-mnist-mini's form with this many images, of every class. Returns the folder."""
    os.makedirs(folder, exist_ok=True)
    for part, count in (('train', train), ('t10k', test)):
        for kind, dimensions in (('images-idx3', 3), ('labels-idx1', 1)):
            name = '%s-%s-ubyte.gz' % (part, kind)
            array = read_idx(os.path.join(MINI, name), dimensions)
            write_idx(os.path.join(folder, name), array[np.linspace(0, len(array) - 1, count).astype(int)])
    return folder


def flags_of(data, folder, *more):
    """Flags of a run on a tiny data set that leaves everything in a folder."""
    return [*FLAGS, '--data-dir', data, '--save-dir', os.path.join(folder, 'run'), '--logging-file',
            os.path.join(folder, 'run.log'), *map(str, more)]


def start(flags, prepare=None, script=SCRIPT):
    """A run as a process; prepare() is called in it first. script: what Python runs."""
    return subprocess.Popen([sys.executable, '-W', 'ignore', *script, *flags], cwd=ROOT,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            preexec_fn=partial(_prepare, prepare))


def _prepare(prepare):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell without job control has its children ignore
    if prepare:
        prepare()


def finish(process):
    """(exit code, standard error) of a process, which is killed when its time is over."""
    try:
        error = process.communicate(timeout=LIMIT)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        error = 'it took more than %d seconds: %s' % (LIMIT, process.communicate()[1])
    return process.returncode, error


def kill(process, number=signal.SIGKILL):
    """Send a signal to a process, wait for its end, and return its exit code and standard error."""
    process.send_signal(number)
    return finish(process)


def wait_for_line(process, path, text, count=1):
    """Wait until a file holds a text this many times, or the process has ended; returns whether it runs."""
    end = time.time() + LIMIT
    while process.poll() is None and time.time() < end:
        if os.path.exists(path):
            with open(path) as file:
                if file.read().count(text) >= count:
                    return True
        time.sleep(0.005)
    return process.poll() is None


def at_most_bytes(size):
    """For start(prepare=...): no file may become larger, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def obey_permissions():
    """For start(prepare=...): let a superuser be refused what a folder's permissions refuse."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)


def is_sentence(error):
    """Whether the last thing a process said is one sentence, and none of it a traceback."""
    return 'Traceback' not in error and 'error: ' in (error.strip().splitlines() or [''])[-1]


def outcome(folder):
    """All that a run has computed: weights, momentum, and the numbers of its epochs without the times."""
    with open(os.path.join(folder, 'run.jsonl')) as file:
        epochs = [{name: value for name, value in json.loads(line).items() if name not in TIMES} for line in file]
    return {'epochs': epochs, **{kind: read_params(os.path.join(folder, 'run', 'last.' + kind))
                                 for kind in ('params', 'states')}}


def equal(one, other):
    """Whether two outcomes are the same in every bit."""
    return one['epochs'] == other['epochs'] and all(
        same_arrays(one[kind], other[kind]) for kind in ('params', 'states'))


def same_arrays(one, other):
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)
