"""Speed and memory: this repository beside the authors' way, PyTorch and ONNX Runtime, in one call.

    python -m tools.benchmark input|train|infer|all [--model cifar_resnet] [--rounds 7] [--json FILE]

Each contestant is a process that has warmed up. In every round each of them works once, in an order that turns, so
that a machine whose speed varies affects all equally; a ratio is the median of the rounds' ratios. Clocks are read when
the work has ended. The peers take part where the Python of `make bench-setup` is; bfloat16 takes part on CPUs with
AVX-512; who fails, at the warm-up or later, is left out by name. The authors' way runs on the threads that MXNet takes
by itself, half of the processors, all others on every physical core. Nothing else should run meanwhile; all contestants
of a contest are in memory at once, up to 16 GB.
"""
import json
import os
import platform
import subprocess
import sys

import runtime
from runtime import UserError

from cli.command import Parser
from cli.exits import run_script
from cli.kinds import at_least, new_file
from disk import write_whole
from tools import ROOT
from tools.benchmark.contests import CONTESTS, MODELS
from tools.benchmark.hold import hold
from tools.benchmark.tables import result, show, show_targets
from tools.machine.doctor import processor
from training.runlog import commit

PEERS = os.path.join(ROOT, '.venv-bench', 'bin', 'python')
VERSIONS = """
import json
from importlib import metadata
print(json.dumps({item.metadata['Name']: item.version for item in metadata.distributions()
                  if item.metadata['Name'] in ('mxnet', 'numpy', 'onnxruntime', 'opencv-python', 'torch')}))
"""


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
        raise UserError('%s is no Python that works: it does not say which packages it has' % python) from error


def main(argv=None):
    """Hold the contests and print their tables; returns {'command', 'commit', 'machine', 'rounds', 'contests'}."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('kind', choices=['input', 'train', 'infer', 'all'])
    parser.add_argument('--model', choices=MODELS, help='only the contests of this one')
    parser.add_argument('--rounds', type=at_least(1), default=7)
    parser.add_argument('--peers', default=PEERS, metavar='PYTHON', help='the Python with requirements/bench.txt')
    parser.add_argument('--json', type=new_file, metavar='FILE',
                        help='also write everything to this file, which must not be there')
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
    cpu = '%d cores of %s: %s' % (found['machine']['cores'], found['machine']['processor'],
                                  ', '.join(found['machine']['instructions']))
    for contest in contests:
        found['contests'].append(result(contest, *hold(contest, args.rounds, pythons)))
        show(found['contests'][-1], cpu)
        if args.json:  # after each, so that one that fails loses none
            write_whole(args.json, [json.dumps(found, indent=1)])
    show_targets(found['contests'])
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
