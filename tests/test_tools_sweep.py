"""The sweep with real runs where it matters that they are real, and with a stand-in of train_cifar.py where not."""
import json
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
from cli.build import options_of
from cli.exits import run_script
from model import complexity, get_model
from tools.sweep import grid as sweep
from training.logs import read_run

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SMALL = ['--r', '4', '--num-epochs', '1', '--lr', '0.05', '--batch-size', '50', '-j', '1', '--log-interval', '0']
NAME = 'fashion-mnist-mini-atac-%s-r4-al4bac-b%d-seed%d'
# Does what orders.json beside it says of the run of its log: writes epochs, says something, waits, leaves with a code.
STAND_IN = '''
import json, os, signal, sys, time
flags = sys.argv[1:]
log = flags[flags.index('--logging-file') + 1]
with open(os.path.join(os.path.dirname(__file__), 'orders.json')) as file:
    orders = json.load(file)
with open(os.path.join(os.path.dirname(__file__), 'calls'), 'a') as file:
    file.write(json.dumps([log, flags, os.environ['OMP_NUM_THREADS'], time.time()]) + '\\n')
order = orders['runs'].get(os.path.basename(log)[:-4], {})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
options = dict(orders['options'], save_dir=flags[flags.index('--save-dir') + 1],
               act_type=flags[flags.index('--act-type') + 1],
               **{name: int(flags[flags.index('--' + name) + 1]) for name in ('blocks', 'seed')})
os.makedirs(os.path.dirname(log), exist_ok=True)
with open(log, 'w') as file:
    for line in ('Network: 10 parameters, 8 trainable', 'Options: ' + json.dumps(options)):
        file.write('2026-11-22 20:47:50,123 ' + line + '\\n')
with open(log[:-3] + 'jsonl', 'w') as file:
    for epoch, error in enumerate(order.get('errors', [0.5])):
        file.write(json.dumps({'epoch': epoch, 'val_top1_error': error, 'seconds': 2.0}) + '\\n')
if 'wait' in order:
    open(log + '.waits', 'w').close()
    time.sleep(order['wait'])
print('\\n'.join('line %d' % number for number in range(9)), file=sys.stderr)
if order.get('code', 0) < 0:
    os.kill(os.getpid(), -order['code'])
sys.exit(order.get('code', 0))
'''


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setattr(sweep, 'POLL', 0.02)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """order(**what runs do, by unit and seed): call it before a sweep; .calls(): what was started."""
    script = tmp_path / 'stand_in.py'
    script.write_text(STAND_IN)
    monkeypatch.setattr(train_cifar, '__file__', str(script))

    def order(runs=(), flags=SMALL):
        options = options_of(train_cifar.parse_args(flags + ['--dataset', 'fashion-mnist-mini']))
        (tmp_path / 'orders.json').write_text(json.dumps({'options': options, 'runs': dict(runs)}))

    def calls():
        path = tmp_path / 'calls'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    order.calls = calls
    order()
    return order


def grid(*flags, units=('relu',), seeds=(0,), small=SMALL):
    return ['--act-type', *units, '--blocks', '1', '--seeds', *map(str, seeds), *flags, '--', *small]


def tree(folder):
    """{path: content} of all files below a folder."""
    return {os.path.join(where, name): open(os.path.join(where, name), 'rb').read()
            for where, _, names in os.walk(str(folder)) for name in names}


def refusal(flags, capsys, monkeypatch):
    """The sentence with which the sweep leaves with exit code 2."""
    monkeypatch.setattr(sys, 'argv', ['sweep.py', *flags])
    with pytest.raises(SystemExit) as leaving:
        run_script(sweep.main)
    text = capsys.readouterr().err
    assert leaving.value.code == 2 and 'Traceback' not in text
    return text.strip().splitlines()[-1]


