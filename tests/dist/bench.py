"""What trials of jobs need: places, the numbers of one process, and the outcome of a job that nothing has hindered."""
import os
from functools import cached_property
from itertools import count
from threading import Lock

import numpy as np

from tests.dist.jobs import Job, train_cifar
from tests.faults import runs
from training import checkpoint

TOLERANCE = 1e-5


class Bench:
    """A place for jobs, of several trials at once.

    single: what one process computes. whole: the outcome of an unhindered job of two workers.
    """

    def __init__(self, root, single):
        self.root = root
        self.single = single
        self.numbers = count()
        self.lock = Lock()
        self.data = runs.write_tiny(os.path.join(root, 'data'))

    @property
    def whole(self):
        with self.lock:
            return self._whole

    @cached_property
    def _whole(self):
        folder = self.place()
        with self.job(2, folder, '--save-every-steps', 2) as job:
            if job.wait() != [0, 0]:
                raise RuntimeError(f'the unhindered job failed: {job.error(0)}')
        return runs.outcome(folder)

    def place(self):
        return os.path.join(self.root, f'job-{next(self.numbers)}')

    def job(self, workers, folder, *flags, **options):
        return Job(workers, train_cifar(self.data, folder, *flags), folder, **options)

    def begun(self, job, line='Epoch[0] Batch [2]'):
        """Wait until the job has logged a line, by default one after its first checkpoint; whether it runs then."""
        return runs.wait_for_line(job.workers[0], os.path.join(job.folder, 'run.log'), line)

    def continues(self, folder):
        """Whether there is a whole checkpoint, and a job that continues from it comes to the end of `whole`."""
        checkpoint.load(os.path.join(folder, 'run'))
        with self.job(2, folder, '--resume', '--save-every-steps', 2) as job:
            return job.wait() == [0, 0] and job.left() and runs.equal(self.whole, runs.outcome(folder))

    def agree(self, folder, workers):
        """Whether all workers have the weights of the first, bit for bit, and those of the single process nearly."""
        found = [np.load(os.path.join(folder, 'weights-%d.npz' % number)) for number in range(workers)]
        return all((found[0][name] == its[name]).all() and np.abs(its[name] - value).max() <= TOLERANCE
                   for its in found for name, value in self.single.items())
