"""The tables beside a figure: CSV with everything, Markdown for people."""
import csv
import io
import shlex

from disk import write_whole
from tools.markdown import markdown_table
from tools.sweep.comparison import compared

FIELDS = ('group', 'blocks', 'depth', 'trainable_parameters', 'epochs', 'n', 'mean', 'std', 'difference', 'pairs',
          'low', 'high', 'contains_0', 'corrected_low', 'corrected_high', 'p', 'corrected_p', 'at_equal_parameters',
          'seeds', 'accuracies', 'commits')
# Columns of the Markdown table.
COLUMNS = {'unit': '{group}', 'epochs': '{epochs}', 'depth': '{depth}', 'parameters': '{trainable_parameters:,}',
           'n': '{n}', 'accuracy (%)': '{mean:.2f}', 'std': '{std:.2f}',
           'difference to {reference}': '{difference:+.2f}', 'pairs': '{pairs:d}',
           '95 % interval': '[{low:+.2f}, {high:+.2f}]', 'contains 0': '{contains_0:s}',
           'corrected interval': '[{corrected_low:+.2f}, {corrected_high:+.2f}]', 'corrected p': '{corrected_p:.3f}',
           'at equal parameters': '{at_equal_parameters:+.2f}'}
CSV_BEGINS = ','.join(FIELDS[:4])
MARKDOWN_BEGINS = '<!-- python -m tools.plot_sweep'
NOTE = 'Test accuracy of the {score} epoch; n runs that differ in their seed only; std with n - 1.'
BEST_NOTE = 'The best epoch was chosen on the test set, which flatters.'
PUBLISHED_NOTE = ('Published points: one run each of 400 epochs, the best epoch on the test set, read off the figure. '
                  'Their differences are to each other.')
INTERVAL_NOTE = ('Differences are paired over seeds, with the 95 % interval of Student\'s t; one that contains 0 does '
                 'not tell which is better.')
CORRECTED_NOTE = ('Corrected for the {intervals} intervals of this table: the interval by Bonferroni, p by Holm, which '
                  'is the sharper test.')
LINE_NOTE = ('At equal parameters: the difference, less what {reference} gains from the same number of extra '
             'parameters, read off straight lines between its means.')
COMMITS_NOTE = 'The runs are of several commits, which the CSV names.'


def rows_of(references):
    """Dicts of FIELDS, None for what is not known: our groups, each once, and then the published points.

    references: {Group: {blocks: Group} that it is compared with}
    """
    rows = [(group.published, row_of(group, found)) for group, found in compared(references).items()]
    ours = [row for published, row in rows if not published]
    ours.sort(key=lambda row: (-row['epochs'], row['blocks'], row['trainable_parameters'], row['group']))
    return ours + [row for published, row in rows if published]


def row_of(group, found):
    low, high = found.interval
    corrected_low, corrected_high = found.corrected_interval
    seeds = [] if group.published else sorted(group.accuracies)
    return dict(zip(FIELDS, (
        group.label, group.blocks, group.depth, group.parameters, group.epochs, len(group.accuracies), group.mean,
        group.std, found.difference.mean, found.difference.pairs, low, high,
        None if low is None else 'yes' if low <= 0 <= high else 'no', corrected_low, corrected_high, found.p,
        found.corrected_p, found.at_equal_parameters, seeds, [group.accuracies[seed] for seed in seeds],
        sorted(group.commits))))


def write_csv(path, rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(FIELDS)
    writer.writerows(map(csv_cell, row.values()) for row in rows)
    write_whole(path, [text.getvalue()])


def csv_cell(value):
    if isinstance(value, list):
        return ' '.join(str(csv_cell(item)) for item in value)
    return f'{value:.6f}' if isinstance(value, float) else value


def markdown(rows, command, title, reference, score):
    """The table for people, below the command that made it. Columns that would say nothing are left out."""
    cells = [dict(markdown_cells(row)) for row in rows]
    same = {'epochs'} if len({row['epochs'] for row in rows}) == 1 else set()
    columns = [name for name in COLUMNS if name not in same and any(name in row for row in cells)]
    head = [name.format(reference=reference) for name in columns]
    table = markdown_table(head, [[row.get(name, '-') for name in columns] for row in cells])
    return '\n'.join([f'{MARKDOWN_BEGINS} {shlex.join(command)} -->', '', f'**{title}**', '', table, '',
                      *notes(rows, reference, score), ''])


def markdown_cells(row):
    """(column, text) of what a row knows."""
    known = {field: value for field, value in row.items() if value is not None}
    for name, form in COLUMNS.items():
        try:
            yield name, form.format(**known)
        except KeyError:
            continue


def notes(rows, reference, score):
    """Sentences that say what the numbers of a table are."""
    if any(row['seeds'] for row in rows):
        yield NOTE.format(score=score)
        if score == 'best':
            yield BEST_NOTE
    intervals = sum(row['low'] is not None for row in rows)
    if intervals:
        yield INTERVAL_NOTE
    if intervals > 1:
        yield CORRECTED_NOTE.format(intervals=intervals)
    if any(row['at_equal_parameters'] is not None for row in rows):
        yield LINE_NOTE.format(reference=reference)
    if len({commit for row in rows for commit in row['commits']}) > 1:
        yield COMMITS_NOTE
    if not all(row['seeds'] for row in rows):
        yield PUBLISHED_NOTE
