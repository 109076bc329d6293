"""Who works where: hosts, addresses and ports, and what each process of a job finds in its environment.

From there MXNet's servers (ps-lite) know one another: DMLC_ROLE, how many there are, the address and the port of the
scheduler, their own address, PORT for a worker's own port.
"""
import os
import random
import re
import socket
import sys
from collections import Counter

from tools import ROOT
from tools.launch.job import Task, say

# What a command on another host finds as it is here, beside what the job sets.
FORWARDED = re.compile('PATH|PYTHONPATH|LD_LIBRARY_PATH|VIRTUAL_ENV|(OMP|KMP|MXNET|PS|NCCL|CUDA)_.*')
# Below the ports that Linux gives to outgoing connections, so that a free one stays free.
PORTS = range(20000, 32000)
HEARTBEAT = 1  # seconds between the heartbeats of a node, which therefore takes up to that much longer to leave


class LaunchError(ValueError):
    """A mistake of the user, as UserError of `runtime`, which would prepare this process to load MXNet."""


def places_of(args):
    """[(host, address)], one for each slot; (None, address) for this machine."""
    if args.launcher == 'local':
        return [(None, os.environ.get('DMLC_NODE_HOST', '127.0.0.1'))] * args.workers
    hosts = read_hostfile(args.hostfile)
    if len(hosts) < args.workers:
        raise LaunchError(f'{args.hostfile} has {len(hosts)} slots for {args.workers} workers: write for example '
                          f'`{hosts[0]} slots={args.workers}`')
    places = [(host, address_of(host)) for host in hosts]
    loopback = [address.startswith('127.') for _, address in places]
    if any(loopback) and not all(loopback):
        host, address = places[loopback.index(True)]
        raise LaunchError(f'{host} is at {address}, where the other hosts cannot reach it: put its address into '
                          f'{args.hostfile}')
    return places


def read_hostfile(path):
    """The hosts of a file, each as often as it has slots. A line is `host` or `host slots=4`; # begins a comment."""
    hosts = []
    with open(path, errors='replace') as file:
        for number, line in enumerate(file, 1):
            line = line.partition('#')[0].strip()
            found = re.fullmatch(r'([A-Za-z0-9_][A-Za-z0-9_.@:-]*)(?:\s+slots=([1-9][0-9]{0,3}))?', line)
            if line and not found:
                raise LaunchError(f'{path}, line {number}: {line!r} is not of the form `host` or `host slots=4`')
            if line:
                hosts += [found.group(1)] * int(found.group(2) or 1)
    if not hosts:
        raise LaunchError(f'{path} names no host')
    return hosts


def address_of(host):
    """The IPv4 address of a host of the hostfile, which ps-lite needs as a number to listen on it."""
    try:
        return socket.gethostbyname(host.rpartition('@')[2])
    except (OSError, UnicodeError):
        raise LaunchError(f'{host} has no address here: put its address into the hostfile (what ssh needs to know of '
                          'it belongs into ~/.ssh/config)') from None


def free_ports(count, local):
    """The first of this number of successive ports; free ones, if they are to be used here."""
    while True:
        first = random.choice(PORTS)
        if not local or all(map(is_free, range(first, first + count))):
            return first


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True


def tasks_of(args, places, command):
    """The scheduler, the servers and the workers of one attempt, in this order; without servers only the workers.

    Raises LaunchError if the port that --port says is taken.
    """
    local = args.launcher == 'local'
    if args.port and local and not is_free(args.port):
        raise LaunchError(f'port {args.port} is taken: leave out --port, or choose another')
    env = {'DMLC_ROLE': None, 'DMLC_RANK': None}
    if not local:
        env.update((name, value) for name, value in os.environ.items() if FORWARDED.fullmatch(name))
    if not args.servers:
        return worker_tasks(args, places, command, env, None)
    uri = args.root_uri or places[0][1]
    port = args.port or free_ports(args.workers + 1, local)
    env.update(job_environment(args, uri, port))
    say(f'workers: {args.workers}, servers: {args.servers}, scheduler at {uri}:{port}')
    return server_tasks(args, places, env) + worker_tasks(args, places, command, env, port)


def server_tasks(args, places, env):
    """The scheduler on the first host, and servers in turn on all."""
    hosts = list(dict.fromkeys(places))
    nodes = [('scheduler', 'scheduler', *hosts[0])]
    nodes += [('server', f'server {number}', *hosts[number % len(hosts)]) for number in range(args.servers)]
    return [Task(name, host, [sys.executable, '-m', 'tools.launch.server'], ROOT,
                 {**env, **node_environment(args, role, address)}, 0) for role, name, host, address in nodes]


def worker_tasks(args, places, command, env, port):
    """The workers in the order of the ranks that ps-lite gives: by address, descending, and then by port.

    port: of the scheduler, those of the workers follow it; None where there are no servers.
    """
    places = sorted(places[:args.workers], key=lambda place: place[1], reverse=True)
    sharing = Counter(host for host, _ in places)
    before = Counter()  # workers of a host that have their GPUs
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    tasks = []
    for number, (host, address) in enumerate(places):
        own = {'DMLC_WORKER_ID': str(number)}
        if port:
            own.update(node_environment(args, 'worker', address), PORT=str(port + 1 + number))
        if args.gpus_per_worker:
            own['CUDA_VISIBLE_DEVICES'] = gpus_of(args.gpus_per_worker, before[host], None if host else visible)
        before[host] += 1
        tasks.append(Task(f'worker {number}', host, command, os.getcwd(), {**env, **own}, sharing[host]))
    return tasks


def gpus_of(count, before, visible):
    """The GPUs of a worker: the next ones after those of the workers before it, of those that are visible here."""
    wanted = range(count * before, count * (before + 1))
    if visible is None:
        return ','.join(map(str, wanted))
    names = visible.split(',') if visible else []
    if len(names) < wanted.stop:
        raise LaunchError(f'CUDA_VISIBLE_DEVICES={visible} has fewer GPUs than the workers are to have')
    return ','.join(names[number] for number in wanted)


def job_environment(args, uri, port):
    """What all processes of a job with servers have in common. uri, port: of the scheduler."""
    return {'DMLC_NUM_SERVER': str(args.servers), 'DMLC_NUM_WORKER': str(args.workers),
            'DMLC_PS_ROOT_URI': uri, 'DMLC_PS_ROOT_PORT': str(port),
            'PS_HEARTBEAT_INTERVAL': str(HEARTBEAT if args.heartbeat_timeout else 0),
            'PS_HEARTBEAT_TIMEOUT': str(args.heartbeat_timeout),
            **({'DMLC_INTERFACE': args.interface} if args.interface else {})}


def node_environment(args, role, address):
    """A node's role and the address at which the others reach it; with --interface it finds that itself. A port
    that was left in the environment is not taken for its own."""
    return {'DMLC_ROLE': role, 'DMLC_NODE_HOST': None if args.interface else address, 'PORT': None}
