"""What a job of tools.launch must survive, with real trainings as its workers: each function gives (tries, held)."""
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress

from tests.dist.jobs import LIMIT, ROOT, train_cifar
from tests.faults import runs
from tools.scaling.hosts import cut, hosts, reached_by_ssh

ENDING = 30  # seconds from a death to the end of the job
PERIODIC = ('--save-every-steps', 2)
# Lines of the log, before each of which there is a checkpoint.
STEPS = ['Epoch[%d] Batch [%d]' % step for step in ((0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2))]


class Launched:
    """A job under way, which ends with its block.   with Launched(folder, command, '-n', 2) as job: code = job.wait()"""

    def __init__(self, folder, command, *flags, path=None):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.error = os.path.join(folder, 'launch.err')
        with open(self.error, 'w') as error:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'tools.launch', '-s', '1', *map(str, flags), '--', *command], cwd=ROOT,
                env=dict(os.environ, OMP_NUM_THREADS='1', PATH=path or os.environ['PATH']), stdout=subprocess.DEVNULL,
                stderr=error)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()  # the guards end the rest
            self.process.wait()

    def wait(self, seconds=LIMIT):
        """Its exit code; None if it has not ended by then."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)

    def wait_for(self, line):
        """Until the training has logged a line; whether the job runs then."""
        return runs.wait_for_line(self.process, os.path.join(self.folder, 'run.log'), line)

    def said(self):
        with open(self.error) as file:
            return file.read()

    def kill_worker(self, number):
        for process in filter(str.isdigit, os.listdir('/proc')):
            with suppress(OSError), open('/proc/%s/cmdline' % process, 'rb') as words, \
                    open('/proc/%s/environ' % process, 'rb') as environment:
                if os.path.join(self.folder, 'run').encode() in words.read().split(b'\0') \
                        and b'DMLC_WORKER_ID=%d' % number in environment.read().split(b'\0'):
                    return os.kill(int(process), signal.SIGKILL)
        raise RuntimeError(f'there is no worker {number} of the job in {self.folder}')


def worker_killed(bench):
    """At a random step: the job says who, ends in time with a whole checkpoint, and continues from it."""
    folder = bench.place()
    with Launched(folder, train_cifar(bench.data, folder, *PERIODIC), '-n', 2) as job:
        job.wait_for(random.choice(STEPS))
        job.kill_worker(0)
        ended = job.wait(ENDING) == 137 and 'launch: worker 0 left with exit code 137 (SIGKILL)' in job.said()
    return 1, ended and bench.continues(folder)


def worker_killed_and_restarted(bench):
    """The launcher itself begins again, in time, and the training continues where it was."""
    folder = bench.place()
    with Launched(folder, train_cifar(bench.data, folder, *PERIODIC), '-n', 2, '--max-restarts', 1) as job:
        job.wait_for(random.choice(STEPS))
        job.kill_worker(1)
        end = time.monotonic() + ENDING
        runs.wait_for_line(job.process, job.error, 'launch: starting again')
        in_time = time.monotonic() < end
        ended = job.wait() == 0 and 'launch: worker 1 left with exit code 137 (SIGKILL)' in job.said()
    with open(os.path.join(folder, 'run.log')) as file:
        continued = file.read().count('Epoch[0] Batch [0]') == 1
    return 1, in_time and ended and continued and runs.equal(bench.whole, runs.outcome(folder))


@contextmanager
def over_hosts(bench, number, command, *flags):
    """(a Launched job with a worker on each of this number of Hosts, the Hosts); (None, []) where there can be none.

    command: function of the folder of the job.
    """
    folder = bench.place()
    os.makedirs(folder)
    with ExitStack() as stack:
        try:
            places = stack.enter_context(hosts(number))
        except OSError:
            yield None, []
            return
        hostfile, path = reached_by_ssh(folder, places)
        yield stack.enter_context(Launched(folder, command(folder), '-n', number, '-H', hostfile, *flags, path=path)), \
            places


def four_hosts(bench):
    """A worker on each of four hosts (network namespaces) computes what one process does."""
    with over_hosts(bench, 4, lambda folder: [sys.executable, '-W', 'ignore', '-m', 'tests.dist.worker', folder,
                                              'dist_sync']) as (job, _):
        return (1, job.wait() == 0 and bench.agree(job.folder, 4)) if job else (0, 0)


def link_cut(bench):
    """Of a job over two hosts: the heartbeats miss it, the job ends in time, and continues from its checkpoint."""
    with over_hosts(bench, 2, lambda folder: train_cifar(bench.data, folder, *PERIODIC), '--heartbeat-timeout',
                    5) as (job, places):
        if not job:
            return 0, 0
        job.wait_for(STEPS[0])
        cut(places[1])
        ended = job.wait(ENDING) == 3 and 'no heartbeat for 5 seconds from ' in job.said()
    return 1, ended and bench.continues(job.folder)
