"""What a job of several workers must stand: each function tries it and returns (tries, held).

`Bench` has the numbers of the run of one process, and the outcome of a job that nothing has hindered.
"""
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property

import numpy as np

from tests.dist import worker
from tests.dist.jobs import LIMIT, ROOT, Job, train_cifar
from tests.faults import runs
from tools.scaling.hosts import cut, hosts
from training import checkpoint
from training.distributed import STALLED

HOROVODRUN = os.path.join(os.path.dirname(sys.executable), 'horovodrun')
TOLERANCE = 1e-5
STALL_TIMEOUT = 15  # seconds; the load of a test machine must not look like a cut link
ENDING = 30  # seconds from the death of a worker to the end of its job
STEPS = ['Epoch[%d] Batch [%d]' % step for step in ((0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2))]  # with a checkpoint before
PATIENT = ('--save-every-steps', 2, '--stall-timeout', STALL_TIMEOUT)


class Bench:
    """A place for jobs. alone: what one process computes; whole: the outcome of an unhindered job of two workers."""

    def __init__(self, root, alone):
        self.root, self.jobs, self.alone = root, 0, alone
        self.data = runs.write_tiny(os.path.join(root, 'data'))

    @cached_property
    def whole(self):
        folder = self.place()
        with self.job(2, folder, '--save-every-steps', 2) as job:
            if job.wait() != [0, 0]:
                raise RuntimeError('the unhindered job failed: %s' % job.error(0))
        return runs.outcome(folder)

    def place(self):
        self.jobs += 1
        return os.path.join(self.root, 'job-%d' % self.jobs)

    def job(self, workers, folder, *flags, **options):
        return Job(workers, train_cifar(self.data, folder, *flags), folder, **options)

    def begun(self, job, line='Epoch[0] Batch [1]'):
        return runs.wait_for_line(job.workers[0], os.path.join(job.folder, 'run.log'), line)

    def goes_on(self, folder):
        """Whether the job, begun again, comes to the end that it would have come to."""
        if os.path.exists(os.path.join(folder, 'run', 'last.json')):
            checkpoint.load(os.path.join(folder, 'run'))
        with self.job(2, folder, '--resume', '--save-every-steps', 2) as job:
            return job.wait() == [0, 0] and job.left() and runs.equal(self.whole, runs.outcome(folder))


def equal_weights(bench, workers, kvstore, tries, devices=1):
    """After the first step and at the end: the same in all workers, and in one process on the same batches."""
    held = 0
    for _ in range(tries):
        folder = bench.place()
        command = [sys.executable, '-W', 'ignore', '-m', 'tests.dist.worker', folder, kvstore, str(devices)]
        with Job(workers, command, folder) as job:
            left = job.wait() == [0] * workers and job.left()
        held += left and all(agrees(folder, number, bench.alone) for number in range(workers))
    return tries, held


def agrees(folder, number, alone):
    """Whether a worker has the weights of the first worker, bit for bit, and those of the single process nearly."""
    with np.load(os.path.join(folder, 'weights-0.npz')) as first, \
            np.load(os.path.join(folder, 'weights-%d.npz' % number)) as own:
        same = all((first[name] == own[name]).all() for name in alone)
        return same and all(np.abs(own[name] - alone[name]).max() <= TOLERANCE for name in alone)


def two_workers_twenty_times(bench):
    return equal_weights(bench, 2, 'dist_sync', 20)


def four_workers(bench):
    return equal_weights(bench, 4, 'dist_sync', 3)


def two_devices_each(bench):
    return equal_weights(bench, 2, 'dist_sync', 1, devices=2)


def sums_on_the_device(bench):
    return equal_weights(bench, 2, 'dist_device_sync', 2)


def horovod(bench):
    """2 workers: as equal_weights. Needs an environment with Horovod."""
    if not horovod_runs():
        return 0, 0
    folder = bench.place()
    os.makedirs(folder)
    done = subprocess.run([HOROVODRUN, '-np', '2', '--gloo', sys.executable, '-W', 'ignore', '-m', 'tests.dist.worker',
                           folder, 'horovod'], cwd=ROOT, env=dict(os.environ, PYTHONPATH=ROOT, OMP_NUM_THREADS='1'),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT)
    return 1, done.returncode == 0 and all(agrees(folder, number, bench.alone) for number in (0, 1))


