"""Launchers as processes. Every one carries a mark in its environment, by which those it leaves are found."""
import os
import signal
import subprocess
import sys
import time

from tools import ROOT

LIMIT = 60  # seconds that a process may take


def heed_ctrl_c():
    """In the child: a shell without job control has what it starts with & ignore Ctrl-C, such as a whole test run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Launch:
    """Starts launchers and finds what they leave; at the end of its block nothing of them is there.

    with Launch(folder) as launcher: code, out, error = launcher.run('-n', 1, command=['true'])
    """

    def __init__(self, folder):
        self.folder = folder
        self.mark = f'LAUNCH_TEST={folder}'
        self.env = {**os.environ, 'LAUNCH_TEST': str(folder), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ROOT}
        self.launchers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.launchers:
            process.kill()
            process.communicate()
        for process in self.alive():
            os.kill(process, signal.SIGKILL)

    def start(self, *flags, command, **env):
        env = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        process = subprocess.Popen([sys.executable, '-m', 'tools.launch', *map(str, flags), '--', *map(str, command)],
                                   cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=heed_ctrl_c)
        self.launchers.append(process)
        return process

    def finish(self, process):
        """(exit code, lines of standard output in order, standard error)"""
        out, error = process.communicate(timeout=LIMIT)
        assert 'Traceback' not in error
        return process.returncode, sorted(out.splitlines()), error

    def run(self, *flags, command, **env):
        return self.finish(self.start(*flags, command=command, **env))

    def bash(self, text, *flags, **env):
        return self.run(*flags, command=['bash', '-c', text], **env)

    def alive(self):
        """Ids of living processes with the mark, without the launchers."""
        found = []
        for process in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/environ' % process, 'rb') as file:
                    if self.mark.encode() in file.read().split(b'\0'):
                        found.append(int(process))
            except OSError:
                continue
        return set(found) - {process.pid for process in self.launchers}

    def wait_until(self, condition):
        until = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.02)

    def wait_for(self, *names):
        """Until all these files are in the folder; returns the numbers in them."""
        paths = [self.folder / name for name in names]
        self.wait_until(lambda: all(path.exists() and path.read_text().strip() for path in paths))
        return [int(path.read_text()) for path in paths]
