"""Groups of runs that differ in their seed only: runs are averaged over their seeds and over nothing else.

Two runs belong together if they agree in every option that their network and schedule read (settings.py). An option
that an older log does not name has the default of its flag; without a flag, the only value of the others.
"""
from dataclasses import dataclass

from runtime import UserError

import numpy as np

from tools.sweep.selection import read_results
from tools.sweep.settings import DEFAULTS, NETWORK, key_of, text_of

# Words for a setting in a label, where its name and value would say less.
WORDS = {('act_order', 'bac'): 'from the back', ('act_order', 'pre'): 'from the front', ('replace_act', 'relu'): ''}


@dataclass(eq=False)  # equal to itself only, so that it can be a key
class Group:
    """Runs that differ in their seed only.

    settings: settings_of any of them. options: the flags of one of them. parameters: trainable ones.
    accuracies: {seed: percent}; {None: percent} for a published point, of which no seed is known. commits: of the code.
    """
    label: str
    settings: dict
    options: dict
    parameters: int
    accuracies: dict
    commits: frozenset = frozenset()

    @property
    def blocks(self):
        return self.settings['blocks']

    @property
    def depth(self):
        return 6 * self.blocks + 2

    @property
    def epochs(self):
        return self.settings['num_epochs']

    @property
    def published(self):
        return None in self.accuracies

    @property
    def mean(self):
        return np.mean(list(self.accuracies.values()))

    @property
    def std(self):
        """With n - 1 in the denominator; None for one run."""
        return np.std(list(self.accuracies.values()), ddof=1) if len(self.accuracies) > 1 else None


def read_groups(named, conditions, score):
    """({key_of(options): Group} of the wanted runs, {path: why it was left out} of the other logs), as read_results."""
    results, left_out = read_results(named, conditions, score)
    return grouped(results, left_out), left_out


def grouped(runs, left_out):
    """{key_of(options): Group}. A second run of the same seed would count twice: its path goes to left_out."""
    found = {}
    for run in complete(runs):
        by_seed = found.setdefault(key_of(run.options), {})
        first = next(iter(by_seed.values()), run)
        if run.parameters != first.parameters:
            raise UserError(f'{first.path} and {run.path} have the same options, but {first.parameters} and '
                            f'{run.parameters} parameters: they are not of the same code')
        same = by_seed.setdefault(run.options['seed'], run)
        if same is not run:
            left_out[run.path] = f'it has the options and the seed of {same.path}'
    groups = {}
    for label, (key, by_seed) in zip(labels_of([dict(key) for key in found]), found.items()):
        first = next(iter(by_seed.values()))
        groups[key] = Group(label, dict(key), first.options, first.parameters,
                            {seed: run.accuracy for seed, run in by_seed.items()},
                            frozenset(commit for run in by_seed.values() for commit in run.commits))
    return groups


def complete(runs):
    """The runs with the options that older logs do not name: of a flag its default, else what all others agree in."""
    values = {}
    for run in runs:
        for name, value in run.options.items():
            values.setdefault(name, []).append(value)
    common = {name: found[0] for name, found in values.items() if all(value == found[0] for value in found)}
    return [run._replace(options={**common, **DEFAULTS, **run.options}) for run in runs]


def labels_of(all_settings, option='blocks'):
    """A label for each of these settings: the unit, and what it has of the options in which those of its length differ.

    option: the one on the axis, which no label names. Runs of another length have a panel and rows of their own.
    """
    return [label_of(settings, [other for other in all_settings
                                if option == 'num_epochs' or other['num_epochs'] == settings['num_epochs']], option)
            for settings in all_settings]


def label_of(settings, peers, option):
    units = {peer['unit'] for peer in peers}
    names = {name for peer in peers for name in peer} - {'unit', 'model', option}
    varying = [name for name in names if len({peer[name] for peer in peers if name in peer}) > 1
               or len({(peer['unit'], name in peer) for peer in peers}) > len(units)]
    in_order = sorted(varying, key=lambda name: ((*NETWORK, name).index(name), name))
    words = [words_of(name, settings[name]) for name in in_order if name in settings]
    return ', '.join(filter(None, [settings['unit'], *words]))


def words_of(name, value):
    if isinstance(value, bool):
        return name if value else f'no {name}'
    return WORDS.get((name, value), f'{name} {text_of(value)}')
