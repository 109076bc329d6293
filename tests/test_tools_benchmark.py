"""The benchmark: what it makes of the rounds, that contestants answer, and that each name in it exists."""
import os
import subprocess
import sys
from argparse import Namespace

import pytest

from tests.cpu import needs_bfloat16
from tools.benchmark import __main__ as benchmark
from tools.benchmark import authors, ours
from tools.benchmark.rounds import Contestant
from tools.benchmark.task import Task

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SLEEPER = 'import time; from tools.benchmark.rounds import serve; serve(lambda: (30, 2.0))'


def answers(*speeds):
    return [{'images_per_second': speed, 'memory': 100 + speed} for speed in speeds]


def test_the_ratio_is_the_median_of_those_of_the_rounds():
    found = {'a': answers(10, 20, 90), 'b': answers(5, 5, 30)}
    assert benchmark.ratio(found, 'a', 'b') == 3      # of 2, 4, 3; the ratio of the medians would be 4
    assert benchmark.ratio(found, 'a', 'c') is None


def test_a_result_has_the_spread_and_the_targets(capsys):
    contest = benchmark.Contest('infer', 'title', 'model', 'task', {'a': '', 'b': '', 'c': ''},
                                [('a', 'b', 2.5), ('b', 'a', 2.5), ('a', 'c', 1.0)])
    found = benchmark.result(contest, {'a': answers(10, 20, 90), 'b': answers(5, 5, 30)})
    assert found['rows'][0] == {'contestant': 'a', 'images_per_second': 20, 'least': 10, 'most': 90, 'ratio': 1,
                                'memory': 190, 'rounds': [10, 20, 90]}
    assert [target['ratio'] for target in found['targets']] == [3, 1 / 3, None]
    benchmark.show(found)
    text = capsys.readouterr().out
    assert 'a / b: 3.00, target 2.50: reached' in text and 'b / a: 0.33, target 2.50: NOT REACHED' in text


@pytest.mark.parametrize('contest', benchmark.CONTESTS, ids=lambda contest: contest.title)
def test_every_contestant_and_label_exists(contest):
    for entry in contest.entries.values():
        module, *names = entry.split()
        if module != 'peers':
            assert names[0] in {'ours': ours, 'authors': authors}[module].CONTESTANTS
    assert all(label in contest.entries for target in contest.targets for label in target[:2])


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
    contest = benchmark.Contest('train', 'small', 'cifar_resnet', 'cifar ChaATAC 1 4 2',
                                {'ours': 'ours step', 'theirs': 'authors step', 'peer': 'peers train pytorch'}, [])
    answers = benchmark.hold(contest, 2, peers=None)
    assert list(answers) == ['ours', 'theirs']
    assert all(len(rounds) == 2 and rounds[0]['images_per_second'] > 0 for rounds in answers.values())


@pytest.mark.parametrize('module,name', [(module, name) for module in (ours, authors) for name in module.CONTESTANTS
                                         if name != 'step-bfloat16'])  # which cannot be taken back
def test_every_contestant_counts_its_images(module, name):
    host, batch = ('imagenet', 4) if name in ('input-records', 'input-decode', 'iterator') else ('cifar', 16)
    done = module.CONTESTANTS[name](Task(Namespace(host=host, unit='ChaATAC', blocks=1, batch=batch, steps=2)))()
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
    assert profile.table(0.01, found, 2) == [
        '| | ms a step | share | calls |', '|---|---|---|---|', '| convolution backward_data | 1.5 | 30 % |  |',
        '| reorder | 1.0 | 20 % | 1 |', "| MXNet's own operators | 2.5 | 50 % |  |", '| a step | 5.0 | 100 % |  |']


def test_the_profile_of_a_step_hears_onednn():
    command = [sys.executable, '-W', 'ignore', '-m', 'tools.benchmark.profile', *'step cifar relu 1 4 1'.split()]
    done = subprocess.run(command, cwd=ROOT, timeout=100, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith('| | ms a step |')
    assert '| convolution backward_weights |' in done.stdout and 'verbose' not in done.stdout
