"""Memory that training takes: the greatest resident size of a process that trains a network for two steps on the CPU.

    python -m tools.peak_memory [--model NAME ...]      a table of all networks, or of these

Batches are of 128 images of 32x32 for CIFAR networks and of 16 of 224x224 for ImageNet's, unless --batch and
--input-size say otherwise. Each number is of a process of its own, which holds Python and MXNet (about 0.15 GB),
weights, momentum and gradients too. `here` is a network compiled as the training scripts do it, `authors' way` as
theirs do it: only by hybridize() for CIFAR, with static memory and shapes for ImageNet. In GB of 10^9 bytes.
"""
import subprocess
import sys

import runtime

import mxnet as mx

from cli.command import Parser
from cli.exits import run_script
from cli.kinds import at_least
from model import MODELS, complexity, get_model
from tools import ROOT
from tools.markdown import markdown_row, markdown_table
from training.devices import check_training_memory
from training.learner import compile_network, make_trainer

BATCHES = {'cifar': 128, 'imagenet': 16}  # images, by host
PATIENCE = 600                    # seconds that two steps may take
# A row: name of the network, its unit.
NETWORKS = [('cifar_resnet', 'relu'), ('cifar_resnet', 'ChaATAC')]
NETWORKS += [(name, None) for name in MODELS if name != 'cifar_resnet']


def step(net, trainer, shape):
    data = mx.nd.random.normal(shape=shape)
    with mx.autograd.record():
        loss = net(data).mean()
    loss.backward()
    trainer.set_learning_rate(0.1)
    trainer.step(shape[0])
    mx.nd.waitall()


def net_of(name, unit, size):
    return get_model(name, **MODELS[name].sized(size), **({'act_type': unit} if unit else {}))


def measure(name, unit, authors_way, batch, size):
    """Bytes that this process has held at most, once it has trained."""
    net = net_of(name, unit, size)
    cifar = not MODELS[name].host.takes_size
    net.initialize(mx.init.MSRAPrelu())
    if authors_way:
        net.hybridize(static_alloc=not cifar, static_shape=not cifar)
    else:
        compile_network(net, [mx.cpu()])
    trainer = make_trainer(net, 0.9, 1e-4)
    for _ in range(2):
        step(net, trainer, (batch, 3, size, size))
    return runtime.resident_size('VmHWM')


def measured_apart(*arguments):
    """The same, of a process of its own; None, and a word on stderr, if that fails."""
    call = 'from tools.machine.peak_memory import measure; print(measure(*%r))' % (arguments,)
    try:
        done = subprocess.run([sys.executable, '-W', 'ignore', '-c', call], cwd=ROOT, timeout=PATIENCE, check=True,
                              stdout=subprocess.PIPE)
        return int(done.stdout.split()[-1])
    except subprocess.CalledProcessError as error:
        why = f'it left with {error.returncode}, perhaps as memory was short'
    except subprocess.TimeoutExpired:
        why = f'it had not ended after {PATIENCE} s'
    print(f'{arguments[0]} is not measured: {why}', file=sys.stderr)
    return None


def written(size):
    return '-' if size is None else '%.2f' % (size / 1e9)


def main(argv=None):
    """Print the table; returns [(name, unit, images, side, bytes here, bytes their way)], None where that failed."""
    parser = Parser(description='Memory that training takes.')
    parser.add_argument('--model', nargs='+', choices=sorted({name for name, _ in NETWORKS}), help='(default: all)')
    parser.add_argument('--batch', type=at_least(1), help='images (default: 128 of CIFAR, 16 of ImageNet)')
    parser.add_argument('--input-size', type=at_least(1, most=4096),
                        help='side of the images (default: 32 of CIFAR, 224)')
    args = parser.parse_args(argv)
    print(markdown_table(['network', 'images', 'here (GB)', "authors' way (GB)"]))
    rows = []
    for name, unit in NETWORKS:
        if args.model and name not in args.model:
            continue
        batch = args.batch or BATCHES[MODELS[name].host.name]
        size = args.input_size or MODELS[name].host.input_size
        elements = complexity.activation_elements(net_of(name, unit, size), (1, 3, size, size))
        check_training_memory(batch, 4 * elements, [mx.cpu()])
        here, theirs = (measured_apart(name, unit, authors_way, batch, size) for authors_way in (False, True))
        print(markdown_row([name + (' with ' + unit if unit else ''), '%d of %dx%d' % (batch, size, size),
                            written(here), written(theirs)]), flush=True)
        rows.append((name, unit, batch, size, here, theirs))
    return rows


if __name__ == '__main__':
    sys.exit(run_script(main))
