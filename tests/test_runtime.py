"""What runtime prepares, the doctor, and the list of make gpu-check, on files and libraries made for the tests."""
import os
import re
import shutil
import signal
import subprocess
import sys
import venv

import runtime

import pytest

import evaluate
import train_cifar
import train_imagenet
from cli.exits import run_script
from tools.machine import doctor, gpu_check, gpus, packages, self_test

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CPUINFO = 'processor\t: %d\nmodel name\t: A processor\nflags\t\t: fpu sse4_2 %s\n\n'
MEMINFO = 'MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n'
A100, H100, RTX_4090 = ('NVIDIA A100', (8, 0)), ('NVIDIA H100', (9, 0)), ('RTX 4090', (8, 9))
DRIVER = '''
#include <string.h>
int cuInit(unsigned flags) { return CODE; }
int cuDriverGetVersion(int *version) { *version = 12020; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, device ? "GPU B" : "GPU A", length); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 + device : attribute == 76 ? 6 - 6 * device : -1; return 0; }
'''
needs_gcc = pytest.mark.skipif(not shutil.which('gcc'), reason='stand-in shared libraries are made by gcc')


def process(*command, python=sys.executable, **environ):
    """Exit code, standard output and standard error of a Python process in the repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith('DMLC_') and name != 'PYTHONPATH'}
    done = subprocess.run([str(python), '-W', 'ignore', *map(str, command)], cwd=ROOT, env={**kept, **environ},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def write(path, text):
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    with open(str(path), 'w') as file:
        file.write(text)
    return str(path)


def library(path, needs=(), source=''):
    """A shared library of this name that needs others by their names and does not know where they are."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run(['gcc', '-w', '-shared', '-fPIC', '-nostdlib', '-x', 'c', '-', '-o', path, '-Wl,--no-as-needed',
                    '-Wl,-soname,' + os.path.basename(path), '-x', 'none', *needs], check=True, input=source.encode())
    return path


@pytest.fixture
def site(tmp_path):
    """site-packages with the wheels mxnet-cu117 and nvidia-*-cu11, all of empty libraries that need one another."""
    folder = str(tmp_path / 'site')
    made = {os.path.basename(name): os.path.join(folder, 'nvidia', name) for name in runtime.CUDA_LIBRARIES}
    needs = {'libcublas.so.11': ['libcublasLt.so.11'], 'libcusolver.so.11': ['libcublas.so.11', 'libcublasLt.so.11'],
             'libcudnn.so.8': ['libcublas.so.11']}
    for name, path in made.items():
        library(path, [made[other] for other in needs.get(name, ())])
    library(os.path.join(folder, 'mxnet/libmxnet.so'), list(made.values()))
    os.makedirs(os.path.join(folder, 'mxnet_cu117-1.9.1.dist-info'))
    return folder


LOADING = '''
import ctypes, sys, warnings
import runtime
warnings.simplefilter('always')
runtime.CUDA_LIBRARIES = runtime.CUDA_LIBRARIES[::int(sys.argv[2])]
print(len(runtime.load_cuda([sys.argv[1]])))
ctypes.CDLL(sys.argv[1] + '/mxnet/libmxnet.so')
'''


@needs_gcc
def test_cuda_from_wheels_is_loaded_in_an_order_in_which_it_loads(site):
    code, out, error = process('-c', LOADING, site, 1)
    assert (code, out.strip(), error) == (0, '11', '')
    code, out, error = process('-c', LOADING, site, -1)
    assert 'libcublas.so.11: cannot open shared object' in error and '`python -m runtime` says' in error


@needs_gcc
def test_no_cuda_is_loaded_for_another_wheel(site):
    os.rename(os.path.join(site, 'mxnet_cu117-1.9.1.dist-info'), os.path.join(site, 'mxnet-1.9.1.dist-info'))
    assert runtime.load_cuda([site]) == []
    code, out, error = process('-c', LOADING, site, 1)
    assert (code, out.strip()) == (1, '0') and 'cannot open shared object file' in error


def test_a_damaged_library_is_a_warning(tmp_path):
    os.makedirs(str(tmp_path / 'mxnet_cu112-1.9.1.dist-info'))
    path = write(tmp_path / 'nvidia/nccl/lib/libnccl.so.2', 'no library')
    with pytest.warns(UserWarning, match='libnccl.so.2: .*`python -m runtime` says what to do'):
        assert runtime.load_cuda([str(tmp_path / 'absent'), str(tmp_path)]) == [path]


