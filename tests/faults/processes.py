"""Faults that befall a run: each function tries one and returns (tries, survived).

A run survives if it continues to the end of the uninterrupted one, equal in every bit, after no more than one sentence;
`Bench` has that end, and the checkpoint of its first epoch to begin from.
"""
import os
import shutil
import signal
import time
from functools import partial

import numpy as np

from tests.faults import runs
from training import checkpoint

RESUME = ('--resume', '--save-every-steps', 2)


class Bench:
    """A place for runs. whole: the outcome of the uninterrupted one; seconds: what it took after its start."""

    def __init__(self, root, random):
        self.root, self.random = root, random
        self.data = runs.write_tiny(os.path.join(root, 'data'))
        folder = self.place('whole')
        process = runs.start(self.flags(folder))
        runs.wait_for_line(process, self.log(folder), 'Options:')
        begin = time.time()
        code, error = runs.finish(process)
        if code:
            raise RuntimeError('the uninterrupted run left with %d: %s' % (code, error))
        self.seconds, self.whole = time.time() - begin, runs.outcome(folder)
        self.first = self.place('first')
        process = runs.start(self.flags(self.first, '--save-every-steps', 2))
        runs.wait_for_line(process, self.log(self.first), 'Epoch[1] Batch')
        runs.kill(process)

    def place(self, name):
        folder = os.path.join(self.root, name)
        os.makedirs(folder)
        return folder

    def copy_of_first(self, name):
        return shutil.copytree(self.first, os.path.join(self.root, name))

    def flags(self, folder, *more):
        return runs.flags_of(self.data, folder, *more)

    def log(self, folder):
        return os.path.join(folder, 'run.log')

    def resumes(self, folder):
        """Whether a run continues to the same end."""
        code, error = runs.finish(runs.start(self.flags(folder, *RESUME)))
        return code == 0 and 'Traceback' not in error and runs.equal(self.whole, runs.outcome(folder))

    def started(self, folder, prepare=None):
        """A resumed run that is at work."""
        log = self.log(folder)
        before = open(log).read().count('Options:') if os.path.exists(log) else 0
        process = runs.start(self.flags(folder, *RESUME), prepare)
        runs.wait_for_line(process, log, 'Options:', before + 1)
        return process


def kill_at_random_moments(bench, tries=30, most=5):
    """Runs are killed up to `most` times each. Whether they then come to their end judges all of their kills."""
    killed = survived = 0
    while killed < tries:
        folder, kills, code = bench.place('killed-%d' % killed), 0, -signal.SIGKILL
        while kills < most and killed + kills < tries and code == -signal.SIGKILL:
            process = bench.started(folder)
            time.sleep(bench.random.uniform(0, 0.4 * bench.seconds))
            code = runs.kill(process)[0]
            kills += code == -signal.SIGKILL
        killed += kills
        survived += kills * (code in (0, -signal.SIGKILL) and bench.resumes(folder))
    return killed, survived


def kill_before_each_operation_on_files(bench, most=60):
    """Before each fsync, link, removal and renaming of a run, up to the first checkpoints that replace others."""
    survived = 0
    for number in range(1, most + 1):
        folder = bench.place('operation-%d' % number)
        script = ('-m', 'tests.faults.killed', str(number))
        killed = runs.finish(runs.start(bench.flags(folder), script=script))[0] == -signal.SIGKILL
        survived += killed and bench.resumes(folder)
    return most, survived


def stop_by_signals(bench, tries=6):
    """SIGTERM and Ctrl-C in turn; every third time a second one follows while the run is still saving."""
    survived = 0
    for number in range(tries):
        asking = (signal.SIGTERM, signal.SIGINT)[number % 2]
        folder = bench.copy_of_first('stopped-%d' % number)
        process = bench.started(folder)
        time.sleep(bench.random.uniform(0, 0.3 * bench.seconds))
        process.send_signal(asking)
        time.sleep(0.05)
        if number % 3 == 2:
            process.send_signal(asking)
        code, error = runs.finish(process)
        codes = (128 + asking, -asking) if number % 3 == 2 else (128 + asking,)
        survived += code in codes and 'Traceback' not in error and bench.resumes(folder)
    return tries, survived


def refused_by_the_disk(bench, name, prepare, code=2):
    """Whether a run says one sentence, leaves with a code, keeps the checkpoint, and continues to the same end."""
    folder = bench.copy_of_first(name)
    before = checkpoint.load(os.path.join(folder, 'run'))
    found, error = runs.finish(runs.start(bench.flags(folder, '--resume'), prepare))
    after = checkpoint.load(os.path.join(folder, 'run'))
    kept = all(runs.same_arrays(before[1][kind], after[1][kind]) for kind in checkpoint.ARRAYS)
    return found == code and runs.is_sentence(error) and kept and bench.resumes(folder)


