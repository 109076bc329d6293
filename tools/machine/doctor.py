"""python -m runtime: what this machine and this Python have, and whether a training can work here.

Exit code 0 only if it can; otherwise 1, with a sentence for everything that stops it and the command that mends it. The
doctor does without MXNet and NumPy, so it speaks where they do not work. What needs them is tried on every device in
a process of its own (tools/machine/self_test.py), which may crash or hang without taking the doctor along.
"""
import argparse
import ctypes
import glob
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata

import runtime

from cli.streams import mend_streams
from native.library import find, mxnet_folder
from tools import ROOT

# What MXNet and oneDNN choose their code by -> the name in /proc/cpuinfo.
INSTRUCTIONS = {'AVX2': 'avx2', 'AVX-512': 'avx512f', 'VNNI': 'avx512_vnni', 'BF16': 'avx512_bf16', 'AMX': 'amx_tile'}
# Compute capabilities that the CUDA wheels have machine code for. Those of cu100 and cu117 were read from .nv_fatbin of
# their libmxnet.so, which holds no PTX from which a driver could make code for newer GPUs; the others are from MXNet's
# build files.
ARCHITECTURES = {'mxnet-cu100': ((3, 0), (5, 0), (6, 0), (7, 0), (7, 5)),
                 **dict.fromkeys(['mxnet-cu11%d' % minor for minor in range(2, 8)],
                                 ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6)))}
COMPUTE_CAPABILITY = (75, 76)  # major, minor: of CUdevice_attribute
NVIDIA = '0x10de'  # on the PCI bus
FLAVOURS = {'mxnet-cu100': 'cu100', 'mxnet-cu117': 'cu117'}  # wheel -> file in requirements/
CUDA = re.compile(r'lib(cu|nv|nccl)')
DRIVER = ("install NVIDIA's driver, 515.43 or newer; in a container, give it the GPU (docker run --gpus all); to train "
          'on the CPU, make setup GPU=')
# Shared libraries that slim images lack -> the package of Debian and Ubuntu.
PACKAGES = {'libgomp.so.1': 'libgomp1', 'libquadmath.so.0': 'libquadmath0', 'libz.so.1': 'zlib1g',
            'libGL.so.1': 'libgl1', 'libglib-2.0.so.0': 'libglib2.0-0', 'libgthread-2.0.so.0': 'libglib2.0-0'}
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


def suits(version):
    """Whether MXNet works on a version of Python."""
    return (3, 8) <= tuple(version[:2]) <= (3, 12)


def install(wheel):
    """The command that puts the pinned packages into this virtual environment, or makes one where there is none."""
    flavour = FLAVOURS.get(wheel, '')
    if sys.prefix == sys.base_prefix or not suits(sys.version_info):
        return 'make setup%s%s, and run .venv/bin/python' % ('' if suits(sys.version_info) else ' PYTHON=python3.11',
                                                             flavour and ' GPU=' + flavour)
    return '%s -m pip install -r requirements%s.txt' % (sys.executable, flavour and '/' + flavour)


def remedy(library, wheel):
    """What to do where a shared library is missing."""
    if library.startswith('libcuda.so'):
        return DRIVER
    if library in PACKAGES:
        return 'sudo apt-get install %s, or what your system calls it' % PACKAGES[library]
    if CUDA.match(library) and wheel == 'mxnet-cu100':
        return ("install CUDA 10.0, cuDNN 7 and NCCL 2 from NVIDIA's archive; on GPUs from Maxwell to Ada, "
                'make setup GPU=cu117 needs none of it')
    if CUDA.match(library) and wheel != 'mxnet-cu117':
        return 'make setup GPU=cu117'
    return install(wheel)


def cure(message, wheel):
    """The error message of an import and, behind a colon, what mends it, where that is known."""
    library = re.search(r'(lib\S+?\.so[.\d]*): cannot open shared object', message)
    if library:
        return '%s is missing: %s' % (library.group(1), remedy(library.group(1), wheel))
    if re.search('No module named|numpy', message, re.IGNORECASE):
        return '%s: %s' % (message, install(wheel))
    return message