def test_wheels_are_told_apart(tmp_path):
    for name in ('mxnet-1.9.1.dist-info', 'mxnet_cu117-1.9.1.dist-info', 'mxnet_model_server-1.0.dist-info', 'mxnet'):
        os.makedirs(str(tmp_path / name))
    assert runtime.mxnet_wheels([str(tmp_path)]) == {'mxnet': '1.9.1', 'mxnet-cu117': '1.9.1'}
    assert runtime.mxnet_wheels(sys.path) == {'mxnet': '1.9.1'}


@needs_gcc
def test_missing_libraries_are_found_beside_the_wheels_or_named(site, tmp_path):
    mxnet = library(str(tmp_path / 'libmxnet.so'), [os.path.join(site, 'nvidia', runtime.CUDA_LIBRARIES[0]),
                                                    library(str(tmp_path / 'libcuda.so.1'))])
    assert packages.missing_libraries([mxnet], [site]) == ['libcuda.so.1']
    assert packages.missing_libraries([mxnet], []) == ['libcuda.so.1', 'libcudart.so.11.0']
    assert packages.missing_libraries([os.path.join(site, 'mxnet/libmxnet.so')], [site]) == []


def pins(path):
    with open(os.path.join(ROOT, path)) as file:
        return {line.strip() for line in file if not line.startswith('#')}


@pytest.mark.parametrize('flavour', ['cu100', 'cu117'])
def test_the_files_for_gpus_pin_what_requirements_txt_pins_beside_mxnet(flavour):
    common = {line for line in pins('requirements.txt') if not line.startswith('mxnet')}
    special = pins('requirements/%s.txt' % flavour) - common
    assert common < pins('requirements/%s.txt' % flavour)
    assert all(re.fullmatch(r'(mxnet-%s|nvidia-\w+(-\w+)*-cu11)==[\d.]+' % flavour, line) for line in special), special


def test_every_library_that_is_loaded_has_its_wheel_and_every_wheel_its_library():
    wheels = set(re.findall(r'nvidia-(\S+)-cu11==', ' '.join(pins('requirements/cu117.txt'))))
    assert wheels == {name.split('/')[0].replace('_', '-') for name in runtime.CUDA_LIBRARIES}


@pytest.mark.skipif(not shutil.which('make'), reason='no make')
def test_make_setup_takes_the_flavour_and_keeps_it(tmp_path):
    def plan(*flags):
        environ = {name: value for name, value in os.environ.items() if name not in ('GPU', 'MAKEFLAGS', 'MFLAGS')}
        return subprocess.run(['make', '-n', 'setup', 'VENV=%s' % tmp_path, 'PYTHON=' + sys.executable, *flags],
                              cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True).stdout

    stamp = 'stamp-%d.%d' % sys.version_info[:2]
    assert '-r requirements.txt' in plan() and stamp + '\n' in plan()
    assert '-r requirements/cu117.txt' in plan('GPU=cu117') and stamp + '-cu117\n' in plan('GPU=cu117')
    assert 'requirements/cu99.txt' in plan('GPU=cu99') and 'pip' not in plan('GPU=cu99')
    for ending in ('', '-dev'):
        write(tmp_path / (stamp + '-cu117' + ending), '')
    assert 'pip' not in plan() and '-r requirements.txt' in plan('GPU=')


@pytest.mark.parametrize('role,script,leaves', [
    ('server', 'train_cifar.py', True), ('scheduler', 'tools/share/half.py', True), ('worker', 'train_cifar.py', False),
    (None, 'train_cifar.py', False), ('scheduler', 'runtime.py', False), ('server', '/x/train_cifar.py', False),
    ('server', '.venv/bin/pytest', False)])
def test_a_role_that_would_hang_a_script_of_ours_is_refused(role, script, leaves, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules['__main__'], '__file__', os.path.join(ROOT, script), raising=False)
    monkeypatch.delenv('DMLC_ROLE', raising=False)
    if role:
        monkeypatch.setenv('DMLC_ROLE', role)
    code = None
    try:
        runtime.check_start()
    except SystemExit as leaving:
        code = leaving.code
    assert code == (2 if leaves else None)
    sentence = '%s: error: DMLC_ROLE=%s is set' % (os.path.basename(script), role)
    assert (sentence in capsys.readouterr().err) == leaves


