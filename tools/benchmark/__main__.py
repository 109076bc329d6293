"""Speed and memory: this repository beside the authors' way, PyTorch and ONNX Runtime, in one call.

    python -m tools.benchmark input|train|infer|all [--model cifar_resnet] [--rounds 7] [--json FILE]

Each contestant is a process that has warmed up. In every round each of them works once, in an order that turns, so
that a machine whose speed wanders harms all alike; a ratio is the median of the rounds' ratios. Clocks are read when
the work has ended. The peers take part where the Python of `make bench-setup` is. Nothing else should run meanwhile.
"""
import argparse
import json
import os
import platform
import statistics
import sys
from collections import namedtuple
from contextlib import ExitStack

import runtime

from options import at_least, run_script
from tools.benchmark.rounds import ROOT, Contestant
from tools.doctor import processor

PEERS = os.path.join(ROOT, '.venv-bench', 'bin', 'python')

# kind: subcommand. model: of --model. task: host, unit, blocks, batch and steps a round, as both programs take them.
# entries: label -> file of this folder and contestant in it. targets: of ratios, (label, label, at least).
Contest = namedtuple('Contest', 'kind title model task entries targets')

SMALL_TRAINING = {
    'end to end': 'ours epoch', 'step': 'ours step', 'step, bfloat16': 'ours step-bfloat16',
    'queueing alone': 'ours host',
    "authors' way, end to end": 'authors epoch', "authors' way, step": 'authors step',
    'PyTorch, step': 'peers train pytorch', 'PyTorch channels_last, step': 'peers train pytorch-channels-last',
    'PyTorch channels_last, step, bfloat16': 'peers train pytorch-channels-last-bfloat16'}
LARGE_TRAINING = {label: entry for label, entry in SMALL_TRAINING.items() if 'end to end' not in label}
CONTESTS = [
    Contest('input', '32x32 images, on one core', 'cifar_resnet', 'cifar ChaATAC 3 128 50',
            {'crop, flip, normalise': 'ours input-small', 'Gluon DataLoader': 'authors loader'}, []),
    Contest('input', 'JPEGs of 500x375 to 224x224', 'atac_resnet50_v1b', 'imagenet ChaATAC 0 64 4',
            {'RecordIO, all cores': 'ours input-records', 'decoding alone, all cores': 'ours input-decode',
             'ImageRecordIter': 'authors iterator'}, []),
    Contest('train', 'ATAC, CIFAR, 3 blocks, batch 128', 'cifar_resnet', 'cifar ChaATAC 3 128 12', SMALL_TRAINING,
            [('end to end', "authors' way, end to end", 1.7), ('end to end', 'PyTorch channels_last, step', 0.85)]),
    Contest('train', 'ReLU, CIFAR, 3 blocks, batch 128', 'cifar_resnet', 'cifar relu 3 128 16', SMALL_TRAINING, []),
    Contest('train', 'ATAC-ResNet-50, 224x224, batch 16', 'atac_resnet50_v1b', 'imagenet ChaATAC 0 16 3',
            LARGE_TRAINING, [('step', 'PyTorch channels_last, step', 1.3),
                             ('step, bfloat16', 'PyTorch channels_last, step', 1.3)]),
    Contest('infer', 'ATAC-ResNet-50, 224x224, batch 16', 'atac_resnet50_v1b', 'imagenet ChaATAC 0 16 6',
            {'float32': 'ours float32', 'bfloat16': 'ours bfloat16', 'int8': 'ours int8',
             "authors' way": 'authors infer', 'ONNX Runtime float32': 'peers infer onnxruntime',
             'ONNX Runtime int8': 'peers infer onnxruntime-int8', 'PyTorch float32': 'peers infer pytorch',
             'PyTorch bfloat16': 'peers infer pytorch-bfloat16'},
            [('int8', 'ONNX Runtime float32', 2.5), ('int8', 'ONNX Runtime int8', 2.3),
             ('bfloat16', 'ONNX Runtime float32', 1.2), ('bfloat16', 'PyTorch bfloat16', 1.2),
             ('float32', 'ONNX Runtime float32', 0.8), ('float32', "authors' way", 1.5)]),
]
MODELS = sorted({contest.model for contest in CONTESTS})


