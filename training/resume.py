"""May a run begin, or continue? The rules that keep two runs apart, and what a run that continues has come to."""
import logging
import os
from collections import namedtuple
from functools import partial

from runtime import UserError, changes, printable, processor

import mxnet as mx
import numpy as np

from native.compiled import product_of
from training import checkpoint
from training.logs import holds_no_epoch, is_blank, is_summarised, logged_epochs, logged_options, numbers_path
from training.schedule import depends_on_num_epochs
from training.weights.arrays import set_weights

# What a checkpoint says of a run, and what that can be.
ERRORS = ('epoch', 'val_top1_error', 'val_top5_error', 'train_error', 'train_loss')  # of an epoch, in a summary
WITHIN = {'epoch': 0, 'batches': 1, 'images': 1}  # and the least of each
SOUND = {'epoch': lambda epoch: type(epoch) is int,
         'within': lambda within: within is None or is_of_numbers(within, within) and all(
             type(within.get(name)) is int and within[name] >= least for name, least in WITHIN.items()),
         'best': lambda best: best is None or is_of_numbers(best, ERRORS) and is_file_name(best.get('file')),
         'last': lambda last: last is None or is_of_numbers(last, ERRORS),
         'options': lambda options: isinstance(options, dict) and type(options.get('num_epochs')) is int,
         'weights': lambda weights: isinstance(weights, dict) and is_of_texts(weights.get('class_names') or []),
         'means': lambda means: isinstance(means, dict),
         'loss_scale': lambda scale: scale is None or is_of_numbers(scale, ('value', 'steps'))}
# Options that older ones do not name. Where batches are of another size, an interrupted epoch cannot be continued.
NOT_NAMED = {'images_per_step', 'teacher_digest'}
LOG = logging.getLogger(__name__)

# What the options of a run mean. free: the names of those that do not change what is computed, so that they may differ;
# num_epochs may grow. before: {name: value} of what logs and checkpoints meant before they named it. resolved: gives
# options with what they mean where nothing was said.
Rules = namedtuple('Rules', 'free before resolved', defaults=(frozenset(), {}, dict))


def restore(run, learner):
    """Check, and put the checkpoint of a run that continues into its learner; returns how far it had come.

    That is {'epoch': the last whole one or -1, 'within': None or what the next one has come to, 'best', 'last': numbers
    of epochs or None}. Only the first worker reads the files. Raises as find_checkpoint does.
    """
    facts, arrays = learner.workers.share(partial(find_checkpoint, run))
    if arrays:
        set_weights(learner.net, arrays['params'], 'the checkpoint in ' + run.save_dir)
        checkpoint.set_trainer_arrays(learner.trainer, learner.net, arrays['states'])
    scale = facts.pop('loss_scale', None)
    warn_of_changes(facts.pop('made_by', {}), dict(
        means_of(learner), commit=run.description.commit if run.description else None))
    if scale:
        learner.trainer.loss_scale.restore(scale)
    return facts


def means_of(learner):
    """{name: text} of what computes a run, besides the commit: other means round otherwise.

    devices: of all workers, as BatchNorm sees the images of one. processor, OMP_NUM_THREADS: of a CPU, else ''.
    """
    kind = learner.devices[0].device_type
    name, instructions = processor()
    on_cpu = {'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS', ''),
              'processor': name + ' with AVX-512' * ('avx512f' in instructions)}
    return {'product': product_of(learner.net), 'devices': f'{len(learner.devices) * learner.workers.size} {kind}',
            'MXNet': mx.__version__, 'NumPy': np.__version__,
            **{what: text if kind == 'cpu' else '' for what, text in on_cpu.items()}}


def warn_of_changes(before, now):
    """Say what computes a run that continues, where it is not what has computed it so far.

    before, now: {'commit' and the names of means_of: text, or anything else if it is not known}
    """
    changed = ['%s was %s and is %s' % (what, printable(before[what]), now[what]) for what in sorted(now)
               if isinstance(before.get(what), str) and before[what] and now[what] and before[what] != now[what]]
    if changed:
        LOG.warning('the run continues with other means (%s): numbers may differ from those of a run without a break',
                    '; '.join(changed))