@pytest.mark.parametrize('threads,says', [('x', True), ('0', True), ('-1', True), ('3', False)])
def test_threads_that_are_no_number_are_said_before_mxnet_aborts(threads, says):
    done = subprocess.run([sys.executable, 'train_cifar.py', '--summary', '--blocks', '1'], cwd=ROOT, timeout=60,
                          env={**os.environ, 'OMP_NUM_THREADS': threads}, capture_output=True, text=True)
    assert done.returncode == (2 if says else 0)
    assert (done.stderr == 'train_cifar.py: error: OMP_NUM_THREADS=%s is not a number of threads\n' % threads) == says


def test_ctrl_c_ends_a_script_of_ours_without_a_traceback_while_it_imports(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for script, handler in (('.venv/bin/pytest', signal.default_int_handler), ('train_cifar.py', signal.SIG_DFL)):
            monkeypatch.setattr(sys.modules['__main__'], '__file__', os.path.join(ROOT, script), raising=False)
            runtime.let_go()
            assert signal.getsignal(signal.SIGINT) == handler
        seen = []
        run_script(lambda: seen.append(signal.getsignal(signal.SIGINT)))
        assert seen == [signal.default_int_handler]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup starts it
        runtime.let_go()
        run_script(lambda: seen.append(signal.getsignal(signal.SIGINT)))
        assert seen[1] == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('script', [['train_cifar.py'], ['-m', 'tools.demo']])
def test_a_script_with_a_leaked_role_leaves_at_once_with_one_sentence(script):
    code, out, error = process(*script, DMLC_ROLE='server')
    assert (code, out) == (2, '') and len(error.splitlines()) == 1 and 'unset DMLC_ROLE' in error


def test_a_program_of_others_may_become_a_parameter_server(tmp_path):
    """MXNet's launcher runs a user's script in every role; where that imports us, `import mxnet` serves."""
    write(tmp_path / 'train.py', 'import sys\nsys.path.insert(0, %r)\nimport runtime\nprint("serves")\n' % ROOT)
    assert process(tmp_path / 'train.py', DMLC_ROLE='server')[:2] == (0, 'serves\n')


def test_the_doctor_finds_that_this_machine_can_train():
    code, out, error = process('-m', 'runtime')
    assert code == 0 and error == '' and 'A training can work here.' in out, out + error
    for title in ('Python', 'NumPy', 'MXNet', 'libraries', 'processor', 'instructions', 'memory', 'GPUs', '/dev/shm',
                  'features', 'self-test'):
        assert re.search('^%s .*\\w' % title, out, re.MULTILINE), title
    losses = re.search(r'the CPU: loss in float32 (\S+) -> (\S+); unit - formula (\S+); passed', out)
    assert float(losses.group(2)) < float(losses.group(1)) and float(losses.group(3)) < 1e-5


def test_the_doctor_names_a_leaked_role_and_tests_the_rest():
    code, out, _ = process('-m', 'runtime', DMLC_ROLE='scheduler')
    assert code == 1 and 'passed in' in out
    assert out.split('A training cannot work here:\n')[1].count('\n') == 1 and 'DMLC_ROLE=scheduler is set' in out


@pytest.fixture(scope='module')
def bare_python(tmp_path_factory):
    """A Python without any package."""
    folder = tmp_path_factory.mktemp('bare')
    venv.create(str(folder), symlinks=True)
    return folder / 'bin' / 'python'


def test_the_doctor_explains_where_nothing_is_installed(bare_python):
    code, out, error = process('-m', 'runtime', python=bare_python)
    assert code == 1 and error == '' and 'not tried, as MXNet cannot be imported' in out
    command = '%s -m pip install -r requirements.txt\n' % bare_python
    assert 'MXNet needs NumPy 1, and it is missing: ' + command in out and 'MXNet is missing: ' + command in out


@pytest.mark.parametrize('numpy,error,sentences', [
    ('1.23.5', 'OSError("libcudart.so.11.0: cannot open shared object file: No such file or directory")',
     ['the self-test on the CPU failed: libcudart.so.11.0 is missing: %s -m pip install -r requirements/cu117.txt']),
    ('1.26.4', 'AttributeError("module \'numpy\' has no attribute \'bool\'")',
     ["has no attribute 'bool': %s -m pip install -r requirements/cu117.txt", '1.26.4, without names that MXNet uses']),
    ('2.1.0', 'SystemExit(0)', ['MXNet needs NumPy 1, and it is 2.1.0: %s -m pip install -r requirements/cu117.txt'])])
def test_the_doctor_explains_an_import_that_fails(bare_python, numpy, error, sentences, tmp_path):
    write(tmp_path / 'mxnet/__init__.py', 'raise ' + error)
    for name, version in (('mxnet_cu117', '1.9.1'), ('numpy', numpy)):
        write(tmp_path / ('%s-%s.dist-info/METADATA' % (name, version)), 'Name: %s\nVersion: %s\n' % (name, version))
    code, out, _ = process('-m', 'runtime', python=bare_python, PYTHONPATH=str(tmp_path))
    assert code == 1
    for sentence in sentences:
        assert sentence.replace('%s', str(bare_python)) in out


def test_a_folder_that_an_uninstallation_left_is_no_mxnet(bare_python, tmp_path):
    os.makedirs(str(tmp_path / 'mxnet'))
    command = 'from native.library import mxnet_folder; print(mxnet_folder())'
    assert process('-c', command, python=bare_python, PYTHONPATH=str(tmp_path))[1] == 'None\n'
    write(tmp_path / 'mxnet/__init__.py', 'raise ImportError')
    assert process('-c', command, python=bare_python, PYTHONPATH=str(tmp_path))[1] == '%s/mxnet\n' % tmp_path


@pytest.mark.parametrize('version,machine,sentence', [
    ((3, 7, 1), 'Linux x86_64', 'Python 3.8 to 3.12, and this is 3.7'), ((3, 13, 0), 'Linux x86_64', 'this is 3.13'),
    ((3, 11, 0), 'Linux aarch64', 'this is Linux aarch64'), ((3, 8, 0), 'Linux x86_64', None),
    ((3, 12, 9), 'Linux x86_64', None)])
def test_python_and_machine(version, machine, sentence):
    report = doctor.Report()
    packages.examine_python(report, version, machine)
    assert [sentence in problem for problem in report.problems] == [True] * bool(sentence)


@pytest.mark.parametrize('flags,expected', [
    ('avx2 avx512f avx512_vnni avx512_bf16 amx_tile', ['AVX2', 'AVX-512', 'VNNI', 'BF16', 'AMX']),
    ('avx avx2 avx512f_not', ['AVX2']), ('', [])])
def test_instructions_are_read_from_cpuinfo(flags, expected, tmp_path):
    path = write(tmp_path / 'cpuinfo', ''.join(CPUINFO % (number, flags) for number in range(2)))
    assert doctor.processor(path) == ('A processor', expected)


@pytest.mark.parametrize('groups,files,limit', [
    ('0::/\n', {}, None), ('0::/\n', {'memory.max': 'max\n'}, None), ('0::/\n', {'memory.max': '4000000000\n'}, 4e9),
    ('0::/slurm/job_1/step_0\n', {'slurm/job_1/memory.max': '3000000000\n', 'slurm/memory.max': '9000000000\n',
                                  'slurm/job_1/step_0/memory.max': 'max\n'}, 3e9),
    ('0::/slurm/job_1\n', {'slurm/job_2/memory.max': '3000000000\n'}, None),
    ('5:cpu:/x\n4:memory:/docker/1\n', {'memory/memory.limit_in_bytes': '2000000000\n'}, 2e9),
    ('4:memory:/docker/1\n', {'memory/memory.limit_in_bytes': '9223372036854771712\n'}, None), (None, {}, None)])
def test_memory_and_the_limits_of_cgroups(groups, files, limit, tmp_path):
    for name, text in files.items():
        write(tmp_path / 'cgroup' / name, text)
    self = str(tmp_path / 'absent') if groups is None else write(tmp_path / 'self', groups)
    numbers = runtime.memory(write(tmp_path / 'meminfo', MEMINFO), self, str(tmp_path / 'cgroup'))
    assert numbers == (16000000 * 1024, 8000000 * 1024, limit)


@pytest.mark.parametrize('groups, files, quotas', [
    ('0::/\n', {'cpu.max': '200000 100000\n'}, [2]),
    ('0::/\n', {'cpu.max': 'max 100000\n'}, []),
    ('0::/\n', {'cpu.max': '50000 100000\n'}, [1]),                                    # half a processor
    ('0::/slurm/job_1/task\n', {'slurm/job_1/cpu.max': '350000 100000\n', 'slurm/cpu.max': 'max 100000\n',
                                'cpu.max': '800000 100000\n'}, [8, 3]),
    ('0::/slurm/job_1\n', {'slurm/job_2/cpu.max': '100000 100000\n'}, []),
    ('3:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n',                                  # inside of the container
     {'cpu,cpuacct/cpu.cfs_quota_us': '400000\n', 'cpu,cpuacct/cpu.cfs_period_us': '100000\n'}, [4]),
    ('3:cpu:/a/b\n0::/a/b\n', {'cpu/a/cpu.cfs_quota_us': '60000\n', 'cpu/a/cpu.cfs_period_us': '20000\n',
                               'cpu/a/b/cpu.cfs_quota_us': '-1\n', 'cpu/a/b/cpu.cfs_period_us': '20000\n'}, [3]),
    ('3:cpuset:/a\n', {'cpuset/a/cpu.cfs_quota_us': '100000\n', 'cpuset/a/cpu.cfs_period_us': '100000\n'}, []),
    (None, {}, [])])
def test_the_quotas_of_cgroups(groups, files, quotas, tmp_path):
    for name, text in files.items():
        write(tmp_path / 'cgroup' / name, text)
    self = str(tmp_path / 'absent') if groups is None else write(tmp_path / 'self', groups)
    assert list(runtime.processor_quotas(self, str(tmp_path / 'cgroup'))) == quotas


def test_cores_are_those_that_the_smallest_quota_leaves(monkeypatch):
    monkeypatch.setattr(runtime, 'processor_quotas', lambda: iter([8, 1, 3]))
    assert runtime.physical_cores() == 1
    monkeypatch.setattr(runtime, 'processor_quotas', lambda: iter([]))
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {10001, 10002, 10003})  # without files of their own
    assert runtime.physical_cores() == 3


