"""How the benchmark talks with what it compares: a process for each, and a round of work whenever it is asked for one.

    child:   serve(one_round)                        parent:  with Contestant(label, command) as it: it.round()

A process for each, because MXNet reads its number of threads once, and because the others want another NumPy. This file
needs only the standard library, so that all of them can import it.
"""
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

from tools import ROOT

PATIENCE, LEAVING = 600, 10  # seconds that a contestant may take for anything, and to leave
SIZES = {'cifar': 32, 'imagenet': 224}  # of the images of a host


def add_task_arguments(parser):
    """What is computed, for everything that a contestant can be."""
    parser.add_argument('host', choices=list(SIZES))
    parser.add_argument('unit')
    for number in ('blocks', 'batch', 'steps'):
        parser.add_argument(number, type=int)


def serve(one_round, parameters=None):
    """Answer every line of standard input with {'images_per_second', 'memory', 'parameters'}; the first round warms up.

    one_round() does the work, waits for its end and returns the number of images, or (images, seconds) if not all of
    its time counts. memory: greatest resident size of this process so far, in MiB. parameters: trainable ones.
    """
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what a library prints is not an answer
    for _ in sys.stdin:
        start = time.perf_counter()
        done = one_round()
        images, seconds = done if isinstance(done, tuple) else (done, time.perf_counter() - start)
        print(json.dumps({'images_per_second': images / seconds, 'memory': peak_memory(), 'parameters': parameters}),
              file=answers, flush=True)


def peak_memory():
    """Greatest resident size of this process, in MiB."""
    with open('/proc/self/status') as file:
        return int(next(line for line in file if line.startswith('VmHWM')).split()[1]) / 1024


class Contestant:
    """A process that serves rounds, warmed up.   .round() -> what serve() answers

    label: its name in the table. environment: variables that differ from ours.
    Raises RuntimeError with the end of what it said if it fails or takes too long.
    """

    def __init__(self, label, command, environment=()):
        self.label, self.command, self.environment = label, list(command), dict(os.environ, **dict(environment))

    def __enter__(self):
        self.said = tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen(self.command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.said, text=True, env=self.environment)
        try:
            self.round()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.process.communicate(timeout=LEAVING)  # at the end of its input it takes away what it has written
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        self.said.close()

    def round(self):
        guard = threading.Timer(PATIENCE, self.process.kill)
        guard.start()
        try:
            self.process.stdin.write('\n')
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ''
        finally:
            guard.cancel()
        if not answer:
            self.said.seek(0)
            raise RuntimeError('%s failed: %s' % (self.label, self.said.read()[-2000:].strip()))
        return json.loads(answer)
