"""What a sweep has come to: the errors of each unit and depth over the seeds that are done."""
import statistics

HEAD = ('unit', 'blocks', 'n', 'last epoch', 'std', 'best epoch', 'std')
FORM = '{:<16} {:>6} {:>3} {:>10} {:>6} {:>10} {:>6}'


def errors_of(epochs):
    """(last, best) top-1 error of a run in percent."""
    errors = [100 * numbers['val_top1_error'] for numbers in epochs]
    return errors[-1], min(errors)


def table(points, epochs):
    """A dict for each unit and depth: over the seeds that are done, n, mean and standard deviation of the errors in
    percent; None where there are too few.   epochs: {name of a run: the numbers of its epochs}"""
    rows = []
    for unit, blocks in dict.fromkeys((point.unit, point.blocks) for point in points):
        runs = [errors_of(epochs[point.name]) for point in points
                if (point.unit, point.blocks) == (unit, blocks) and len(epochs[point.name]) >= point.num_epochs]
        row = {'unit': unit, 'blocks': blocks, 'n': len(runs)}
        for kind, errors in zip(('last', 'best'), zip(*runs) if runs else ((), ())):
            row[kind + '_mean'] = statistics.mean(errors) if errors else None
            row[kind + '_std'] = statistics.stdev(errors) if len(errors) > 1 else None
        rows.append(row)
    return rows


def show(rows):
    """Print the table."""
    print('top-1 error in percent, mean and standard deviation over n seeds')
    print(FORM.format(*HEAD))
    for row in rows:
        numbers = ['-' if row[name] is None else f'{row[name]:.2f}'
                   for name in ('last_mean', 'last_std', 'best_mean', 'best_std')]
        print(FORM.format(row['unit'], row['blocks'], row['n'], *numbers))