def contestant(label, entry, task, peers):
    """The process of an entry, or None for a peer that is not installed."""
    module, *names = entry.split()
    if module == 'peers' and not peers:
        return None
    # The authors' scripts leave the threads to MXNet, which takes half of the processors that it sees.
    threads = {'OMP_NUM_THREADS': str(max(1, os.cpu_count() // 2))} if module == 'authors' else {}
    return Contestant(label, [peers if module == 'peers' else sys.executable, '-W', 'ignore', '-m',
                              'tools.benchmark.' + module, *names, *task.split()], threads)


def hold(contest, rounds, peers):
    """{label: the answers of the rounds} of a contest."""
    answers = {}
    with ExitStack() as running:
        entries = [contestant(label, entry, contest.task, peers) for label, entry in contest.entries.items()]
        entries = [running.enter_context(entry) for entry in entries if entry]
        for number in range(rounds):
            turn = number % len(entries)
            for entry in entries[turn:] + entries[:turn]:
                answers.setdefault(entry.label, []).append(entry.round())
    return {label: answers[label] for label in contest.entries if label in answers}


def ratio(answers, label, to):
    """Median over the rounds of one speed by another, or None where one of them did not take part."""
    if label not in answers or to not in answers:
        return None
    return statistics.median(mine['images_per_second'] / theirs['images_per_second']
                             for mine, theirs in zip(answers[label], answers[to]))


def result(contest, answers):
    """What a contest comes to, for JSON: a row for each contestant and one for each target."""
    first, rows = next(iter(answers)), []
    for label, rounds in answers.items():
        speeds = [answer['images_per_second'] for answer in rounds]
        rows.append({'contestant': label, 'images_per_second': statistics.median(speeds), 'least': min(speeds),
                     'most': max(speeds), 'ratio': ratio(answers, label, first),
                     'memory': max(answer['memory'] for answer in rounds), 'rounds': speeds})
    targets = [{'of': label, 'to': to, 'target': target, 'ratio': ratio(answers, label, to)}
               for label, to, target in contest.targets]
    return {'contest': '%s: %s' % (contest.kind, contest.title), 'rows': rows, 'targets': targets}


def show(found):
    """The Markdown table of a contest, and its targets."""
    print('\n**%s**\n\n| | images/s | least to most | to the first | peak memory (MiB) |\n|---|---|---|---|---|'
          % found['contest'])
    for row in found['rows']:
        print('| %(contestant)s | %(images_per_second).0f | %(least).0f to %(most).0f | %(ratio).2f | %(memory).0f |'
              % row)
    for target in found['targets']:
        if target['ratio'] is not None:
            print('\n%s / %s: %.2f, target %.2f: %s' % (
                target['of'], target['to'], target['ratio'], target['target'],
                'reached' if target['ratio'] >= target['target'] else 'NOT REACHED'), end='')
    print(flush=True)


def machine():
    """Processor, its instructions, cores and threads."""
    name, instructions = processor()
    return {'processor': name, 'instructions': instructions, 'cores': runtime.physical_cores(),
            'OMP_NUM_THREADS': os.environ['OMP_NUM_THREADS'], 'python': platform.python_version()}


def main(argv=None):
    """Hold the contests and print their tables; returns {'machine', 'rounds', 'contests'}."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('kind', choices=['input', 'train', 'infer', 'all'])
    parser.add_argument('--model', choices=MODELS, help='only the contests of this one')
    parser.add_argument('--rounds', type=at_least(1), default=7)
    parser.add_argument('--peers', default=PEERS, metavar='PYTHON', help='the Python with requirements/bench.txt')
    parser.add_argument('--json', metavar='FILE', help='also write everything to this file')
    args = parser.parse_args(argv)
    peers = args.peers if os.path.exists(args.peers) else None
    found = {'command': ' '.join(['python -m tools.benchmark', *(sys.argv[1:] if argv is None else argv)]),
             'machine': machine(), 'rounds': args.rounds, 'contests': []}
    print('%(processor)s, %(instructions)s, %(cores)d cores, OMP_NUM_THREADS=%(OMP_NUM_THREADS)s' % found['machine'])
    if not peers:
        print('no peers: there is no %s (make bench-setup)' % args.peers)
    for contest in CONTESTS:
        if args.kind in (contest.kind, 'all') and args.model in (contest.model, None):
            found['contests'].append(result(contest, hold(contest, args.rounds, peers)))
            show(found['contests'][-1])
    if args.json:
        with open(args.json, 'w') as file:
            json.dump(found, file, indent=1)
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
