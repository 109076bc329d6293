"""A whole run: epochs of training and scoring, with a log line and a checkpoint after each."""
import logging
import os
from collections import namedtuple
from functools import partial

import mxnet as mx
import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from training import checkpoint
from training.loop import evaluate, renew_weights, train_epoch
from training.runlog import RunLog

LOG = logging.getLogger(__name__)
INITIALISATION, DROPOUT = 0, 1  # streams of MXNet's own generator

# save_dir, logging_file: where to. title: `data set-network`, the middle of the best file's name. options: all flags
# by name. seed, num_epochs, log_interval, resume: as the flags.
Run = namedtuple('Run', 'save_dir logging_file title options seed num_epochs log_interval resume')

# Flags that do not change what is computed, and so may differ on resume; num_epochs may grow.
FREE_OPTIONS = frozenset(['resume', 'num_epochs', 'log_interval', 'num_workers', 'save_dir', 'logging_file', 'summary',
                          'gpus', 'num_gpus', 'data_dir', 'rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx',
                          'teacher_params'])


def seed_mxnet(*numbers):
    """Seed MXNet's generators with a function of these numbers alone."""
    mx.random.seed(int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1))


def prepare(run, net, trainer):
    """Refuse or resume: put the checkpoint into net and trainer; returns (first epoch, best so far or None).

    Raises ValueError if there is a checkpoint and the run is not to be resumed, or if its options differ.
    """
    if not checkpoint.exists(run.save_dir):
        if run.resume:
            LOG.warning('there is nothing to resume in %s: starting at epoch 0', run.save_dir)
        elif os.path.exists(run.logging_file):
            raise ValueError('the log %s exists and its checkpoint %s does not: remove it or choose another '
                             '--logging-file' % (run.logging_file, run.save_dir))
        return 0, None
    if not run.resume:
        raise ValueError('%s holds a checkpoint: go on with it by --resume, or choose another --save-dir'
                         % run.save_dir)
    facts, arrays = checkpoint.load(run.save_dir)
    refuse_differences(facts['options'], run.options, run.save_dir)
    checkpoint.set_weights(net, arrays['params'], os.path.join(run.save_dir, 'last.params'))
    checkpoint.set_trainer_arrays(trainer, arrays['states'])
    return facts['epoch'] + 1, facts['best']


def refuse_differences(before, now, folder):
    """ValueError if an option that changes the result differs from that of the checkpoint."""
    differing = ['%s was %s and is %s' % (name, before.get(name), now.get(name))
                 for name in sorted(before.keys() | now.keys())
                 if name not in FREE_OPTIONS and before.get(name) != now.get(name)]
    if now['num_epochs'] < before['num_epochs']:
        differing.append('num_epochs was %d and is %d' % (before['num_epochs'], now['num_epochs']))
    if differing:
        raise ValueError('the run in %s had other options: %s' % (folder, '; '.join(differing)))


def fit(run, net, trainer, train, validation, lr_at, objective, devices, dtype='float32', net_facts=''):
    """Train, score, log and save until the last epoch. Returns {'last': numbers, 'best': numbers}.

    Raises FloatingPointError if a loss, a logit or a weight is not finite; the message names the last good checkpoint.
    """
    first_epoch, best = prepare(run, net, trainer)
    os.makedirs(run.save_dir, exist_ok=True)
    log, numbers = RunLog(run.logging_file, first_epoch), None
    try:
        log.header(run.options, devices, net_facts)
        for epoch in range(first_epoch, run.num_epochs):
            with logging_redirect_tqdm():
                numbers = run_epoch(run, log, net, trainer, train, validation, epoch, lr_at, objective, devices, dtype)
            if best is None or numbers['val_top1_error'] < best['val_top1_error']:
                best = dict(numbers)
                best['file'] = checkpoint.save_best(run.save_dir, run.title, numbers['val_top1_error'], epoch, net)
            log.epoch(numbers)
            checkpoint.save(run.save_dir, net, trainer, {'epoch': epoch, 'best': best, 'last': numbers,
                                                         'options': run.options})
        summarise(log, numbers, best)
    except FloatingPointError as error:
        raise FloatingPointError('%s; the last good checkpoint is %s' % (error, last_good(run.save_dir))) from error
    finally:
        log.close()
    return {'last': numbers, 'best': best}


def run_epoch(run, log, net, trainer, train, validation, epoch, lr_at, objective, devices, dtype):
    """The numbers of one epoch, for the log."""
    seed_mxnet(run.seed, DROPOUT, epoch)
    numbers = train_epoch(net, trainer, train, epoch, lr_at, objective, devices, dtype, run.log_interval,
                          partial(report_batch, log, epoch))
    scores = evaluate(net, validation, devices, dtype)
    renew_weights(net)
    return {'epoch': epoch, 'val_top1_error': scores['top1_error'], 'val_top5_error': scores['top5_error'], **numbers}


def report_batch(log, epoch, batch, numbers):
    """A line in the form of the authors' log."""
    log.say('Epoch[%d] Batch [%d]\tSpeed: %.1f samples/sec\tloss=%.4f\taccuracy=%.6f\tlr=%.6f'
            % (epoch, batch, numbers['images_per_second'], numbers['train_loss'], 1 - numbers['train_error'],
               numbers['lr']))


def summarise(log, last, best):
    for title, numbers in (('Best', best), ('Last', last)):
        if numbers:
            log.say('%s epoch: %d, err-top1=%.4f err-top5=%.4f'
                    % (title, numbers['epoch'], numbers['val_top1_error'], numbers['val_top5_error']))


def last_good(save_dir):
    """What to say of the newest whole checkpoint in a folder."""
    if not checkpoint.exists(save_dir):
        return 'none: no epoch has been saved'
    return '%s of epoch %d' % (os.path.join(save_dir, 'last.params'), checkpoint.load(save_dir)[0]['epoch'])