def test_a_gpu_is_seen_on_the_bus_without_a_driver(tmp_path):
    for number, (vendor, kind) in enumerate((('0x10de', '0x030200'), ('0x10de', '0x0c0330'), ('0x8086', '0x030000'))):
        write(tmp_path / str(number) / 'vendor', vendor + '\n')
        write(tmp_path / str(number) / 'class', kind + '\n')
    assert gpus.nvidia_on_the_bus(str(tmp_path)) == 1 and gpus.nvidia_on_the_bus(str(tmp_path / 'absent')) == 0
    report = doctor.Report()
    gpus.examine_gpus(report, 'mxnet', [], 0, 'there is no driver', 1)
    assert report.advice[0].startswith("a GPU of NVIDIA is on the PCI bus, but there is no driver: install NVIDIA's")


@needs_gcc
def test_gpus_are_those_of_the_driver(tmp_path):
    def made(name, source):
        return library(str(tmp_path / name), source=source)

    found = [('GPU A', (8, 6)), ('GPU B', (9, 0))]
    assert gpus.driver(made('one.so', '#define CODE 0' + DRIVER)) == (found, 12020, '')
    assert gpus.driver(made('two.so', '#define CODE 100' + DRIVER)) == (
        [], 12020, 'the driver finds none (CUDA error 100)')
    assert gpus.driver(made('three.so', ''))[2].endswith("three.so is not NVIDIA's")
    assert 'there is no libcuda.so.1' in gpus.driver(str(tmp_path / 'absent.so'))[2]