def horovod_runs():
    return importlib.util.find_spec('horovod') is not None and os.path.exists(HOROVODRUN)


def one_worker_is_asked_to_stop(bench):
    """All stop at the same step with a checkpoint, whichever was asked; once while they score."""
    held = 0
    for number, (asked, line) in enumerate(((0, 'Epoch[0] Batch [1]'), (1, 'Epoch[1] Batch [0]'))):
        folder = bench.place()
        with bench.job(2, folder, '--save-every-steps', 2) as job:
            bench.begun(job, line)
            job.workers[asked].send_signal((signal.SIGTERM, signal.SIGINT)[number])
            code = (143, 130)[number]
            stopped = job.wait() in ([code, code], [0, 0]) and job.left()
        held += stopped and bench.goes_on(folder)
    return 2, held


def only_the_first_has_the_folder(bench):
    """A job is cut off and resumed; its second worker has been told of another folder, and leaves nothing there."""
    folder, elsewhere = bench.place(), bench.place()
    inside = {1: ('127.0.0.1', ['sh', '-c', 'exec "$@" --save-dir %s/run --logging-file %s/run.log'
                                % (elsewhere, elsewhere), 'sh'])}
    with bench.job(2, folder, '--save-every-steps', 2, inside=inside) as job:
        bench.begun(job)
        job.workers[0].send_signal(signal.SIGTERM)
        stopped = job.wait() == [143, 143]
    with bench.job(2, folder, '--save-every-steps', 2, '--resume', inside=inside) as job:
        ended = job.wait() == [0, 0] and runs.equal(bench.whole, runs.outcome(folder))
    return 1, stopped and ended and not os.path.exists(elsewhere)


def loss_is_not_finite(bench):
    """All leave with 1 and a sentence."""
    folder = bench.place()
    with bench.job(2, folder, '--lr', '1e30') as job:
        codes, errors = job.wait(), [job.error(number) for number in (0, 1)]
    return 1, codes == [1, 1] and all(runs.is_sentence(error) and 'not finite in epoch' in error for error in errors)


def first_worker_cannot_save(bench):
    """All leave with 2 and a sentence."""
    folder = bench.place()
    os.makedirs(folder)
    with open(os.path.join(folder, 'run'), 'w'):
        pass
    with bench.job(2, folder) as job:
        codes, errors = job.wait(), [job.error(number) for number in (0, 1)]
    return 1, codes == [2, 2] and all(map(runs.is_sentence, errors))


def stalled(job, but=()):
    """Whether the workers give up with a sentence, when one of the job is gone."""
    codes = job.wait()
    return all(codes[number] == STALLED and runs.is_sentence(job.error(number)) and 'is gone' in job.error(number)
               for number in range(len(codes)) if number not in but)


def worker_killed(bench):
    held = 0
    for number in (0, 1):
        folder = bench.place()
        with bench.job(2, folder, *PATIENT) as job:
            bench.begun(job)
            job.workers[number].kill()
            gave_up = stalled(job, but=[number])
        held += gave_up and bench.goes_on(folder)
    return 2, held


def launched_worker_killed(bench):
    """By tools.launch, at a random step: it says who, ends the job in time, and begins it again, which comes to the end
    that it would have come to."""
    held = 0
    for number in (0, 1):
        folder = bench.place()
        os.makedirs(folder)
        with open(os.path.join(folder, 'launch.err'), 'w+') as said, \
                launched(2, train_cifar(bench.data, folder, '--save-every-steps', 2), said) as launcher:
            runs.wait_for_line(launcher, os.path.join(folder, 'run.log'), random.choice(STEPS))
            os.kill(launched_worker(folder, number), signal.SIGKILL)
            end = time.monotonic() + ENDING
            runs.wait_for_line(launcher, said.name, 'launch: starting again')
            in_time = time.monotonic() < end
            code = launcher.wait(LIMIT)
            said.seek(0)
            named = 'launch: worker %d left with exit code 137 (SIGKILL)' % number in said.read()
        held += in_time and code == 0 and named and runs.equal(bench.whole, runs.outcome(folder))
    return 2, held


