"""A whole run: epochs of training and scoring, with a log line and a checkpoint after each.

A run that was killed at any moment and goes on computes what it would have computed: the checkpoint holds all that it
had learnt and counted, and whatever is random is a function of (seed, epoch, batch or image).
"""
import logging
import os
from collections import namedtuple
from contextlib import ExitStack
from functools import partial

import mxnet as mx
import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from native.compiled import describe_product, product_of
from training import checkpoint
from training.lock import locked
from training.loop import evaluate, nothing_yet, renew_weights, train_epoch
from training.runlog import RunLog, Silence, is_blank, logged_epochs, logged_options, numbers_path
from training.signals import watching

LOG = logging.getLogger(__name__)
INITIALISATION, DROPOUT = 0, 1  # streams of MXNet's own generator; every further worker drops out by one more

# save_dir, logging_file: where to. title: `data set-network`, the middle of the best file's name. options: all flags
# by name. seed, num_epochs, log_interval, resume, save_every_steps, tensorboard: as the flags.
Run = namedtuple('Run', 'save_dir logging_file title options seed num_epochs log_interval resume save_every_steps '
                        'tensorboard', defaults=(0, None))

# Flags that do not change what is computed, and so may differ on resume; num_epochs may grow.
FREE_OPTIONS = frozenset(['resume', 'num_epochs', 'log_interval', 'num_workers', 'save_dir', 'logging_file', 'summary',
                          'gpus', 'num_gpus', 'data_dir', 'rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx',
                          'teacher_params', 'save_every_steps', 'tensorboard', 'kvstore', 'stall_timeout'])


def seed_mxnet(*numbers):
    """Seed MXNet's generators with a function of these numbers alone."""
    mx.random.seed(int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1))


def prepare(run, learner):
    """Refuse or resume: put the checkpoint into a learner; returns how far it had come, as Keeper.facts.

    The first worker alone reads it. Raises as find_checkpoint does.
    """
    facts, arrays = learner.workers.share(partial(find_checkpoint, run))
    if arrays:
        checkpoint.set_weights(learner.net, arrays['params'], os.path.join(run.save_dir, 'last.params'))
        checkpoint.set_trainer_arrays(learner.trainer, arrays['states'])
    scale, before, now = facts.pop('loss_scale', None), facts.pop('product', None), product_of(learner.net)
    if scale:
        learner.trainer.loss_scale.restore(scale)
    if before and before != now:
        LOG.warning('%s multiplied in this run and %s does so now: numbers may be rounded otherwise', before, now)
    return facts


def find_checkpoint(run):
    """(how far a run had come, its arrays), or (the beginning, {}).

    Raises ValueError if there is a checkpoint and the run is not to be resumed, or if its options differ.
    """
    if not checkpoint.exists(run.save_dir):
        refuse_foreign_log(run)
        bests = checkpoint.bests(run.save_dir, run.title)
        if bests and not run.resume:
            raise ValueError('%s holds %s of another run, which a better epoch would replace: choose another --save-dir'
                             % (run.save_dir, bests[0]))
        if run.resume:
            LOG.warning('there is nothing to resume in %s: starting at epoch 0', run.save_dir)
        return {'epoch': -1, 'within': None, 'best': None, 'last': None}, {}
    if not run.resume:
        raise ValueError('%s holds a checkpoint: go on with it by --resume, or choose another --save-dir'
                         % run.save_dir)
    facts, arrays = checkpoint.load(run.save_dir)
    lacking = {'epoch', 'within', 'best', 'last', 'options'} - facts.keys()
    if lacking:
        raise ValueError('the checkpoint in %s is of no run: it lacks %s' % (run.save_dir, ', '.join(sorted(lacking))))
    refuse_differences(facts['options'], run.options, run.save_dir)
    refuse_log_of_another(run, facts['epoch'] + 1)
    facts.setdefault('product', 'MXNet')  # which older checkpoints do not name
    return {name: facts.get(name) for name in ('epoch', 'within', 'best', 'last', 'loss_scale', 'product')}, arrays


def refuse_foreign_log(run):
    """ValueError if a run that begins would write over a file, other than the log of its own first try, or over the
    log of epochs whose checkpoint is gone."""
    paths, logged = (run.logging_file, numbers_path(run.logging_file)), logged_options(run.logging_file)
    # A folder by default is named None in the options, so the others must say whether it is the same.
    own = run.resume and all(name in logged and logged[name] == value for name, value in run.options.items()
                             if name == 'save_dir' or name not in FREE_OPTIONS)
    for path in paths:
        if not own and not is_blank(path):
            raise ValueError('%s exists and is not of a run in %s: choose another --logging-file, or remove it'
                             % (path, run.save_dir))
    epochs = logged_epochs(run.logging_file)
    if epochs > 1 or epochs == logged.get('num_epochs'):  # one may be logged and not saved, where a run was killed
        raise ValueError('%s holds %d epochs, but there is no checkpoint to go on from in %s: put it back, choose '
                         'another --logging-file, or remove the log' % (run.logging_file, epochs, run.save_dir))


