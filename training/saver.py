"""When a run saves: after each epoch, every few batches, and when a signal asks it to stop."""
from contextlib import suppress
from functools import partial

import mxnet as mx
from mxnet.gluon import nn

from training import checkpoint
from training.loop import Hooks, Progress
from training.resume import means_of
from training.seeds import DROPOUT, seed_mxnet


class Saver(Hooks):
    """Saves a run and reports on it. After a signal each save ends in SystemExit, 128 + its number.

    log: a RunLog. watch: a training.signals.Watch. facts: of training.resume.restore. All workers of a learner save the
    run together, and the first one writes.
    """

    def __init__(self, run, log, learner, watch, facts):
        self.run = run
        self.log = log
        self.learner = learner
        self.watch = watch
        self.facts = facts
        self.workers = learner.workers
        blocks = []
        learner.net.apply(blocks.append)
        self.draws = any(  # of networks that are given to fit from Python: those of the scripts have none
            isinstance(block, nn.Dropout) for block in blocks)

    @property
    def asked(self):
        """The signal that asks the run to stop, or None."""
        return self.workers.asked(self.watch.signal)

    def progress(self):
        """Of the epoch that was interrupted, or of a new one."""
        return Progress(self.learner, self.facts['within'])

    def before_step(self, epoch, batch):
        """Let dropout be a function of (seed, epoch, batch), so that a run may be interrupted after any batch."""
        self.workers.tell(self.watch.signal)
        if self.draws:
            seed_mxnet(self.run.seed, DROPOUT + self.workers.rank, epoch, batch)

    def after_step(self, epoch, batch, progress, is_last):
        """Log a line and save within the epoch, where they are due."""
        interval = self.run.log_interval
        step = self.run.save_every_steps
        if interval and (batch + 1) % interval == 0:
            progress.read()
            self.log.batch(epoch, batch, progress.numbers())
        if self.asked or step and (is_last or (batch + 1) % step == 0):
            progress.read()
            self.save_within(epoch, progress)

    def save_within(self, epoch, progress):
        mx.nd.waitall()  # running statistics may still be written
        self.workers.average_statistics(self.learner.net)
        self._save(within=dict(progress.state(), epoch=epoch))
        self._stop_if_asked()

    def save_unfinished(self, epoch, progress):
        """Save what an epoch has come to where an error ends it, if the disk takes it."""
        progress.read()
        if progress.batches:
            with suppress(OSError):
                self.save_within(epoch, progress)

    def save_if_asked(self, epoch, progress):
        """Stop in the middle of scoring; the network is as it was before."""
        self.workers.tell(self.watch.signal)
        if self.asked:
            self.save_within(epoch, progress)

    def save_epoch(self, numbers):
        """Log and save a whole epoch, and its weights if they are the best."""
        run = self.run
        best = self.facts['best']
        epoch = numbers['epoch']
        if best is None or numbers['val_top1_error'] < best['val_top1_error']:
            best = dict(numbers, **self.workers.share(partial(
                checkpoint.save_best, run.save_dir, run.title, numbers, self.learner.net, run.description)))
        self.log.epoch(numbers)
        self._save(epoch=epoch, within=None, best=best, last=numbers)
        self.workers.share(partial(checkpoint.remove_older_bests, run.save_dir, run.title, best['file']))
        self._stop_if_asked()

    def _save(self, **facts):
        self.facts.update(facts)
        trainer = self.learner.trainer
        content = dict(self.facts, options=self.run.options, means=means_of(self.learner),
                       loss_scale=trainer.loss_scale.state())
        self.workers.share(partial(checkpoint.save, self.run.save_dir, self.learner.net, trainer, content,
                                   self.run.description))

    def _stop_if_asked(self):
        if self.asked:
            self.log.say('%s: stopped after %s, which is saved in %s; --resume continues'
                         % (self.asked.name, checkpoint.place_of(self.facts), self.run.save_dir))
            self.workers.finish()
            raise SystemExit(128 + self.asked)
