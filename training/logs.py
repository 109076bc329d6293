"""What the two files of a run say: `<run>.log`, lines for people, and `<run>.jsonl`, the numbers of its epochs."""
import json
import os
import re
from collections import namedtuple
from contextlib import suppress

from runtime import UserError, printable

from disk import open_text

TIME_STAMP = len('2026-11-22 20:47:50,123 ')
LARGEST = 1e15  # of the numbers of an epoch, and so finite
NOT_NEGATIVE = ('seconds', 'images_per_second')
HEADER = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (Command|Versions|Devices|Network|Options): ')
# What lines of a log say, besides the options.
SAID = {'commit': re.compile(r'Versions: .*commit ([\w.+-]{1,64})'),
        'devices': re.compile(r'Devices: ((?:\w+\(\d+\)(?:, )?)+)'),
        'parameters': re.compile(r'Network: .*?(\d{1,15}) parameters, (\d{1,15}) trainable'),
        'workers': re.compile(r'Batches: .*?; (\d{1,6}) workers?\b')}

# What the two files of a run say. path: of the .log. options: all flags by name, of the last start. epochs: numbers by
# epoch, as RunLog.epoch wrote them. parameters, trainable: how many the network has. finished: its last epoch is there.
# first_num_epochs: of the first start. commits: of all starts, each once. devices: of all workers, in the last start.
Record = namedtuple('Record', 'path options epochs parameters trainable finished first_num_epochs commits devices')


def numbers_path(path):
    """Where the numbers of a log go. UserError for a name that others may share it with."""
    stem, ending = os.path.splitext(path)
    if ending != '.log' or os.path.isdir(path):
        raise UserError('the log cannot be %s: it must be a file whose name ends in .log' % path)
    return stem + '.jsonl'


def logged_options(path):
    """The options in the header of a log, {} if it has none."""
    if os.path.exists(path):
        with open_text(path) as file:
            return next(filter(None, map(_options_in, file)), {})
    return {}


def is_blank(path):
    """Whether there is no such file, or nothing in it but the beginning of a header: its run was killed there."""
    if not os.path.exists(path):
        return True
    with open_text(path) as file:
        return all(HEADER.match(line) and not _options_in(line) for line in file)


def holds_no_epoch(path):
    """Whether neither file of a log tells of a whole epoch."""
    if not is_blank(numbers_path(path)):
        return False
    return not _has_line(path, '[Epoch ')


def is_summarised(path):
    """Whether a log ends as that of a run which was whole, and had saved its last checkpoint."""
    return _has_line(path, 'Last epoch: ')


def _has_line(path, beginning):
    with open_text(path) as file:
        return any(line[TIME_STAMP:].startswith(beginning) for line in file)


def logged_epochs(path):
    """How many epochs a run has come to by the .jsonl of its log, 0 without one. Its first ones may be gone with a log
    that was deleted. UserError if the others are not in order."""
    epochs = _read_epochs(numbers_path(path)) if os.path.exists(numbers_path(path)) else []
    return epochs[-1]['epoch'] + 1 if epochs else 0


def _options_in(line):
    """The options that a line of a log names, {} for any other line."""
    with suppress(ValueError, RecursionError):
        if line[TIME_STAMP:].startswith('Options: {'):
            return json.loads(line[TIME_STAMP + len('Options: '):])
    return {}


def read_run(path):
    """The Record of a run, from its .log and the .jsonl beside it; either may be named.

    A last line that was cut in the middle is left out, as the run will write it again.
    Raises OSError if one of the files is missing, and UserError if they are not those of a run.
    """
    path = os.path.splitext(path)[0] + '.log'
    starts = []
    commits = []
    said = {}
    with open_text(path) as file:
        for line in file:
            named = _options_in(line)
            starts += [named] if named else []
            found = {what: pattern.match(line[TIME_STAMP:]) for what, pattern in SAID.items()}
            said.update((what, match.groups()) for what, match in found.items() if match)
            commits += said['commit'] if found['commit'] else ()
    options = starts[-1] if starts else {}
    are_numbers = all(type(start.get('num_epochs')) is int for start in starts)
    if not options or not are_numbers or options['num_epochs'] < 1 or 'parameters' not in said:
        raise UserError('%s is not the log of a run, or was cut off: it names no %s'
                        % (path, 'network' if options else 'options'))
    epochs = _read_epochs(numbers_path(path))
    if epochs and epochs[0]['epoch']:
        raise UserError('%s begins with epoch %d: the log of those before it is another file, or is gone'
                        % (numbers_path(path), epochs[0]['epoch']))
    if len(epochs) > options['num_epochs']:
        raise UserError('%s holds %d epochs of a run of %d'
                        % (numbers_path(path), len(epochs), options['num_epochs']))
    devices, workers = said.get('devices', ['('])[0].count('('), int(said.get('workers', [1])[0])
    return Record(path, options, epochs, *map(int, said['parameters']), len(epochs) >= options['num_epochs'],
                  starts[0].get('num_epochs'), tuple(dict.fromkeys(commits)), devices * workers)


def _read_epochs(path):
    with open_text(path) as file:
        lines = file.readlines()
    if lines and not lines[-1].endswith('\n'):
        lines.pop()
    try:
        epochs = [json.loads(line) for line in lines]
        first = epochs[0]['epoch'] if epochs else 0
        in_order = first >= 0 and [numbers['epoch'] for numbers in epochs] == list(range(first, first + len(epochs)))
    except (ValueError, KeyError, TypeError, RecursionError):
        in_order = False
    if not in_order:
        raise UserError('%s is damaged: its lines are not the epochs of a run in order' % path)
    for numbers in epochs:
        for name, value in numbers.items():
            if not _is_sound(name, value):
                raise UserError('%s is damaged: %s of epoch %d is %.40r'
                                % (path, printable(name), numbers['epoch'], value))
    return epochs


def _is_sound(name, value):
    """Whether a number of an epoch can be one; compared and not computed with, as JSON may hold integers that are no
    float."""
    low, high = (0, 1) if name.endswith('_error') else (0 if name in NOT_NEGATIVE else -LARGEST, LARGEST)
    return type(value) in (int, float) and low <= value <= high
