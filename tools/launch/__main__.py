"""python -m tools.launch -n WORKERS -s SERVERS [-H HOSTFILE] -- COMMAND: run a command as the workers of one job.

    python -m tools.launch -n 2 -s 1 -- python train_cifar.py --kvstore dist_sync --useReLU

starts one of MXNet's parameter servers, its scheduler and two workers, here or with -H over ssh, and writes what they
write with `[worker 1]` in front. A bare `python` is the Python that runs the launcher. The first process that fails
ends the job, and its exit code is the job's. The number of a worker is its rank in MXNet's kvstore; only with
--interface, where the addresses are not known here, it may differ. SLURM and Kubernetes start processes themselves:
for them a script or a manifest is printed.

How the job ends:
- a process fails: workers get SIGTERM and --grace seconds; then all is killed. A worker that waits for one that died
  cannot save any more: a job is resumed from the last checkpoint that it made by itself (--save-every-steps);
- Ctrl-C, SIGTERM or SIGHUP to the launcher: passed on in the same way, and a training saves some three steps later; a
  second one kills at once; exit code 130, 143 or 129;
- kill -9 of the launcher: every process has a guard, which does the same when its standard input closes, or over ssh
  when it has not heard from the launcher for 30 seconds;
- a host, a process or its link to the scheduler is gone without a word, for which ps-lite would wait for ever: each
  node sends a heartbeat, and the scheduler leaves when one has not come for --heartbeat-timeout seconds;
- no process writes a line for --idle-timeout seconds, if that is given. Nothing else ends a job whose worker hangs in
  its own code or never finds the scheduler, or whose worker and server reach the scheduler but not each other.

Here are the flags and the attempts. nodes.py says who works where, job.py starts and ends the processes, guard.py
guards each of them, server.py is what the servers run, printed.py what SLURM and Kubernetes get. Only server.py imports
MXNet: with the DMLC_ROLE of a server, that would never return.
"""
import os
import re
import shlex
import shutil
import signal
import sys

from cli.command import Parser
from cli.kinds import at_least
from cli.streams import mend_streams
from tools.launch.job import Job, say
from tools.launch.nodes import PORTS, LaunchError, places_of, tasks_of
from tools.launch.printed import PRINTED

TRAININGS = {'train_cifar.py', 'train_imagenet.py'}


def parse_args(argv=None):
    """(flags, command). Raises LaunchError if they contradict one another, or if the command is not there."""
    argv = sys.argv[1:] if argv is None else list(argv)
    end = argv.index('--') if '--' in argv else len(argv)
    parser = Parser('launch', usage='python -m tools.launch -n WORKERS -s SERVERS [flags] -- command ...',
                    description='Run a command as the workers of one job.')
    parser.add_argument('-n', dest='workers', type=at_least(1), required=True, help='workers: copies of the command')
    parser.add_argument('-s', dest='servers', type=at_least(0), default=1,
                        help='parameter servers (default 1; 0: none, and no scheduler)')
    parser.add_argument('-H', '--hostfile', help='start over ssh, on the hosts of this file: `host` or `host slots=4` '
                                                 'a line; the repository must be at the same place on each')
    parser.add_argument('--gpus-per-worker', type=at_least(0), default=0, metavar='K',
                        help='let the workers of a host see K GPUs each, the first 0 to K-1 and so on (default 0: each '
                             'sees all, so two workers with --num-gpus 1 would share one)')
    parser.add_argument('--launcher', choices=['local', 'ssh', *PRINTED],
                        help='default: local, with -H ssh; the others print what is to be submitted')
    parser.add_argument('--max-restarts', type=at_least(0), default=0, metavar='K',
                        help='start again up to K times after a failure, with --resume where train_cifar.py or '
                             'train_imagenet.py is a word of the command')
    parser.add_argument('--grace', type=at_least(0), default=15, metavar='SECONDS',
                        help='what workers have after SIGTERM before they are killed (default 15)')
    parser.add_argument('--heartbeat-timeout', type=at_least(0), default=20, metavar='SECONDS',
                        help='end the job when a node has not been heard of for this time (default 20; 0: never)')
    parser.add_argument('--idle-timeout', type=at_least(0), default=0, metavar='SECONDS',
                        help='end the job when no process has written anything for this time (default 0: never)')
    parser.add_argument('--port', type=at_least(1), help='of the scheduler (default: a free one)')
    parser.add_argument('--root-uri', metavar='ADDRESS', help='of the scheduler (default: of the first host)')
    parser.add_argument('--interface', help='network interface of all nodes (default: the one with the address of the '
                                            'hostfile)')
    parser.add_argument('--image', help='of the containers of Kubernetes, with the repository as its working folder')
    parser.add_argument('--name', default='atac', help='of the job of SLURM or Kubernetes')
    args = parser.parse_args(argv[:end])
    args.launcher = args.launcher or ('ssh' if args.hostfile else 'local')
    command = by_this_python(args, argv[end + 1:])
    check_flags(args, command)
    return args, command


