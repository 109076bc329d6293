"""What a job of several workers must survive: each function tries it on a Bench and returns (tries, held)."""
import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

from tests.dist import launched
from tests.dist.jobs import LIMIT, ROOT, Job
from tests.faults import runs
from tools.scaling.hosts import cut, hosts
from training.watchdog import STALLED

HOROVODRUN = os.path.join(os.path.dirname(sys.executable), 'horovodrun')
STALL_TIMEOUT = 15  # seconds; the load of a test machine must not look like a cut link
PATIENT = ('--save-every-steps', 2, '--stall-timeout', STALL_TIMEOUT)


def equal_weights(bench, workers, kvstore, tries, devices=1):
    """After the first step and at the end: the same in all workers, and in one process on the same batches."""
    held = 0
    for _ in range(tries):
        folder = bench.place()
        command = [sys.executable, '-W', 'ignore', '-m', 'tests.dist.worker', folder, kvstore, str(devices)]
        with Job(workers, command, folder) as job:
            left = job.wait() == [0] * workers and job.left()
        held += left and bench.agree(folder, workers)
    return tries, held


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
    job = subprocess.Popen([HOROVODRUN, '-np', '2', '--gloo', sys.executable, '-W', 'ignore', '-m', 'tests.dist.worker',
                            folder, 'horovod'], cwd=ROOT, env=dict(os.environ, PYTHONPATH=ROOT, OMP_NUM_THREADS='1'),
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        code = job.wait(LIMIT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    return 1, code == 0 and bench.agree(folder, 2)


def horovod_runs():
    return importlib.util.find_spec('horovod') is not None and os.path.exists(HOROVODRUN)


def one_worker_is_asked_to_stop(bench):
    """All stop at the same step with a checkpoint, whichever was asked; the second time it is heard while they score."""
    held = 0
    for number, (asked, line) in enumerate(((0, 'Epoch[0] Batch [0]'), (1, 'Epoch[0] Batch [3]'))):
        folder = bench.place()
        with bench.job(2, folder, '--save-every-steps', 2) as job:
            bench.begun(job, line)
            job.workers[asked].send_signal((signal.SIGTERM, signal.SIGINT)[number])
            code = (143, 130)[number]
            stopped = job.wait() == [code, code] and job.left()
        held += stopped and bench.continues(folder)
    return 2, held


def only_the_first_has_the_folder(bench):
    """A job is cut off and resumed; its second worker has been told of another folder, and leaves nothing there."""
    folder = bench.place()
    elsewhere = bench.place()
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
        codes = job.wait()
        errors = [job.error(number) for number in (0, 1)]
    return 1, codes == [1, 1] and all(runs.is_sentence(error) and 'not finite in epoch' in error for error in errors)


def first_worker_cannot_save(bench):
    """All leave with 2 and a sentence."""
    folder = bench.place()
    os.makedirs(folder)
    with open(os.path.join(folder, 'run'), 'w'):
        pass
    with bench.job(2, folder) as job:
        codes = job.wait()
        errors = [job.error(number) for number in (0, 1)]
    return 1, codes == [2, 2] and all(map(runs.is_sentence, errors))


def stalled(job, but=()):
    """Whether the workers give up with a sentence, when one of the job is gone."""
    codes = job.wait()
    return all(codes[number] == STALLED and runs.is_sentence(job.error(number)) and 'is gone' in job.error(number)
               for number in range(len(codes)) if number not in but)


def worker_killed(bench):
    folder = bench.place()
    with bench.job(2, folder, *PATIENT) as job:
        bench.begun(job)
        job.workers[0].kill()
        gave_up = stalled(job, but=[0])
    return 1, gave_up and bench.continues(folder)


def server_killed(bench):
    folder = bench.place()
    with bench.job(2, folder, *PATIENT) as job:
        bench.begun(job)
        job.others[1].kill()
        gave_up = stalled(job)
    return 1, gave_up and bench.continues(folder)


def slow_worker(bench):
    """One that is stopped, at last for two thirds of what the other would wait, is waited for."""
    folder = bench.place()
    waited = []
    with bench.job(2, folder, *PATIENT) as job:
        for line, seconds in (('Epoch[0] Batch [0]', 1), ('Epoch[0] Batch [2]', STALL_TIMEOUT * 2 / 3)):
            bench.begun(job, line)
            job.workers[1].send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            waited.append(all(worker.poll() is None for worker in job.workers))
            job.workers[1].send_signal(signal.SIGCONT)
        codes = job.wait()
    return 1, all(waited) and codes == [0, 0] and runs.equal(bench.whole, runs.outcome(folder))


def link_cut(bench):
    """A worker on another host, first undisturbed, then with its link cut: all give up, and the job continues later."""
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
        return 2, undisturbed + (gave_up and bench.continues(folder))


TRIALS = [
    ('2 workers: weights equal after the first step and at the end, and to one process (BatchNorm on fixed statistics)',
     two_workers_twenty_times),
    ('4 workers, some without an image of the last batch: the same', four_workers),
    ('2 workers of two devices (of the CPU): the same', two_devices_each),
    ('2 workers, dist_device_sync: the same', sums_on_the_device),
    ('2 workers, Horovod: the same', horovod),
    ('4 workers of tools.launch, each on a host of its own (network namespace): the same', launched.four_hosts),
    ('one worker is sent SIGTERM or Ctrl-C: all stop at one step', one_worker_is_asked_to_stop),
    ('the other workers neither read nor write in the save folder, and resume', only_the_first_has_the_folder),
    ('loss not finite: all stop', loss_is_not_finite),
    ('the first worker cannot save: all stop', first_worker_cannot_save),
    ('worker killed at a random step, tools.launch: the job ends within 30 s, and continues from its checkpoint',
     launched.worker_killed),
    ('the same with --max-restarts: begins again by itself', launched.worker_killed_and_restarted),
    ('worker killed, without a launcher: the others give up', worker_killed),
    ('server killed, the same', server_killed),
    ('slow worker: waited for', slow_worker),
    ('worker on another host (network namespace); its link cut: the others give up', link_cut),
    ('link to a host cut, tools.launch: the job ends within 30 s, and continues from its checkpoint', launched.link_cut),
]