@pytest.mark.parametrize('wheel,capabilities', [
    ('mxnet-cu117', {(3, 7): False, (5, 2): True, (6, 1): True, (7, 0): True, (7, 5): True, (8, 0): True, (8, 6): True,
                     (8, 9): True, (9, 0): False, (10, 0): False, (12, 0): False}),
    ('mxnet-cu100', {(3, 7): True, (6, 1): True, (7, 5): True, (8, 0): False, (8, 6): False}),
    ('mxnet-cu101', {(8, 0): None})])
def test_which_gpus_a_wheel_has_code_for(wheel, capabilities):
    assert {capability: gpus.has_code(wheel, capability) for capability in capabilities} == capabilities


@pytest.mark.parametrize('wheel,there,version,problems,advice', [
    ('mxnet-cu117', [A100, RTX_4090], 12020, [], []),
    ('mxnet-cu117', [A100, H100], 12020, ['mxnet-cu117 has no code for GPU 1, NVIDIA H100 of compute capability 9.0, '
                                          'nor has another wheel: hide it'], []),
    ('mxnet-cu100', [A100], 12020, ['of compute capability 8.0: make setup GPU=cu117'], []),
    ('mxnet', [A100], 12020, [], ['this MXNet does not use GPU 0, NVIDIA A100 of compute capability 8.0: make setup']),
    ('mxnet', [H100], 12020, [], ['of compute capability 9.0, for which no wheel has code']),
    ('mxnet-cu117', [A100], 10020, ["the driver is for CUDA 10.2 and mxnet-cu117 for 11.7: install NVIDIA's"], []),
    ('mxnet-cu117', [A100], 11040, [], ['the driver is for CUDA 11.4 and mxnet-cu117 for 11.7']),
    ('mxnet-cu101mkl', [A100], 11040, [], []),
    ('mxnet-cu117', [], 0, [], ['mxnet-cu117 is for GPUs and there is none']), ('mxnet', [], 0, [], [])])
