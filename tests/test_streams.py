"""What is run in a shell ends as it would, also where a stream is closed or its reader has left."""
import json
import os
import shlex
import subprocess
import sys

import pytest

from tests.test_scripts import ROOT
from training import checkpoint

WEIGHTS = 'params/fashion-mnist-relu-b1.params'
CLOSED = ['2>&-', '>&-', '<&- >&- 2>&-']
LEFT = ['| head -1', '2>&1 | head -1', '2>&1 >&3 | true']  # the last: of stderr only
LARGE = 1 << 16  # bytes that a pipe holds without a reader


def shell(words, ending):
    """(exit code of a command of Python, what is read of its stdout, its stderr) with this ending, as bash runs it."""
    command = shlex.join([sys.executable, *map(str, words)])
    done = subprocess.run(['bash', '-c', f'exec 3>/dev/null; {command} {ending}; exit ${{PIPESTATUS[0]}}'], cwd=ROOT,
                          timeout=120, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('ending', CLOSED + LEFT)
def test_a_training_ends_as_it_would(ending, cifar_flags, tmp_path):
    code, out, error = shell(['train_cifar.py', *cifar_flags], ending)
    assert (code, error) == (0, '') and (len(out.splitlines()) <= 1 or ending == '2>&-')
    lines = [line.split(' ', 2)[2] for line in (tmp_path / 'run.log').read_text().splitlines()]  # all have a time stamp
    assert lines[0].startswith('Command: ') and lines[-1].startswith('Last ')
    assert [line[:9] for line in lines if line.startswith('[')] == ['[Epoch 0]', '[Epoch 1]']
    assert [json.loads(line)['epoch'] for line in (tmp_path / 'run.jsonl').read_text().splitlines()] == [0, 1]
    facts, _, _ = checkpoint.load(str(tmp_path / 'run'))  # whole, by its checksums
    assert facts['epoch'] == 1


def test_the_name_of_a_folder_need_not_be_text(cifar_flags, tmp_path):
    folder = os.fsencode(str(tmp_path)) + b'/\xff'
    done = subprocess.run([sys.executable, 'train_cifar.py', *cifar_flags, '--num-epochs', '1', '--save-dir', folder],
                          cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONIOENCODING': 'utf-8:strict'},
                          timeout=120, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b'')
    assert folder in (tmp_path / 'run.log').read_bytes() and folder + b'/last.params' in done.stdout


def test_a_mistake_still_has_its_exit_code(cifar_flags):
    for ending in ('2>&-', '2>&1 | true'):
        assert shell(['train_cifar.py', *cifar_flags, '--blocks', '0'], ending)[::2] == (2, '')


@pytest.mark.parametrize('words', [
    ['-m', 'tools'], ['-m', 'tools.flags'], ['-m', 'tools.complexity', '--model', 'cifar_resnet'],
    ['-m', 'tools.checkpoint', *[WEIGHTS] * 9], ['evaluate.py', '--help'], ['-m', 'tools.launch', '--help'],
    ['-m', 'tools.launch', '-n', '1', '-s', '0', '--', 'bash', '-c', f'head -c {LARGE} /dev/zero | tr "\\0" "\\n"'],
    ['-m', 'tools.sweep', '--seeds', '0', '--dry-run'],
    ['evaluate.py', '--params', WEIGHTS, '--dataset', 'fashion-mnist-mini']])
def test_a_tool_ends_as_it_would(words):
    for ending in ('2>&1 | true', '<&- >&- 2>&-'):
        assert shell(words, ending) == (0, '', ''), ending


def test_a_file_never_gets_the_number_of_a_stream(tmp_path):
    program = ('import resource, signal\nfrom cli.exits import run_script\n'
               'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
               'resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\nrun_script(lambda: print("x" * 99))')
    code, _, error = shell(['-c', program], f'> {tmp_path / "out"}')
    assert code == 2 and error.strip().endswith('File too large') and error.count('\n') == 1
