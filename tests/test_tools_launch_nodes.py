"""The launcher: who works where, what it refuses, and what it prints for SLURM and Kubernetes."""
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.launchers import LIMIT, Launch
from tools.launch import __main__ as launch
from tools.launch import nodes
from tools.launch.job import Job


@pytest.fixture
def launcher(tmp_path):
    with Launch(tmp_path) as starter:
        yield starter


def args_of(*flags, command=('true',)):
    return launch.parse_args([*map(str, flags), '--', *command])[0]


def test_ranks_are_given_as_ps_lite_gives_them():
    """Descending addresses, then ascending ports; servers go round the hosts, the scheduler is on the first."""
    args = args_of('-n', 3, '-s', 3, '--launcher', 'ssh', '-H', 'x', '--port', 9000)
    tasks = nodes.tasks_of(args, [('a', '10.0.0.1'), ('a', '10.0.0.1'), ('b', '10.0.0.2')], ['true'])
    assert [(task.name, task.host) for task in tasks] == [
        ('scheduler', 'a'), ('server 0', 'a'), ('server 1', 'b'), ('server 2', 'a'),
        ('worker 0', 'b'), ('worker 1', 'a'), ('worker 2', 'a')]
    envs = [task.env for task in tasks]
    assert [env['DMLC_ROLE'] for env in envs] == ['scheduler'] + ['server'] * 3 + ['worker'] * 3
    assert {env['DMLC_PS_ROOT_URI'] for env in envs} == {'10.0.0.1'}
    assert {env['DMLC_PS_ROOT_PORT'] for env in envs} == {'9000'}
    assert [env['PORT'] for env in envs[4:]] == ['9001', '9002', '9003']
    assert [task.sharing for task in tasks] == [0, 0, 0, 0, 1, 2, 2]


def test_workers_of_a_host_divide_its_gpus():
    args = args_of('-n', 4, '-s', 0, '--launcher', 'ssh', '-H', 'x', '--gpus-per-worker', 2)
    tasks = nodes.tasks_of(args, [('a', '10.0.0.1')] * 3 + [('b', '10.0.0.2')], ['true'])
    assert [(task.host, task.env['CUDA_VISIBLE_DEVICES']) for task in tasks] == [
        ('b', '0,1'), ('a', '0,1'), ('a', '2,3'), ('a', '4,5')]
    args = args_of('-n', 1, '-s', 0, '--launcher', 'ssh', '-H', 'x')
    assert 'CUDA_VISIBLE_DEVICES' not in nodes.tasks_of(args, [('a', '10.0.0.1')], ['true'])[0].env


def test_workers_here_divide_the_gpus_that_are_visible(monkeypatch):
    args = args_of('-n', 2, '-s', 0, '--gpus-per-worker', 1)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2,GPU-7')
    tasks = nodes.tasks_of(args, nodes.places_of(args), ['true'])
    assert [task.env['CUDA_VISIBLE_DEVICES'] for task in tasks] == ['2', 'GPU-7']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2')
    with pytest.raises(nodes.LaunchError, match='CUDA_VISIBLE_DEVICES=2 has fewer GPUs than the workers are to have'):
        nodes.tasks_of(args, nodes.places_of(args), ['true'])


def test_a_job_that_is_ended_while_it_starts_starts_no_more():
    args = args_of('-n', 2, '-s', 0)
    job = Job(nodes.tasks_of(args, nodes.places_of(args), ['true']), 1, 0, [signal.SIGTERM])
    assert job.run() == 128 + signal.SIGTERM and job.processes == []


@pytest.mark.parametrize('flags, python', [([], sys.executable), (['--launcher', 'slurm'], sys.executable),
                                           (['--launcher', 'kubernetes', '--image', 'x'], 'python')])
def test_a_bare_python_is_this_one(flags, python):
    assert launch.parse_args(['-n', '1', *flags, '--', 'python', 'a.py'])[1] == [python, 'a.py']


def test_multi_homed_hosts():
    args = args_of('-n', 1, '--launcher', 'ssh', '-H', 'x', '--interface', 'ib0', '--root-uri', '10.1.0.1')
    for task in nodes.tasks_of(args, [('a', '10.0.0.1')], ['true']):
        env = task.env
        assert (env['DMLC_INTERFACE'], env['DMLC_NODE_HOST'], env['DMLC_PS_ROOT_URI']) == ('ib0', None, '10.1.0.1')


@pytest.mark.parametrize('flags, command, sentence', [
    (['-n', 2], [], 'there is no command'), (['-n', 12000], ['true'], 'there are ports for 11999 workers'),
    (['-n', 2], ['/no/such/program'], 'there is no program /no/such/program'),
    (['-n', 2, '--launcher', 'ssh'], ['true'], '--launcher ssh needs -H'),
    (['-n', 2, '--launcher', 'slurm', '-H', 'x'], ['true'], 'not with --launcher slurm'),
    (['-n', 2, '--launcher', 'slurm', '--max-restarts', 2], ['true'], 'takes neither --max-restarts'),
    (['-n', 2, '--launcher', 'slurm', '--gpus-per-worker', 1], ['true'], 'slurm gives out GPUs itself'),
    (['-n', 2, '--launcher', 'kubernetes'], ['true'], '--image and --launcher kubernetes go together'),
    (['-n', 2, '--name', 'Not; this'], ['true'], 'is not of small letters'),
    (['-n', 2, '--port', 65535], ['true'], 'leaves no ports'),
    (['-n', 2, '-H', '/no/such/file'], ['true'], "No such file or directory: '/no/such/file'"),
    (['-n', 2, '-H', os.devnull], ['true'], '/dev/null names no host')])
