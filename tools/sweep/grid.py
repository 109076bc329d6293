"""Train a grid of units, depths and seeds by train_cifar.py; a second call of the same command goes on with it.

    python -m tools.sweep --dataset cifar100 --act-type relu swish ChaATAC --blocks 1 2 3 4 --seeds 0 1 2 -- --useReLU

is a figure of the paper, each point three times. Flags behind `--` go to train_cifar.py. Without --act-type the unit is
that of the network: `-- --model se` and `-- --model ge` are the other networks of the paper. Its ablations are

    ... --act-type ChaATAC --blocks 2 -- --useReLU --act-layers 2 --act-order pre     which stages get the unit
    ... --act-type ChaATAC ChaATAC-linear SE-activation --blocks 2 -- --useReLU       inner ReLU, local context
    ... --act-type ChaATAC --blocks 2 -- --useReLU --r 4                              reduction

one sweep for each value of a flag behind `--`. --act-layers, --act-order and --r are part of a run's name; sweeps that
differ in other flags, as --num-epochs, need a --params-dir and a --logs-dir of their own.

Each run has a log and a folder of weights of its own. Runs whose log is whole are skipped, those that were cut off are
resumed. Seed by seed, small networks first. --jobs N divides the cores among N runs at a time; --gpus 0,1 2,3 is one
run on each set of GPUs. --dry-run prints the plan. Times are estimates: seconds of training per multiply-add, of the
unit where it was measured already, else of the others, which may move fewer or more bytes for each of them.

Exit codes: 0 all done; 1 a run failed, and the others went on; 2 a mistake of the user, nothing else was started;
143, 130 stopped by SIGTERM or Ctrl-C, after the runs have saved. A sweep that is killed (-9) leaves its runs to go on;
until they end the next call stops at their locks.
"""
import argparse
import glob
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, namedtuple
from contextlib import suppress

import runtime
from runtime import UserError

from tqdm import tqdm

import train_cifar
from cli import build, flags
from cli.kinds import at_least
from data import SMALL_DATASETS
from model import ACTIVATIONS, complexity
from tools.sweep.groups import key_of, not_read, unit_of
from training import checkpoint
from training.devices import devices_by_id
from training.logs import is_blank, numbers_path, read_run
from training.resume import check_log_of_new, check_options
from training.signals import watching

POLL = 1.0  # seconds between two looks at the runs
TAIL = 5    # lines of a failed run that are shown

# A run of the grid. flags: of train_cifar.py, all but --gpus. parameters, trainable: elements. macs: multiply-adds of
# an image. epochs: the numbers of those that need not come again. saved: whether there is a checkpoint to go on from.
Point = namedtuple('Point', 'unit blocks seed name log flags num_epochs parameters trainable macs epochs saved')
# A run under way. errors: the file of its standard error. begun: time.time() of its start.
Job = namedtuple('Job', 'point gpus process errors begun')


