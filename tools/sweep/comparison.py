"""How groups compare: differences to the runs of a reference, their intervals, and what is left at equal parameters."""
from collections import namedtuple

from runtime import UserError

import numpy as np
from scipy import stats

from tools.sweep.settings import NETWORK

LEVEL = 0.95  # of all intervals

# How a group compares. interval, corrected_interval: (low, high). p, corrected_p: of its Difference.
# at_equal_parameters: what is left of it. None where too little is known; one interval is not corrected.
Compared = namedtuple('Compared', 'difference interval corrected_interval p corrected_p at_equal_parameters')


class Difference(namedtuple('Difference', 'mean pairs error')):
    """A difference in percent, paired over seeds.

    mean: None without a pair. pairs: how many. error: the standard error, std / sqrt(pairs); None for fewer than two.
    """

    def interval(self, comparisons=1):
        """(low, high) of Student's t, or (None, None). With Bonferroni's correction this number of intervals hold all
        together."""
        if self.error is None:
            return None, None
        half = stats.t.ppf(1 - (1 - LEVEL) / 2 / comparisons, self.pairs - 1) * self.error
        return self.mean - half, self.mean + half

    @property
    def p(self):
        """The probability of such a difference, or a larger one, if there is none; None for fewer than two pairs."""
        if not self.error:
            return None if self.error is None else float(self.mean == 0)
        return 2 * stats.t.sf(abs(self.mean) / self.error, self.pairs - 1)


def paired(accuracies, reference):
    """The Difference over the seeds that both {seed: percent} have."""
    differences = [accuracies[seed] - reference[seed] for seed in sorted(accuracies.keys() & reference.keys())]
    pairs = len(differences)
    return Difference(np.mean(differences) if pairs else None, pairs,
                      np.std(differences, ddof=1) / pairs ** 0.5 if pairs > 1 else None)


def holm(ps):
    """These probabilities, corrected for their number by Holm's method, in the same order."""
    order = np.argsort(ps)
    factors = np.arange(len(ps), 0, -1)
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * np.take(ps, order)))
    return corrected


def compared(references):
    """{Group: Compared} of {Group: {blocks: Group} that it is compared with}, corrected for the number of intervals."""
    differences = {group: difference_to(line, group) for group, line in references.items()}
    tested = [group for group, difference in differences.items() if difference.error is not None]
    several = len(tested) > 1
    corrected = dict(zip(tested, holm([differences[group].p for group in tested]))) if several else {}
    return {group: Compared(difference, difference.interval(),
                            difference.interval(len(tested)) if several else (None, None), difference.p,
                            corrected.get(group), at_equal_parameters(difference, references[group], group))
            for group, difference in differences.items()}


def difference_to(line, group):
    """The Difference of a group to the one of its depth; nothing is known where there is none, or it is the same."""
    reference = line.get(group.blocks, group)
    return Difference(None, None, None) if reference is group else paired(group.accuracies, reference.accuracies)


def at_equal_parameters(difference, line, group):
    """The Difference of a group to {blocks: Group} at its depth, less what these gain by its number of parameters, on
    straight lines between their means over the seeds of the difference. None without a pair, and for more or fewer
    parameters than those have that were run with these seeds."""
    if difference.mean is None:
        return None
    seeds = group.accuracies.keys() & line[group.blocks].accuracies.keys()
    means = {other.parameters: np.mean([other.accuracies[seed] for seed in seeds])
             for other in line.values() if seeds <= other.accuracies.keys()}
    if not min(means) <= group.parameters <= max(means):
        return None
    gain = np.interp(group.parameters, sorted(means), [means[count] for count in sorted(means)])
    return difference.mean - (gain - means[line[group.blocks].parameters])


def reference_line(group, groups, name):
    """{blocks: Group} of this unit (or label) with the schedule of a group. UserError if there are several."""
    peers = [other for other in groups if schedule_of(other) == schedule_of(group)]
    found = ([other for other in peers if other.label == name]
             or [other for other in peers if other.settings['unit'] == name])
    line = {other.blocks: other for other in found}
    if len(found) > len(line):
        labels = ', '.join(repr(label) for label in dict.fromkeys(other.label for other in found))
        raise UserError(f'--reference {name} may be any of {labels}')
    return line


def schedule_of(group):
    """What runs of any network and depth must agree in to be compared."""
    return {name: value for name, value in group.settings.items() if name not in (*NETWORK, 'blocks')}
