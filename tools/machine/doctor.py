"""python -m runtime: what this machine and this Python have, and whether a training can work here.

Exit code 0 only if it can; otherwise 1, with a sentence for everything that stops it and the command that mends it. The
doctor does without MXNet and NumPy, so it speaks where they do not work. What needs them is tried on every device in
a process of its own (tools/machine/self_test.py), which may crash or hang without taking the doctor along.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import runtime

from cli.command import Parser
from cli.streams import mend_streams
from native.library import find
from tools import ROOT
from tools.machine.gpus import driver, examine_gpus, has_code, nvidia_on_the_bus
from tools.machine.packages import cure, examine_libraries, examine_mxnet, examine_numpy, examine_python

# What MXNet and oneDNN choose their code by -> the name in /proc/cpuinfo.
INSTRUCTIONS = {'AVX2': 'avx2', 'AVX-512': 'avx512f', 'VNNI': 'avx512_vnni', 'BF16': 'avx512_bf16', 'AMX': 'amx_tile'}
SECONDS = {'cpu': 90, 'gpu': 300}  # after which a self-test is given up; a healthy one needs a few
TOLERANCE = {'cpu': 1e-5, 'gpu': 2e-2}  # of the gate; convolutions on Ampere and Ada round to the 10 bits of TF32


class Report:
    """Lines for people, printed as they come; problems, which stop a training; advice, which does not."""

    def __init__(self):
        self.problems, self.advice = [], []

    def line(self, title, text):
        print('%-13s %s' % (title, text), flush=True)

    def end(self):
        """Print the sentences; returns the exit code."""
        print()
        for sentence in self.advice:
            print('Note: %s' % sentence)
        print('A training cannot work here:' if self.problems else 'A training can work here.')
        for sentence in self.problems:
            print('- %s' % sentence)
        return 1 if self.problems else 0


def processor(path='/proc/cpuinfo'):
    """(model name, those of INSTRUCTIONS that it has)."""
    model, flags = runtime.processor(path)
    return model, [name for name, flag in INSTRUCTIONS.items() if flag in flags]


def examine_processor(report):
    (model, has), cores, threads = processor(), runtime.physical_cores(), os.environ['OMP_NUM_THREADS']
    report.line('processor', '%s: %d cores and %d hardware threads for this process, OMP_NUM_THREADS=%s'
                % (model, cores, len(os.sched_getaffinity(0)), threads))
    report.line('instructions', ', '.join([name if name in has else 'no ' + name for name in INSTRUCTIONS]))
    if threads.isdigit() and int(threads) < cores:
        report.advice.append('OMP_NUM_THREADS=%s leaves %d of %d cores idle' % (threads, cores - int(threads), cores))


def examine_native(report):
    """Whether the operator of native/ is there."""
    path, why_not = find()
    report.line('native', 'compiled and checked' if path else 'not in use: ' + why_not)


def examine_memory(report):
    total, available, limit = runtime.memory()
    report.line('memory', '%.1f GB, %.1f GB of it available%s' % (
        total / 1e9, available / 1e9, '' if limit is None else '; the cgroup allows %.1f GB' % (limit / 1e9)))


def examine_shared_memory(report, gpus, folder='/dev/shm'):
    size = shutil.disk_usage(folder).total if os.path.isdir(folder) else 0
    report.line(folder, '%.2f GB' % (size / 1e9))
    if len(gpus) > 1 and size < 1e9:
        report.advice.append('NCCL wants more shared memory for several GPUs: docker run --shm-size=1g')


def examine_role(report, environ):
    role = runtime.blocking_role(environ)
    if role:
        report.problems.append('DMLC_ROLE=%s is set, with which `import mxnet` serves other processes and never '
                               'returns: unset DMLC_ROLE' % role)


def try_device(device, wheel):
    """(what tools.self_test says of 'cpu' or of the number of a GPU, or None; why not)."""
    seconds = SECONDS['cpu' if device == 'cpu' else 'gpu']
    environ = {name: value for name, value in os.environ.items() if not name.startswith('DMLC_')}
    environ['MXNET_CUDNN_AUTOTUNE_DEFAULT'] = '0'
    try:
        done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'tools.self_test', device], cwd=ROOT, env=environ,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, 'it had not ended after %d s' % seconds
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1]), ''
    return None, why_it_failed(done.returncode, done.stderr, wheel)


def why_it_failed(code, error, wheel):
    """One sentence about a process, from its exit code and its last words."""
    if code < 0:
        name = signal.Signals(-code).name
        return 'it was ended by %s%s' % (name, {'SIGILL': ', an instruction that this processor lacks',
                                                'SIGKILL': ', perhaps as memory was short'}.get(name, ''))
    if 'no kernel image' in error:
        return '%s has no code for this GPU' % wheel
    return cure((error.strip().splitlines() or ['it left with exit code %d' % code])[-1], wheel)


def complaints(device, result, gpus):
    """What is wrong with the numbers of a self-test, as sentences; gpus: how many MXNet must find."""
    found = ['the loss of a small network in %s goes from %.3f to %.3f and must fall' % (dtype, first, last)
             for dtype, (first, last) in result['losses'].items() if not last < 0.7 * first]
    if not result['gate_error'] <= TOLERANCE['cpu' if device == 'cpu' else 'gpu']:
        found.append('a ChaATAC unit differs from its formula by %.1e' % result['gate_error'])
    if result['gpus'] < gpus:
        found.append('MXNet finds %d of %d GPUs' % (result['gpus'], gpus))
    return found


def examine_device(report, wheel, device, gpus):
    """Run the self-test of one device."""
    name, start = 'the CPU' if device == 'cpu' else 'GPU ' + device, time.time()
    result, failure = try_device(device, wheel)
    found = [failure] if failure else complaints(device, result, gpus)
    report.problems += ['the self-test on %s failed: %s' % (name, sentence) for sentence in found]
    if failure:
        report.line('self-test', name + ': FAILED')
        return
    if device == 'cpu':
        report.line('features', ', '.join(result['features']))
        report.problems += ['%s does not import: %s' % (module, cure(why, wheel))
                            for module, why in result['broken'].items()]
    losses = ', '.join('loss in %s %.2f -> %.2f' % (dtype, *pair) for dtype, pair in result['losses'].items())
    report.line('self-test', '%s: %s; unit - formula %.0e; %s in %.0f s' % (
        name, losses, result['gate_error'], 'FAILED' if found else 'passed', time.time() - start))


def examine(report, folders, environ):
    wheels = runtime.mxnet_wheels(folders)
    wheel = max(wheels, default='')  # of two, that for GPUs
    examine_python(report)
    examine_numpy(report, wheel)
    examine_mxnet(report, wheels, wheel)
    examine_libraries(report, wheel, folders)
    importable = not report.problems
    examine_processor(report)
    examine_native(report)
    examine_memory(report)
    gpus, version, reason = driver()
    examine_gpus(report, wheel, gpus, version, reason, nvidia_on_the_bus())
    examine_shared_memory(report, gpus)
    examine_role(report, environ)
    if not importable:
        report.line('self-test', 'not tried, as MXNet cannot be imported')
        return
    usable = gpus if wheel.startswith('mxnet-cu') else []
    for device in ['cpu'] + [str(number) for number, (_, capability) in enumerate(usable)
                             if has_code(wheel, capability) is not False]:
        examine_device(report, wheel, device, len(usable))


def main(argv=None):
    """Print what there is; returns the exit code."""
    Parser('python -m runtime', description='Say what this machine has and whether a training can work here.'
           ).parse_args(argv)
    report = Report()
    examine(report, sys.path, os.environ)
    return report.end()


if __name__ == '__main__':
    mend_streams()
    sys.exit(main())
