"""A whole run: epochs of training and scoring, with a log line and a checkpoint after each.

A run that was killed at any moment and is resumed computes what it would have computed: the checkpoint holds all that
it had learnt and counted, and whatever is random is a function of (seed, epoch, batch or image).
"""
import os
from collections import namedtuple
from contextlib import ExitStack, suppress
from functools import partial

from runtime import UserError, sentence_of

from tqdm.contrib.logging import logging_redirect_tqdm

from disk import locked
from native.compiled import describe_product
from training import checkpoint
from training.loop import evaluate, restore_plain_layouts, train_epoch
from training.resume import Rules, restore
from training.runlog import RunLog, Silence
from training.saver import Saver
from training.signals import watching

# save_dir, logging_file: where to. title: `data set-network`, the middle of the best file's name. options: all flags
# by name, which rules (of training.resume) tell apart. command: that began it. description: of its weights, or None.
# The others: as the flags.
Run = namedtuple('Run', 'save_dir logging_file title options seed num_epochs log_interval resume save_every_steps '
                        'tensorboard rules command description', defaults=(0, None, Rules(), '', None))


def fit(run, learner, train, validation, net_facts=''):
    """Train, score, log and save until the last epoch. Returns {'last': numbers, 'best': numbers}.

    learner: a Learner; its workers each train on their part of every batch. train, validation: sources of batches
    (data.batches). net_facts: for the log.
    Raises UserError if the files that are there are of another run. Raises FloatingPointError if a loss, a logit or a
    weight is not finite, OSError if a file cannot be written or another run has the folder, and UserError for an image
    that cannot be read: these name the last good checkpoint. SIGTERM, Ctrl-C and a terminal that
    closes end in SystemExit, after the step and a checkpoint.
    """
    workers = learner.workers
    # Another data set under the same name shows in its size.
    run = run._replace(options=dict(run.options, train_images=train.images, validation_images=validation.images,
                                    images_per_step=train.batch_size))
    for source in (train, validation):
        source.divide(workers.rank, workers.size)
    with ExitStack() as stack, watching() as watch:
        workers.share(partial(stack.enter_context, locked(run.save_dir, '--save-dir')))
        facts = restore(run, learner)
        log = open_log(run, facts, train, workers)
        saver = Saver(run, log, learner, watch, facts)
        numbers = facts['last']
        try:
            introduce(run, learner, log, facts, net_facts)
            for epoch in range(facts['epoch'] + 1, run.num_epochs):
                with logging_redirect_tqdm():
                    numbers = run_epoch(learner, saver, train, validation, epoch)
                saver.save_epoch(numbers)
            if workers.rank == 0:
                summarise(run, log, numbers, saver.facts['best'])
            workers.finish()
        except FloatingPointError as error:  # of which all workers hear in the same step
            note_end(log, error)
            raise FloatingPointError('%s; %s' % (error, workers.share(partial(last_good, run.save_dir)))) from error
        except (OSError, UserError) as error:
            if workers.rank:
                raise
            note_end(log, error)
            kind = UserError if isinstance(error, UserError) else OSError
            raise kind('%s; %s' % (sentence_of(error), last_good(run.save_dir))) from error
        finally:
            log.close()
    return {'last': numbers, 'best': saver.facts['best']}


def introduce(run, learner, log, facts, net_facts):
    """Begin the log of a start: what runs, on what, and from where."""
    places = dict(save_dir=run.save_dir, logging_file=run.logging_file)
    log.header(run.command, {**run.options, **places}, learner.devices, net_facts)
    if learner.begun_from:
        log.say('Begun from: %s' % learner.begun_from)
    log.say('Product of gate and map: %s' % describe_product(learner.net))
    log.say('Batches: %d images a step in all; %s; learning rate %s'
            % (run.options['images_per_step'], learner.workers, run.options.get('lr')))
    if facts['epoch'] >= 0 or facts['within']:
        done = f': all {run.num_epochs} epochs are done' if facts['epoch'] + 1 == run.num_epochs else ''
        log.say('Continues after %s%s' % (checkpoint.place_of(facts), done))


def note_end(log, error):
    """Let the log say what ended a run, where the disk still takes it."""
    with suppress(OSError):
        log.note('Ended: %s' % sentence_of(error))


def open_log(run, facts, train, workers):
    """The log of a run from here on; only the first worker writes one."""
    if workers.rank:
        return Silence()
    within = facts['within']
    return RunLog(run.logging_file, facts['epoch'] + 1, within['batches'] if within else 0, run.tensorboard, len(train))


def run_epoch(learner, saver, train, validation, epoch):
    """The numbers of one epoch, for the log."""
    progress = saver.progress()
    try:
        numbers = train_epoch(learner, train, epoch, progress, saver)
        learner.workers.average_statistics(learner.net)
        scores = evaluate(learner.net, validation, learner.devices, learner.dtype,
                          partial(saver.save_if_asked, epoch, progress), learner.workers)
    except (OSError, UserError):
        if learner.workers.size == 1:  # in a job, saving would wait for the other workers in vain
            saver.save_unfinished(epoch, progress)  # or the epoch would be lost with a picture that cannot be read
        raise
    restore_plain_layouts(learner.net)
    return {'epoch': epoch, 'val_top1_error': scores['top1_error'], 'val_top5_error': scores['top5_error'], **numbers}


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
        facts, _, paths = checkpoint.load(save_dir)
    except checkpoint.DAMAGE:
        return 'there is no whole checkpoint in %s' % save_dir
    return 'the last good checkpoint is %s of %s' % (paths['params'], checkpoint.place_of(facts))
