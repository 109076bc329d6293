"""What a run does when it is asked to stop: SIGTERM, Ctrl-C and a terminal that closes are noted; a second ends it.

But a terminal that closes is one wish and may be two signals, one of the kernel and one of the shell: after the first
signal SIGHUP is ignored.
"""
import signal
import threading
from contextlib import contextmanager

ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Watch:
    """signal: the one that has asked to stop, or None. before: {signal: the handler that was there}."""

    def __init__(self):
        self.signal = None
        self.before = {}

    def note(self, number, _):
        self.signal = signal.Signals(number)
        for asking in self.before:
            signal.signal(asking, signal.SIG_IGN if asking == signal.SIGHUP else signal.SIG_DFL)


@contextmanager
def watching():
    """A Watch that notes the first signal; the handlers that were there come back at the end.

    What the process was started to ignore (nohup) stays ignored. Only the main thread of a process may have handlers:
    in another one nothing is noted.
    """
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    watch.before = {asking: signal.signal(asking, watch.note) for asking in ASKING
                    if signal.getsignal(asking) not in (signal.SIG_IGN, None)}
    try:
        yield watch
    finally:
        for asking, handler in watch.before.items():
            signal.signal(asking, handler)