@contextmanager
def launched(workers, command, error):
    """A job of tools.launch that may begin once more; nothing outlives its launcher."""
    launcher = subprocess.Popen([sys.executable, '-m', 'tools.launch', '-n', str(workers), '-s', '1', '--max-restarts',
                                 '1', '--grace', '5', '--', *command], cwd=ROOT, stdout=subprocess.DEVNULL,
                                stderr=error, env=dict(os.environ, OMP_NUM_THREADS='1'))
    try:
        yield launcher
    finally:
        launcher.kill()
        launcher.wait()


def launched_worker(folder, number):
    """The id of the process that is a worker of the launched job of a folder."""
    for process in filter(str.isdigit, os.listdir('/proc')):
        with suppress(OSError), open('/proc/%s/cmdline' % process, 'rb') as words, \
                open('/proc/%s/environ' % process, 'rb') as environment:
            if os.path.join(folder, 'run').encode() in words.read().split(b'\0') \
                    and b'DMLC_WORKER_ID=%d' % number in environment.read().split(b'\0'):
                return int(process)
    raise RuntimeError('there is no worker %d of the job in %s' % (number, folder))


def server_killed(bench):
    folder = bench.place()
    with bench.job(2, folder, *PATIENT) as job:
        bench.begun(job)
        job.others[1].kill()
        gave_up = stalled(job)
    return 1, gave_up and bench.goes_on(folder)


def slow_worker(bench):
    """One that stands still three times is waited for."""
    folder = bench.place()
    with bench.job(2, folder, *PATIENT) as job:
        for line in ('Epoch[0] Batch [0]', 'Epoch[0] Batch [2]', 'Epoch[1] Batch [1]'):
            bench.begun(job, line)
            job.workers[1].send_signal(signal.SIGSTOP)
            time.sleep(2)
            job.workers[1].send_signal(signal.SIGCONT)
        codes = job.wait()
    return 1, codes == [0, 0] and runs.equal(bench.whole, runs.outcome(folder))


def link_cut(bench):
    """A worker on another host, first undisturbed, then with its link cut: all give up, and the job goes on later."""
    with ExitStack() as stack:
        try:
            here, there = stack.enter_context(hosts(2))
        except OSError:
            return 0, 0
        elsewhere = dict(home=here[:2], inside={1: there[:2]})
        folder = bench.place()
        with bench.job(2, folder, '--save-every-steps', 2, **elsewhere) as job:
            undisturbed = job.wait() == [0, 0] and job.left() and runs.equal(bench.whole, runs.outcome(folder))
        folder = bench.place()
        with bench.job(2, folder, *PATIENT, **elsewhere) as job:
            bench.begun(job)
            cut(there)
            gave_up = stalled(job)
        return 2, undisturbed + (gave_up and bench.goes_on(folder))


TRIALS = [
    ('2 workers: weights equal after the first step and at the end, and to one process', two_workers_twenty_times),
    ('4 workers, some without an image of the last batch: the same', four_workers),
    ('2 workers of two devices (of the CPU): the same', two_devices_each),
    ('2 workers, dist_device_sync: the same', sums_on_the_device),
    ('2 workers, Horovod: the same', horovod),
    ('one worker is sent SIGTERM or Ctrl-C: all stop at one step', one_worker_is_asked_to_stop),
    ('the other workers neither read nor write in the save folder, and resume', only_the_first_has_the_folder),
    ('loss not finite: all stop', loss_is_not_finite),
    ('the first worker cannot save: all stop', first_worker_cannot_save),
    ('worker killed', worker_killed),
    ('worker of tools.launch killed at a random step: ended within 30 seconds, begun again', launched_worker_killed),
    ('server killed', server_killed),
    ('slow worker', slow_worker),
    ('worker on another host (network namespace), link cut', link_cut),
]
