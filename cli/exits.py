"""How a script leaves: a mistake of the user is one sentence and exit code 2, a defect of ours a traceback."""
import logging
import os
import re
import signal
import sys

from runtime import UserError, sentence_of

import mxnet as mx

from cli.command import program
from cli.streams import mend_streams
from training.runlog import EarlyWarnings

DEVICE_IS_FULL = re.compile('out of memory|[Ff]ailed to allocate|bad_alloc')


def run_script(main):
    """Call main() and leave with its exit code.

    A UserError, what the system says with an OSError, and a full memory are one sentence and exit code 2. A training
    that has diverged leaves with 1. Everything else is a defect of ours and keeps its traceback.
    """
    mend_streams()
    early = EarlyWarnings()
    logging.getLogger().addHandler(early)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as runtime leaves it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main()
        sys.stdout.flush()  # a full disk may refuse
    except KeyboardInterrupt:
        sys.exit(130)
    except FloatingPointError as error:
        leave(1, error)
    except (OSError, UserError) as error:
        leave(2, error)
    except (MemoryError, mx.base.MXNetError) as error:
        if not isinstance(error, MemoryError) and not DEVICE_IS_FULL.search(str(error)):
            raise
        leave(2, UserError('the memory is full: smaller batches may fit'))
    finally:
        logging.getLogger().removeHandler(early)


def leave(code, error):
    """Complain and exit. What a full disk has not taken is dropped, or Python would try again and leave with 120."""
    complain(error)
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def complain(error):
    """Print a sentence on stderr, after the name of what was run."""
    print(f'{program()}: error: {sentence_of(error)}', file=sys.stderr)


def attempt(action, items):
    """([action(item) of every item that it takes], whether it took all). The others are complained of."""
    results = []
    for item in items:
        try:
            results.append(action(item))
        except (OSError, UserError) as error:
            complain(error)
    return results, len(results) == len(items)
