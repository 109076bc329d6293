"""The launcher, with real processes: how jobs end, restart, and start on other hosts."""
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.launchers import LIMIT, Launch
from tools import ROOT
from tools.launch import __main__ as launch
from tools.launch import server
from tools.launch.job import Task

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


@pytest.fixture
def launcher(tmp_path):
    with Launch(tmp_path) as starter:
        yield starter


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


def test_a_job_outlives_its_reader(launcher):
    text = f'for line in 1 2 3 4 5; do echo $line; echo $line >&2; sleep 0.1; done; touch {launcher.folder}/done'
    process = launcher.start('-n', 1, '-s', 0, command=['bash', '-c', text])
    for stream in (process.stdout, process.stderr):
        stream.readline()
        stream.close()
    assert process.wait(LIMIT) == 0 and not launcher.alive() and os.path.exists(f'{launcher.folder}/done')


def test_silence_ends_the_job(launcher):
    code, _, error = launcher.bash('echo line; sleep 300', '-n', 1, '-s', 0, '--idle-timeout', 1)
    assert code == 3 and not launcher.alive()
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
    assert code == 3 and not launcher.alive()
    assert out == ['[worker %d] rank %d of 2 pulled 3' % (rank, rank) for rank in (0, 1)]
    assert 'launch: scheduler left with exit code 3; the end of its standard error:\nno heartbeat for 3 seconds from ' \
           'worker 1: the host, the process or the link to it is gone\n' in error


def test_a_server_unpickles_nothing(monkeypatch, capsys):
    monkeypatch.setattr(os, '_exit', sys.exit)
    with pytest.raises(SystemExit) as leaving:
        server.leave_at_command(0, b'cos\nabort\n(tR.', None)
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
