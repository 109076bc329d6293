"""python -m tools.launch.guard: runs one process of a job and sees to it that nothing of it outlives the launcher.

The launcher starts a guard for every process, here or over ssh, and speaks to it through its standard input. First
comes a line, the task as JSON: Task of job.py with the seconds `grace` and `silence`. Each byte that follows is the
number of a signal for the process and all that it has started, or 0, a mere sign of life. When the input closes, or
brings nothing for `silence` seconds (0: may be silent), the launcher is gone, and the guard ends the process itself.
What the process writes does not pass through the guard.
"""
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # of prctl(2)
COUNTING = 60  # seconds that it may take to count the cores, with CUDA's libraries on a slow disk


def main():
    """Run the task, kill what it leaves, and leave with its exit code."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    task = json.loads(open(0, 'rb', buffering=0, closefd=False).readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: signal_session(os.getpid(), number))
    try:
        child = subprocess.Popen(task['argv'], cwd=task['cwd'], env=environment_of(task), stdin=subprocess.DEVNULL,
                                 preexec_fn=die_with_parent)
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f'{task["argv"][0]} cannot be started: {error}')
    threading.Thread(target=obey, args=(task,), daemon=True).start()
    code = child.wait()
    signal_session(os.getpid(), signal.SIGKILL)
    sys.exit(exit_code(code))


def environment_of(task):
    """The environment of a task: the one here, with its changes and its share of the physical cores."""
    env = {name: value for name, value in {**os.environ, **task['env']}.items() if value is not None}
    if task['sharing'] and 'OMP_NUM_THREADS' not in env:
        # In a process of its own, as runtime prepares the one that imports it.
        cores = subprocess.check_output([sys.executable, '-c', 'import runtime; print(runtime.physical_cores())'],
                                        timeout=COUNTING)
        env['OMP_NUM_THREADS'] = str(max(1, int(cores) // task['sharing']))
    return env


def die_with_parent():
    """In the child: what a guard that is killed cannot do."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def obey(task):
    """Send the signals that standard input brings; when no more come, SIGTERM to a worker, the grace, SIGKILL."""
    while select.select([0], [], [], task['silence'] or None)[0]:
        orders = os.read(0, 64)
        if not orders:
            break
        for number in filter(None, orders):
            signal_session(os.getpid(), number)
    if task['sharing']:  # the others serve the workers' last step
        signal_session(os.getpid(), signal.SIGTERM)
    time.sleep(task['grace'])
    signal_session(os.getpid(), signal.SIGKILL)


def signal_session(session, number):
    """Send a signal to all processes of a session but its leader; SIGKILL until there are none."""
    for _ in range(100 if number == signal.SIGKILL else 1):  # others may be born meanwhile
        members = session_members(session)
        if not members:
            break
        for process in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
        time.sleep(0.01)


def session_members(session):
    """Ids of the living processes of a session but its leader."""
    members = []
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{process}/stat') as file:
                state, _, _, its_session = file.read().rpartition(')')[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and int(process) != session and state not in 'ZX':
            members.append(int(process))
    return members


def exit_code(code):
    """Of a subprocess.Popen, as a shell has it: 128 + the number of the signal that ended a process."""
    return 128 - code if code < 0 else code


if __name__ == '__main__':
    main()
