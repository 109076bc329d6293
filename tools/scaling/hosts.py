"""Hosts that are not there: network namespaces of this machine, each with an address and a link of its own to a switch.

Linux only, and only for the superuser.
"""
import os
import subprocess
from collections import namedtuple
from contextlib import contextmanager
from itertools import count

# What a link may pass on at once; more than the largest packet between namespaces, 64 KB.
BURST = '256kb'
# How long a packet may wait for a shaped link before it is dropped.
WAITING = '100ms'
NUMBERS = count()  # of the sets of hosts of this process

SSH = """#!/bin/sh
# What tools.launch takes for ssh: options, a host, and one string for its shell.
while [ "${1#-}" != "$1" ]; do
    [ "$1" = -o ] && shift
    shift
done
case "$1" in
%s
esac
"""

# address: IPv4. words: what comes before a command that is to run there. link: the switch's end of its cable.
# switch: the namespace of the switch.
Host = namedtuple('Host', 'address words link switch')


@contextmanager
def hosts(count, rate=None):
    """This number of Hosts that reach one another.   rate: bit/s of each link in each direction, or None for no limit

    Raises OSError where this machine allows no namespaces, or cannot shape a link.
    """
    switch = f'atac{os.getpid()}-{next(NUMBERS)}'
    names = [f'{switch}-{number}' for number in range(count)]
    try:
        run('ip netns add ' + switch)
        run(f'ip netns exec {switch} sysctl -qw net.ipv4.ip_forward=1')
        yield [connected(switch, name, number, rate) for number, name in enumerate(names)]
    finally:
        for name in [*names, switch]:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True, check=False)


def connected(switch, name, number, rate):
    """A new Host with a cable from its eth0 to a port of the switch."""
    link = f'port{number}'
    address = f'10.213.{number}.2'
    gateway = f'10.213.{number}.1'
    for command in (f'ip netns add {name}',
                    f'ip -n {switch} link add {link} type veth peer name eth0 netns {name}',
                    f'ip -n {switch} addr add {gateway}/24 dev {link}',
                    f'ip -n {switch} link set {link} up',
                    f'ip -n {name} addr add {address}/24 dev eth0',
                    f'ip -n {name} link set eth0 up',
                    f'ip -n {name} link set lo up',
                    f'ip -n {name} route add default via {gateway}'):
        run(command)
    for place, device in ((switch, link), (name, 'eth0')):
        if rate:
            run(f'tc -n {place} qdisc add dev {device} root tbf rate {rate} burst {BURST} latency {WAITING}')
    return Host(address, ['ip', 'netns', 'exec', name], link, switch)


def reached_by_ssh(folder, places):
    """(hostfile, PATH) with which tools.launch reaches these Hosts; both lie in the folder."""
    with open(os.path.join(folder, 'ssh'), 'w') as file:
        file.write(SSH % '\n'.join(f'{host.address}) shift; exec {" ".join(host.words)} sh -c "$*";;'
                                   for host in places))
    os.chmod(file.name, 0o755)
    with open(os.path.join(folder, 'hosts'), 'w') as file:
        file.writelines(host.address + '\n' for host in places)
    return file.name, folder + os.pathsep + os.environ['PATH']


def cut(host):
    """Take the cable of a host out."""
    run(f'ip -n {host.switch} link set {host.link} down')


def run(command):
    try:
        subprocess.run(command.split(), check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f'{command}: {error.stderr.strip()}') from error