def test_what_is_said_of_gpus(wheel, there, version, problems, advice):
    report = doctor.Report()
    gpus.examine_gpus(report, wheel, there, version, 'none', 0)
    for said, expected in ((report.problems, problems), (report.advice, advice)):
        assert len(said) == len(expected) and all(part in whole for part, whole in zip(expected, said)), said


@pytest.mark.parametrize('library,wheel,command', [
    ('libcuda.so.1', 'mxnet-cu117', "install NVIDIA's driver"), ('libgomp.so.1', 'mxnet', 'apt-get install libgomp1'),
    ('libcudnn.so.8', 'mxnet-cu117', 'requirements/cu117.txt'), ('libnccl.so.2', 'mxnet-cu112', 'make setup GPU=cu117'),
    ('libcudart.so.10.0', 'mxnet-cu100', 'install CUDA 10.0'), ('libopenblas.so.0', 'mxnet', '-r requirements.txt')])
def test_each_missing_library_has_its_remedy(library, wheel, command, monkeypatch):
    monkeypatch.setattr(sys, 'prefix', '/a/virtual/environment')
    assert command in packages.remedy(library, wheel)


@pytest.mark.parametrize('code,error,sentence', [
    (-4, '', 'it was ended by SIGILL, an instruction that this processor lacks'), (-11, '', 'it was ended by SIGSEGV'),
    (1, "x\nModuleNotFoundError: No module named 'distutils'\n", "No module named 'distutils': "),
    (1, 'ImportError: libGL.so.1: cannot open shared object file: No such file', 'sudo apt-get install libgl1'),
    (1, 'MXNetError: CUDA: no kernel image is available for execution on the device\nlast\n', 'no code for this GPU'),
    (1, 'MXNetError: something else\n', 'MXNetError: something else'), (3, '', 'it left with exit code 3')])
def test_why_a_self_test_failed(code, error, sentence):
    assert sentence in doctor.why_it_failed(code, error, 'mxnet-cu117')


def test_a_self_test_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setitem(doctor.SECONDS, 'cpu', 0.01)
    assert doctor.try_device('cpu', 'mxnet') == (None, 'it had not ended after 0 s')


@pytest.mark.parametrize('device', ['foo', '99', '-1'])
def test_a_self_test_of_no_device_is_one_sentence(device, capsys):
    with pytest.raises(SystemExit) as leaving:
        self_test.main([device])
    assert leaving.value.code == 2 and 'invalid choice' in capsys.readouterr().err