def refuse_log_of_another(run, epochs):
    """ValueError if a run that goes on behind so many epochs would do so in the log of another, or in one that lacks
    some of them. One that is gone is begun anew."""
    path, logged = run.logging_file, logged_options(run.logging_file)
    if is_blank(path) and is_blank(numbers_path(path)):
        return
    if not isinstance(logged.get('num_epochs'), int):
        raise ValueError('%s exists and is not the log of the run in %s: choose another --logging-file, or remove it'
                         % (path, run.save_dir))
    refuse_differences(logged, run.options, path)
    if logged_epochs(path) < epochs:
        raise ValueError('%s holds %d epochs, and the checkpoint in %s is behind %d: put the whole log back, or remove '
                         'what is left of it' % (numbers_path(path), logged_epochs(path), run.save_dir, epochs))


def refuse_differences(before, now, folder):
    """ValueError if an option that changes the result differs from that of the checkpoint.

    Where batches are of another size, an interrupted epoch cannot be gone on with. Older checkpoints name neither that
    nor a loss scale.
    """
    before = {'images_per_step': now.get('images_per_step'), 'loss_scale': 1.0, **before}
    now = {'loss_scale': 1.0, **now}
    differing = ['%s was %s and is %s' % (name, before.get(name), now.get(name))
                 for name in sorted(before.keys() | now.keys())
                 if name not in FREE_OPTIONS and before.get(name) != now.get(name)]
    if now['num_epochs'] < before['num_epochs']:
        differing.append('num_epochs was %d and is %d' % (before['num_epochs'], now['num_epochs']))
    if differing:
        raise ValueError('the run in %s had other options: %s' % (folder, '; '.join(differing)))


class Keeper:
    """Saves a run: after each epoch, every run.save_every_steps batches, and when a signal asks it to stop.

    facts: {'epoch': the last whole one or -1, 'within': None or what the next one has come to, 'best', 'last': numbers
    of epochs or None}. watch: a training.signals.Watch. After a signal each save ends in SystemExit, 128 + its number.
    All workers of a learner keep the run together, and the first one writes.
    """

    def __init__(self, run, log, learner, watch, facts):
        self.run, self.log, self.watch, self.facts = run, log, watch, facts
        self.net, self.trainer, self.workers = learner.net, learner.trainer, learner.workers
        blocks = []
        self.net.apply(blocks.append)
        self.draws = any(isinstance(block, mx.gluon.nn.Dropout) for block in blocks)

    @property
    def asked(self):
        """The signal that asks the run to stop, or None."""
        return self.workers.asked(self.watch.signal)

    def totals(self):
        """What the epoch that was interrupted had come to; nothing yet, if there is none."""
        within = self.facts['within'] or {}
        return {name: within.get(name, value) for name, value in nothing_yet().items()}

    def prepare_step(self, epoch, batch):
        """Let dropout be a function of (seed, epoch, batch), so that a run may be interrupted after any batch."""
        self.workers.tell(self.watch.signal)
        if self.draws:
            seed_mxnet(self.run.seed, DROPOUT + self.workers.rank, epoch, batch)

    def is_due(self, batches, of):
        """Whether to save after so many batches of an epoch; behind the last one only if the run is to stop."""
        step = self.run.save_every_steps
        return bool(self.asked or step and batches % step == 0 and batches < of)

    def save_within(self, epoch, totals):
        self.workers.average_statistics(self.net)
        self._save(within=dict(totals, epoch=epoch))
        self._stop_if_asked()

    def save_if_asked(self, epoch, totals):
        """Stop in the middle of scoring; the network is as it was before."""
        self.workers.tell(self.watch.signal)
        if self.asked:
            self.save_within(epoch, totals)

    def save_epoch(self, numbers):
        """Log and save a whole epoch, and its weights if they are the best."""
        best, epoch = self.facts['best'], numbers['epoch']
        if best is None or numbers['val_top1_error'] < best['val_top1_error']:
            best = dict(numbers, **self.workers.share(partial(
                checkpoint.save_best, self.run.save_dir, self.run.title, numbers['val_top1_error'], epoch, self.net)))
        self.log.epoch(numbers)
        self._save(epoch=epoch, within=None, best=best, last=numbers)
        self.workers.share(partial(checkpoint.remove_older_bests, self.run.save_dir, self.run.title, best['file']))
        self._stop_if_asked()

    def _save(self, **facts):
        self.facts.update(facts)
        self.workers.share(partial(checkpoint.save, self.run.save_dir, self.net, self.trainer,
                                   dict(self.facts, options=self.run.options, product=product_of(self.net),
                                        loss_scale=self.trainer.loss_scale.state())))

    def _stop_if_asked(self):
        if self.asked:
            self.log.say('%s: stopped after %s, which is saved in %s; --resume goes on'
                         % (self.asked.name, checkpoint.place_of(self.facts), self.run.save_dir))
            self.workers.finish()
            raise SystemExit(128 + self.asked)


