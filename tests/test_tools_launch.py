"""The launcher, with real processes. Every one carries a mark in its environment, by which those left behind show."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tools.launch import __main__ as launch
from tools.launch import nodes, server
from tools.launch.job import ROOT, Task

LIMIT = 60  # seconds that a process may take
# Run in the place of ssh: what it was asked goes into a file, the command runs here.
SSH = '''#!/bin/bash
echo "$*" >> %s
while [ "$1" != "${1#-}" ]; do [ "$1" = -o ] && shift; shift; done
[ "$1" = 127.0.0.9 ] && { echo "no route to host" >&2; exit 255; }
shift
cd / && exec bash -c "$*"
'''
WORKER = '''
import os, signal, sys, time
import runtime
import mxnet as mx
kv = mx.kv.create('dist_sync')
kv.init('a', mx.nd.zeros(2))
kv.push('a', mx.nd.ones(2) * (kv.rank + 1))
pulled = mx.nd.zeros(2)
kv.pull('a', pulled)
print('rank %d of %d pulled %g' % (kv.rank, kv.num_workers, pulled.asnumpy()[0]), flush=True)
kv._barrier()
if kv.rank == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(60)
'''


def heed_ctrl_c():
    """In the child: a shell without job control has what it starts with & ignore Ctrl-C, such as a whole test run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Launch:
    """Starts launchers and finds what they leave behind."""

    def __init__(self, folder):
        self.folder, self.mark = folder, 'LAUNCH_TEST=%s' % folder
        self.env = {**os.environ, 'LAUNCH_TEST': str(folder), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': ROOT}
        self.launchers = []

    def start(self, *flags, command, **env):
        env = {name: value for name, value in {**self.env, **env}.items() if value is not None}
        process = subprocess.Popen([sys.executable, '-m', 'tools.launch', *map(str, flags), '--', *map(str, command)],
                                   cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=heed_ctrl_c)
        self.launchers.append(process)
        return process

    def finish(self, process):
        """(exit code, lines of standard output in order, standard error)"""
        out, error = process.communicate(timeout=LIMIT)
        assert 'Traceback' not in error
        return process.returncode, sorted(out.splitlines()), error

    def run(self, *flags, command, **env):
        return self.finish(self.start(*flags, command=command, **env))

    def bash(self, text, *flags, **env):
        return self.run(*flags, command=['bash', '-c', text], **env)

    def alive(self):
        """Ids of living processes with the mark, the launchers apart."""
        found = []
        for process in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open('/proc/%s/environ' % process, 'rb') as file:
                    if self.mark.encode() in file.read().split(b'\0'):
                        found.append(int(process))
            except OSError:
                continue
        return set(found) - {process.pid for process in self.launchers}

    def wait_until(self, condition):
        until = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.02)

    def wait_for(self, *names):
        """Until all these files are in the folder; returns the numbers in them."""
        paths = [self.folder / name for name in names]
        self.wait_until(lambda: all(path.exists() and path.read_text().strip() for path in paths))
        return [int(path.read_text()) for path in paths]


@pytest.fixture
def launcher(tmp_path):
    starter = Launch(tmp_path)
    yield starter
    for process in starter.launchers:
        process.kill()
        process.communicate()
    for process in starter.alive():
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def ssh(launcher):
    """A stand-in on PATH; the file is what it was asked."""
    asked = launcher.folder / 'asked'
    path = launcher.folder / 'ssh'
    path.write_text(SSH % asked)
    path.chmod(0o755)
    launcher.env['PATH'] = '%s:%s' % (launcher.folder, launcher.env['PATH'])
    return asked


def hostfile(launcher, text):
    path = launcher.folder / 'hosts'
    path.write_text(text)
    return path


def test_lines_carry_the_name_of_their_process(launcher):
    code, out, error = launcher.bash('echo one; echo bad >&2; printf "half "; printf line', '-n', 2, '-s', 0)
    assert code == 0 and not launcher.alive()
    assert out == ['[worker 0] half line', '[worker 0] one', '[worker 1] half line', '[worker 1] one']
    assert sorted(error.splitlines()) == ['[worker 0] bad', '[worker 1] bad']


def test_the_first_failure_ends_the_job_and_gives_its_code(launcher):
    code = launcher.bash('''trap 'echo saved > %s/$DMLC_WORKER_ID; exit 143' TERM; sleep 300 &
                         if [ $DMLC_WORKER_ID = 1 ]; then until [ -e %s/ready ]; do sleep 0.02; done; exit 7; fi
                         echo > %s/ready; wait''' % ((launcher.folder,) * 3), '-n', 2, '-s', 0)[0]
    assert code == 7 and not launcher.alive()
    assert (launcher.folder / '0').read_text() == 'saved\n' and not (launcher.folder / '1').exists()