def test_a_sweep_as_a_user_starts_it_resumes_what_was_cut_off_and_is_skipped_then(tiny_data, stand_in):
    relu, atac = NAME % ('relu', 1, 0), NAME % ('ChaATAC', 1, 0)
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
    assert said[0].startswith('2 runs: 0 done, 1 to resume, 1 new; 3 epochs to go; about')
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
    last, best = (30.0, 35.0), (20.0, 35.0)
    assert numbers == ['relu', '1', '2'] + ['%.2f' % function(values) for values in (last, best)
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
    macs = {(unit, blocks): sweep.macs_of(get_model('cifar_resnet', act_type=unit, blocks=blocks, r=4))
            for unit in units for blocks in (1, 2)}
    left = 2 * sum(macs.values()) - macs['relu', 1]
    after_first, = [line for line in said if line.startswith('[1/8] done')]
    assert after_first.endswith('about %.0f s left' % (2 * left / macs['relu', 1]))


def test_dry_run_prints_the_plan_and_leaves_nothing(stand_in, capsys):
    stand_in({NAME % ('relu', 1, 0): {'errors': [0.5, 0.4]}}, flags=[*SMALL, '--num-epochs', '2'])
    flags = grid(units=('relu', 'ChaATAC'), small=[*SMALL, '--num-epochs', '2'])
    points = sweep.main(['--dry-run', *flags])
    assert tree('.') == {} and os.listdir('.') == [] and stand_in.calls() == []
    plan = capsys.readouterr().out
    assert plan.splitlines()[-1] == ('2 runs: 0 done, 0 to resume, 2 new; 4 epochs to go; no estimate of the time: the '
                                     'logs hold no epoch on this data set')
    net = get_model('cifar_resnet', act_type='ChaATAC', blocks=1, r=4)
    assert [point.unit for point in points] == ['relu', 'ChaATAC']
    assert (points[1].parameters, points[1].trainable) == complexity.parameters(net)
    assert re.search('%s +%s +%s +%s +new +unknown' % (
        NAME % ('ChaATAC', 1, 0), *(format(count, ',') for count in (*complexity.parameters(net), points[1].macs))),
        plan)

    sweep.main(grid(small=[*SMALL, '--num-epochs', '2']))
    before = tree('.')
    capsys.readouterr()
    sweep.main(['--dry-run', '--jobs', '2', *flags])
    lines = capsys.readouterr().out.splitlines()
    assert tree('.') == before
    assert re.search(r' done +-$', lines[1]) and re.search(r' new +%.0f s$' % (4 * points[1].macs / points[0].macs),
                                                           lines[2])
    assert lines[-1] == '2 runs: 1 done, 0 to resume, 1 new; 2 epochs to go; about %.0f s, by 2 epochs in the logs' \
        % (2 * points[1].macs / points[0].macs)


def test_a_run_that_fails_is_shown_and_the_others_go_on(stand_in, capsys):
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


@pytest.mark.parametrize('number,code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
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
    assert said.endswith('%s: stopped; the same command goes on\n' % number.name)
    stand_in()
    sweep.main(grid(seeds=(0, 1, 2)))
    assert len(stand_in.calls()) == 5


def test_each_run_at_a_time_has_its_own_gpus(stand_in, monkeypatch):
    asked = []
    monkeypatch.setattr(sweep, 'devices_by_id', lambda gpus, dtype: asked.append((gpus, dtype)))
    stand_in({NAME % ('relu', 1, seed): {'wait': 0.3} for seed in range(4)})
    sweep.main(grid('--gpus', '0,1', '2,3', seeds=range(4)))
    used = [flags[flags.index('--gpus') + 1] for _, flags, *_ in stand_in.calls()]
    assert asked == [('0,1', 'float32'), ('2,3', 'float32')] and sorted(used[:2]) == ['0,1', '2,3'] == sorted(used[2:])


def test_bad_flags_are_refused_before_anything_starts(stand_in, capsys, monkeypatch):
    for flags, small, sentence in (
            ([], ['--seed', '3'], '--seed is for the sweep to set'), ([], ['--bl', '2'], '--blocks is for the sweep'),
            ([], ['--act-type', 'elu'], '--act-type is for'), ([], ['--dataset', 'cifar10'], '--dataset is for'),
            ([], ['--save-dir', 'x'], '--save-dir is for'), ([], ['--logging-file', 'x'], '--logging-file is for'),
            ([], ['--resume'], '--resume is for'), ([], ['--summary'], '--summary is for'),
            ([], ['--gpus', '0'], '--gpus is for'), ([], ['--foo'], 'unrecognized arguments: --foo'),
            ([], ['--lr', '-1'], 'must be positive'), ([], ['--r', '3'], 'divide the 16 channels'),
            ([], ['--dtype', 'float16'], 'float16 needs a GPU'), ([], ['--model', 'se'], '--act-type ChaATAC does not'),
            (['--gpus', 'x'], [], 'not a list of numbers'), (['--jobs', '3', '--gpus', '0', '1'], [], '3 but 2 sets'),
            (['--seeds', '1', '1'], [], '--seeds 1 1: each value stands once'),
            (['--blocks', '0'], [], 'at least 1'), (['--jobs', '0'], [], 'at least 1'),
            (['--act-type', 'x'], [], "invalid choice: 'x'"),
            (['--act-type', 'ChaATAC', 'ChaATAC-linear'], [], 'ChaATAC and ChaATAC-linear are the same network'),
            (['--act-type', 'relu', 'elu'], ['--act-layers', '0'], 'relu and elu are the same network')):
        refused = refusal(['--act-type', 'ChaATAC', '--blocks', '1', '--seeds', '0', *flags, '--', *small], capsys,
                          monkeypatch)
        assert sentence in refused, (flags, small, refused)
    assert os.listdir('.') == [] and stand_in.calls() == []


def test_a_network_with_a_unit_of_its_own_needs_none(stand_in, capsys):
    points = sweep.main(['--blocks', '1', '--seeds', '0', '--dry-run', '--', '--model', 'se'])
    assert [point.unit for point in points] == ['SE-ReLU'] and '--act-type' not in points[0].flags


def test_options_that_contradict_a_log_are_refused_before_anything_starts(stand_in, capsys, monkeypatch):
    cosine = [*SMALL, '--lr-mode', 'cosine', '--num-epochs', '2']
    stand_in({NAME % ('relu', 1, 1): {'errors': [0.5, 0.4]}}, flags=cosine)
    sweep.main(grid(seeds=(1,), small=cosine))
    log, before = 'logs/%s.log' % (NAME % ('relu', 1, 1)), tree('.')
    for small, sentence in ((['--lr', '0.1'], 'lr was 0.05 and is 0.1'),
                            (['--num-epochs', '1'], 'num_epochs was 2 and is 1'),
                            (['--num-epochs', '3'], 'num_epochs was 2 and is 3, which changes the learning rate'),
                            (['--lr-mode', 'step'], 'lr_mode was cosine and is step')):
        said = refusal(grid(seeds=(0, 1), small=cosine + small), capsys, monkeypatch)
        assert log in said and sentence in said, said
    assert sweep.main(grid(seeds=(1,), small=[*cosine, '-j', '0', '--log-interval', '9']))[0]['n'] == 1
    unread = ['--useReLU', '--skernel', '5']  # by relu
    assert sweep.main(grid(seeds=(1,), small=[*cosine, *unread]))[0]['n'] == 1
    assert len(stand_in.calls()) == 1 and tree('.') == before


def test_the_sweep_of_the_readme_finds_the_logs_of_this_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    points = sweep.main('--dataset fashion-mnist --act-type relu swish ChaATAC --blocks 1 --seeds 0 1 2 --dry-run -- '
                        '--useReLU --num-epochs 8 --lr-mode cosine --lr 0.2'.split())
    assert [sweep.state_of(point) for point in points] == ['done'] * 9


def test_logs_that_are_damaged_or_without_their_checkpoint_are_refused(stand_in, capsys, monkeypatch):
    sweep.main(grid())
    log, numbers = ('logs/%s.%s' % (NAME % ('relu', 1, 0), kind) for kind in ('log', 'jsonl'))
    whole = tree('.')

    def refused(*small):
        said = refusal(grid(small=[*SMALL, *small]), capsys, monkeypatch)
        for path, content in whole.items():
            with open(path, 'wb') as file:
                file.write(content)
        return said

    # A longer run of steps could go on, but there is nothing to go on from.
    assert '%s holds 1 epochs, but there is no checkpoint' % log in refused('--num-epochs', '2')
    unsound = ['{"epoch": 0, "val_top1_error": %s, "seconds": %s}\n' % pair for pair in (
        ('NaN', 1), ('null', 1), ('1e300', 1), (-3, 1), (0.5, 'Infinity'), (0.5, 'NaN'), (0.5, '9' * 400), (0.5, -5))]
    for text in ('nonsense\n', '{"epoch": 1}\n', '[1]\n', '{"epoch": 0}\n', *unsound):
        with open(numbers, 'w') as file:
            file.write(text)
        assert '%s is damaged' % numbers in refused()
    with open(log, 'w') as file:
        file.write('nothing of a run')
    assert '%s is not the log of a run' % log in refused()
    for path in (log, numbers):
        os.remove(path)
        assert '%s is missing' % path in refused()
    open(numbers, 'w').close()
    with open(log, 'a') as file:  # of an epoch that is in the .log alone
        file.write('2026-11-22 20:47:50,123 [Epoch 0] lr=0.1\n')
    assert refused('--lr', '0.1').startswith('sweep.py: error: %s exists and is not of a run in' % log)
    os.remove(log)
    os.remove(numbers)
    os.makedirs('params/' + NAME % ('relu', 1, 0))
    open('params/%s/last.params' % (NAME % ('relu', 1, 0)), 'w').close()
    assert '%s is missing, but there is a checkpoint in params/%s' % (log, NAME % ('relu', 1, 0)) in refused()
    assert len(stand_in.calls()) == 1
