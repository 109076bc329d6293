"""The sweep with real runs where it matters that they are real, and with a stand-in of train_cifar.py where not."""
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

import runtime

import pytest

import train_cifar
from model import get_model
from tests.stand_in import NAME, SMALL, StandIn, grid, tree
from tools import ROOT
from tools.sweep import __main__ as sweep
from tools.sweep import pace, plan
from training import checkpoint
from training.logs import read_run


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    return StandIn(tmp_path, monkeypatch)


def test_a_sweep_as_a_user_starts_it_resumes_what_was_cut_off_and_is_skipped_then(tiny_data, stand_in):
    relu = NAME % ('relu', 1, 0)
    atac = NAME % ('ChaATAC', 1, 0)
    small = [*SMALL, '--data-dir', tiny_data]
    train_cifar.main(['--act-type', 'relu', '--blocks', '1', *small])
    with open('logs/%s.jsonl' % relu, 'a') as file:
        file.write('{"epoch": 1, "val_to')  # a line cut in the middle
    first = read_run('logs/%s.log' % relu).epochs
    flags = grid('--jobs', '2', units=('relu', 'ChaATAC'), small=[*small, '--num-epochs', '2'])
    environment = {name: value for name, value in os.environ.items() if name != 'OMP_NUM_THREADS'}
    done = subprocess.run([sys.executable, '-m', 'tools.sweep', *flags], timeout=120, capture_output=True, text=True,
                          env=dict(environment, PYTHONPATH=ROOT))
    assert done.returncode == 0, done.stderr
    assert re.search(r'\nrelu +1 +1 +\d+\.\d\d +- +\d+\.\d\d +-\nChaATAC +1 +1 ', done.stdout)
    said = done.stderr.splitlines()
    assert said[:1] == ['ChaATAC is ChaATAC-linear with these flags']
    assert said[1].startswith('2 runs: 0 done, 1 to resume, 1 new; 3 epochs to go; about')
    assert '[1/2] start %s (resume at epoch 1)' % relu in said and '[2/2] start %s (new)' % atac in said
    assert len(re.findall(r'^\[\d/2\] done \S+: error last \d+\.\d\d %, best .* left$', done.stderr, re.M)) == 2
    for name in (relu, atac):
        record = read_run('logs/%s.log' % name)
        assert len(record.epochs) == 2 and record.finished and os.path.exists('params/%s/last.params' % name)
        with open(record.path) as file:
            assert 'OMP_NUM_THREADS=%d; ' % max(1, runtime.physical_cores() // 2) in file.read()
    assert read_run('logs/%s.log' % relu).epochs[:1] == first

    before = tree('.')
    assert [(row['unit'], row['n']) for row in sweep.main(flags)] == [('relu', 1), ('ChaATAC', 1)]
    assert stand_in.calls() == [] and tree('.') == before


def test_the_table_is_mean_and_deviation_over_the_seeds_that_are_done(stand_in, capsys):
    errors = {0: [0.5, 0.2, 0.3], 1: [0.5, 0.4, 0.35], 2: [0.5, 0.1]}
    stand_in({NAME % ('relu', 1, seed): {'errors': values} for seed, values in errors.items()},
             flags=[*SMALL, '--num-epochs', '3'])
    with pytest.raises(SystemExit) as leaving:
        sweep.main(grid(seeds=(0, 1, 2), small=[*SMALL, '--num-epochs', '3']))
    said = capsys.readouterr()
    assert leaving.value.code == 1  # the third run left with 0 and one epoch too few
    assert 'FAILED %s: exit code 0, but epochs are missing in its log' % (NAME % ('relu', 1, 2)) in said.err
    numbers = said.out.splitlines()[-1].split()
    last = (30.0, 35.0)
    best = (20.0, 35.0)
    assert numbers == ['relu', '1', '2'] + [f'{function(values):.2f}' for values in (last, best)
                                            for function in (statistics.mean, statistics.stdev)]


def test_runs_go_seed_by_seed_and_small_ones_first_and_the_user_sees_how_long(stand_in, capsys):
    units = ('ChaATAC', 'relu')
    sweep.main(['--act-type', *units, '--blocks', '2', '1', '--seeds', '1', '0', '--', *SMALL])
    started = [os.path.basename(log)[:-4] for log, *_ in stand_in.calls()]
    assert started == [NAME % (unit, blocks, seed) for seed in (1, 0) for blocks in (1, 2)
                       for unit in ('relu', 'ChaATAC')]
    flags = stand_in.calls()[0][1]
    assert flags[:len(SMALL)] == SMALL and '--resume' in flags and flags[flags.index('--gpus') + 1] == ''
    said = capsys.readouterr().err.splitlines()
    # One epoch of relu at one block takes 2 s: by its multiply-adds the others take so much longer.
    macs = {(unit, blocks): pace.macs_of(get_model('cifar_resnet', act_type=unit, blocks=blocks, r=4))
            for unit in units for blocks in (1, 2)}
    left = 2 * sum(macs.values()) - macs['relu', 1]
    after_first, = [line for line in said if line.startswith('[1/8] done')]
    assert after_first.endswith('about %.0f s left' % (2 * left / macs['relu', 1]))


def test_a_run_that_fails_is_shown_and_the_others_continue(stand_in, capsys):
    stand_in({NAME % ('relu', 1, 0): {'code': 1}, NAME % ('relu', 1, 1): {'code': -9}})
    with pytest.raises(SystemExit) as leaving:
        sweep.main(grid(seeds=(0, 1, 2)))
    said = capsys.readouterr()
    assert leaving.value.code == 1 and len(stand_in.calls()) == 3
    assert re.search(r'\[1/3\] FAILED %s: exit code 1, \d s\n%s' % (
        NAME % ('relu', 1, 0), ''.join('    line %d\n' % number for number in range(4, 9))), said.err)
    assert 'failed: %s, killed by SIGKILL' % (NAME % ('relu', 1, 1)) in said.err
    assert '[3/3] done' in said.err


def test_a_mistake_stops_the_sweep_and_those_that_run_beside_it(stand_in, capsys):
    stand_in({NAME % ('relu', 1, 0): {'code': 2, 'wait': 1}, NAME % ('relu', 1, 1): {'wait': 60}})
    with pytest.raises(SystemExit) as leaving:
        sweep.main(grid('--jobs', '2', seeds=(0, 1, 2)))
    said = capsys.readouterr().err
    assert leaving.value.code == 2 and len(stand_in.calls()) == 2
    assert 'FAILED %s: exit code 2' % (NAME % ('relu', 1, 0)) in said
    assert '[2/3] stopped %s' % (NAME % ('relu', 1, 1)) in said


@pytest.mark.parametrize('number,code', [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_stops_the_runs_and_then_the_sweep(number, code, stand_in, capsys):
    stand_in({NAME % ('relu', 1, seed): {'wait': 60, 'errors': []} for seed in (0, 1)})
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background shell may have ignored
    waits = ['logs/%s.log.waits' % (NAME % ('relu', 1, seed)) for seed in (0, 1)]

    def send():
        end = time.time() + 30
        while time.time() < end and not all(map(os.path.exists, waits)):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    try:
        with pytest.raises(SystemExit) as leaving:
            sweep.main(grid('--jobs', '2', seeds=(0, 1, 2)))
    finally:
        signal.signal(signal.SIGINT, handler)
    said = capsys.readouterr().err
    assert leaving.value.code == code and len(stand_in.calls()) == 2
    assert said.count('] stopped ') == 2 and 'FAILED' not in said
    assert said.endswith('%s: stopped; the same command continues\n' % number.name)
    stand_in()
    sweep.main(grid(seeds=(0, 1, 2)))
    assert len(stand_in.calls()) == 5


def test_a_run_that_fails_while_it_is_stopped_has_failed(stand_in, capsys):
    """As where the disk is too full for its checkpoint."""
    stand_in({NAME % ('relu', 1, 0): {'code': 2, 'wait': 1},
              NAME % ('relu', 1, 1): {'wait': 60, 'code_when_asked': 'cannot save'}})
    with pytest.raises(SystemExit) as leaving:
        sweep.main(grid('--jobs', '2', seeds=(0, 1)))
    said = capsys.readouterr().err
    assert leaving.value.code == 2 and 'stopped' not in said
    assert '[2/2] FAILED %s: exit code 1' % (NAME % ('relu', 1, 1)) in said and '\n    cannot save\n' in said
    assert 'failed: %s, exit code 1' % (NAME % ('relu', 1, 1)) in said


def test_a_run_whose_last_epoch_was_logged_and_not_saved_is_not_done(tiny_data, stand_in, monkeypatch):
    save, flags = checkpoint.save, [*SMALL, '--data-dir', tiny_data, '--num-epochs', '2']

    def full(folder, net, trainer, facts, description=None):
        if facts['epoch'] == 1:
            raise OSError('the disk is full')
        save(folder, net, trainer, facts, description)

    monkeypatch.setattr(checkpoint, 'save', full)
    with pytest.raises(OSError, match='the disk is full'):
        train_cifar.main(['--act-type', 'relu', '--blocks', '1', *flags])
    point, = sweep.main(['--dry-run', *grid(small=flags)])
    assert plan.state_of(point) == 'resume at epoch 1'
    monkeypatch.undo()
    train_cifar.main(['--act-type', 'relu', '--blocks', '1', *flags, '--resume'])


def test_each_run_at_a_time_has_its_own_gpus(stand_in, monkeypatch):
    asked = []
    monkeypatch.setattr(plan, 'devices_by_id', lambda gpus, dtype: asked.append((gpus, dtype)))
    stand_in({NAME % ('relu', 1, seed): {'wait': 0.3} for seed in range(4)})
    sweep.main(grid('--gpus', '0,1', '2,3', seeds=range(4)))
    used = [flags[flags.index('--gpus') + 1] for _, flags, *_ in stand_in.calls()]
    assert asked == [('0,1', 'float32'), ('2,3', 'float32')] and sorted(used[:2]) == ['0,1', '2,3'] == sorted(used[2:])
