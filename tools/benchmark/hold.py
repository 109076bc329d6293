"""A contest is held: its contestants are started, and asked for their rounds in turns."""
import os
from contextlib import ExitStack

import runtime

from tools.benchmark.rounds import Contestant

HAS_AVX512 = 'avx512f' in runtime.processor()[1]  # without it a round in bfloat16 takes minutes


def hold(contest, rounds, pythons):
    """({label: the answers of the rounds}, {label: why it was left out}).   pythons: {file of this folder: Python}

    Raises RuntimeError if the networks of two contestants have different numbers of parameters.
    """
    with ExitStack() as running:
        entries, left_out = line_up(contest, pythons, running)
        answers = {entry.label: [] for entry in entries}
        for number in range(rounds if entries else 0):
            turn = number % len(entries)
            for entry in entries[turn:] + entries[:turn]:
                answer(entry, answers, left_out)
    counts = {label: found[0]['parameters'] for label, found in answers.items() if found[0]['parameters']}
    if len(set(counts.values())) > 1:
        raise RuntimeError('%s: the networks differ: %s parameters'
                           % (contest.title, ', '.join('%s %d' % item for item in counts.items())))
    return answers, left_out


def answer(entry, answers, left_out):
    """Add what a Contestant says in a round to its answers; one that fails is left out, and its answers go."""
    if entry.label in answers:
        try:
            answers[entry.label].append(entry.round())
        except RuntimeError as error:
            left_out[entry.label] = str(error).splitlines()[-1]
            del answers[entry.label]


def line_up(contest, pythons, running):
    """([Contestant], {label: why it was left out}).   running: the ExitStack that ends them"""
    entries, left_out = [], {}
    for label, entry in contest.entries.items():
        module, *names = entry.split()
        if module not in pythons or 'bfloat16' in entry and not HAS_AVX512:
            left_out[label] = 'this CPU has no AVX-512' if module in pythons else 'not installed'
            continue
        command = [pythons[module], '-W', 'ignore', '-m', 'tools.benchmark.' + module, *names, *contest.task]
        try:
            entries.append(running.enter_context(
                Contestant(label, map(str, command), {'OMP_NUM_THREADS': threads_of(module)})))
        except RuntimeError as error:
            left_out[label] = str(error).splitlines()[-1]
    return entries, left_out


def threads_of(module):
    """The authors' scripts leave the threads to MXNet, which takes half of the processors that it may use."""
    return str(max(1, len(os.sched_getaffinity(0)) // 2)) if module == 'authors' else os.environ['OMP_NUM_THREADS']
