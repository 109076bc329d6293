"""The benchmark: what it makes of the rounds, that contestants answer, and that each name in it exists."""
import json
import os
import subprocess
import sys
from argparse import Namespace

from runtime import UserError

import pytest

from model import complexity, get_model
from tests.cpu import DTYPES, needs_bfloat16
from tools.benchmark import __main__ as benchmark
from tools.benchmark import authors, contests, hold, ours, tables
from tools.benchmark.rounds import Contestant
from tools.benchmark.task import Workload
from tools.machine import peak_memory
from training import scoring

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SLEEPER = 'import time; from tools.benchmark.rounds import serve; serve(lambda: (30, 2.0))'


def answers(*speeds):
    return [{'images_per_second': speed, 'memory': 100 + speed, 'parameters': 7} for speed in speeds]


def contest(entries, *targets):
    return contests.Contest('train', 'title', 'model', contests.Task('cifar', 'ChaATAC', 1, 4, 2), entries, targets)


def test_ratios_are_those_of_the_rounds():
    found = {'a': answers(10, 20, 90), 'b': answers(5, 5, 30)}
    assert tables.ratios(found, 'a', 'b') == [2, 4, 3]  # the ratio of the medians would be 4, not 3
    assert tables.ratios(found, 'a', None) == [10, 20, 90] and tables.ratios(found, 'a', 'c') == []
    assert tables.ratios(found, 'b', 'a', 'memory') == [105 / 110, 105 / 120, 130 / 190]


def test_a_result_has_the_spread_and_the_targets(capsys):
    entries = {'a': 'ours step', 'b': 'authors step', 'c': 'peers train pytorch'}
    targets = [('a', 'b', 2.5), ('b', 'a', 2.5), ('a', 'c', 1.0), ('a', None, 15), ('b', 'a', 1, 'memory')]
    found = tables.result(contest(entries, *(contests.Target(*target) for target in targets)),
                             {'a': answers(10, 20, 90), 'b': answers(5, 5, 30)}, {'c': 'not installed'})
    row = found['rows'][0]
    assert row.pop('threads') == os.environ['OMP_NUM_THREADS']
    assert row == {'contestant': 'a', 'images_per_second': 20, 'least': 10, 'most': 90, 'ratio': 1, 'memory': 190,
                   'rounds': [10, 20, 90]}
    assert [(target['measured'], target['least'], target['most']) for target in found['targets']] \
        == [(3, 2, 4), (1 / 3, 1 / 4, 1 / 2), (20, 10, 90), (105 / 120, 130 / 190, 105 / 110)]
    tables.show(found, 'a processor')
    tables.show_targets([found])
    text = capsys.readouterr().out
    assert '\n**train: title** (a processor)\n' in text
    assert '\n| b | 5.0 | 5.0 to 30.0 | 0.33 | 130 |\n' in text and 'left out: c: not installed' in text
    assert '| train: title | a / b | 3.0 | 2.000 to 4.0 | at least 2.50 | undecided |' in text
    assert '| train: title | b / a | 0.333 | 0.250 to 0.500 | at least 2.50 | **not reached** |' in text
    assert '| train: title | b / a, memory | 0.875 | 0.684 to 0.955 | at most 1.00 | reached |' in text


@pytest.mark.parametrize('contest', contests.CONTESTS, ids=lambda contest: contest.title)
def test_every_contestant_and_label_exists(contest):
    for entry in contest.entries.values():
        module, *names = entry.split()
        if module != 'peers':
            assert names[0] in {'ours': ours, 'authors': authors}[module].CONTESTANTS
    assert all(label in contest.entries for target in contest.targets for label in target[:2] if label)


def test_a_contestant_answers_and_ends():
    with Contestant('stand-in', [sys.executable, '-c', SLEEPER]) as entry:
        answer = entry.round()
    assert answer['images_per_second'] == 15 and answer['memory'] > 1
    assert entry.process.returncode is not None