def test_the_numbers_of_a_self_test_are_judged():
    good = {'losses': {'float32': (2.2, 0.5), 'float16': (2.2, 0.5)}, 'gate_error': 1e-7, 'gpus': 1}
    assert doctor.complaints('0', good, 1) == doctor.complaints('cpu', good, 0) == []
    for change, device, sentence in (
            ({'losses': {'float32': (2.2, 2.1)}}, 'cpu', 'in float32 goes from 2.200 to 2.100'),
            ({'losses': {'float16': (2.2, float('nan'))}}, '0', 'in float16 goes from 2.200 to nan'),
            ({'gate_error': 1e-3}, 'cpu', 'differs from its formula by 1.0e-03'),
            ({'gate_error': float('nan')}, '0', 'differs from its formula'), ({'gpus': 0}, '0', '0 of 1 GPUs')):
        complaint, = doctor.complaints(device, dict(good, **change), 1 if device == '0' else 0)
        assert sentence in complaint


def test_gpu_check_leaves_at_once_without_a_gpu(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_check, 'driver', lambda: ([], 0, 'there is no driver'))
    monkeypatch.setattr(gpu_check, 'passes', lambda step: pytest.fail('something was run'))
    for flags in ([], ['--look']):
        assert gpu_check.main(flags + ['--out', str(tmp_path / 'new')]) == 1
        assert '0 GPUs, so there is nothing to check: there is no driver' in capsys.readouterr().out


def test_gpu_check_runs_its_list_and_says_what_failed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(gpu_check, 'driver', lambda: ([A100], 12020, ''))
    monkeypatch.setattr(doctor, 'main', lambda argv: 0)
    monkeypatch.setattr(gpu_check, 'passes', lambda step: 'resumed' not in step.title)
    assert gpu_check.main(['--out', str(tmp_path)]) == 2 and 'exists' in capsys.readouterr().err
    assert gpu_check.main(['--out', str(tmp_path / 'new')]) == 1
    lines = capsys.readouterr().out.splitlines()
    failed, = [line for line in lines if line.startswith('FAILED')]
    assert 'resumed' in failed and sum(line.startswith('passed') for line in lines) == 7
    monkeypatch.setattr(gpu_check, 'passes', lambda step: True)
    assert gpu_check.main(['--out', str(tmp_path / 'new')]) == 0
    monkeypatch.setattr(doctor, 'main', lambda argv: 1)
    monkeypatch.setattr(gpu_check, 'passes', lambda step: pytest.fail('something was run'))
    assert gpu_check.main(['--out', str(tmp_path / 'new')]) == 1


def test_the_commands_of_gpu_check_are_those_of_the_scripts(tmp_path):
    scripts = {'train_cifar.py': train_cifar, 'train_imagenet.py': train_imagenet, 'evaluate.py': evaluate}
    listed = gpu_check.steps(str(tmp_path), 2)
    assert len(listed) == 11 and len(gpu_check.steps(str(tmp_path), 1)) == 8
    written = set()
    for step in listed:
        if step.command[1] == '-m':
            assert step.command[2] == 'tools.make_small'
            continue
        if step.command[1] == 'evaluate.py':  # which reads the weights
            weights = tmp_path / step.command[step.command.index('--params') + 1]
            weights.parent.mkdir(exist_ok=True)
            weights.write_bytes(b'')
        args = scripts[step.command[1]].parse_args(step.command[2:])
        assert args.dtype == ('float32' if step.title.endswith('on the CPU') else 'float16')
        if args.model == 'atac':
            assert args.dataset == 'fashion-mnist-mini' and args.useReLU and args.blocks == 1
        if step.command[1] == 'evaluate.py':
            assert os.path.dirname(args.params) in written and args.json
            assert step.log == os.path.dirname(args.params) + '.jsonl'
        else:
            assert args.resume == (args.save_dir in written) and args.logging_file == args.save_dir + '.log'
            written.add(args.save_dir)


@pytest.mark.parametrize('scored,passed', [(12.4, True), (14.0, False)])
def test_a_score_must_agree_with_the_log(scored, passed, tmp_path):
    log = write(tmp_path / 'run.jsonl', '{"val_top1_error": 0.5}\n{"val_top1_error": 0.12}\n')
    command = [sys.executable, '-c', 'print(\'{"top1_error": %s}\')' % scored]
    assert gpu_check.passes(gpu_check.Step('scored', command, log)) is passed
    assert not gpu_check.passes(gpu_check.Step('scored', [sys.executable, '-c', 'raise SystemExit(3)'], log))
    assert not gpu_check.passes(gpu_check.Step('trained', [sys.executable, '-c', 'raise SystemExit(3)']))