def disk_full_while_saving(bench, tries=5):
    largest = os.path.getsize(os.path.join(bench.first, 'run', 'last.params'))
    limits = [largest - 1, *bench.random.randint(20000, largest, tries - 1)]
    return tries, sum(refused_by_the_disk(bench, 'full-%d' % number, partial(runs.at_most_bytes, int(limit)))
                      for number, limit in enumerate(limits))


def log_folder_full(bench):
    """No room for the first lines, and none for the line of JSON of an epoch, where all checkpoints find room."""
    room = os.path.getsize(bench.log(bench.first)) + 100
    survived = refused_by_the_disk(bench, 'log-full', partial(runs.at_most_bytes, room))
    folder = bench.copy_of_first('json-full')
    numbers = os.path.join(folder, 'run.jsonl')
    room = 2 * os.path.getsize(os.path.join(folder, 'run', 'last.params'))
    with open(numbers) as file:
        line = file.read()
    with open(numbers, 'w') as file:
        file.write(line.rstrip('\n').ljust(room - 20) + '\n')
    code, error = runs.finish(runs.start(bench.flags(folder, *RESUME), partial(runs.at_most_bytes, room)))
    kept = checkpoint.load(os.path.join(folder, 'run'))[0]['within']['batches'] == 5  # the whole epoch, not scored
    with open(numbers, 'w') as file:
        file.write(line)
    return 2, survived + (code == 2 and runs.is_sentence(error) and 'run.jsonl' in error and kept
                          and bench.resumes(folder))


def folder_removed_or_read_only(bench):
    """Both under a running job. Of a folder that is gone nothing can be kept: the sentence is what is asked."""
    folder = bench.copy_of_first('removed')
    process = bench.started(folder)
    shutil.rmtree(os.path.join(folder, 'run'))
    code, error = runs.finish(process)
    removed = code == 2 and runs.is_sentence(error)
    folder = bench.copy_of_first('read-only')
    process = bench.started(folder, runs.obey_permissions)
    os.chmod(os.path.join(folder, 'run'), 0o555)
    code, error = runs.finish(process)
    os.chmod(os.path.join(folder, 'run'), 0o755)
    return 2, removed + (code == 2 and runs.is_sentence(error) and bench.resumes(folder))


def two_runs_on_one_folder(bench):
    """The second is refused, the first does not notice, and after its death by SIGKILL another may continue."""
    folder = bench.copy_of_first('two')
    process = bench.started(folder)
    code, error = runs.finish(runs.start(bench.flags(folder, '--resume')))
    refused = code == 2 and runs.is_sentence(error) and 'another run is using' in error or process.poll() is not None
    undisturbed = runs.finish(process)[0] == 0 and runs.equal(bench.whole, runs.outcome(folder))
    folder = bench.copy_of_first('two-killed')
    runs.kill(bench.started(folder))
    return 2, (refused and undisturbed) + bench.resumes(folder)


def close(numbers):
    for number in numbers:
        os.close(number)


def streams_closed_or_left(bench):
    """Streams that are closed from the start, and a reader that leaves, do not keep a run from its end."""
    survived = 0
    for number, closed in enumerate([(2,), (1,), (0, 1, 2)]):
        folder = bench.copy_of_first('closed-%d' % number)
        code = runs.finish(runs.start(bench.flags(folder, *RESUME), partial(close, closed)))[0]
        survived += code == 0 and runs.equal(bench.whole, runs.outcome(folder))
    folder = bench.copy_of_first('left')
    process = bench.started(folder, partial(os.dup2, 2, 1))  # both streams are the pipe
    process.stderr.close()
    code = process.wait(runs.LIMIT)
    return 4, survived + (code == 0 and runs.equal(bench.whole, runs.outcome(folder)))


def exploding_learning_rate(bench):
    """Exit code 1 and a sentence that names a checkpoint, if there is one, whose numbers are finite."""
    survived = 0
    for number, rate in enumerate(('1e30', '1e8')):
        folder = bench.place('exploding-%d' % number)
        code, error = runs.finish(runs.start(bench.flags(folder, '--lr', rate)))
        saved = checkpoint.exists(os.path.join(folder, 'run'))
        groups = checkpoint.load(os.path.join(folder, 'run'))[1].values() if saved else ()
        finite = all(np.isfinite(array).all() for arrays in groups for array in arrays.values())
        survived += code == 1 and runs.is_sentence(error) and 'not finite' in error and finite
    return 2, survived
