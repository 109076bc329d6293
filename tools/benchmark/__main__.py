"""Speed and memory: this repository beside the authors' way, PyTorch and ONNX Runtime, in one call.

    python -m tools.benchmark input|train|infer|all [--model cifar_resnet] [--rounds 7] [--json FILE]

Each contestant is a process that has warmed up. In every round each of them works once, in an order that turns, so
that a machine whose speed wanders harms all alike; a ratio is the median of the rounds' ratios. Clocks are read when
the work has ended. The peers take part where the Python of `make bench-setup` is; who fails at the warm-up, such as
bfloat16 on a CPU without AVX-512, is left out by name. The authors' way runs on the threads that MXNet takes by itself,
half of the processors, all others on every physical core. Nothing else should run meanwhile; all contestants of a
contest are in memory at once, up to 20 GB.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import namedtuple
from contextlib import ExitStack

import runtime
from runtime import UserError

from cli.exits import run_script
from cli.kinds import at_least
from tools import ROOT
from tools.benchmark.rounds import Contestant
from tools.machine.doctor import processor
from training.runlog import commit

PEERS = os.path.join(ROOT, '.venv-bench', 'bin', 'python')
VERSIONS = """
import json
from importlib import metadata
print(json.dumps({item.metadata['Name']: item.version for item in metadata.distributions()
                  if item.metadata['Name'] in ('mxnet', 'numpy', 'onnxruntime', 'opencv-python', 'torch')}))
