"""Compile the operator and have it checked: python -m native.build (which `make setup` calls).

Nothing happens where a library has passed its check already, for these sources, MXNet, compiler and processor. Prints
one sentence; that there can be no operator here is no error.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from disk import file_digest
from native import library

COMPILING, CHECKING = 300, 120  # seconds that either may take
# As the wheel was compiled, as far as its headers ask. A fused multiply-add would round otherwise than broadcast_mul.
FLAGS = """-std=c++17 -O3 -ffp-contract=off -fopenmp -fPIC -shared -fvisibility=hidden -D_GLIBCXX_USE_CXX11_ABI=0
    -DMXNET_USE_MKLDNN=1 -DMXNET_USE_CUDA=0 -DMXNET_USE_OPENMP=1 -DDMLC_USE_CXX11=1 -DMSHADOW_USE_CUDA=0
    -DMSHADOW_USE_CBLAS=0 -DMSHADOW_USE_MKL=0 -DMSHADOW_USE_SSE=0 -DMSHADOW_USE_F16C=0 -Wl,--no-undefined""".split()
ROOT = os.path.dirname(library.HERE)


def compiler():
    """What g++ calls itself, or None without one."""
    if not shutil.which('g++'):
        return None
    return subprocess.run(['g++', '--version'], stdout=subprocess.PIPE, universal_newlines=True, timeout=60,
                          check=True).stdout.splitlines()[0]


def compile_library(path):
    """ValueError with the first thing that the compiler complains of."""
    mxnet = library.mxnet_folder()
    include = os.path.join(mxnet, 'include')
    done = subprocess.run(['g++', *FLAGS, '-isystem', include, '-isystem', os.path.join(include, 'mkldnn'),
                           library.SOURCE, '-o', path, '-L' + mxnet, '-lmxnet'],
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=COMPILING)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if 'error' in line]
        raise ValueError((errors or ['exit code %d' % done.returncode])[0])


def checked(path):
    """(how many cases of its check a library passes, '') or (0, what went wrong, which may be a crash or a hang)."""
    # The user's settings of MXNet could keep the check from meeting the operator.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(('MXNET_', 'DMLC_', 'DNNL_'))}
    try:
        done = subprocess.run([sys.executable, '-W', 'ignore', '-m', 'native.check', path], cwd=ROOT, env=environ,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=CHECKING)
    except subprocess.TimeoutExpired:
        return 0, 'it had not ended after %d s' % CHECKING
    if done.returncode or not done.stdout.strip().isdigit():
        return 0, (done.stderr.strip().splitlines() or ['exit code %d' % done.returncode])[-1]
    return int(done.stdout), ''


def build(path, compiled_by):
    """Put a checked library and its record in place."""
    os.makedirs(library.FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.FOLDER) as folder:
        new = os.path.join(folder, 'product.so')
        compile_library(new)
        passed, failure = checked(new)
        record = {'library': file_digest(new), 'compiler': compiled_by, 'processor': library.processor(),
                  'passed': passed, 'failure': failure}
        with open(new + '.json', 'w') as file:
            json.dump(record, file, indent=1)
        os.replace(new, path)
        os.replace(new + '.json', path + '.json')


def main():
    """Returns why there is no operator, or ''."""
    path, why_not = library.place()
    try:
        compiled_by = compiler()
        if path and compiled_by and (library.fault_of(path) or library.record_of(path)['compiler'] != compiled_by):
            build(path, compiled_by)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        why_not = 'it cannot be compiled: %s' % error
    why_not = why_not or library.find()[1]
    print('native product: %s' % (why_not or 'ready'))
    return why_not


if __name__ == '__main__':
    main()
