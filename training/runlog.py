"""How a run writes its log: human lines in `<run>.log` and on the terminal, the same numbers as JSON in `<run>.jsonl`.

Each epoch is in both files once and in order: on resume, what an interrupted run has said about epochs that come again
is taken out first.
"""
import json
import logging
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress

import runtime
from runtime import UserError

import mxnet as mx
import numpy as np

from disk import lock, open_text, write_whole
from training.logs import TIME_STAMP, numbers_path

EPOCH_LINE = re.compile(r'\[?Epoch[ \[](\d+)\](?: Batch \[(\d+)\])?')
LAST_LINES = ('Best', 'Last')
CONTROL = re.compile('[\\0-\\x08\\n-\\x1f\\x7f-\\x9f\\u2028\\u2029]')


class OneLine(logging.Formatter):
    """A record as one line: what would begin another, or what a terminal would obey, is escaped."""

    def format(self, record):
        return CONTROL.sub(lambda found: ascii(found.group())[1:-1], super().format(record))


class LogFile(logging.FileHandler):
    """A log that raises an OSError when the disk refuses a line, where logging prints a traceback and continues.

    Names of files that are not UTF-8 are written as they are.
    """

    def _open(self):
        return open(self.baseFilename, self.mode, errors='surrogateescape')

    def handleError(self, record):
        error = sys.exc_info()[1]
        raise OSError('cannot write the log %s: %s' % (self.baseFilename, error)) from error


class EarlyWarnings(logging.StreamHandler):
    """Prints the warnings that come before there is a log, and keeps them for it."""

    def __init__(self):
        super().__init__()  # standard error
        self.setFormatter(OneLine())
        self.setLevel(logging.WARNING)
        self.kept = []

    def emit(self, record):
        super().emit(record)
        self.kept.append(record)


