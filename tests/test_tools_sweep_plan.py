"""The plan of a sweep: what it takes from logs that are there, and what it refuses before anything starts."""
import os
import re
from contextlib import suppress

import pytest

from model import complexity, get_model
from tests.stand_in import NAME, SMALL, StandIn, grid, refusal, tree
from tools import ROOT
from tools.sweep import __main__ as sweep
from tools.sweep import plan
from training import checkpoint


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    return StandIn(tmp_path, monkeypatch)


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


def test_bad_flags_are_refused_before_anything_starts(stand_in, capsys, monkeypatch):
    for flags, small, sentence in (
            ([], ['--seed', '3'], '--seed is for the sweep to set'), ([], ['--bl', '2'], 'unrecognized arguments'),
            ([], ['--act-type', 'elu'], '--act-type is for'), ([], ['--dataset', 'cifar10'], '--dataset is for'),
            ([], ['--save-dir', 'x'], '--save-dir is for'), ([], ['--logging-file', 'x'], '--logging-file is for'),
            ([], ['--resume'], '--resume is for'), ([], ['--summary'], '--summary is for'),
            ([], ['--gpus', '0'], '--gpus is for'), ([], ['--foo'], 'unrecognized arguments: --foo'),
            ([], ['--dry-run'], '--dry-run: flags of the sweep come before --'),
            ([], ['--lr', '-1'], 'must be positive'), ([], ['--r', '3'], 'divide the 16 channels'),
            ([], ['--dtype', 'float16'], 'float16 needs a GPU'), ([], ['--model', 'se'], '--act-type ChaATAC does not'),
            (['--gpus', 'x'], [], 'not a list of numbers'), (['--jobs', '3', '--gpus', '0', '1'], [], '3 but 2 sets'),
            (['--gpus', '0,1', '1,2'], [], '--gpus: GPU 1 is there twice'),
            (['--seeds', '1', '1'], [], '--seeds 1 1: give each value once'),
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
    log = 'logs/%s.log' % (NAME % ('relu', 1, 1))
    before = tree('.')
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


@pytest.mark.parametrize('there, asked', [
    (('ChaATAC', '--useReLU'), ('ChaATAC',)), (('ChaATAC', '--useReLU'), ('ChaATAC', '--useReLU', '--use-global')),
    (('relu', '--act-layers', '0'), ('relu', '--act-layers', '0', '--replace-act', 'swish'))])
def test_the_log_of_another_network_is_not_that_of_an_ablation(stand_in, capsys, monkeypatch, there, asked):
    """Of which the flags that make it one are then not read."""
    (unit, *flags), (_, *others) = there, asked
    stand_in(flags=[*SMALL, *flags])
    sweep.main(grid(units=(unit,), small=[*SMALL, *flags]))
    said = refusal(grid(units=(unit,), small=[*SMALL, *others]), capsys, monkeypatch)
    assert 'had other options: ' in said and len(stand_in.calls()) == 1


def test_a_run_whose_last_checkpoint_was_refused_is_not_done(stand_in):
    """All of its epochs are in its log, and none of its weights on the disk."""
    name = NAME % ('relu', 1, 0)
    for code, state in ((2, 'new'), (0, 'done')):
        stand_in({name: {'code': code}})
        with suppress(SystemExit):
            sweep.main(grid())
        point, = sweep.main(grid('--dry-run'))
        assert len(point.epochs) == (not code) and plan.state_of(point) == state


def test_a_file_is_no_folder_for_a_sweep(tmp_path, capsys, monkeypatch):
    (tmp_path / 'file').write_text('')
    for flag in '--params-dir', '--logs-dir':
        assert f'{tmp_path / "file"} is not a folder' in refusal([flag, str(tmp_path / 'file')], capsys, monkeypatch)
        assert f'{flag} is empty: is it from a variable' in refusal([flag, ''], capsys, monkeypatch)


def test_flags_that_need_the_data_set_of_the_grid_are_taken(stand_in):
    point, = sweep.main(['--dataset', 'cifar100', *grid('--dry-run', small=[*SMALL, '--label-set', 'fine'])])
    assert point.options['label_set'] == 'fine'


def commands_of(page, begin):
    """The commands in the code of a document that begin so, as lists of words."""
    with open(os.path.join(ROOT, page)) as file:
        code = re.findall(r'^```\n(.*?)^```', file.read(), flags=re.S | re.M)
    lines = ''.join(code).replace('\\\n', ' ').splitlines()
    return [line.split()[len(begin.split()):] for line in lines if line.startswith(begin)]


def test_the_sweeps_of_docs_results_find_the_logs_of_this_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = commands_of('docs/results.md', 'python -m tools.sweep')
    for command in found:
        split = command.index('--')
        points = sweep.main([*command[:split], '--dry-run', '--params-dir', 'none', *command[split:]])
        assert {plan.state_of(point) for point in points} == {'done'}
    folders = {command[command.index('--logs-dir') + 1] for command in found}
    assert folders == {command[0] for command in commands_of('docs/results.md', 'python -m tools.plot_sweep')}
    assert folders == {'logs/cifar100', 'logs/cifar100-short', 'logs/cifar10-short'}


def test_the_runs_that_docs_results_says_are_not_whole_can_be_continued(monkeypatch):
    monkeypatch.chdir(ROOT)
    command, = [found for found in commands_of('docs/results.md', 'python -m tools.sweep') if '400' in found]
    command[command.index('--seeds') + 1] = '1'
    command[command.index('--params-dir') + 1] = 'params/cifar100-seed1'
    command[command.index('--logs-dir') + 1] = 'logs/cifar100-seed1'
    points = sweep.main(['--dry-run', *command])
    assert {point.unit: len(point.epochs) for point in points} == {'relu': 110, 'ChaATAC': 69}
    assert all(plan.state_of(point).startswith('resume') for point in points)
    for point in points:
        facts = checkpoint.load(os.path.join('params', 'cifar100-seed1', point.name))[0]
        assert facts['epoch'] == len(point.epochs) - 1


def test_a_sweep_of_fashion_mnist_finds_the_logs_of_this_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    points = sweep.main('--dataset fashion-mnist --act-type relu swish ChaATAC --blocks 1 --seeds 0 1 2 --dry-run '
                        '--logs-dir logs/fashion-mnist -- --useReLU --num-epochs 8 --lr-mode cosine --lr 0.2'.split())
    assert [plan.state_of(point) for point in points] == ['done'] * 9


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

    # A longer run of steps could be resumed, but there is no checkpoint.
    assert '%s holds epochs, but there is no checkpoint' % log in refused('--num-epochs', '2')
    unsound = ['{"epoch": 0, "val_top1_error": %s, "seconds": %s}\n' % pair for pair in (
        ('NaN', 1), ('null', 1), ('1e300', 1), (-3, 1), (0.5, 'Infinity'), (0.5, 'NaN'), (0.5, '9' * 400), (0.5, -5))]
    for text in ('nonsense\n', '{"epoch": -1}\n', '[1]\n', '{"epoch": 0}\n', *unsound):
        with open(numbers, 'w') as file:
            file.write(text)
        assert '%s is damaged' % numbers in refused()
    for option, other in (('"model": "atac"', '"model": ["x"]'), ('"act_type": "relu"', '"act_type": ["relu"]'),
                          ('"replace_act": "relu"', '"replace_act": {"a": 1}'),
                          ('"act_layers": 4', '"act_layers": "x"')):
        text = whole['./' + log].decode()
        assert option in text
        with open(log, 'w') as file:
            file.write(text.replace(option, other))
        said = refused()
        assert said.startswith('sweep.py: error: %s: damaged: its option' % log) and len(said.splitlines()) == 1
    with open(log, 'w') as file:
        file.write('nothing of a run')
    assert '%s is not the log of a run' % log in refused()
    for path in (log, numbers):
        os.remove(path)
        assert '%s is missing' % path in refused()
    # A log that holds no epoch is nothing to protect; one of whose epochs only the .log tells is.
    open(numbers, 'w').close()
    points = sweep.main(['--dry-run', *grid(small=[*SMALL, '--lr', '0.1'])])
    assert [plan.state_of(point) for point in points] == ['new']
    with open(log, 'a') as file:
        file.write('2026-11-22 20:47:50,123 [Epoch 0] lr=0.050000\n')
    assert refused('--lr', '0.1').startswith('sweep.py: error: %s exists and is not of a run in' % log)
    os.remove(log)
    os.remove(numbers)
    os.makedirs('params/' + NAME % ('relu', 1, 0))
    open('params/%s/last.params' % (NAME % ('relu', 1, 0)), 'w').close()
    assert '%s is missing, but there is a checkpoint in params/%s' % (log, NAME % ('relu', 1, 0)) in refused()
    assert len(stand_in.calls()) == 1
