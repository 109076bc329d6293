"""Training in bfloat16, in processes of its own, as MXNet's mixed precision cannot be taken back."""
import os
import subprocess
import sys

from runtime import UserError

import mxnet as mx
import pytest

from tests.cpu import needs_bfloat16
from training.precision import use_dtype
from training.weights.params_file import read_params

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def python(*words, **environment):
    return subprocess.run([sys.executable, '-W', 'ignore', *words], cwd=ROOT, timeout=120, text=True,
                          capture_output=True, env=dict(os.environ, OMP_NUM_THREADS='1', **environment))


def train(flags, folder, *more):
    done = python('train_cifar.py', *flags, '--dtype', 'bfloat16', '--lr-mode', 'step', '--save-dir',
                  str(folder / 'run'), '--logging-file', str(folder / 'run.log'), *more)
    # The warning is for CPUs that have AVX-512 and not its instructions for bfloat16.
    said = [line for line in done.stderr.splitlines() if 'no instructions for bfloat16' not in line]
    assert done.returncode == 0 and not said
    return read_params(str(folder / 'run' / 'last.params'))


@needs_bfloat16
def test_a_run_in_bfloat16_keeps_float32_weights_and_is_resumed_bit_for_bit(cifar_flags, tmp_path):
    whole = train(cifar_flags, tmp_path / 'whole')
    train(cifar_flags, tmp_path / 'parts', '--num-epochs', '1')
    resumed = train(cifar_flags, tmp_path / 'parts', '--resume')
    float32 = python('train_cifar.py', *cifar_flags, '--lr-mode', 'step')
    assert float32.returncode == 0
    exact = read_params(str(tmp_path / 'run' / 'last.params'))
    assert {array.dtype.name for array in whole.values()} == {'float32'}
    assert all(whole[name].tobytes() == resumed[name].tobytes() for name in whole)
    assert whole.keys() == exact.keys() and any(whole[name].tobytes() != exact[name].tobytes() for name in whole)


@needs_bfloat16
def test_a_process_does_not_go_back_to_float32():
    done = python('-c', "import runtime, mxnet as mx\nfrom training.precision import use_dtype\n"
                        "print(use_dtype('bfloat16', [mx.cpu()]))\nuse_dtype('float32', [mx.cpu()])")
    assert done.stdout == 'float32\n' and 'computes in bfloat16 since an earlier call' in done.stderr


def test_devices_that_do_not_compute_in_bfloat16_are_refused(cifar_flags, tmp_path):
    with pytest.raises(UserError, match='bfloat16 is for CPUs'):
        use_dtype('bfloat16', [mx.gpu(0)])
    older = python('train_cifar.py', *cifar_flags, '--dtype', 'bfloat16', DNNL_MAX_CPU_ISA='AVX2')
    assert older.returncode == 2 and not os.path.exists(str(tmp_path / 'run'))
    assert older.stderr == ('train_cifar.py: error: bfloat16 needs a CPU with AVX-512, which this one has not: use '
                            'float32\n')


def test_the_others_are_taken_as_they_are():
    assert [use_dtype(dtype, [mx.cpu()]) for dtype in ('float32', 'float16')] == ['float32', 'float16']
