"""Hosts that are not there: network namespaces of this machine, each with an address and a link of its own to a switch.

Linux alone, and only for the superuser.
"""
import os
import subprocess
from collections import namedtuple
from contextlib import contextmanager
from itertools import count

BURST = '256kb'      # what a link may pass on at once; more than the largest packet between namespaces, 64 KB
NUMBERS = count()    # of the sets of hosts of this process
WAITING = '100ms'    # how long a packet may wait for a shaped link before it is dropped

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

# address: IPv4. words: what stands in front of a command that is to run there. link: the switch's end of its cable.
# switch: the namespace of the switch.
Host = namedtuple('Host', 'address words link switch')


@contextmanager
def hosts(count, rate=None):
    """So many Hosts that reach one another.   rate: bit/s of each link in each direction, or None for no limit

    Raises OSError where this machine allows no namespaces, or cannot shape a link.
    """
    switch = 'atac%d-%d' % (os.getpid(), next(NUMBERS))
    names = ['%s-%d' % (switch, number) for number in range(count)]
    try:
        run('ip netns add ' + switch)
        run('ip netns exec %s sysctl -qw net.ipv4.ip_forward=1' % switch)
        yield [connected(switch, name, number, rate) for number, name in enumerate(names)]
    finally:
        for name in [*names, switch]:
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True, check=False)


def connected(switch, name, number, rate):
    link, address, gateway = 'port%d' % number, '10.213.%d.2' % number, '10.213.%d.1' % number
    for command in ('ip netns add ' + name,
                    'ip -n %s link add %s type veth peer name eth0 netns %s' % (switch, link, name),
                    'ip -n %s addr add %s/24 dev %s' % (switch, gateway, link),
                    'ip -n %s link set %s up' % (switch, link),
                    'ip -n %s addr add %s/24 dev eth0' % (name, address),
                    'ip -n %s link set eth0 up' % name,
                    'ip -n %s link set lo up' % name,
                    'ip -n %s route add default via %s' % (name, gateway)):
        run(command)
    for place, device in ((switch, link), (name, 'eth0')):
        if rate:
            run('tc -n %s qdisc add dev %s root tbf rate %d burst %s latency %s'
                % (place, device, rate, BURST, WAITING))
    return Host(address, ['ip', 'netns', 'exec', name], link, switch)


def reached_by_ssh(folder, places):
    """(hostfile, PATH) with which tools.launch reaches these Hosts; both lie in the folder."""
    with open(os.path.join(folder, 'ssh'), 'w') as file:
        file.write(SSH % '\n'.join('%s) shift; exec %s sh -c "$*";;' % (host.address, ' '.join(host.words))
                                   for host in places))
    os.chmod(file.name, 0o755)
    with open(os.path.join(folder, 'hosts'), 'w') as file:
        file.writelines(host.address + '\n' for host in places)
    return file.name, folder + os.pathsep + os.environ['PATH']


def cut(host):
    """Take the cable of a host out."""
    run('ip -n %s link set %s down' % (host.switch, host.link))


def run(command):
    try:
        subprocess.run(command.split(), check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise OSError('%s: %s' % (command, error.stderr.strip())) from error
