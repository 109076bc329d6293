"""Ends a worker of a job that waits for one that is gone."""
import os
import sys
import threading
import time

STALLED = 3                # exit code


class Watchdog:
    """From begin() to end(): ends this process if a step takes longer than `timeout` seconds, 0 for never.

    Then a worker, a server or a link is gone, and ps-lite would wait for it for ever. The time in which the process
    itself was stopped does not count.
    """

    def __init__(self, timeout, rank):
        self.timeout = timeout
        self.rank = rank
        self.waited = 0
        self.ended = False

    def begin(self):
        if self.timeout:
            threading.Thread(target=self._watch, daemon=True).start()

    def renew(self):
        self.waited = 0

    def end(self):
        self.ended = True

    def _watch(self):
        while not self.ended:
            time.sleep(1)
            self.waited += 1
            if self.waited > self.timeout and not self.ended:
                print('%s: error: worker %d has heard nothing for %d seconds: a worker, a server or the network is '
                      'gone; --resume continues from the last checkpoint'
                      % (os.path.basename(sys.argv[0]), self.rank, self.timeout), file=sys.stderr, flush=True)
                os._exit(STALLED)
