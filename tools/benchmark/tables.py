"""What the rounds of a contest come to, and its tables in Markdown."""
import statistics
import sys

from tools.benchmark.hold import threads_of
from tools.markdown import markdown_table


def ratios(answers, label, to, quantity='images_per_second'):
    """In each round, a quantity of one contestant by that of another, or by 1; [] where one did not take part."""
    if label not in answers or to is not None and to not in answers:
        return []
    return [mine[quantity] / (1 if to is None else theirs[quantity])
            for mine, theirs in zip(answers[label], answers[label if to is None else to])]


def result(contest, answers, left_out):
    """What a contest comes to, for JSON: a row for each contestant and one for each target."""
    rows, targets = [], []
    for label, rounds in answers.items():
        speeds = [answer['images_per_second'] for answer in rounds]
        rows.append({'contestant': label, 'images_per_second': statistics.median(speeds), 'least': min(speeds),
                     'most': max(speeds), 'ratio': statistics.median(ratios(answers, label, next(iter(answers)))),
                     'memory': max(answer['memory'] for answer in rounds), 'rounds': speeds,
                     'threads': threads_of(contest.entries[label].split()[0])})
    for target in contest.targets:
        found = ratios(answers, *target[:2], target.quantity)
        if found:
            targets.append({**target._asdict(), 'measured': statistics.median(found), 'least': min(found),
                            'most': max(found)})
    return {'contest': '%s: %s' % (contest.kind, contest.title), 'rows': rows, 'targets': targets,
            'left out': left_out}


def amount(number, decimals=2):
    """With as many digits as count; with these decimals, below 3."""
    digits = 0 if number >= 100 else 1 if number >= 3 else decimals
    return f'{number:,.{digits}f}'


def show(found, processor):
    """The Markdown table of a contest on a processor."""
    rows = [(row['contestant'], amount(row['images_per_second']), ' to '.join(map(amount, (row['least'], row['most']))),
             '%.2f' % row['ratio'], '%.0f' % row['memory']) for row in found['rows']]
    print('\n**%s** (%s)\n' % (found['contest'], processor))
    print(markdown_table(['', 'images/s', 'least to most', 'to the first', 'peak memory (MiB)'], rows))
    for label, reason in found['left out'].items():
        print('\nleft out: %s: %s' % (label, reason))
    sys.stdout.flush()


def verdict(target):
    """Whether a target was reached in all rounds, in none, or in some."""
    sign = -1 if target['quantity'] == 'memory' else 1
    holds = [sign * target[name] >= sign * target['bound'] for name in ('least', 'most')]
    return 'reached' if all(holds) else 'undecided' if any(holds) else '**not reached**'


def show_targets(contests):
    """The Markdown table of all targets."""
    rows = []
    for found in contests:
        for target in found['targets']:
            memory = target['quantity'] == 'memory'
            measured, least, most = (amount(target[name], 3) for name in ('measured', 'least', 'most'))
            rows.append((found['contest'], ' / '.join(filter(None, (target['of'], target['to']))) + ', memory' * memory,
                         measured, f'{least} to {most}',
                         ('at most ' if memory else 'at least ') + amount(target['bound']), verdict(target)))
    print('\n' + markdown_table(['', '', 'measured', 'least to most', 'wanted', ''], rows))
