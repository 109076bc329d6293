"""Seconds of summing and of training steps, measured by tools.launch on hosts in network namespaces."""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import runtime

from disk import write_whole
from tools import ROOT
from tools.scaling.cost import Step, Sum, speed, whole_gradient
from tools.scaling.hosts import hosts, reached_by_ssh

JOBS = [(2, 1), (2, 2), (3, 1), (3, 3), (4, 1), (4, 2), (4, 4)]  # workers, servers
RATES = [5e8 / 8, 1e9 / 8, None]                                 # bytes/s
SIZE = 64    # of the images
BATCH = 2    # of a worker
ROUNDS = 5
PATIENCE = 300  # seconds that a job may take


def measure(path):
    """Measure, write the file after each job, and return what is written."""
    sums, steps = [], []
    measured = {'command': 'python -m tools.scaling measure --json ' + path, 'processor': runtime.processor()[0],
                'cores': runtime.physical_cores(), 'gradient': whole_gradient(), 'sums': sums, 'steps': steps}
    for workers, servers in JOBS:
        for rate in RATES:
            sums.append(Sum(workers, servers, rate, seconds_of('sum', workers, servers, rate)))
            keep(measured, path)
    compute = seconds_of('step', 2, 0, None)
    for one in sums:
        if one.workers == 2 and one.rate:
            seconds = seconds_of('step', one.workers, one.servers, one.rate)
            steps.append(Step(one.workers, one.servers, one.rate, seconds, compute, one.seconds))
            keep(measured, path)
    return measured


def keep(measured, path):
    write_whole(path, [json.dumps(measured, indent=1)])


def seconds_of(what, workers, servers, rate):
    """The median over rounds and workers, to 0.01 s, of a job on hosts of its own; without servers none is summed."""
    with tempfile.TemporaryDirectory() as folder, hosts(workers, rate and int(8 * rate)) as places:
        hostfile, path = reached_by_ssh(folder, places)
        command = [sys.executable, '-m', 'tools.launch', '-n', str(workers), '-s', str(servers), '-H', hostfile, '--',
                   sys.executable, '-W', 'ignore', '-m', 'tools.scaling.worker', what,
                   'dist_sync' if servers else 'local', str(SIZE), str(BATCH), str(ROUNDS)]
        environment = dict(os.environ, PATH=path, OMP_NUM_THREADS='1')
        done = run_job(command, workers, servers, environment)
    rounds = [seconds for line in re.findall(r'\[worker \d+\] (\[.*\])', done.stdout) for seconds in json.loads(line)]
    if len(rounds) != workers * ROUNDS:
        raise OSError(f'the job of {workers} workers and {servers} servers failed: {done.stderr.strip()}')
    seconds = round(statistics.median(rounds), 2)
    print(f'{what}, {workers} workers, {servers} servers, {speed(rate)}: {seconds:.2f} s', flush=True)
    return seconds


def run_job(command, workers, servers, environment):
    """The finished process of a job. OSError if it takes too long."""
    try:
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise OSError(f'the job of {workers} workers and {servers} servers takes more than {PATIENCE} s') from None