def parse_args(argv=None):
    """The flags of the sweep, and as args.flags those behind `--`."""
    argv = sys.argv[1:] if argv is None else argv
    at = argv.index('--') if '--' in argv else len(argv)
    parser = argparse.ArgumentParser(description='Train a grid of units, depths and seeds by train_cifar.py.',
                                     epilog='Flags behind -- are those of train_cifar.py.')
    parser.add_argument('--dataset', choices=SMALL_DATASETS, default='fashion-mnist-mini', help='the data set')
    parser.add_argument('--act-type', nargs='+', choices=list(ACTIVATIONS), default=[None], metavar='UNIT',
                        help='activation units (default: that of the network)')
    parser.add_argument('--blocks', nargs='+', type=at_least(1), default=[1, 2, 3], help='blocks per stage')
    parser.add_argument('--seeds', nargs='+', type=at_least(0), default=[0, 1, 2], help='seeds')
    parser.add_argument('--jobs', type=at_least(1), help='runs at a time (default: one, or one for each set of GPUs)')
    parser.add_argument('--gpus', nargs='+', metavar='SET', help='sets of GPUs such as 0,1 2,3 (default: the CPU)')
    parser.add_argument('--params-dir', default='params', help='where the folders of checkpoints go')
    parser.add_argument('--logs-dir', default='logs', help='where the logs go')
    parser.add_argument('--dry-run', action='store_true', help='print the plan and leave; nothing is written')
    args, rest = parser.parse_known_args(argv[:at])
    if rest:
        parser.error('%s: flags of train_cifar.py stand behind --' % ' '.join(rest))
    args.flags = argv[at + 1:]
    for flag, values in (('act-type', args.act_type), ('blocks', args.blocks), ('seeds', args.seeds)):
        if len(set(values)) < len(values):
            parser.error('--%s %s: each value stands once' % (flag, ' '.join(map(str, values))))
    if args.gpus and args.jobs not in (None, len(args.gpus)):
        parser.error('--jobs %d but %d sets of --gpus: one run at a time on each' % (args.jobs, len(args.gpus)))
    args.gpus = args.gpus or [''] * (args.jobs or 1)
    args.jobs = len(args.gpus)
    return args


def plan(args):
    """The Points of the grid in the order in which they run. UserError for flags that do not go together or that
    contradict what is there."""
    for gpus in args.gpus:
        devices_by_id(gpus, train_cifar.parse_args(args.flags).dtype)
    points = [point_of(args, unit, blocks, seed) for seed in args.seeds for blocks in args.blocks
              for unit in args.act_type]
    check_twins(points)
    return sorted(points, key=lambda point: (args.seeds.index(point.seed), point.macs))


def point_of(args, unit, blocks, seed):
    grid = ['--dataset', args.dataset, '--blocks', str(blocks), '--seed', str(seed)]
    grid += ['--act-type', unit] if unit else []
    asked = train_cifar.parse_args(grid + args.flags)
    ours = dict(dataset=args.dataset, act_type=unit, blocks=blocks, seed=seed, gpus='', save_dir=None,
                logging_file=None, resume=False, summary=False)
    for option, value in ours.items():
        if getattr(asked, option) != value:
            raise UserError('--%s is for the sweep to set, so it cannot come after --' % option.replace('_', '-'))
    net = build.build_network(asked)
    name = os.path.basename(train_cifar.run_of(asked).save_dir)
    log = os.path.join(args.logs_dir, name + '.log')
    places = ['--save-dir', os.path.join(args.params_dir, name), '--logging-file', log]
    given = [*args.flags, *grid, *places, '--resume']
    run = train_cifar.run_of(train_cifar.parse_args(given))
    return Point(build.unit_of(asked), blocks, seed, name, log, given, asked.num_epochs,
                 *complexity.parameters(net), macs_of(net), epochs_there(run), checkpoint.exists(run.save_dir))


def check_twins(points):
    """UserError if two units of a sweep make the same network, as ChaATAC and ChaATAC-linear without --useReLU."""
    units = {}
    for point in points:
        unit = units.setdefault(key_of(build.options_of(train_cifar.parse_args(point.flags))), point.unit)
        if unit != point.unit:
            raise UserError('%s and %s are the same network with these flags: leave one of them out'
                            % (unit, point.unit))


def macs_of(net):
    return sum(layer.macs for layer in complexity.layers(net, train_cifar.INPUT_SHAPE))


def epochs_there(run):
    """Numbers of the epochs that a run need not repeat.

    Raises UserError, naming the log, if it is damaged, of other options, or without the checkpoint to go on from.
    """
    log, saved = run.logging_file, checkpoint.exists(run.save_dir)
    if not saved and is_blank(log) and is_blank(numbers_path(log)):
        return []
    missing = [path for path in (log, numbers_path(log)) if not os.path.exists(path)]
    if missing:
        raise UserError('%s is missing, but there is a checkpoint in %s or another file of its log: put it back, or '
                        'remove them' % (missing[0], run.save_dir))
    record = read_run(log)
    if not all({'val_top1_error', 'seconds'} <= numbers.keys() for numbers in record.epochs):
        raise UserError('%s is damaged: an epoch lacks its error or its time' % numbers_path(log))
    if record.epochs or saved:
        check_log(record, run)
    if saved or len(record.epochs) >= run.num_epochs:
        return record.epochs
    check_log_of_new(run)
    return []