def test_the_message_says_who_how_and_why(launcher):
    error = launcher.bash('for i in $(seq 30); do echo reason $i >&2; done; exit 7', '-n', 1, '-s', 0)[2]
    tail = '\n'.join('reason %d' % number for number in range(21, 31))
    assert error.endswith('launch: worker 0 left with exit code 7; the end of its standard error:\n%s\n' % tail)


def test_what_does_not_heed_sigterm_is_killed(launcher):
    code, _, error = launcher.bash('trap "" TERM; echo > %s/$DMLC_WORKER_ID; [ $DMLC_WORKER_ID = 0 ] && sleep 300;'
                                   'until [ -e %s/0 ]; do sleep 0.02; done; exit 3' % ((launcher.folder,) * 2),
                                   '-n', 2, '-s', 0, '--grace', 1)
    assert code == 3 and 'launch: worker 0 has not left and is killed' in error and not launcher.alive()


@pytest.mark.parametrize('victim', ['worker', 'guard'])
def test_kill_9_ends_the_job_and_leaves_nothing(launcher, victim):
    text = 'sleep 300 & echo $%s > %s/$DMLC_WORKER_ID; wait' % ({'worker': '$', 'guard': 'PPID'}[victim],
                                                               launcher.folder)
    process = launcher.start('-n', 2, '-s', 0, command=['bash', '-c', text])
    os.kill(launcher.wait_for('0', '1')[1], signal.SIGKILL)
    code, _, error = launcher.finish(process)
    assert code == 137 and error == 'launch: worker 1 left with exit code 137 (SIGKILL)\n' and not launcher.alive()


def test_kill_9_of_the_launcher_leaves_nothing_and_lets_workers_save(launcher):
    text = '''trap 'echo 1 > %s/saved-$DMLC_WORKER_ID; exit' TERM; sleep 300 & echo $$ > %s/$DMLC_WORKER_ID; wait'''
    process = launcher.start('-n', 2, '-s', 0, command=['bash', '-c', text % ((launcher.folder,) * 2)])
    launcher.wait_for('0', '1')
    process.kill()
    launcher.wait_for('saved-0', 'saved-1')
    launcher.wait_until(lambda: not launcher.alive())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on(launcher, number):
    text = '''trap 'echo %d > %s/got-$DMLC_WORKER_ID; exit' %d; sleep 300 & echo 1 > %s/$DMLC_WORKER_ID; wait'''
    process = launcher.start('-n', 2, '-s', 0, command=['bash', '-c', text % (number, launcher.folder, number,
                                                                              launcher.folder)])
    launcher.wait_for('0', '1')
    process.send_signal(number)
    assert launcher.finish(process)[0] == 128 + number and not launcher.alive()
    assert launcher.wait_for('got-0', 'got-1') == [number, number]


def test_a_second_signal_does_not_wait(launcher):
    text = 'trap "" TERM; echo 1 > %s/$DMLC_WORKER_ID; sleep 300; sleep 300' % launcher.folder
    process = launcher.start('-n', 1, '-s', 0, '--grace', 300, command=['bash', '-c', text])
    launcher.wait_for('0')
    process.terminate()
    launcher.wait_until(lambda: 'SIGTERM' in process.stderr.readline())
    process.terminate()
    assert launcher.finish(process)[0] == 143 and not launcher.alive()


def test_a_reader_that_leaves_ends_the_job(launcher):
    process = launcher.start('-n', 1, '-s', 0, command=['bash', '-c', 'while sleep 0.05; do echo line; done'])
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(LIMIT) == 128 + signal.SIGPIPE and not launcher.alive()


def test_silence_ends_the_job(launcher):
    code, _, error = launcher.bash('echo line; sleep 300', '-n', 1, '-s', 0, '--idle-timeout', 1)
    assert code == 1 and not launcher.alive()
    assert error == 'launch: no process has written anything for 1 seconds: ending the job\n'


def test_restarts_resume_a_training(launcher):
    script = launcher.folder / 'train_cifar.py'
    script.write_text('import sys; print(sys.argv[1:]); sys.exit(0 if "--resume" in sys.argv else 9)')
    command = [sys.executable, script, '--blocks', 1]
    assert launcher.run('-n', 1, '-s', 0, command=command)[0] == 9
    code, out, error = launcher.run('-n', 1, '-s', 0, '--max-restarts', 3, command=command)
    assert code == 0 and 'starting again, 1 of 3' in error
    assert out == ["[worker 0] ['--blocks', '1', '--resume']", "[worker 0] ['--blocks', '1']"]


@pytest.mark.parametrize('code, times', [(9, 3), (2, 1)])
def test_restarts_are_counted_and_a_mistake_is_not_tried_again(launcher, code, times):
    found = launcher.bash('echo $0; exit %d' % code, '-n', 1, '-s', 0, '--max-restarts', 2)
    assert found[:2] == (code, ['[worker 0] bash'] * times)


