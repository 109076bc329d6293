"""The plan of a sweep: its runs in order, and what each of them has come to already."""
import os
import sys
from collections import Counter, namedtuple

from runtime import UserError

import train_cifar
from cli import build
from cli.rules import RULES
from model import complexity
from tools.sweep.pace import duration, macs_of, seconds_left, seconds_of
from tools.sweep.selection import check_kinds
from tools.sweep.settings import DEFAULTS, key_of, not_read, unit_name
from training import checkpoint
from training.devices import devices_by_id
from training.logs import is_blank, is_summarised, numbers_path, read_run
from training.resume import check_log_of_new, check_options
from training.schedule import depends_on_num_epochs

HEAD = ('run', 'parameters', 'trainable', 'multiply-adds', 'state', 'time to go')
FORM = '{:<{width}} {:>12} {:>12} {:>14}  {:<20} {}'

# A run of the grid. flags: of train_cifar.py, all but --gpus. options: what they say, by name. parameters, trainable:
# elements. macs: multiply-adds of an image. epochs: the numbers of those that need not come again. saved: whether there
# is a checkpoint.
Point = namedtuple('Point', 'unit blocks seed name log flags options num_epochs parameters trainable macs epochs saved')


def plan(args):
    """The Points of the grid in the order in which they run. UserError for flags that do not go together or that
    contradict what is there."""
    points = [point_of(args, unit, blocks, seed) for seed in args.seeds for blocks in args.blocks
              for unit in args.act_type]
    for gpus in args.gpus:
        devices_by_id(gpus, points[0].options['dtype'])
    check_twins(points)
    warn_of_ablations(points)
    return sorted(points, key=lambda point: (args.seeds.index(point.seed), point.macs))


def point_of(args, unit, blocks, seed):
    grid = ['--dataset', args.dataset, '--blocks', str(blocks), '--seed', str(seed)]
    grid += ['--act-type', unit] if unit else []
    asked = train_cifar.parse_args(grid + args.flags)
    ours = dict(dataset=args.dataset, act_type=unit, blocks=blocks, seed=seed, gpus='', save_dir=None,
                logging_file=None, resume=False, summary=False)
    for option, value in ours.items():
        if getattr(asked, option) != value:
            raise UserError(f'--{option.replace("_", "-")} is for the sweep to set, so it cannot come after --')
    net = build.build_network(asked)
    name = os.path.basename(train_cifar.run_of(asked).save_dir)
    log = os.path.join(args.logs_dir, name + '.log')
    given = [*args.flags, *grid, '--save-dir', os.path.join(args.params_dir, name), '--logging-file', log, '--resume']
    run = train_cifar.run_of(train_cifar.parse_args(given))
    parameters, trainable = complexity.parameters(net)
    return Point(build.unit_of(asked), blocks, seed, name, log, given, run.options, asked.num_epochs, parameters,
                 trainable, macs_of(net), epochs_there(run), checkpoint.exists(run.save_dir))


def warn_of_ablations(points):
    """Say which units are others with these flags, by the name under which the figures show them."""
    for unit, known in {point.unit: unit_name(point.options) for point in points}.items():
        if known != unit:
            print(f'{unit} is {known} with these flags', file=sys.stderr)


def check_twins(points):
    """UserError if two units of a sweep make the same network, as ChaATAC and ChaATAC-linear without --useReLU."""
    units = {}
    for point in points:
        unit = units.setdefault(key_of(point.options), point.unit)
        if unit != point.unit:
            raise UserError(f'{unit} and {point.unit} are the same network with these flags: leave one of them out')


# What is there already.

def epochs_there(run):
    """Numbers of the epochs that a run need not repeat.

    Raises UserError, naming the log, if it is damaged, of other options, or without its checkpoint.
    """
    log = run.logging_file
    saved = checkpoint.exists(run.save_dir)
    if not saved and is_blank(log) and is_blank(numbers_path(log)):
        return []
    missing = [path for path in (log, numbers_path(log)) if not os.path.exists(path)]
    if missing:
        raise UserError(f'{missing[0]} is missing, but there is a checkpoint in {run.save_dir} or another file of its '
                        'log: put it back, or remove them')
    record = read_run(log)
    try:
        check_kinds(record.options)
    except UserError as error:
        raise UserError(f'{log}: {error}') from error
    if not all({'val_top1_error', 'seconds'} <= numbers.keys() for numbers in record.epochs):
        raise UserError(f'{numbers_path(log)} is damaged: an epoch lacks its error or its time')
    if record.epochs or saved:
        check_log(record, run)
    if saved:
        return record.epochs[:epochs_saved(run.save_dir)]
    if len(record.epochs) >= run.num_epochs and is_summarised(log):  # else its last checkpoint was refused
        return record.epochs
    check_log_of_new(run)
    return []


def epochs_saved(folder):
    """How many epochs are whole by the checkpoint in a folder, None if it is damaged. A run logs an epoch before it
    saves it, and may have failed in between."""
    try:
        return checkpoint.checkpoint_facts(folder, 'last')['epoch'] + 1
    except checkpoint.DAMAGE:
        return None


def check_log(record, run):
    """UserError if an option that changes the result differs from that of a log.

    As for training.fit, num_epochs may grow; but not where the whole schedule depends on it, as the runs of a sweep are
    compared. In a run that is whole, options that neither network nor schedule reads may differ.
    """
    before = record.options['num_epochs']
    now = run.num_epochs
    options = {**record.options, **run.options}
    is_same = len(record.epochs) >= now and key_of({**DEFAULTS, **record.options}) == key_of(options)
    unread = not_read(options, unit_name(options)) if is_same else ()
    try:
        check_options(*({name: value for name, value in either.items() if name not in unread}
                        for either in (record.options, options)), record.path, RULES)
        if now > before and depends_on_num_epochs(run.options['lr_mode']):
            raise UserError(f'the run in {record.path} had other options: num_epochs was {before} and is {now}, which '
                            'changes the learning rate of every epoch')
    except UserError as error:
        raise UserError(f'{error}; choose another --params-dir and --logs-dir') from error


def epochs_left(point):
    return max(0, point.num_epochs - len(point.epochs))


def state_of(point):
    if not epochs_left(point):
        return 'done'
    return f'resume at epoch {len(point.epochs)}' if point.saved else 'new'


# What to say of it.

def summary(points, paces, jobs):
    """What there is to do, as a line."""
    left = [(point, epochs_left(point)) for point in points]
    states = Counter(state_of(point).split()[0] for point in points)
    epochs = sum(epochs for _, epochs in left)
    text = (f'{len(points)} run{"s" * (len(points) != 1)}: {states["done"]} done, {states["resume"]} to resume, '
            f'{states["new"]} new; {epochs} epochs to go; ')
    if paces:
        return text + f'about {duration(seconds_left(left, paces, jobs))}, by {len(paces)} epochs in the logs'
    return text + 'no estimate of the time: the logs hold no epoch on this data set'


def print_plan(points, paces, jobs):
    width = max(len(point.name) for point in points)
    print(FORM.format(*HEAD, width=width))
    for point in points:
        left = epochs_left(point)
        print(FORM.format(point.name, f'{point.parameters:,}', f'{point.trainable:,}', f'{point.macs:,}',
                          state_of(point), duration(seconds_of(point, left, paces)) if left else '-', width=width))
    print(summary(points, paces, jobs))