def examine_python(report, version=sys.version_info, machine=None):
    machine = machine or '%s %s' % (platform.system(), platform.machine())
    report.line('Python', '%d.%d.%d, %s, %s' % (*version[:3], sys.executable, machine))
    if not suits(version):
        report.problems.append('MXNet works on Python 3.8 to 3.12, and this is %d.%d: make setup PYTHON=python3.11'
                               % tuple(version[:2]))
    if machine != 'Linux x86_64':
        report.problems.append('there are MXNet wheels for Linux on x86-64 alone, and this is %s' % machine)


def examine_numpy(report, wheel):
    try:
        version = metadata.version('numpy')
    except metadata.PackageNotFoundError:
        version = 'missing'
    aliases = re.match(r'1\.(2[4-9]|[3-9]\d)', version)
    report.line('NumPy', version + (aliases and ', without names that MXNet uses: `import runtime` gives them back'
                                    or ''))
    if not version.startswith('1.'):
        report.problems.append('MXNet needs NumPy 1, and it is %s: %s' % (version, install(wheel)))


def examine_mxnet(report, wheels, wheel):
    if mxnet_folder() is None:
        report.line('MXNet', 'missing')
        report.problems.append('MXNet is missing: %s' % install(wheel))
        return
    report.line('MXNet', ', '.join('%s %s' % item for item in wheels.items()) or 'not from a wheel')
    if len(wheels) > 1:
        report.problems.append('%s lie over one another: make clean setup GPU=%s'
                               % (' and '.join(sorted(wheels)), FLAVOURS.get(wheel, '')))


def missing_libraries(files, folders):
    """Names of the shared libraries that these files need and the system's loader does not find.

    Those of the nvidia-*-cu11 wheels in the folders count as found, as runtime.py loads them.
    """
    places = [place for folder in folders for place in glob.glob(os.path.join(glob.escape(folder), 'nvidia/*/lib'))]
    environ = dict(os.environ, LD_LIBRARY_PATH=':'.join(places + [os.environ.get('LD_LIBRARY_PATH', '')]))
    text = ''.join(subprocess.run(['ldd', file], env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  universal_newlines=True).stdout for file in files)
    return sorted(set(re.findall(r'^\s*(\S+) => not found', text, re.MULTILINE)))


def examine_libraries(report, wheel, folders):
    """Which shared libraries MXNet, and cuDNN in its parts, lack."""
    files = [path for path in [os.path.join(mxnet_folder() or '', 'libmxnet.so')] if os.path.isfile(path)]
    files += [path for folder in folders
              for path in glob.glob(os.path.join(glob.escape(folder), 'nvidia/cudnn/lib/libcudnn_*.so.8'))]
    if not files or not shutil.which('ldd'):
        report.line('libraries', 'not looked at, as there is no %s' % ('ldd' if files else 'libmxnet.so'))
        return
    missing = missing_libraries(files, folders)
    report.line('libraries', 'missing: ' + ', '.join(missing) if missing else 'none is missing')
    for what in sorted({remedy(library, wheel) for library in missing}):
        names = [library for library in missing if remedy(library, wheel) == what]
        report.problems.append('%s %s missing: %s' % (', '.join(names), 'is' if len(names) == 1 else 'are', what))


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


def driver(library='libcuda.so.1'):
    """(GPUs, the CUDA version of the driver such as 11070 or 0, why there is none), as MXNet would find them.

    GPUs: [(name, (major, minor) of the compute capability)], with CUDA_VISIBLE_DEVICES heeded.
    """
    try:
        cuda = ctypes.CDLL(library)
        code = cuda.cuInit(0)
    except OSError:
        return [], 0, "there is no libcuda.so.1, a part of NVIDIA's driver"
    except AttributeError:
        return [], 0, "%s is not NVIDIA's" % library
    number, name, gpus = ctypes.c_int(), ctypes.create_string_buffer(100), []
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version, number.value = number.value, 0
    if code == 0:
        cuda.cuDeviceGetCount(ctypes.byref(number))
    for device in range(number.value):
        capability = []
        cuda.cuDeviceGetName(name, len(name), device)
        for attribute in COMPUTE_CAPABILITY:
            cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
            capability.append(number.value)
        gpus.append((name.value.decode(), tuple(capability)))
    return gpus, version, '' if gpus else 'the driver finds none (CUDA error %d)' % code