def test_only_our_trainings_are_resumed_and_only_once():
    assert launch.resumed(['python', 'x.py']) == ['python', 'x.py']
    resumed = launch.resumed(['python', '/a/train_imagenet.py'])
    assert resumed == ['python', '/a/train_imagenet.py', '--resume'] == launch.resumed(resumed)


def test_the_environment_of_a_worker(launcher):
    show = 'echo $OMP_NUM_THREADS,$DMLC_ROLE,$DMLC_RANK,$PWD'
    leaked = dict(DMLC_ROLE='server', DMLC_RANK='3')
    assert launcher.bash(show, '-n', 1, '-s', 0, OMP_NUM_THREADS='5', **leaked)[1] == ['[worker 0] 5,,,' + ROOT]
    cores = len(os.sched_getaffinity(0))
    threads, = {line.split()[2] for line in launcher.bash(show, '-n', 2, '-s', 0, OMP_NUM_THREADS=None, **leaked)[1]}
    assert threads.split(',')[1:] == ['', '', ROOT] and 1 <= int(threads.split(',')[0]) <= max(1, cores // 2)


def test_the_launcher_does_not_import_mxnet():
    check = 'import sys, tools.launch.__main__; sys.exit("mxnet" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', check], cwd=ROOT, timeout=LIMIT).returncode == 0


def test_ranks_sums_and_a_node_that_falls_silent(launcher):
    """Real servers: ranks are the numbers in front; a stopped worker is missed by its heartbeats."""
    code, out, error = launcher.run('-n', 2, '-s', 1, '--heartbeat-timeout', 3, '--grace', 0, DMLC_ROLE='server',
                                    command=[sys.executable, '-c', WORKER])
    assert code == 1 and not launcher.alive()
    assert out == ['[worker %d] rank %d of 2 pulled 3' % (rank, rank) for rank in (0, 1)]
    assert 'launch: scheduler left with exit code 1; the end of its standard error:\nno heartbeat for 3 seconds from ' \
           'worker 1: the host, the process or the link to it is gone\n' in error


def test_a_server_unpickles_nothing(monkeypatch, capsys):
    monkeypatch.setattr(os, '_exit', sys.exit)
    with pytest.raises(SystemExit) as leaving:
        server.refuse_command(0, b'cos\nabort\n(tR.', None)
    assert leaving.value.code == 1 and 'update_on_kvstore=False' in capsys.readouterr().err


def test_ssh_starts_workers_on_their_hosts(launcher, ssh):
    hosts = hostfile(launcher, '127.0.0.1 slots=2  # near\n\nme@127.0.0.2\n')
    code, out, _ = launcher.bash('echo $DMLC_WORKER_ID $PWD "a  b"', '-n', 3, '-s', 0, '-H', hosts)
    assert code == 0 and not launcher.alive()
    assert out == ['[worker %d] %d %s a  b' % (number, number, ROOT) for number in range(3)]
    asked = ssh.read_text().splitlines()
    assert all('-o BatchMode=yes' in line for line in asked) and sum(' me@127.0.0.2 cd ' in line for line in asked) == 1


def test_a_host_that_ssh_does_not_reach(launcher, ssh):
    hosts = hostfile(launcher, '127.0.0.9\n127.0.0.1\n')
    code, _, error = launcher.bash('sleep 300', '-n', 2, '-s', 0, '-H', hosts)
    assert code == 255 and not launcher.alive()
    assert 'launch: worker 0 left with exit code 255 on 127.0.0.9, which ssh did not reach or has lost; the end of ' \
           'its standard error:\nno route to host\n' in error


def test_over_ssh_nothing_outlives_the_launcher(launcher, ssh):
    hosts = hostfile(launcher, '127.0.0.1\n127.0.0.2\n')
    text = 'sleep 300 & echo $$ > %s/$DMLC_WORKER_ID; wait' % launcher.folder
    process = launcher.start('-n', 2, '-s', 0, '-H', hosts, command=['bash', '-c', text])
    launcher.wait_for('0', '1')
    process.kill()
    launcher.wait_until(lambda: not launcher.alive())


def test_a_guard_that_hears_nothing_ends_its_task(launcher):
    """The link to the launcher is cut: its input neither ends nor says anything."""
    task = Task('worker 0', None, ['sleep', '300'], ROOT, {'OMP_NUM_THREADS': '1'}, 1)._asdict()
    guard = subprocess.Popen([sys.executable, '-m', 'tools.launch.guard'], cwd=ROOT, env=launcher.env,
                             stdin=subprocess.PIPE)
    guard.stdin.write(json.dumps({**task, 'grace': 1, 'silence': 1}).encode() + b'\n')
    guard.stdin.flush()
    assert guard.wait(LIMIT) == 128 + signal.SIGTERM and not launcher.alive()
    guard.stdin.close()


