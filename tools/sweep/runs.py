"""The runs of a sweep: each is a process of train_cifar.py, a few at a time, watched by their logs."""
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from contextlib import suppress

import runtime

from tqdm import tqdm

import train_cifar
from tools.sweep.pace import duration, seconds_left
from tools.sweep.plan import epochs_left, state_of
from tools.sweep.results import errors_of
from training.logs import read_run

POLL = 1.0  # seconds between two looks at the runs
TAIL = 5    # lines of a failed run that are shown
STOPPED = (128 + signal.SIGTERM, -signal.SIGTERM)  # after it has saved, and before it began

# A run under way. errors: the file of its standard error. begun: time.time() of its start.
Started = namedtuple('Started', 'point gpus process errors begun')


class Sweep:
    """The runs of a plan: some waiting, some running, each on one of the sets of GPUs ('' is the CPU).

    epochs: {name: numbers of its epochs}. failed: {name: why}. mistake: whether one of them left with 2.
    paces: measured here; until there are any, those of the logs count.
    """

    def __init__(self, points, gpus, logged_paces, bar):
        self.points = points
        self.jobs = len(gpus)
        self.free = list(gpus)
        self.waiting = [point for point in points if epochs_left(point)]
        self.running = []
        self.epochs = {point.name: point.epochs for point in points}
        self.failed = {}
        self.mistake = False
        self.logged_paces = logged_paces
        self.paces = []
        self.bar = bar

    def go(self, watch):
        """Run what is waiting, until it is done or somebody asks to stop. No run outlives this call."""
        try:
            while (self.running or self.waiting) and not (watch.signal or self.mistake):
                while self.waiting and self.free:
                    self.start(self.waiting.pop(0), self.free.pop(0))
                time.sleep(POLL)
                for run in list(self.running):
                    self.look(run)
                    if run.process.poll() is not None:
                        self.end(run)
        finally:
            self.stop()

    def start(self, point, gpus):
        # A session of its own: Ctrl-C at the terminal must reach the run once, through stop().
        errors = tempfile.TemporaryFile()
        process = subprocess.Popen(
            [sys.executable, os.path.abspath(train_cifar.__file__), *point.flags, '--gpus', gpus],
            stdout=subprocess.DEVNULL, stderr=errors, env=environment(self.jobs), start_new_session=True)
        self.running.append(Started(point, gpus, process, errors, time.time()))
        self.say(f'{self.place(point)} start {point.name} ({state_of(point)})')

    def look(self, run):
        """Take in the epochs that a run has come to."""
        point = run.point
        with suppress(OSError, ValueError):  # no log yet, or a new one that has not come to its header
            epochs = read_run(point.log).epochs
            fresh = epochs[len(self.epochs[point.name]):]
            self.epochs[point.name] = epochs
            self.paces += [(point.unit, numbers['seconds'] / point.macs) for numbers in fresh]
            self.bar.update(point.macs * len(fresh))
        left = len(self.running) + len(self.waiting)
        self.bar.set_postfix_str(f'{left} of {len(self.points)} runs to go, {self.time_left()}')

    def end(self, run, asked=False):
        """Say how a run has ended.   asked: whether it was to stop"""
        self.look(run)
        self.running.remove(run)
        self.free.append(run.gpus)
        point = run.point
        code = run.process.returncode
        epochs = self.epochs[point.name]
        took = duration(time.time() - run.begun)
        if code == 0 and len(epochs) >= point.num_epochs:
            last, best = errors_of(epochs)
            self.say(f'{self.place(point)} done {point.name}: error last {last:.2f} %, best {best:.2f} %, {took}; '
                     f'{self.time_left()}')
        elif asked and code in STOPPED:
            self.say(f'{self.place(point)} stopped {point.name}')
        else:
            self.failed[point.name] = why_of(code)
            self.mistake = self.mistake or code == 2
            self.say(f'{self.place(point)} FAILED {point.name}: {why_of(code)}, {took}')
            for line in tail(run.errors):
                self.say('    ' + line)
        run.errors.close()

    def stop(self):
        """Ask the runs under way to save and leave, and wait for them."""
        for run in self.running:
            run.process.send_signal(signal.SIGTERM)
        for run in list(self.running):
            run.process.wait()
            self.end(run, asked=True)

    def place(self, point):
        return f'[{self.points.index(point) + 1}/{len(self.points)}]'

    def time_left(self):
        left = [(point, epochs_left(point._replace(epochs=self.epochs[point.name])))
                for point in self.waiting + [run.point for run in self.running]]
        seconds = seconds_left(left, self.paces or self.logged_paces, self.jobs)
        return 'time left unknown' if seconds is None else f'about {duration(seconds)} left'

    def say(self, text):
        tqdm.write(text, file=sys.stderr)


def environment(jobs):
    """Of a run: it gets its share of the cores, unless the user has set OMP_NUM_THREADS."""
    with open('/proc/self/environ', 'rb') as file:  # as it was before runtime filled it
        given = any(entry.startswith(b'OMP_NUM_THREADS=') for entry in file.read().split(b'\0'))
    share = max(1, runtime.physical_cores() // jobs)
    return dict(os.environ) if given else dict(os.environ, OMP_NUM_THREADS=str(share))


def why_of(code):
    """What the exit code of a run that failed says."""
    if code == 0:
        return 'exit code 0, but epochs are missing in its log'
    return f'killed by {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'


def tail(file):
    file.seek(0)
    return file.read().decode(errors='replace').strip().splitlines()[-TAIL:]