def test_a_contestant_that_fails_says_why():
    with pytest.raises(RuntimeError, match='(?s)stand-in failed: .*no_such_thing'), \
            Contestant('stand-in', [sys.executable, '-c', 'import no_such_thing']):
        pass


def test_a_contest_is_held_by_processes():
    """A peer that is not installed, and one that fails at its first round, are left out by name."""
    entries = {'ours': 'ours step', 'theirs': 'authors step', 'peer': 'peers train pytorch', 'none': 'ours nonsense'}
    found, left_out = hold.hold(contest(entries), 2, {'ours': sys.executable, 'authors': sys.executable})
    assert list(found) == ['ours', 'theirs'] and left_out['peer'] == 'not installed' and 'nonsense' in left_out['none']
    assert all(len(rounds) == 2 and rounds[0]['images_per_second'] > 0 for rounds in found.values())
    assert found['ours'][0]['parameters'] == found['theirs'][0]['parameters'] == 89578


def test_bfloat16_is_not_started_without_avx512(monkeypatch):
    monkeypatch.setattr(hold, 'HAS_AVX512', False)
    bfloat16 = {label: entry for held in contests.CONTESTS for label, entry in held.entries.items() if 'bf' in entry}
    found, left_out = hold.hold(contest(bfloat16), 1, dict.fromkeys(['ours', 'peers'], '/bin/false'))
    assert len(bfloat16) == 5 and not found and left_out == dict.fromkeys(bfloat16, 'this CPU has no AVX-512')


def test_a_contestant_that_dies_is_left_out(tmp_path):
    mortal = tmp_path / 'python'
    mortal.write_text('#!/bin/sh\nread line; echo \'{"images_per_second": 1, "memory": 1, "parameters": null}\'\n')
    mortal.chmod(0o755)
    found, left_out = hold.hold(contest({'ours': 'ours step', 'theirs': 'peers train x'}), 2,
                                     {'ours': sys.executable, 'peers': str(mortal)})
    assert list(found) == ['ours'] and len(found['ours']) == 2 and 'theirs failed' in left_out['theirs']


def test_networks_that_differ_are_no_contest(tmp_path):
    liar = tmp_path / 'python'
    liar.write_text('#!/bin/sh\nexec %s -c "from tools.benchmark.rounds import serve; serve(lambda: 1, 7)"\n'
                    % sys.executable)
    liar.chmod(0o755)
    with pytest.raises(RuntimeError, match='the networks differ: ours 89578, theirs 7 parameters'):
        hold.hold(contest({'ours': 'ours step', 'theirs': 'peers train x'}), 1,
                       {'ours': sys.executable, 'peers': str(liar)})


def test_what_cannot_be_measured_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(['infer', '--model', 'cifar_resnet', '--json', str(tmp_path / 'new.json')])
    assert 'there is no contest of infer with --model cifar_resnet' in capsys.readouterr().err
    with pytest.raises(UserError, match='/bin/true is no Python that works'):
        benchmark.main(['input', '--peers', '/bin/true', '--json', str(tmp_path / 'new.json')])
    assert not os.listdir(str(tmp_path))


def test_what_was_measured_is_not_written_over(tmp_path, capsys):
    path = tmp_path / 'there.json'
    path.write_text('mine')
    for name, words in (('there.json', 'there.json exists: choose another one'), ('a/b.json', 'there is no folder')):
        with pytest.raises(SystemExit):
            benchmark.main(['input', '--json', str(tmp_path / name)])
        assert words in capsys.readouterr().err
    assert path.read_text() == 'mine'


def test_a_benchmark_that_is_stopped_leaves_the_contests_that_were_held(tmp_path, monkeypatch):
    held = []

    def hold_two(contest, *_):
        held.append(contest)
        if len(held) == 3:
            raise KeyboardInterrupt
        return {label: answers(1) for label in contest.entries}, {}

    monkeypatch.setattr(benchmark, 'hold', hold_two)
    path = tmp_path / 'new.json'
    with pytest.raises(KeyboardInterrupt):
        benchmark.main(['all', '--rounds', '1', '--json', str(path)])
    assert len(json.loads(path.read_text())['contests']) == 2
    held[:] = [None, None]
    with pytest.raises(KeyboardInterrupt):
        benchmark.main(['all', '--rounds', '1', '--json', str(tmp_path / 'other.json')])
    assert os.listdir(str(tmp_path)) == ['new.json']


