"""make gpu-check: on a machine with a GPU, run in about ten minutes what could not be run without one.

    python -m tools.gpu_check [--out gpu-check]

The doctor with its self-test on every GPU; float16 training, resuming and scoring of a CIFAR network, on two GPUs too
if there are two; float16 training and scoring of ATAC-ResNet-50 on small JPEGs. Scores must agree with what the
training logged, on the GPU in float16 and on the CPU in float32. Exit code 0 only if everything passed, and 1 at once
without a GPU.
"""
import json
import os
import subprocess
import sys
import time
from collections import namedtuple

from cli.command import Parser
from cli.streams import mend_streams
from tools import ROOT
from tools.machine import doctor
from tools.machine.gpus import driver

CIFAR = ['--model', 'atac', '--act-type', 'ChaATAC', '--useReLU', '--blocks', '1', '--dataset', 'fashion-mnist-mini']
IMAGENET = ['--model', 'atac_resnet50_v1b', '--use-rec', '--num-classes', '10', '--input-size', '64']
TOLERANCE = 1.0  # in points of top-1 error: 16 of 1,600 images, 1 or 2 of 160, that rounding may move

PATIENCE = 900   # seconds that a step may take, the first of which compiles for the GPU

# log: the .jsonl whose last error a score must agree with; None where the exit code says all.
Step = namedtuple('Step', 'title command log', defaults=(None,))


def script(name, *flags):
    """The command of a script."""
    return [sys.executable, name + '.py', *flags]


def steps(out, gpus):
    """What is run, in order; gpus: how many there are."""
    runs = {name: os.path.join(out, name) for name in ('one-gpu', 'scaled', 'two-gpus', 'nccl', 'resnet')}
    places = {name: ['--save-dir', run, '--logging-file', run + '.log'] for name, run in runs.items()}
    weights = {name: ['--params', os.path.join(run, 'last.params'), '--json'] for name, run in runs.items()}
    logs = {name: run + '.jsonl' for name, run in runs.items()}
    float16, records = ['--dtype', 'float16'], os.path.join(out, 'records')
    data = [['--rec-%s' % split, os.path.join(records, split + '.rec')] for split in ('train', 'val')]
    cifar = script('train_cifar', *CIFAR, *float16, '--lr', '0.05')
    one = [*cifar, '--gpus', '0', *places['one-gpu']]
    found = [Step('CIFAR network in float16, first epoch', [*one, '--num-epochs', '1']),
             Step('the same, resumed for the second', [*one, '--num-epochs', '2', '--resume']),
             Step('scored in float16 on the GPU',
                  script('evaluate', *CIFAR, *weights['one-gpu'], *float16, '--num-gpus', '1'), logs['one-gpu']),
             Step('scored in float32 on the CPU', script('evaluate', *CIFAR, *weights['one-gpu']), logs['one-gpu']),
             Step('a dynamic loss scale',
                  [*cifar, '--gpus', '0', *places['scaled'], '--num-epochs', '1', '--loss-scale', 'dynamic'])]
    if gpus > 1:
        found += [Step('the same network on two GPUs',
                       [*cifar, '--gpus', '0,1', *places['two-gpus'], '--num-epochs', '2']),
                  Step('and by NCCL',
                       [*cifar, '--gpus', '0,1', *places['nccl'], '--num-epochs', '1', '--kvstore', 'nccl']),
                  Step('scored on two GPUs',
                       script('evaluate', *CIFAR, *weights['two-gpus'], *float16, '--num-gpus', '2'),
                       logs['two-gpus'])]
    return found + [
        Step('RecordIO files of small JPEGs', [sys.executable, '-m', 'tools.make_small', records]),
        Step('ATAC-ResNet-50 in float16 on them',
             script('train_imagenet', *IMAGENET, *data[0], *data[1], *float16, '--num-gpus', '1', '--batch-size', '32',
                    '--lr', '0.02', '--num-epochs', '3', '--last-gamma', '--no-wd', '--label-smoothing',
                    *places['resnet'])),
        Step('scored in float16 on the GPU',
             script('evaluate', *IMAGENET, *data[1], *weights['resnet'], *float16, '--num-gpus', '1'), logs['resnet'])]


def passes(step):
    """Run a step; a score must lie within TOLERANCE of the last error of its log."""
    print('\n$ %s' % ' '.join(step.command[1:]), flush=True)
    try:
        done = subprocess.run(step.command, cwd=ROOT, stdout=subprocess.PIPE if step.log else None,
                              timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        print('not done after %d seconds' % PATIENCE)
        return False
    if done.returncode or not step.log:
        return done.returncode == 0
    scored = json.loads(done.stdout)['top1_error']
    with open(step.log) as file:
        logged = 100 * json.loads(file.readlines()[-1])['val_top1_error']
    print('top-1 error %.2f %%, while training %.2f %%' % (scored, logged))
    return abs(scored - logged) <= TOLERANCE


def main(argv=None):
    """Run everything and print a table; returns the exit code."""
    parser = Parser(description='Run on a GPU what has not been run on one.')
    parser.add_argument('--out', default='gpu-check', help='folder of logs and weights; must not exist')
    parser.add_argument('--look', action='store_true', help='only say whether there is a GPU')
    args = parser.parse_args(argv)
    gpus, _, reason = driver()
    print('%d GPUs%s' % (len(gpus), '' if gpus else ', so there is nothing to check: ' + reason))
    if args.look or not gpus:
        return 0 if gpus else 1
    out = os.path.abspath(args.out)
    if os.path.exists(out):
        print('%s exists: remove it, or choose another --out' % out, file=sys.stderr)
        return 2
    if doctor.main([]):
        return 1
    table = []
    for step in steps(out, len(gpus)):
        start = time.time()
        table.append(('passed' if passes(step) else 'FAILED', time.time() - start, step.title))
    print('\n' + '\n'.join('%s %5.0f s  %s' % line for line in table))
    return 1 if any(verdict == 'FAILED' for verdict, _, _ in table) else 0


if __name__ == '__main__':
    mend_streams()
    sys.exit(main())
