"""Jobs of several workers on this machine, as processes. Every process has a time limit and is ended by its id."""
import os
import signal
import subprocess
import sys
import time

from tools.launch.guard import die_with_parent
from tools.launch.nodes import free_ports

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = 100   # seconds that a job may take
LEAVING = 10  # seconds that servers may take to leave after the workers
HERE = ('127.0.0.1', [])
SERVE = [sys.executable, '-W', 'ignore', '-m', 'tools.launch.server']


def train_cifar(data, folder, *flags):
    """The command of a small run by all workers that leaves everything in a folder."""
    return [sys.executable, '-W', 'ignore', os.path.join(ROOT, 'train_cifar.py'), *(
        '--kvstore dist_sync --blocks 1 --act-type ChaATAC --r 4 --num-epochs 2 --lr 0.05 --lr-mode cosine '
        '--batch-size 32 -j 1 --log-interval 1').split(), '--data-dir', data, '--save-dir', os.path.join(folder, 'run'),
        '--logging-file', os.path.join(folder, 'run.log'), *map(str, flags)]


class Job:
    """A scheduler, a server and workers that run a command, with their output in files of a folder.

    with Job(2, command, folder) as job: codes = job.wait()

    home: (address, [words in front of a command]) of all but those that live elsewhere, inside: {worker: the same}.
    """

    def __init__(self, workers, command, folder, home=HERE, inside=None):
        os.makedirs(folder, exist_ok=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(('DMLC_', 'PS_'))}
        self.environment = dict(clean, OMP_NUM_THREADS='1', PYTHONPATH=ROOT, DMLC_PS_ROOT_URI=home[0],
                                DMLC_PS_ROOT_PORT=str(free_ports(1, local=True)), DMLC_NUM_SERVER='1',
                                DMLC_NUM_WORKER=str(workers))
        self.folder = folder
        self.end = time.time() + LIMIT
        self.others = [self._start(role, SERVE, home) for role in ('scheduler', 'server')]
        self.workers = []
        for number in range(workers):
            self.workers.append(self._start('worker', command, (inside or {}).get(number, home), number))

    def _start(self, role, command, place, number=''):
        address, words = place
        environment = dict(self.environment, DMLC_ROLE=role, DMLC_NODE_HOST=address, DMLC_WORKER_ID=str(number))
        with open(self.path(role, number, 'out'), 'w') as out, open(self.path(role, number, 'err'), 'w') as error:
            return subprocess.Popen(words + command, cwd=ROOT, env=environment, stdout=out, stderr=error,
                                    start_new_session=True, preexec_fn=die_with_parent)

    def path(self, role, number, kind):
        return os.path.join(self.folder, f'{role}{number}.{kind}')

    def error(self, number):
        """What a worker has said on standard error."""
        with open(self.path('worker', number, 'err')) as file:
            return file.read()

    def wait(self):
        """Exit codes of the workers; None for one that was still there at the end of the time."""
        while any(worker.poll() is None for worker in self.workers) and time.time() < self.end:
            time.sleep(0.02)
        return [worker.poll() for worker in self.workers]

    def left(self):
        """Whether the scheduler and the server leave by themselves after the workers."""
        end = time.time() + LEAVING
        while any(other.poll() is None for other in self.others) and time.time() < end:
            time.sleep(0.02)
        return all(other.poll() == 0 for other in self.others)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.workers + self.others:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