class RunLog:
    """The two files of a run: header(...) at the start, say(text) and epoch(numbers) then, close() at the end.

    first_epoch, first_batch: where the run begins; what the files say of later ones is taken out.
    tensorboard: a folder in which TensorBoard finds the numbers too, under the name of the log and over the batches
    trained on, or None. batches: of an epoch.
    Raises OSError when the disk refuses, and UserError if the writer for TensorBoard is not installed.
    """

    def __init__(self, path, first_epoch=0, first_batch=0, tensorboard=None, batches=1):
        self.batches = batches
        writer = _event_writer() if tensorboard else None
        self.numbers_path = numbers_path(path)
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        begin = (first_epoch, first_batch)
        mode = 'a' if begin > (0, 0) else 'w'
        self.numbers = self.locked_numbers(path)
        if mode == 'w':
            self.numbers.truncate(0)
        else:
            _keep(path, lambda line: _place_of_line(line) < begin and not line[TIME_STAMP:].startswith(LAST_LINES))
            _keep(self.numbers_path, lambda line: json.loads(line)['epoch'] < first_epoch)
            with self.numbers:  # until the file that has taken its place is locked
                self.numbers = self.locked_numbers(path)
        logging.raiseExceptions = False  # no tracebacks for lines that the terminal does not take; LogFile raises
        self.handlers = [LogFile(path, mode), logging.StreamHandler(sys.stdout)]
        self.handlers[0].setFormatter(OneLine('%(asctime)s %(message)s'))
        self.handlers[1].setFormatter(OneLine())
        self.logger = logging.getLogger()
        self.logger.setLevel(logging.INFO)
        self.early = [handler for handler in self.logger.handlers if isinstance(handler, EarlyWarnings)]
        for handler in self.early:
            self.logger.removeHandler(handler)
        for handler in self.handlers:
            self.logger.addHandler(handler)
        # Not before the log is locked, as TensorBoard forgets what it was told of later steps. The file is named by the
        # second, so the steps keep a run that is resumed at once from writing over it.
        steps = first_epoch * batches + first_batch
        self.events = writer and writer(os.path.join(tensorboard, os.path.splitext(os.path.basename(path))[0]),
                                        purge_step=steps + 1, filename_suffix='.%09d' % steps)

    def locked_numbers(self, path):
        """The file of the numbers, open to be added to. OSError if another run has it."""
        file = open(self.numbers_path, 'a')
        lock(file, path, '--logging-file')
        return file

    def header(self, command, options, devices, net_facts):
        """Command, versions, device and options, so that the log tells how to run it again."""
        versions = 'atac %s, python %s, mxnet %s, numpy %s, commit %s' % (
            runtime.__version__, platform.python_version(), mx.__version__, np.__version__, commit())  # takes a moment
        self.say('Command: %s' % command)
        self.say('Versions: %s' % versions)
        self.say('Devices: %s; OMP_NUM_THREADS=%s; %s' % (
            ', '.join(map(str, devices)), os.environ.get('OMP_NUM_THREADS'), runtime.processor()[0]))
        self.say('Network: %s' % net_facts)
        self.say('Options: %s' % json.dumps(options, sort_keys=True))
        for record in (record for handler in self.early for record in handler.kept):
            self.handlers[0].handle(record)

    def say(self, text):
        self.logger.info(text)

    def note(self, text):
        """A line that only the file gets."""
        self.handlers[0].handle(logging.makeLogRecord({'msg': text}))

    def epoch(self, numbers):
        """A line for people and a line of JSON; the errors are fractions."""
        scale = ' loss-scale=%(loss_scale)g skipped=%(skipped_steps)d' if 'loss_scale' in numbers else ''
        scale += ' clipped=%(clipped_steps)d' if 'clipped_steps' in numbers else ''
        self.say(('[Epoch %(epoch)d] lr=%(lr).6f loss=%(train_loss).4f err-train=%(train_error).4f '
                 'validation: err-top1=%(val_top1_error).4f err-top5=%(val_top5_error).4f '
                 '%(images_per_second).0f images/s %(seconds).1f s' + scale) % numbers)
        try:
            self.numbers.write(json.dumps(numbers) + '\n')
            self.numbers.flush()
            os.fsync(self.numbers.fileno())
            os.fsync(self.handlers[0].stream.fileno())
        except OSError as error:
            raise OSError('cannot write the log %s: %s' % (self.numbers_path, error)) from error
        self.scalars('epoch', numbers['epoch'], self.batches, numbers)

    def batch(self, epoch, batch, numbers):
        """A line in the form of the authors' log: what the epoch has come to so far."""
        self.say('Epoch[%d] Batch [%d]\tSpeed: %.1f samples/sec\tloss=%.4f\taccuracy=%.6f\tlr=%.6f'
                 % (epoch, batch, numbers['images_per_second'], numbers['train_loss'], 1 - numbers['train_error'],
                    numbers['lr']))
        self.scalars('batch', epoch, batch + 1, numbers)

    def scalars(self, group, epoch, batches, numbers):
        """What an epoch came to after a number of batches, for TensorBoard, if it is wanted."""
        if self.events:
            for name, value in numbers.items():
                if name not in ('epoch', 'seconds'):
                    self.events.add_scalar('%s/%s' % (group, name), value, epoch * self.batches + batches)
            self.events.flush()

    def close(self):
        if self.events:
            self.events.close()
        with suppress(OSError):  # what a full disk did not take has been said, and is tried once more here
            self.numbers.close()
        for handler in self.handlers:
            self.logger.removeHandler(handler)
            with suppress(OSError):
                handler.close() if isinstance(handler, LogFile) else handler.flush()


def _event_writer():
    """The class that writes for TensorBoard. UserError if it is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError('--tensorboard needs tensorboardX (%s): pip install -r requirements/tensorboard.txt'
                        % error) from error
    return SummaryWriter


class Silence:
    """What a worker says that is not the first."""

    def header(self, command, options, devices, net_facts):
        pass

    def say(self, text):
        pass

    def note(self, text):
        pass

    def epoch(self, numbers):
        pass

    def batch(self, epoch, batch, numbers):
        pass

    def close(self):
        pass


def commit():
    """The commit of this repository, with -dirty if files differ from it, or 'unknown'."""
    try:
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        found = subprocess.run(['git', '-C', folder, 'describe', '--always', '--dirty', '--exclude', '*'],
                               capture_output=True, text=True, timeout=10)
        return found.stdout.strip() or 'unknown'
    except (OSError, subprocess.TimeoutExpired):
        return 'unknown'


def _keep(path, wanted):
    """Rewrite a file, or what a link leads to, with the lines that are wanted, atomically; a line that was cut in the
    middle is not."""
    path = os.path.realpath(path)
    if not os.path.exists(path):
        return
    with open_text(path) as file:
        lines = [line for line in file if line.endswith('\n') and wanted(line)]
    write_whole(path, lines)


def _place_of_line(line):
    """(epoch, batch) of which a line tells; the line of an epoch comes after those of its batches."""
    found = EPOCH_LINE.match(line[TIME_STAMP:])
    return (int(found.group(1)), float(found.group(2) or 'inf')) if found else (-1, -1)
