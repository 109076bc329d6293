"""What a run says: human lines in `<run>.log` and on the terminal, the same numbers as JSON lines in `<run>.jsonl`.

Each epoch stands in both files once and in order: on resume, what an interrupted run has said about epochs that come
again is taken out first.
"""
import json
import logging
import os
import platform
import re
import subprocess
import sys

import mxnet as mx
import numpy as np

TIME_STAMP = len('2026-11-22 20:47:50,123 ')
EPOCH_LINE = re.compile(r'\[?Epoch[ \[](\d+)\]')
LAST_LINES = ('Best', 'Last')


class RunLog:
    """The two files of a run: header(...) at the start, say(text) and epoch(numbers) then, close() at the end."""

    def __init__(self, path, first_epoch=0):
        self.path, self.numbers_path = path, os.path.splitext(path)[0] + '.jsonl'
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        if first_epoch:
            _keep(path, lambda line: _epoch_of_line(line) < first_epoch and
                  not line[TIME_STAMP:].startswith(LAST_LINES))
            _keep(self.numbers_path, lambda line: _epoch_of_json(line) < first_epoch)
        mode = 'a' if first_epoch else 'w'
        self.numbers = open(self.numbers_path, mode)
        self.handlers = [logging.FileHandler(path, mode), logging.StreamHandler(sys.stdout)]
        self.handlers[0].setFormatter(logging.Formatter('%(asctime)s %(message)s'))
        self.logger = logging.getLogger()
        self.logger.setLevel(logging.INFO)
        for handler in self.handlers:
            self.logger.addHandler(handler)

    def header(self, options, devices, net_facts):
        """Command, versions, device and options, so that the log alone tells how to run it again."""
        self.say('Command: %s' % ' '.join([os.path.basename(sys.executable)] + sys.argv))
        self.say('Versions: python %s, mxnet %s, numpy %s, commit %s'
                 % (platform.python_version(), mx.__version__, np.__version__, commit()))
        self.say('Devices: %s; OMP_NUM_THREADS=%s' % (', '.join(map(str, devices)), os.environ.get('OMP_NUM_THREADS')))
        self.say('Network: %s' % net_facts)
        self.say('Options: %s' % json.dumps(options, sort_keys=True))

    def say(self, text):
        self.logger.info(text)

    def epoch(self, numbers):
        """A line for people and a line of JSON; the errors are fractions."""
        self.say('[Epoch %(epoch)d] lr=%(lr).6f loss=%(train_loss).4f err-train=%(train_error).4f '
                 'validation: err-top1=%(val_top1_error).4f err-top5=%(val_top5_error).4f '
                 '%(images_per_second).0f images/s %(seconds).1f s' % numbers)
        self.numbers.write(json.dumps(numbers) + '\n')
        self.numbers.flush()
        os.fsync(self.numbers.fileno())

    def close(self):
        self.numbers.close()
        for handler in self.handlers:
            self.logger.removeHandler(handler)
            handler.close() if isinstance(handler, logging.FileHandler) else handler.flush()


def commit():
    """The commit of this repository, or 'unknown'."""
    try:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        found = subprocess.run(['git', '-C', folder, 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True,
                               timeout=10)
        return found.stdout.strip() or 'unknown'
    except (OSError, subprocess.TimeoutExpired):
        return 'unknown'


def _keep(path, wanted):
    """Rewrite a file with the lines that are wanted, atomically; a line that was cut in the middle is not."""
    if not os.path.exists(path):
        return
    with open(path) as file:
        lines = [line for line in file if line.endswith('\n') and wanted(line)]
    with open(path + '.new', 'w') as file:
        file.writelines(lines)
    os.replace(path + '.new', path)


def _epoch_of_line(line):
    found = EPOCH_LINE.match(line[TIME_STAMP:])
    return int(found.group(1)) if found else -1


def _epoch_of_json(line):
    try:
        return json.loads(line)['epoch']
    except (ValueError, KeyError, TypeError):
        return float('inf')