def nvidia_on_the_bus(folder='/sys/bus/pci/devices'):
    """How many display controllers of NVIDIA are on the PCI bus, with or without a driver."""
    count = 0
    for device in glob.glob(os.path.join(glob.escape(folder), '*')):
        with open(os.path.join(device, 'vendor')) as vendor, open(os.path.join(device, 'class')) as kind:
            count += vendor.read().strip() == NVIDIA and kind.read().startswith('0x03')
    return count


def has_code(wheel, capability):
    """Whether a wheel has machine code for a GPU; None if that is not known.

    Code for X.y runs on X.z with z >= y: that for 8.6 runs on Ada, which is 8.9, and not on Hopper, which is 9.0.
    """
    if wheel not in ARCHITECTURES:
        return None
    return any(major == capability[0] and minor <= capability[1] for major, minor in ARCHITECTURES[wheel])


def examine_gpus(report, wheel, gpus, version, reason, on_the_bus):
    """Which GPUs there are, and whether this wheel can use them."""
    report.line('GPUs', '; '.join('%d: %s, compute capability %d.%d' % (number, name, *capability)
                                  for number, (name, capability) in enumerate(gpus)) or 'none: ' + reason)
    if not gpus and on_the_bus:
        report.advice.append('a GPU of NVIDIA is on the PCI bus, but %s: %s' % (reason, DRIVER))
    elif not gpus and wheel.startswith('mxnet-cu') and not report.problems:
        report.advice.append('%s is for GPUs and there is none, so the CPU trains' % wheel)
    for number, (name, capability) in enumerate(gpus):
        gpu = 'GPU %d, %s of compute capability %d.%d' % (number, name, *capability)
        here, better = has_code(wheel, capability), has_code('mxnet-cu117', capability)
        if wheel.startswith('mxnet-cu') and here is False:
            report.problems.append('%s has no code for %s%s' % (
                wheel, gpu, ': make setup GPU=cu117' if better else
                ', nor has another wheel: hide it by CUDA_VISIBLE_DEVICES, or build MXNet for it'))
        elif not wheel.startswith('mxnet-cu'):
            report.advice.append('this MXNet does not use %s%s' % (gpu, ': make setup GPU=cu117' if better else
                                                                   ', for which no wheel has code'))
    if gpus and wheel.startswith('mxnet-cu'):
        examine_driver(report, wheel, version)


def examine_driver(report, wheel, version):
    """Whether the driver is new enough for a CUDA wheel."""
    major, minor = re.match(r'mxnet-cu(\d+)(\d)', wheel).groups()
    wanted = 1000 * int(major) + 10 * int(minor)  # cu117: 11070
    sentence = "the driver is for CUDA %d.%d and %s for %d.%d: install NVIDIA's driver 515.43 or newer" % (
        version // 1000, version % 1000 // 10, wheel, wanted // 1000, wanted % 1000 // 10)
    if version // 1000 < wanted // 1000:
        report.problems.append(sentence)
    elif version < wanted:
        report.advice.append(sentence + ', or set MXNET_USE_FUSION=0: kernels made at run time may not load')


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
                                                'SIGKILL': ', perhaps for want of memory'}.get(name, ''))
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
    argparse.ArgumentParser(prog='python -m runtime', description='Say what this machine has and whether a training '
                                                                  'can work here.').parse_args(argv)
    report = Report()
    examine(report, sys.path, os.environ)
    return report.end()


if __name__ == '__main__':
    mend_streams()
    sys.exit(main())
