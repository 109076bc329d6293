"""The table that `make faults` and `make dist-test` print: a line for each trial, with what was tried and what held."""
import os
import platform
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import runtime

from training.runlog import commit


def print_trials(columns, trials, bench, only='', at_once=1):
    """Try everything of which `only` is in the name; returns an exit code, 1 if a try was lost or nothing was tried.

    columns: titles of the first three. trials: (name, function of bench to (tries, held)). at_once: how many trials are
    under way together, of which most wait; lines come in the order of the trials all the same.
    """
    begin = time.time()
    print('# Commit %s, %s, %d cores of %s, OMP_NUM_THREADS=%s, Python %s\n' % (
        commit(), time.strftime('%Y-%m-%d'), runtime.physical_cores(), runtime.processor()[0],
        os.environ['OMP_NUM_THREADS'], platform.python_version()))
    print('| %s | %s | %s | lost |\n|---|---|---|---|' % tuple(columns))
    named = [(name, trial) for name, trial in trials if only in name]
    all_tries = lost = 0
    with ThreadPoolExecutor(at_once) as pool:
        for (name, _), (tries, held) in zip(named, pool.map(lambda item: counted(item[1], bench), named)):
            print('| %s | %d | %d | %d |' % (name, tries, held, tries - held), flush=True)
            all_tries, lost = all_tries + tries, lost + tries - held
    print('\n%.0f seconds' % (time.time() - begin))
    if not all_tries:
        print('nothing was tried', file=sys.stderr)
    return int(lost > 0 or not all_tries)


def counted(trial, bench):
    """(tries, held); what nobody has foreseen is shown, and is one try that is lost."""
    try:
        return trial(bench=bench)
    except Exception:
        traceback.print_exc()
        return 1, 0