def check_log(record, run):
    """UserError if an option that changes the result differs from that of a log.

    As for training.fit, num_epochs may grow; but not where the whole schedule hangs on it: the runs of a sweep are to
    be compared. In a run that is whole, options that its network and schedule do not read may differ.
    """
    before, now = record.options['num_epochs'], run.num_epochs
    options = {**record.options, **run.options}
    unread = not_read(options, unit_of(options)) if len(record.epochs) >= now else ()
    try:
        check_options(*({name: value for name, value in either.items() if name not in unread}
                        for either in (record.options, options)), record.path, flags.RULES)
        if now > before and run.options['lr_mode'] != 'step':
            raise UserError('the run in %s had other options: num_epochs was %d and is %d, which changes the learning '
                            'rate of every epoch' % (record.path, before, now))
    except ValueError as error:
        raise UserError('%s; choose another --params-dir and --logs-dir' % error) from error


def logged_paces(args):
    """[(unit, seconds of an epoch per multiply-add of an image)] of all epochs on the data set in the logs."""
    paces = []
    for path in sorted(glob.glob(os.path.join(glob.escape(args.logs_dir), '*.log'))):
        # What is no log of train_cifar.py, or damaged, is nothing to go by.
        with suppress(OSError, ValueError, TypeError, KeyError):
            record = read_run(path)
            options = argparse.Namespace(**{**flags.defaults(flags.CIFAR), **record.options})
            if record.options.get('dataset') == args.dataset:
                macs = macs_of(build.build_network(options))
                unit = build.unit_of(options)
                paces += [(unit, numbers['seconds'] / macs) for numbers in record.epochs]
    return paces


def seconds_of(point, epochs, paces):
    """About how long so many epochs of a run take, or None where nothing has been measured."""
    own = [pace for unit, pace in paces if unit == point.unit] or [pace for _, pace in paces]
    return epochs * point.macs * statistics.median(own) if own else None


def seconds_left(left, paces, jobs):
    """The same of [(Point, epochs left)], so many runs at a time."""
    return sum(seconds_of(point, epochs, paces) for point, epochs in left) / jobs if paces else None


def in_words(seconds):
    if seconds is None:
        return 'unknown'
    if seconds < 90:
        return '%.0f s' % seconds
    minutes = round(seconds / 60)
    return '%d min' % minutes if minutes < 90 else '%d h %02d min' % divmod(minutes, 60)


def epochs_left(point):
    return max(0, point.num_epochs - len(point.epochs))


def state_of(point):
    if not epochs_left(point):
        return 'done'
    return 'resume at epoch %d' % len(point.epochs) if point.saved else 'new'


def summary(points, paces, jobs):
    """What there is to do, as a line."""
    left = [(point, epochs_left(point)) for point in points]
    states = Counter(state_of(point).split()[0] for point in points)
    text = '%d runs: %d done, %d to resume, %d new; %d epochs to go; ' % (
        len(points), states['done'], states['resume'], states['new'], sum(epochs for _, epochs in left))
    if paces:
        return text + 'about %s, by %d epochs in the logs' % (in_words(seconds_left(left, paces, jobs)), len(paces))
    return text + 'no estimate of the time: the logs hold no epoch on this data set'