def continues(run):
    """Whether a run is resumed, and has a checkpoint."""
    return run.resume and checkpoint.exists(run.save_dir)


def find_checkpoint(run):
    """(how far a run had come, its arrays), or (the beginning, {}).

    Raises UserError if there is a checkpoint and the run is not to be resumed, or if its options differ, or if the log
    or a best file beside it is of another run.
    """
    if not checkpoint.exists(run.save_dir):
        check_new(run)
        return {'epoch': -1, 'within': None, 'best': None, 'last': None}, {}
    if not run.resume:
        raise UserError('%s holds a checkpoint: %s' % (run.save_dir, cure_of(run)))
    facts, arrays, paths = checkpoint.load(run.save_dir)
    facts.setdefault('weights', {})
    facts.setdefault('loss_scale', None)
    facts.setdefault('means', {name: facts[name] for name in ('product',) if name in facts})  # as in older ones
    wrong = [name for name, is_sound in SOUND.items() if name not in facts or not is_sound(facts[name])]
    if not wrong and facts['within'] and facts['within']['epoch'] != facts['epoch'] + 1:
        wrong = ['within']
    if wrong:
        raise UserError('the checkpoint in %s is of no run: its %s cannot be' % (run.save_dir, ', '.join(wrong)))
    check_options(facts['options'], run.options, run.save_dir, run.rules)
    before = facts['options']['num_epochs']
    if before < run.options['num_epochs'] and depends_on_num_epochs(run.options.get('lr_mode')):
        LOG.warning('num_epochs was %d and is %d: the learning rate follows neither schedule', before,
                    run.options['num_epochs'])
    check_classes(facts['weights'].get('class_names'), run)
    # A run logs an epoch, and saves its best weights, before the checkpoint; previous.* is one checkpoint older.
    furthest = facts['epoch'] + (2 if paths['json'].endswith('previous.json') else 1)
    check_bests(run, furthest)
    check_log_of_resumed(run, facts['epoch'] + 1, furthest + 1)
    found = {name: facts.get(name) for name in ('epoch', 'within', 'best', 'last', 'loss_scale')}
    # Older checkpoints do not name the product.
    found['made_by'] = {'commit': facts['weights'].get('commit'), 'product': 'MXNet', **facts['means']}
    return found, arrays


def cure_of(run):
    """What to do about the checkpoint of a run that is not resumed."""
    other = 'choose another --save-dir and --logging-file'
    try:
        before = checkpoint.checkpoint_facts(run.save_dir, 'last')['options']
        check_options(before, run.options, run.save_dir, run.rules)
        return 'continue it by --resume, or ' + other
    except UserError as error:
        return f'{error}: {other}'
    except checkpoint.DAMAGE:
        return other


def is_of_numbers(facts, names):
    return isinstance(facts, dict) and all(type(facts.get(name)) in (int, float) for name in names)


def is_file_name(name):
    return type(name) is str and name.isprintable() and name == os.path.basename(name)


def is_of_texts(names):
    return isinstance(names, list) and all(type(name) is str for name in names)


def check_classes(before, run):
    """UserError if the images have other classes than before, or in another order.   before: names, None if unknown"""
    now = run.description.class_names if run.description else None
    if not before or not now or before == now:
        return
    raise UserError(f'the classes are not those of the run in {run.save_dir}: {changes(before, now)}')


def check_new(run):
    """UserError if a run that begins would write over what is there."""
    check_log_of_new(run)
    check_bests(run, 0 if run.resume else -1)  # its own first try may have been killed before its first checkpoint
    if run.resume:
        LOG.warning('there is nothing to resume in %s: starting at epoch 0', run.save_dir)


def check_bests(run, furthest):
    """UserError if the folder holds best weights of a later epoch than the furthest that the run can have come to."""
    others = [name for name, epoch in checkpoint.bests(run.save_dir, run.title).items() if epoch > furthest]
    if others:
        raise UserError('%s holds %s of another run, which a better epoch would replace: choose another --save-dir'
                        % (run.save_dir, others[0]))