def parsed(*flags, command=('true',)):
    return launch.parse_args([*map(str, flags), '--', *command])[0]


def test_ranks_are_given_as_ps_lite_gives_them():
    """Descending addresses, then ascending ports; servers go round the hosts, the scheduler is on the first."""
    args = parsed('-n', 3, '-s', 3, '--launcher', 'ssh', '-H', 'x', '--port', 9000)
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
    args = parsed('-n', 4, '-s', 0, '--launcher', 'ssh', '-H', 'x', '--gpus-per-worker', 2)
    tasks = nodes.tasks_of(args, [('a', '10.0.0.1')] * 3 + [('b', '10.0.0.2')], ['true'])
    assert [(task.host, task.env['CUDA_VISIBLE_DEVICES']) for task in tasks] == [
        ('b', '0,1'), ('a', '0,1'), ('a', '2,3'), ('a', '4,5')]
    args = parsed('-n', 1, '-s', 0, '--launcher', 'ssh', '-H', 'x')
    assert 'CUDA_VISIBLE_DEVICES' not in nodes.tasks_of(args, [('a', '10.0.0.1')], ['true'])[0].env


@pytest.mark.parametrize('flags, python', [([], sys.executable), (['--launcher', 'slurm'], sys.executable),
                                           (['--launcher', 'kubernetes', '--image', 'x'], 'python')])
def test_a_bare_python_is_this_one(flags, python):
    assert launch.parse_args(['-n', '1', *flags, '--', 'python', 'a.py'])[1] == [python, 'a.py']


def test_multi_homed_hosts():
    args = parsed('-n', 1, '--launcher', 'ssh', '-H', 'x', '--interface', 'ib0', '--root-uri', '10.1.0.1')
    for task in nodes.tasks_of(args, [('a', '10.0.0.1')], ['true']):
        env = task.env
        assert (env['DMLC_INTERFACE'], env['DMLC_NODE_HOST'], env['DMLC_PS_ROOT_URI']) == ('ib0', None, '10.1.0.1')


@pytest.mark.parametrize('flags, command, sentence', [
    (['-n', 2], [], 'there is no command'),
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
    with pytest.raises((OSError, ValueError)) as refusal:
        launch.main([*map(str, flags), '--', *command])
    assert sentence in str(refusal.value)


@pytest.mark.parametrize('flags', [['-n', '0'], ['-n', 'two'], ['-n', '1', '-s', '-1'], []])
def test_numbers_that_are_refused(flags, capsys):
    with pytest.raises(SystemExit) as leaving:
        launch.main([*flags, '--', 'true'])
    assert leaving.value.code == 2 and 'error: ' in capsys.readouterr().err


def test_a_mistake_is_one_sentence_and_exit_code_2(launcher):
    process = launcher.start('-n', 1, command=[])
    assert launcher.finish(process) == (2, [], 'launch: error: there is no command: write it behind --\n')


@pytest.mark.parametrize('text, sentence', [
    ('a b\n', "line 1: 'a b' is not of the form"), ('a\n-oProxyCommand=x\n', 'line 2'), ('a slots=0', 'line 1'),
    ('a; b', 'line 1'), ('# a\n', 'names no host'), ('127.0.0.1\n', '1 slots for 2 workers'),
    ('127.0.0.1\n10.0.0.1\n', '127.0.0.1 is at 127.0.0.1, where the other hosts cannot reach it'),
    ('no-such-host.invalid slots=2', 'no-such-host.invalid has no address here')])
def test_hostfiles_that_are_refused(tmp_path, text, sentence):
    path = tmp_path / 'hosts'
    path.write_text(text)
    with pytest.raises(ValueError) as refusal:
        launch.main(['-n', '2', '-H', str(path), '--', 'true'])
    assert sentence in str(refusal.value)


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as other:
        other.bind(('', 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match='port %d is taken' % port):
            launch.main(['-n', '1', '--port', str(port), '--', 'true'])


def test_the_slurm_script(launcher, capsys):
    """Run with a stand-in for srun that starts the last task alone, a worker."""
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
    shell = [word.replace('$$(', '$(') for word in container['command']]  # as Kubernetes reads it
    python = launcher.folder / 'python'
    python.write_text('#!/bin/bash\necho $DMLC_ROLE "$@"\n')
    python.chmod(0o755)
    env.update(PATH='%s:%s' % (launcher.folder, os.environ['PATH']))
    said = [subprocess.check_output(shell, env=dict(env, JOB_COMPLETION_INDEX=str(index)), timeout=LIMIT, text=True)
            for index in range(4)]
    serve = '-m tools.launch.server\n'
    assert said == ['scheduler ' + serve, 'server ' + serve, 'worker of 2\n', 'worker of 2\n']
