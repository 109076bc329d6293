"""Where a batch spends its time: python -m tools.benchmark.profile WHAT cifar|imagenet UNIT BLOCKS BATCH STEPS

WHAT is step or step-bfloat16 (of training), float32, bfloat16, int8 or plain (scoring). Prints, as Markdown, the
milliseconds a step of each kind of oneDNN's work, as oneDNN itself says them, and what is left for MXNet's own
operators. `reorder` changes the layout or the type of an array: convolutions write blocks of channels, and most of
MXNet's own operators, its product of two arrays among them, read plain arrays.
"""
import ctypes
import os
import sys
import tempfile
import time
from collections import Counter

os.environ['DNNL_VERBOSE'] = '1'  # which oneDNN reads when it is loaded

import runtime  # noqa: E402, F401

import mxnet as mx  # noqa: E402

from cli.command import Parser  # noqa: E402
from cli.exits import run_script  # noqa: E402
from tools.benchmark import ours  # noqa: E402
from tools.benchmark.rounds import add_task_arguments  # noqa: E402
from tools.benchmark.task import Workload  # noqa: E402
from tools.markdown import markdown_table  # noqa: E402

WHAT = ('step', 'step-bfloat16', 'float32', 'bfloat16', 'int8', 'plain')


def spent(text):
    """{kind of work: (milliseconds, calls)} of what oneDNN has written."""
    milliseconds, calls = Counter(), Counter()
    for line in text.splitlines():
        words = line.split(',')
        if words[:2] == ['dnnl_verbose', 'exec']:
            kind = ' '.join(word for word in (words[3], words[5]) if word != 'undef')
            milliseconds[kind] += float(words[-1])
            calls[kind] += 1
    return {kind: (total, calls[kind]) for kind, total in milliseconds.most_common()}


def heard(function, *arguments):
    """(what function() returns, seconds that it takes, what C code writes to the standard output meanwhile)."""
    libc, kept = ctypes.CDLL(None), os.dup(1)
    with tempfile.TemporaryFile('w+') as file:
        libc.fflush(None)
        os.dup2(file.fileno(), 1)
        begin = time.perf_counter()
        try:
            value = function(*arguments)
            seconds = time.perf_counter() - begin
            mx.nd.waitall()  # what it has begun without waiting says so too
        finally:
            libc.fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return value, seconds, file.read()


def table(seconds, found, steps):
    """In Markdown."""
    whole = 1000 * seconds
    rows = [*found.items(), ("MXNet's own operators", (whole - sum(part for part, _ in found.values()), 0)),
            ('a step', (whole, 0))]
    return markdown_table(['', 'ms a step', 'share', 'calls'], [
        (kind, '%.1f' % (part / steps), '%.0f %%' % (100 * part / whole), str(calls // steps or ''))
        for kind, (part, calls) in rows if part >= 0.001 * whole])


def main():
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=WHAT)
    add_task_arguments(parser)
    args = parser.parse_args()
    if min(args.batch, args.steps) < 1:
        parser.error('BATCH and STEPS must be at least 1')
    one_round, _, _ = heard(ours.CONTESTANTS[args.what], Workload(args))
    heard(one_round)
    _, seconds, text = heard(one_round)
    print(table(seconds, spent(text), args.steps))


if __name__ == '__main__':
    sys.exit(run_script(main))