def check_log_of_new(run):
    """UserError if a run that begins would write over a file, or over the log of epochs whose checkpoint is gone.

    A log without an epoch whose run has no checkpoint, and that of its own first try, may be written over.
    """
    logged = logged_options(run.logging_file)
    folder = logged.get('save_dir')
    saved = folder is not None and checkpoint.exists(str(folder))
    if logged and not saved and holds_no_epoch(run.logging_file):  # killed, or refused, before its first one
        return
    # Older logs name a folder by default None, so the other options must say whether it is the same.
    same = folder in (run.save_dir, run.options.get('save_dir')) and all(
        name in logged and logged[name] == value for name, value in run.options.items() if name not in run.rules.free)
    there = files_of_log(run)
    if there and not same:
        raise UserError('%s exists and is not of a run in %s: choose another --logging-file, or remove it'
                        % (there[0], run.save_dir))
    epochs = logged_epochs(run.logging_file)
    one_unsaved = run.resume and epochs < 2 and not (epochs and is_summarised(run.logging_file))  # the run was killed
    if there and not one_unsaved:
        raise UserError('%s holds epochs, but there is no checkpoint to continue from in %s: put it back, choose '
                        'another --logging-file, or remove the log' % (run.logging_file, run.save_dir))


def check_log_of_resumed(run, epochs, most):
    """UserError if a run would continue in the log of another, or in one that lacks some of its epochs.

    A log that is gone is begun anew. epochs: how many the run has come to. most: how many it may have logged.
    """
    path = run.logging_file
    logged = logged_options(path)
    there = files_of_log(run)
    if not there:
        if epochs:
            LOG.warning('%s begins with epoch %d: the log of the epochs before it is another file, or is gone', path,
                        epochs)
        return
    if not isinstance(logged.get('num_epochs'), int):
        raise UserError('%s exists and is not the log of the run in %s: choose another --logging-file, or remove it'
                        % (there[0], run.save_dir))
    places = {name: run.options.get(name) for name in ('save_dir', 'logging_file')}
    check_options({**logged, **places}, run.options, path, run.rules)
    folder, its_log = str(logged.get('save_dir') or run.save_dir), str(logged.get('logging_file') or path)
    is_copy = os.path.realpath(its_log) != os.path.realpath(path)  # with its run: the first one has a log of its own
    if os.path.realpath(folder) != os.path.realpath(run.save_dir) and checkpoint.exists(folder) and not is_copy:
        raise UserError('%s is the log of the run in %s: choose another --logging-file' % (path, folder))
    logged = logged_epochs(path)
    if not epochs <= logged <= most and not holds_no_epoch(path):
        cure = 'put the whole log back, or choose another --logging-file' if logged < epochs else \
            'it is the log of a run that has come further, choose another --logging-file'
        raise UserError('%s holds %d epochs, and the checkpoint in %s is after %d: %s'
                        % (numbers_path(path), logged, run.save_dir, epochs, cure))


def files_of_log(run):
    """Those of the two files of a run's log that hold something."""
    return [path for path in (run.logging_file, numbers_path(run.logging_file)) if not is_blank(path)]


def check_options(before, now, where, rules):
    """UserError if an option that changes the result was another in an earlier start of a run.

    before, now: options by name. where: the file or folder that names the former.
    """
    same_teacher = before.get('teacher_digest') and before['teacher_digest'] == now.get('teacher_digest')
    free = rules.free | ({'teacher_params'} if same_teacher else set())  # its file may have moved
    before = rules.resolved({**{name: now[name] for name in NOT_NAMED & now.keys()}, **rules.before, **before})
    now = rules.resolved({**rules.before, **now})
    differing = ['%s was %s and is %s' % (printable(name), printable(str(before.get(name))), now.get(name))
                 for name in sorted(before.keys() | now.keys())
                 if name not in free and before.get(name) != now.get(name)]
    if now['num_epochs'] < before['num_epochs']:
        differing.append('num_epochs was %d and is %d' % (before['num_epochs'], now['num_epochs']))
    if differing:
        raise UserError('the run in %s had other options: %s' % (where, '; '.join(differing)))
