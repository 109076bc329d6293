"""Start the processes of a job, pass on what they write, see the first that fails, and end the others."""
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque, namedtuple
from contextlib import suppress

from tools import ROOT
from tools.launch.guard import exit_code, signal_session
from training.watchdog import STALLED

SSH = ['ssh', '-T', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-o', 'ServerAliveInterval=5',
       '-o', 'ServerAliveCountMax=3']
# Seconds: between the launcher's signs of life; without one until a guard on another host acts; that servers have when
# the workers are done; that the last output has.
SIGN_OF_LIFE = 5
SILENCE = 30
LEAVING = 10
DRAINING = 2
TAIL = 10  # lines of standard error in a message
LONGEST = 1 << 20  # bytes of a line that is forwarded whole

# name: 'worker 1'. host: where, or None for here. argv, cwd: the command and its folder. env: {name: value, or None to
# remove it}. sharing: how many workers its host has, which divide the cores; 0 for a server and the scheduler.
Task = namedtuple('Task', 'name host argv cwd env sharing')


class Stream:
    """What a process writes, passed on line by line with its name in front. tail: its last lines."""

    def __init__(self, source, target, name):
        self.source = source
        self.target = target
        self.prefix = b'[%s] ' % name.encode()
        self.rest = b''
        self.tail = deque(maxlen=TAIL)

    def forward(self):
        """Pass on what there is; False at the end."""
        data = os.read(self.source.fileno(), 65536)
        *lines, self.rest = (self.rest + data).split(b'\n')
        if self.rest and (not data or len(self.rest) > LONGEST):
            lines.append(self.rest)
            self.rest = b''
        self.tail.extend(lines)
        self.target.write(b''.join(self.prefix + line + b'\n' for line in lines))
        self.target.flush()
        return bool(data)


class Process:
    """A task at work, with its guard. code: None until it has ended, then its exit code."""

    def __init__(self, task, grace):
        self.task = task
        self.code = None
        argv = [sys.executable, '-m', 'tools.launch.guard']
        if task.host:
            argv = [*SSH, task.host, f'cd {shlex.quote(ROOT)} && exec {shlex.join(argv)}']
        self.popen = subprocess.Popen(argv, cwd=ROOT, bufsize=0, start_new_session=True, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.streams = [Stream(self.popen.stdout, sys.stdout.buffer, task.name),
                        Stream(self.popen.stderr, sys.stderr.buffer, task.name)]
        words = {**task._asdict(), 'grace': grace, 'silence': SILENCE if task.host else 0}
        self.tell(json.dumps(words).encode() + b'\n')

    def tell(self, orders):
        with suppress(BrokenPipeError, ValueError):  # it has ended; it is closed
            self.popen.stdin.write(orders)

    def poll(self):
        """See whether it has ended. What a guard leaves that was itself killed is killed here."""
        if self.code is None and self.popen.poll() is not None:
            self.code = exit_code(self.popen.returncode)
            signal_session(self.popen.pid, signal.SIGKILL)

    def close(self):
        self.popen.kill()
        self.popen.wait()
        self.poll()
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            pipe.close()

    def how_it_ended(self):
        """A sentence, and the last lines of its standard error."""
        text = f'{self.task.name} left with exit code {self.code}'
        if self.code - 128 in set(signal.Signals):
            text += f' ({signal.Signals(self.code - 128).name})'
        if self.task.host:
            text += f' on {self.task.host}'
            text += ', which ssh did not reach or has lost' if self.code == 255 else ''
        tail = b'\n'.join(self.streams[1].tail).decode(errors='replace')
        return text + (f'; the end of its standard error:\n{tail}' if tail else '')


class Job:
    """The processes of one attempt.

    grace: seconds that workers have after SIGTERM. idle: seconds without output that end the job (0: none do).
    signals: those that the launcher has received, a list that its handlers extend.
    """

    def __init__(self, tasks, grace, idle, signals):
        self.tasks = tasks
        self.grace = grace
        self.idle = idle
        self.signals = signals
        self.processes = []
        self.selector = selectors.DefaultSelector()
        self.over = threading.Event()
        self.last_output = time.monotonic()

    def run(self):
        """The exit code of the first failure, 128 + the number of a signal, or 0."""
        try:
            self.start()
            code = self.watch()
            self.end(code)
        finally:
            self.over.set()
            self.selector.close()
            for process in self.processes:
                process.close()
        return code

    def start(self):
        for task in self.tasks:
            if self.signals:
                break
            process = Process(task, self.grace)
            self.processes.append(process)
            for stream in process.streams:
                self.selector.register(stream.source, selectors.EVENT_READ, stream)
        if any(task.host for task in self.tasks):
            # A thread, as a reader of our output who pauses must not end the job.
            threading.Thread(target=self.keep_alive, daemon=True).start()

    def keep_alive(self):
        while not self.over.wait(SIGN_OF_LIFE):
            self.order(self.processes, 0)

    def watch(self):
        """Wait for what ends the job, say it, and return the exit code."""
        while True:
            self.step()
            failed = [process for process in self.processes if process.code]
            if self.signals:
                say(f'{signal.Signals(self.signals[0]).name}: ending the job')
                return 128 + self.signals[0]
            if failed:
                self.drain(failed)
                for process in failed:
                    say(process.how_it_ended())
                return failed[0].code
            if all(process.code == 0 for process in self.processes if process.task.sharing):
                return 0
            if self.idle and time.monotonic() - self.last_output > self.idle:
                say(f'no process has written anything for {self.idle:g} seconds: ending the job')
                return STALLED

    def end(self, code):
        """Let the workers save and leave, then the others; kill those that do not."""
        workers = [process for process in self.processes if process.task.sharing]
        others = [process for process in self.processes if not process.task.sharing]
        if code:
            self.order(workers, signal.SIGINT if code == 128 + signal.SIGINT else signal.SIGTERM)
            self.wait(workers, self.grace)
        else:
            self.wait(others, LEAVING)
        self.order(others, signal.SIGTERM)
        self.wait(others, DRAINING)
        for process in self.processes:
            if process.code is None:
                say(f'{process.task.name} has not left and is killed')
        self.order(self.processes, signal.SIGKILL)
        self.wait(self.processes, DRAINING)
        self.drain(self.processes)

    def order(self, processes, number):
        for process in processes:
            process.tell(bytes([number]))

    def wait(self, processes, seconds):
        """Until these have ended; a second signal to the launcher cuts it short."""
        self.step_until(seconds, lambda: len(self.signals) > 1 or all(one.code is not None for one in processes))

    def drain(self, processes):
        """Pass on the last that these have written, which may come after their end."""
        sources = {stream.source for process in processes for stream in process.streams}
        self.step_until(DRAINING, lambda: not sources & {key.fileobj for key in self.selector.get_map().values()})

    def step_until(self, seconds, done):
        until = time.monotonic() + seconds
        while not done() and time.monotonic() < until:
            self.step()

    def step(self):
        """Pass on what the processes write, waiting for it a moment, and see which have ended."""
        for key, _ in self.selector.select(0.1):
            self.last_output = time.monotonic()
            if not key.data.forward():
                self.selector.unregister(key.fileobj)
        for process in self.processes:
            process.poll()


def say(message):
    print(f'launch: {message}', file=sys.stderr, flush=True)