@pytest.mark.parametrize('module,name', [(module, name) for module in (ours, authors) for name in module.CONTESTANTS
                                         if name != 'step-bfloat16'])  # which cannot be taken back
def test_every_contestant_counts_its_images(module, name):
    if name in scoring.DTYPES and name not in DTYPES:
        pytest.skip('no AVX-512')
    host, batch = ('imagenet', 4) if name in ('input-records', 'input-decode', 'iterator') else ('cifar', 16)
    done = module.CONTESTANTS[name](Workload(Namespace(host=host, unit='ChaATAC', blocks=1, batch=batch, steps=2)))()
    assert done == 2 * batch or done[0] == 2 * batch and done[1] > 0


@needs_bfloat16
def test_a_step_in_bfloat16_is_a_contestant():
    command = [sys.executable, '-W', 'ignore', '-m', 'tools.benchmark.ours', 'step-bfloat16',
               *'cifar relu 1 4 2'.split()]
    with Contestant('bfloat16', command) as entry:
        assert entry.round()['images_per_second'] > 0


def test_the_profile_adds_up(monkeypatch):
    monkeypatch.setenv('DNNL_VERBOSE', '')  # which the profile sets for its own process
    from tools.benchmark import profile
    text = ('dnnl_verbose,info,oneDNN v2.4.4\n'
            'dnnl_verbose,exec,cpu,reorder,jit:blk,undef,src dst,,,128x16x32x32,1.5\n'
            'dnnl_verbose,exec,cpu,reorder,jit:uni,undef,src dst,,,1x1,0.5\n'
            'dnnl_verbose,exec,cpu,convolution,jit,backward_data,src,,alg:x,mb1,3\n')
    found = profile.spent(text)
    assert found == {'convolution backward_data': (3, 1), 'reorder': (2, 2)}
    assert profile.table(0.01, found, 2).splitlines() == [
        '|  | ms a step | share | calls |', '| --- | --- | --- | --- |',
        '| convolution backward_data | 1.5 | 30 % |  |',
        '| reorder | 1.0 | 20 % | 1 |', "| MXNet's own operators | 2.5 | 50 % |  |", '| a step | 5.0 | 100 % |  |']


def test_the_profile_of_a_step_hears_onednn():
    command = [sys.executable, '-W', 'ignore', '-m', 'tools.benchmark.profile', *'step cifar relu 1 4 1'.split()]
    done = subprocess.run(command, cwd=ROOT, timeout=100, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith('|  | ms a step |')
    assert '| convolution backward_weights |' in done.stdout and 'verbose' not in done.stdout


def test_peak_memory_is_that_of_processes_of_their_own(capsys):
    (name, unit, batch, size, here, theirs), = peak_memory.main(['--model', 'se_cifar_resnet', '--batch', '64'])
    assert (name, unit, batch, size) == ('se_cifar_resnet', None, 64, 32)
    kept = 4 * 64 * complexity.activation_elements(get_model(name), (1, 3, 32, 32))
    assert all(kept < found < 3e9 for found in (here, theirs))
    assert capsys.readouterr().out.splitlines()[-1].startswith('| se_cifar_resnet | 64 of 32x32 | ')


def test_a_network_that_cannot_be_measured_leaves_the_others_their_rows(monkeypatch, capsys):
    monkeypatch.setattr(peak_memory.sys, 'executable', '/bin/false')
    rows = peak_memory.main(['--model', 'se_cifar_resnet', 'ge_cifar_resnet'])
    assert [row[-2:] for row in rows] == 2 * [(None, None)]
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == '| ge_cifar_resnet | 128 of 32x32 | - | - |'
    assert 'se_cifar_resnet is not measured: it left with 1' in said.err