def fit(run, learner, train, validation, net_facts=''):
    """Train, score, log and save until the last epoch. Returns {'last': numbers, 'best': numbers}.

    learner: a training.loop.Learner; its workers each train on their part of every batch. net_facts: for the log.
    Raises ValueError if the files that are there are of another run, FloatingPointError if a loss, a logit or a weight
    is not finite, and OSError if a file cannot be written or another run has the folder; the message of the last two
    names the last good checkpoint. SIGTERM and Ctrl-C end in SystemExit, after
    the step and a checkpoint.
    """
    workers = learner.workers
    # Another data set under the same name shows in its size.
    run = run._replace(options=dict(run.options, train_images=train.images, validation_images=validation.images,
                                    images_per_step=train.batch_size))
    for source in (train, validation):
        source.divide(workers.rank, workers.size)
    with ExitStack() as stack, watching() as watch:
        workers.share(partial(stack.enter_context, locked(run.save_dir)))
        facts = prepare(run, learner)
        begin, numbers = facts['epoch'] + 1, facts['last']
        log = Silence() if workers.rank else RunLog(
            run.logging_file, begin, facts['within']['batches'] if facts['within'] else 0, run.tensorboard, len(train))
        keeper = Keeper(run, log, learner, watch, facts)
        try:
            log.header(run.options, learner.devices, net_facts)
            log.say('Product: %s' % describe_product(learner.net))
            log.say('Batches: %d images a step in all; %s; learning rate %s'
                    % (train.batch_size, workers, run.options.get('lr')))
            for epoch in range(begin, run.num_epochs):
                with logging_redirect_tqdm():
                    numbers = run_epoch(learner, keeper, train, validation, epoch)
                keeper.save_epoch(numbers)
            if workers.rank == 0:
                summarise(run, log, numbers, keeper.facts['best'])
            workers.finish()
        except FloatingPointError as error:  # of which all workers hear in the same step
            raise FloatingPointError('%s; %s' % (error, workers.share(partial(last_good, run.save_dir)))) from error
        except OSError as error:
            if workers.rank:
                raise
            raise OSError('%s; %s' % (error, last_good(run.save_dir))) from error
        finally:
            log.close()
    return {'last': numbers, 'best': keeper.facts['best']}


def run_epoch(learner, keeper, train, validation, epoch):
    """The numbers of one epoch, for the log."""
    totals = keeper.totals()
    numbers = train_epoch(learner, train, epoch, keeper.run.log_interval, partial(report_batch, keeper.log, epoch),
                          totals, keeper)
    learner.workers.average_statistics(learner.net)
    scores = evaluate(learner.net, validation, learner.devices, learner.dtype,
                      partial(keeper.save_if_asked, epoch, totals), learner.workers)
    renew_weights(learner.net)
    return {'epoch': epoch, 'val_top1_error': scores['top1_error'], 'val_top5_error': scores['top5_error'], **numbers}


def report_batch(log, epoch, batch, numbers):
    """A line in the form of the authors' log."""
    log.say('Epoch[%d] Batch [%d]\tSpeed: %.1f samples/sec\tloss=%.4f\taccuracy=%.6f\tlr=%.6f'
            % (epoch, batch, numbers['images_per_second'], numbers['train_loss'], 1 - numbers['train_error'],
               numbers['lr']))
    log.scalars('batch', epoch, batch + 1, numbers)


def summarise(run, log, last, best):
    """The best and the last epoch: a line each for the log, and a table on the terminal."""
    if not last:
        return
    rows = []
    for title, numbers in (('Best', best), ('Last', last)):
        log.say('%s epoch: %d, err-top1=%.4f err-top5=%.4f'
                % (title, numbers['epoch'], numbers['val_top1_error'], numbers['val_top5_error']))
        rows.append('%-6s%6d%12.2f %%%11.2f %%%15.2f %%%16.4f'
                    % (title.lower(), numbers['epoch'], 100 * numbers['val_top1_error'],
                       100 * numbers['val_top5_error'], 100 * numbers['train_error'], numbers['train_loss']))
    print('\n%12s%14s%13s%17s%16s' % ('epoch', 'top-1 error', 'top-5 error', 'training error', 'training loss'))
    print('\n'.join(rows))
    print('weights: %s, %s\nlog: %s' % (os.path.join(run.save_dir, best['file']),
                                       os.path.join(run.save_dir, 'last.params'), run.logging_file))


def last_good(save_dir):
    """What to say of the newest whole checkpoint in a folder."""
    try:
        place = checkpoint.place_of(checkpoint.load(save_dir)[0])
    except checkpoint.DAMAGE:
        return 'there is no whole checkpoint in %s' % save_dir
    return 'the last good checkpoint is %s of %s' % (os.path.join(save_dir, 'last.params'), place)
