"""Whether Python, NumPy, MXNet and the shared libraries that it needs are here, and what mends what is not."""
import glob
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata

from native.library import mxnet_folder

FLAVOURS = {'mxnet-cu100': 'cu100', 'mxnet-cu117': 'cu117'}  # wheel -> file in requirements/
CUDA = re.compile(r'lib(cu|nv|nccl)')
DRIVER = ("install NVIDIA's driver, 515.43 or newer; in a container, give it the GPU (docker run --gpus all); to train "
          'on the CPU, make setup GPU=')
# Shared libraries that slim images lack -> the package of Debian and Ubuntu.
PACKAGES = {'libgomp.so.1': 'libgomp1', 'libquadmath.so.0': 'libquadmath0', 'libz.so.1': 'zlib1g',
            'libGL.so.1': 'libgl1', 'libglib-2.0.so.0': 'libglib2.0-0', 'libgthread-2.0.so.0': 'libglib2.0-0'}


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
    """The error message of an import and, after a colon, what mends it, where that is known."""
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
        report.problems.append('there are MXNet wheels only for Linux on x86-64, and this is %s' % machine)


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
        report.problems.append('%s are both installed, in one place: make clean setup GPU=%s'
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