def print_plan(points, paces, jobs):
    width = max(len(point.name) for point in points)
    print('%-*s %12s %12s %14s  %-20s %s' % (width, 'run', 'parameters', 'trainable', 'multiply-adds', 'state',
                                             'time to go'))
    for point in points:
        left = epochs_left(point)
        print('%-*s %12s %12s %14s  %-20s %s' % (
            width, point.name, format(point.parameters, ','), format(point.trainable, ','), format(point.macs, ','),
            state_of(point), in_words(seconds_of(point, left, paces)) if left else '-'))
    print(summary(points, paces, jobs))


def environment(jobs):
    """Of a run: it gets its share of the cores, unless the user has set OMP_NUM_THREADS."""
    with open('/proc/self/environ', 'rb') as file:  # as it was before runtime filled it
        given = any(entry.startswith(b'OMP_NUM_THREADS=') for entry in file.read().split(b'\0'))
    return dict(os.environ) if given else dict(os.environ,
                                               OMP_NUM_THREADS=str(max(1, runtime.physical_cores() // jobs)))


class Sweep:
    """The runs of a plan: some waiting, some running, each on one of the sets of GPUs ('' is the CPU).

    epochs: {name: numbers of its epochs}. failed: {name: why}. mistake: whether one of them left with 2.
    """

    def __init__(self, points, gpus, paces, bar):
        self.points, self.free, self.jobs, self.bar = points, list(gpus), len(gpus), bar
        self.epochs = {point.name: point.epochs for point in points}
        self.waiting = [point for point in points if epochs_left(point)]
        self.running, self.failed, self.mistake = [], {}, False
        self.logged_paces, self.paces = paces, []  # those of this machine and day replace the others

    def go(self, watch):
        """Run what is waiting, until it is done or somebody asks to stop. No run outlives this call."""
        try:
            while (self.running or self.waiting) and not (watch.signal or self.mistake):
                while self.waiting and self.free:
                    self.start(self.waiting.pop(0), self.free.pop(0))
                time.sleep(POLL)
                for job in list(self.running):
                    self.look(job)
                    if job.process.poll() is not None:
                        self.end(job)
        finally:
            self.stop()

    def start(self, point, gpus):
        # A session of its own: Ctrl-C at the terminal must reach the run once, through stop().
        errors = tempfile.TemporaryFile()
        process = subprocess.Popen(
            [sys.executable, os.path.abspath(train_cifar.__file__), *point.flags, '--gpus', gpus],
            stdout=subprocess.DEVNULL, stderr=errors, env=environment(self.jobs), start_new_session=True)
        self.running.append(Job(point, gpus, process, errors, time.time()))
        self.say('%s start %s (%s)' % (self.place(point), point.name, state_of(point)))

    def look(self, job):
        """Take in the epochs that a run has come to."""
        point = job.point
        with suppress(OSError, ValueError):  # no log yet, or a new one that has not come to its header
            before, self.epochs[point.name] = len(self.epochs[point.name]), read_run(point.log).epochs
            fresh = self.epochs[point.name][before:]
            self.paces += [(point.unit, numbers['seconds'] / point.macs) for numbers in fresh]
            self.bar.update(point.macs * len(fresh))
        self.bar.set_postfix_str('%d of %d runs to go, %s' % (len(self.running) + len(self.waiting), len(self.points),
                                                              self.time_left()))

    def end(self, job):
        """Say how a run has ended."""
        self.look(job)
        self.running.remove(job)
        self.free.append(job.gpus)
        point, code, epochs = job.point, job.process.returncode, self.epochs[job.point.name]
        took = in_words(time.time() - job.begun)
        if code == 0 and len(epochs) >= point.num_epochs:
            self.say('%s done %s: error last %.2f %%, best %.2f %%, %s; %s'
                     % (self.place(point), point.name, *errors_of(epochs), took, self.time_left()))
        else:
            self.failed[point.name] = why_of(code)
            self.mistake = self.mistake or code == 2
            self.say('%s FAILED %s: %s, %s' % (self.place(point), point.name, why_of(code), took))
            for line in tail(job.errors):
                self.say('    ' + line)
        job.errors.close()

    def stop(self):
        """Ask the runs under way to save and leave, and wait for them."""
        for job in self.running:
            job.process.send_signal(signal.SIGTERM)
        for job in self.running:
            job.process.wait()
            job.errors.close()
            self.say('%s stopped %s' % (self.place(job.point), job.point.name))

    def place(self, point):
        return '[%d/%d]' % (self.points.index(point) + 1, len(self.points))

    def time_left(self):
        left = [(point, epochs_left(point._replace(epochs=self.epochs[point.name])))
                for point in self.waiting + [job.point for job in self.running]]
        seconds = seconds_left(left, self.paces or self.logged_paces, self.jobs)
        return 'time left unknown' if seconds is None else 'about %s left' % in_words(seconds)

    def say(self, text):
        tqdm.write(text, file=sys.stderr)


def why_of(code):
    """What the exit code of a run that failed says."""
    if code == 0:
        return 'exit code 0, but epochs are missing in its log'
    return 'killed by %s' % signal.Signals(-code).name if code < 0 else 'exit code %d' % code


def tail(file):
    file.seek(0)
    return file.read().decode(errors='replace').strip().splitlines()[-TAIL:]


def errors_of(epochs):
    """(last, best) top-1 error of a run in percent."""
    errors = [100 * numbers['val_top1_error'] for numbers in epochs]
    return errors[-1], min(errors)


def results(points, epochs):
    """A dict for each unit and depth: over the seeds that are done, n, mean and standard deviation of the errors in
    percent; None where there are too few."""
    rows = []
    for unit, blocks in dict.fromkeys((point.unit, point.blocks) for point in points):
        runs = [errors_of(epochs[point.name]) for point in points
                if (point.unit, point.blocks) == (unit, blocks) and len(epochs[point.name]) >= point.num_epochs]
        row = {'unit': unit, 'blocks': blocks, 'n': len(runs)}
        for kind, errors in zip(('last', 'best'), zip(*runs) if runs else ((), ())):
            row[kind + '_mean'] = statistics.mean(errors) if errors else None
            row[kind + '_std'] = statistics.stdev(errors) if len(errors) > 1 else None
        rows.append(row)
    return rows


def print_results(rows):
    print('top-1 error in percent, mean and standard deviation over n seeds')
    print('%-16s %6s %3s %10s %6s %10s %6s' % ('unit', 'blocks', 'n', 'last epoch', 'std', 'best epoch', 'std'))
    for row in rows:
        numbers = ['-' if row[name] is None else '%.2f' % row[name]
                   for name in ('last_mean', 'last_std', 'best_mean', 'best_std')]
        print('%-16s %6d %3d %10s %6s %10s %6s' % (row['unit'], row['blocks'], row['n'], *numbers))


def main(argv=None):
    """The sweep; returns the dicts of results(), or the Points of the plan after --dry-run.

    SystemExit with the codes above if it was stopped or a run failed.
    """
    args = parse_args(argv)
    points, paces = plan(args), logged_paces(args)
    if args.dry_run:
        print_plan(points, paces, args.jobs)
        return points
    work = sum(point.macs * epochs_left(point) for point in points)
    with watching() as watch, tqdm(total=work, disable=None, leave=False,
                                   bar_format='{percentage:3.0f}%|{bar}| {elapsed}{postfix}') as bar:
        sweep = Sweep(points, args.gpus, paces, bar)
        sweep.say(summary(points, paces, args.jobs))
        sweep.go(watch)
    rows = results(points, sweep.epochs)
    print_results(rows)
    for name, why in sweep.failed.items():
        print('failed: %s, %s' % (name, why), file=sys.stderr)
    if watch.signal:
        print('%s: stopped; the same command goes on' % watch.signal.name, file=sys.stderr)
        raise SystemExit(128 + watch.signal)
    if sweep.failed:
        raise SystemExit(2 if sweep.mistake else 1)
    return rows