def test_refusals(flags, command, sentence):
    with pytest.raises((OSError, nodes.LaunchError)) as refusal:
        launch.main([*map(str, flags), '--', *command])
    assert sentence in str(refusal.value)


@pytest.mark.parametrize('flags', [['-n', '0'], ['-n', 'two'], ['-n', '1', '-s', '-1'], []])
def test_numbers_that_are_refused(flags, capsys):
    with pytest.raises(SystemExit) as leaving:
        launch.main([*flags, '--', 'true'])
    assert leaving.value.code == 2 and 'error: ' in capsys.readouterr().err


def test_a_mistake_is_one_sentence_and_exit_code_2(launcher):
    process = launcher.start('-n', 1, command=[])
    assert launcher.finish(process) == (2, [], 'launch: error: there is no command: write it after --\n')
    process = launcher.start('-n', 1, '-H', '/absent', command=['true'])
    assert launcher.finish(process) == (2, [], 'launch: error: /absent: No such file or directory\n')


@pytest.mark.parametrize('text, sentence', [
    ('a b\n', "line 1: 'a b' is not of the form"), ('a\n-oProxyCommand=x\n', 'line 2'), ('a slots=0', 'line 1'),
    ('a; b', 'line 1'), ('# a\n', 'names no host'), ('127.0.0.1\n', '1 slots for 2 workers'),
    ('127.0.0.1\n10.0.0.1\n', '127.0.0.1 is at 127.0.0.1, where the other hosts cannot reach it'),
    ('no-such-host.invalid slots=2', 'no-such-host.invalid has no address here'),
    ('no..host slots=2', 'no..host has no address here')])
def test_hostfiles_that_are_refused(tmp_path, text, sentence):
    path = tmp_path / 'hosts'
    path.write_text(text)
    with pytest.raises(nodes.LaunchError) as refusal:
        launch.main(['-n', '2', '-H', str(path), '--', 'true'])
    assert sentence in str(refusal.value)


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(nodes.LaunchError, match='port %d is taken' % port):
            launch.main(['-n', '1', '--port', str(port), '--', 'true'])


def test_the_slurm_script(launcher, capsys):
    """Run with a stand-in for srun that starts only the last task, a worker."""
    command = ['bash', '-c',
               'echo "$DMLC_ROLE  $DMLC_NUM_SERVER $DMLC_NUM_WORKER $DMLC_PS_ROOT_PORT ${DMLC_RANK-none}"']
    launch.main(['-n', '3', '-s', '2', '--launcher', 'slurm', '--root-uri', '10.0.0.1', '--', *command])
    script = capsys.readouterr().out
    assert '#SBATCH --ntasks=6 ' in script and '--kill-on-bad-exit=1' in script
    assert script.count('trap "" TERM; cd ') == 2  # the servers serve until the workers have saved
    srun = launcher.folder / 'srun'
    srun.write_text('#!/bin/bash\nshift 2\nSLURM_PROCID=5 exec "$@"\n')
    srun.chmod(0o755)
    env = dict(launcher.env, PATH='%s:%s' % (launcher.folder, os.environ['PATH']), SLURM_JOB_ID='12007', DMLC_RANK='1')
    done = subprocess.run(['bash', '-c', script], env=env, timeout=LIMIT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'worker  2 3 20007 none\n', '')


def test_the_kubernetes_manifest(launcher, capsys):
    """Its last pod is a worker, the ones before are servers, the first is the scheduler, which all others are told."""
    launch.main(['-n', '2', '-s', '1', '--launcher', 'kubernetes', '--image', 'me/atac', '--name', 'job', '--',
                 'bash', '-c', 'echo $DMLC_ROLE  $(echo "of  $DMLC_NUM_WORKER")'])
    service, job = json.loads(capsys.readouterr().out)['items']
    assert service['spec']['clusterIP'] == 'None' and job['spec']['completions'] == job['spec']['parallelism'] == 4
    assert job['spec']['backoffLimit'] == 0 and job['spec']['completionMode'] == 'Indexed'
    container, = job['spec']['template']['spec']['containers']
    env = {variable['name']: variable.get('value', '10.0.0.7') for variable in container['env']}
    assert env['DMLC_PS_ROOT_URI'] == 'job-0.job' and env['DMLC_USE_KUBERNETES'] == '1'
    shell = [word.replace('$$', '$') for word in container['command']]  # as Kubernetes reads it
    python = launcher.folder / 'python'
    python.write_text('#!/bin/bash\necho $DMLC_ROLE "$@"\n')
    python.chmod(0o755)
    env.update(PATH='%s:%s' % (launcher.folder, os.environ['PATH']))
    said = [subprocess.check_output(shell, env=dict(env, JOB_COMPLETION_INDEX=str(index)), timeout=LIMIT, text=True)
            for index in range(4)]
    serve = '-m tools.launch.server\n'
    assert said == ['scheduler ' + serve, 'server ' + serve, 'worker of 2\n', 'worker of 2\n']