"""

# What is computed; steps: a round.
Task = namedtuple('Task', 'host unit blocks batch steps')
# kind: subcommand. model: of --model. entries: label -> file of this folder and contestant in it.
Contest = namedtuple('Contest', 'kind title model task entries targets')
# Of the quantity of one label divided by that of another (None: by 1): at least `bound` for speeds, at most for memory.
Target = namedtuple('Target', 'of to bound quantity', defaults=('images_per_second',))

TRAINING = {
    'end to end': 'ours epoch', 'step': 'ours step', 'step, bfloat16': 'ours step-bfloat16',
    'queueing alone': 'ours host',
    "authors' way, end to end": 'authors epoch', "authors' way, step": 'authors step',
    'PyTorch, step': 'peers train pytorch', 'PyTorch channels_last, step': 'peers train pytorch-channels-last',
    'PyTorch channels_last, step, bfloat16': 'peers train pytorch-channels-last-bfloat16'}
LEANER = Target('step', "authors' way, step", 1, 'memory')
CONTESTS = [
    Contest('input', '32x32 images, on one core', 'cifar_resnet', Task('cifar', 'ChaATAC', 3, 128, 50),
            {'crop, flip, normalise': 'ours input-small', 'Gluon DataLoader': 'authors loader'},
            [Target('crop, flip, normalise', None, 100000)]),
    Contest('input', 'JPEGs of 500x375 to 224x224', 'atac_resnet50_v1b', Task('imagenet', 'ChaATAC', 0, 64, 4),
            {'RecordIO, all cores': 'ours input-records', 'decoding alone, all cores': 'ours input-decode',
             'ImageRecordIter': 'authors iterator'}, []),
    Contest('train', 'ATAC, CIFAR, 3 blocks, batch 128', 'cifar_resnet', Task('cifar', 'ChaATAC', 3, 128, 12), TRAINING,
            [Target('end to end', "authors' way, end to end", 1.7),
             Target('end to end', 'PyTorch channels_last, step', 0.85), LEANER]),
    Contest('train', 'ReLU, CIFAR, 3 blocks, batch 128', 'cifar_resnet', Task('cifar', 'relu', 3, 128, 16), TRAINING,
            [LEANER]),
    Contest('train', 'ATAC-ResNet-50, 224x224, batch 16', 'atac_resnet50_v1b', Task('imagenet', 'ChaATAC', 0, 16, 3),
            {label: entry for label, entry in TRAINING.items() if entry != 'authors epoch'},
            [Target('step', 'PyTorch channels_last, step', 1.3), LEANER]),
    Contest('infer', 'ATAC-ResNet-50, 224x224, batch 16', 'atac_resnet50_v1b', Task('imagenet', 'ChaATAC', 0, 16, 6),
            {'float32': 'ours float32', 'float32, not folded': 'ours plain', 'bfloat16': 'ours bfloat16',
             'int8': 'ours int8', "authors' way": 'authors infer', 'ONNX Runtime float32': 'peers infer onnxruntime',
             'ONNX Runtime int8': 'peers infer onnxruntime-int8',
             'ONNX Runtime int8, activations uint8': 'peers infer onnxruntime-uint8',
             'PyTorch float32, frozen': 'peers infer pytorch-frozen',
             'PyTorch bfloat16': 'peers infer pytorch-bfloat16',
             'PyTorch bfloat16, frozen': 'peers infer pytorch-bfloat16-frozen'},
            [Target('int8', 'ONNX Runtime float32', 2.5), Target('int8', 'ONNX Runtime int8', 2.3),
             Target('bfloat16', 'ONNX Runtime float32', 1.2), Target('bfloat16', 'PyTorch bfloat16', 1.2),
             Target('float32', 'ONNX Runtime float32', 0.8), Target('float32', "authors' way", 1.5)]),
]
MODELS = sorted({contest.model for contest in CONTESTS})


def hold(contest, rounds, pythons):
    """({label: the answers of the rounds}, {label: why it was left out}).   pythons: {file of this folder: Python}

    Raises RuntimeError if the networks of two contestants have different numbers of parameters.
    """
    with ExitStack() as running:
        entries, left_out = line_up(contest, pythons, running)
        answers = {entry.label: [] for entry in entries}
        for number in range(rounds if entries else 0):
            turn = number % len(entries)
            for entry in entries[turn:] + entries[:turn]:
                answer(entry, answers, left_out)
    counts = {label: found[0]['parameters'] for label, found in answers.items() if found[0]['parameters']}
    if len(set(counts.values())) > 1:
        raise RuntimeError('%s: the networks differ: %s parameters'
                           % (contest.title, ', '.join('%s %d' % item for item in counts.items())))
    return answers, left_out


def answer(entry, answers, left_out):
    """Add what a Contestant says in a round to its answers; one that fails is left out, and its answers go."""
    if entry.label in answers:
        try:
            answers[entry.label].append(entry.round())
        except RuntimeError as error:
            left_out[entry.label] = str(error).splitlines()[-1]
            del answers[entry.label]


def line_up(contest, pythons, running):
    """([Contestant], {label: why it was left out}).   running: the ExitStack that ends them"""
    entries, left_out = [], {}
    for label, entry in contest.entries.items():
        module, *names = entry.split()
        if module not in pythons:
            left_out[label] = 'not installed'
            continue
        command = [pythons[module], '-W', 'ignore', '-m', 'tools.benchmark.' + module, *names, *contest.task]
        try:
            entries.append(running.enter_context(
                Contestant(label, map(str, command), {'OMP_NUM_THREADS': threads_of(module)})))
        except RuntimeError as error:
            left_out[label] = str(error).splitlines()[-1]
    return entries, left_out


def threads_of(module):
    """The authors' scripts leave the threads to MXNet, which takes half of the processors that it may use."""
    return str(max(1, len(os.sched_getaffinity(0)) // 2)) if module == 'authors' else os.environ['OMP_NUM_THREADS']


def ratios(answers, label, to, quantity='images_per_second'):
    """In each round, a quantity of one contestant by that of another, or by 1; [] where one did not take part."""
    if label not in answers or to is not None and to not in answers:
        return []
    return [mine[quantity] / (1 if to is None else theirs[quantity])
            for mine, theirs in zip(answers[label], answers[label if to is None else to])]


def result(contest, answers, left_out):
    """What a contest comes to, for JSON: a row for each contestant and one for each target."""
    rows, targets = [], []
    for label, rounds in answers.items():
        speeds = [answer['images_per_second'] for answer in rounds]
        rows.append({'contestant': label, 'images_per_second': statistics.median(speeds), 'least': min(speeds),
                     'most': max(speeds), 'ratio': statistics.median(ratios(answers, label, next(iter(answers)))),
                     'memory': max(answer['memory'] for answer in rounds), 'rounds': speeds,
                     'threads': threads_of(contest.entries[label].split()[0])})
    for target in contest.targets:
        found = ratios(answers, *target[:2], target.quantity)
        if found:
            targets.append({**target._asdict(), 'measured': statistics.median(found), 'least': min(found),
                            'most': max(found)})
    return {'contest': '%s: %s' % (contest.kind, contest.title), 'rows': rows, 'targets': targets,
            'left out': left_out}


def amount(number):
    """With as many digits as count."""
    return '{:,.0f}'.format(number) if number >= 100 else '%.1f' % number if number >= 3 else '%.2f' % number


def show(found):
    """The Markdown table of a contest."""
    print('\n**%s**\n\n| | images/s | least to most | to the first | peak memory (MiB) |\n|---|---|---|---|---|'
          % found['contest'])
    for row in found['rows']:
        print('| %s | %s | %s to %s | %.2f | %.0f |' % (
            row['contestant'], *map(amount, (row['images_per_second'], row['least'], row['most'])), row['ratio'],
            row['memory']))
    for label, reason in found['left out'].items():
        print('\nleft out: %s: %s' % (label, reason))
    sys.stdout.flush()


def verdict(target):
    """Whether a target was reached in all rounds, in none, or in some."""
    sign = -1 if target['quantity'] == 'memory' else 1
    holds = [sign * target[name] >= sign * target['bound'] for name in ('least', 'most')]
    return 'reached' if all(holds) else 'undecided' if any(holds) else '**not reached**'


def show_targets(contests):
    """The Markdown table of all targets."""
    print('\n| | | measured | least to most | wanted | |\n|---|---|---|---|---|---|')
    for found in contests:
        for target in found['targets']:
            what = ' / '.join(filter(None, (target['of'], target['to'])))
            memory = target['quantity'] == 'memory'
            print('| %s | %s | %s | %s to %s | %s %s | %s |' % (
                found['contest'], what + ', memory' * memory,
                *map(amount, (target['measured'], target['least'], target['most'])),
                'at most' if memory else 'at least', amount(target['bound']), verdict(target)))


def machine(pythons):
    """Processor, its instructions, cores and threads, and the versions of what runs on it."""
    name, instructions = processor()
    return {'processor': name, 'instructions': instructions, 'cores': runtime.physical_cores(),
            'OMP_NUM_THREADS': os.environ['OMP_NUM_THREADS'], 'python': platform.python_version(),
            'versions': {module: versions(python) for module, python in pythons.items() if module != 'authors'}}


def versions(python):
    """{package: version} of a Python; UserError if it is none."""
    try:
        return json.loads(subprocess.check_output([python, '-c', VERSIONS], timeout=60))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UserError('%s is no Python that works: %s' % (python, error)) from error


def main(argv=None):
    """Hold the contests and print their tables; returns {'command', 'commit', 'machine', 'rounds', 'contests'}."""
    parser = argparse.ArgumentParser('python -m tools.benchmark', description=__doc__.splitlines()[0])
    parser.add_argument('kind', choices=['input', 'train', 'infer', 'all'])
    parser.add_argument('--model', choices=MODELS, help='only the contests of this one')
    parser.add_argument('--rounds', type=at_least(1), default=7)
    parser.add_argument('--peers', default=PEERS, metavar='PYTHON', help='the Python with requirements/bench.txt')
    parser.add_argument('--json', metavar='FILE', help='also write everything to this file, which must not be there')
    args = parser.parse_args(argv)
    contests = [contest for contest in CONTESTS
                if args.kind in (contest.kind, 'all') and args.model in (contest.model, None)]
    if not contests:
        parser.error('there is no contest of %s with --model %s' % (args.kind, args.model))
    pythons = {'ours': sys.executable, 'authors': sys.executable}
    if os.path.exists(args.peers):
        pythons['peers'] = args.peers
    else:
        print('no peers: there is no %s (make bench-setup)' % args.peers)
    found = {'command': ' '.join(['python -m tools.benchmark', *(sys.argv[1:] if argv is None else argv)]),
             'commit': commit(), 'machine': machine(pythons), 'rounds': args.rounds, 'contests': []}
    file = open(args.json, 'x') if args.json else None
    print('%s, %s, %d cores' % (found['machine']['processor'], ', '.join(found['machine']['instructions']),
                                found['machine']['cores']))
    for contest in contests:
        found['contests'].append(result(contest, *hold(contest, args.rounds, pythons)))
        show(found['contests'][-1])
        if file:  # after each, so that one that fails loses none
            file.seek(0)
            json.dump(found, file, indent=1)
            file.flush()
    show_targets(found['contests'])
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
