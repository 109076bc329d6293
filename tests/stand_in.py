"""A stand-in of train_cifar.py that does what it is told, and sweeps that start it: what the tests of sweeps share."""
import json
import os
import sys

import pytest

import train_cifar
from cli.build import options_of
from cli.exits import run_script
from tools.sweep import __main__ as sweep
from tools.sweep import runs

SMALL = ['--r', '4', '--num-epochs', '1', '--lr', '0.05', '--batch-size', '50', '-j', '1', '--log-interval', '0']
NAME = 'fashion-mnist-mini-atac-%s-r4-al4bac-b%d-seed%d'
# Does what orders.json beside it says of the run of its log: writes epochs, says something, waits, leaves with a code.
SCRIPT = '''
import json, os, signal, sys, time
flags = sys.argv[1:]
log = flags[flags.index('--logging-file') + 1]
with open(os.path.join(os.path.dirname(__file__), 'orders.json')) as file:
    orders = json.load(file)
with open(os.path.join(os.path.dirname(__file__), 'calls'), 'a') as file:
    file.write(json.dumps([log, flags, os.environ['OMP_NUM_THREADS'], time.time()]) + '\\n')
order = orders['runs'].get(os.path.basename(log)[:-4], {})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(order.get('code_when_asked', 143)))
options = dict(orders['options'], save_dir=flags[flags.index('--save-dir') + 1],
               act_type=flags[flags.index('--act-type') + 1],
               **{name: int(flags[flags.index('--' + name) + 1]) for name in ('blocks', 'seed')})
os.makedirs(os.path.dirname(log), exist_ok=True)
with open(log, 'w') as file:
    for line in ('Network: 10 parameters, 8 trainable', 'Options: ' + json.dumps(options)):
        file.write('2026-11-22 20:47:50,123 ' + line + '\\n')
with open(log[:-3] + 'jsonl', 'w') as file:
    for epoch, error in enumerate(order.get('errors', [0.5])):
        file.write(json.dumps({'epoch': epoch, 'val_top1_error': error, 'seconds': 2.0}) + '\\n')
if 'wait' in order:
    open(log + '.waits', 'w').close()
    time.sleep(order['wait'])
print('\\n'.join('line %d' % number for number in range(9)), file=sys.stderr)
if order.get('code', 0) < 0:
    os.kill(os.getpid(), -order['code'])
if not order.get('code'):  # its last checkpoint is there
    with open(log, 'a') as file:
        file.write('2026-11-22 20:47:50,123 Last epoch: 0\\n')
sys.exit(order.get('code', 0))
'''


class StandIn:
    """A script that runs instead of train_cifar.py, in a folder of its own. Its orders are those of its last call."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        script = folder / 'stand_in.py'
        script.write_text(SCRIPT)
        self()
        (folder / 'here').mkdir()
        monkeypatch.chdir(folder / 'here')
        monkeypatch.setattr(train_cifar, '__file__', str(script))
        monkeypatch.setattr(runs, 'POLL', 0.02)

    def __call__(self, orders=(), flags=SMALL):
        """orders: {name of a run: what it does}. flags: of all of them."""
        options = options_of(train_cifar.parse_args(flags + ['--dataset', 'fashion-mnist-mini']))
        (self.folder / 'orders.json').write_text(json.dumps({'options': options, 'runs': dict(orders)}))

    def calls(self):
        """[log, flags, OMP_NUM_THREADS, time] of what was started."""
        path = self.folder / 'calls'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def grid(*flags, units=('relu',), seeds=(0,), small=SMALL):
    return ['--act-type', *units, '--blocks', '1', '--seeds', *map(str, seeds), *flags, '--', *small]


def tree(folder):
    """{path: content} of all files below a folder."""
    return {os.path.join(where, name): open(os.path.join(where, name), 'rb').read()
            for where, _, names in os.walk(str(folder)) for name in names}


def refusal(flags, capsys, monkeypatch):
    """The sentence with which the sweep leaves with exit code 2."""
    monkeypatch.setattr(sys, 'argv', ['sweep.py', *flags])
    with pytest.raises(SystemExit) as leaving:
        run_script(sweep.main)
    text = capsys.readouterr().err
    assert leaving.value.code == 2 and 'Traceback' not in text
    return text.strip().splitlines()[-1]