def by_this_python(args, command):
    """The command, in which a bare `python` is this one; in a container of Kubernetes it is the container's."""
    if args.launcher != 'kubernetes' and command[:1] in (['python'], ['python3']):
        return [sys.executable, *command[1:]]
    return command


def check_flags(args, command):
    """LaunchError for flags that do not go together, and for a command that is not there."""
    if not command:
        raise LaunchError('there is no command: write it after --')
    if bool(args.hostfile) != (args.launcher == 'ssh'):
        raise LaunchError(f'-H and --launcher ssh go together, not with --launcher {args.launcher}'
                          if args.hostfile else '--launcher ssh needs -H')
    if args.launcher in PRINTED and (args.max_restarts or args.idle_timeout or not args.servers):
        raise LaunchError(f'--launcher {args.launcher} takes neither --max-restarts nor --idle-timeout nor -s 0')
    if args.launcher in PRINTED and args.gpus_per_worker:
        raise LaunchError(f'--gpus-per-worker is for processes that are started here: {args.launcher} gives out GPUs '
                          'itself')
    if bool(args.image) != (args.launcher == 'kubernetes'):
        raise LaunchError('--image and --launcher kubernetes go together')
    if not re.fullmatch('[a-z]([a-z0-9-]{0,40}[a-z0-9])?', args.name):
        raise LaunchError(f'--name {args.name!r} is not of small letters, digits and -')
    if args.workers >= len(PORTS):
        raise LaunchError(f'-n {args.workers}: there are ports for {len(PORTS) - 1} workers')
    if args.port and args.port + args.workers > 65535:
        raise LaunchError(f'--port {args.port} leaves no ports for {args.workers} workers above it')
    if args.launcher == 'local' and not shutil.which(command[0]):
        raise LaunchError(f'there is no program {command[0]}')


def attempts(args, command):
    """Run the job, again after a failure as often as allowed; returns the exit code.

    What the command itself calls a mistake in its flags or files, 2, would fail again.
    """
    signals = []
    places = places_of(args)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda number, _: signals.append(number))
    for attempt in range(args.max_restarts + 1):
        code = Job(tasks_of(args, places, command), args.grace, args.idle_timeout, signals).run()
        if code in (0, 2) or signals or attempt == args.max_restarts:
            break
        command = resumed(command)
        say(f'starting again, {attempt + 1} of {args.max_restarts}: {shlex.join(command)}')
    return code


def resumed(command):
    """The command of another attempt: one of our trainings continues from its last checkpoint."""
    ours = any(os.path.basename(word) in TRAININGS for word in command)
    return [*command, '--resume'] if ours and '--resume' not in command else command


def main(argv=None):
    """Run the job, or print what is to be submitted; returns the exit code."""
    args, command = parse_args(argv)
    if args.launcher in PRINTED:
        print(PRINTED[args.launcher](args, command))
        return 0
    return attempts(args, command)


if __name__ == '__main__':
    mend_streams()
    try:
        sys.exit(main())
    except (OSError, LaunchError) as error:
        if isinstance(error, OSError) and error.filename:
            error = f'{error.filename}: {error.strerror}'
        print(f'launch: error: {error}', file=sys.stderr)
        sys.exit(2)
