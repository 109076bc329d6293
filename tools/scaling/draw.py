"""What was measured beside the model, and what the model expects of many GPUs: tables and a figure."""
import json
import os
import statistics

from runtime import UserError

from tools import ROOT, figures
from tools.markdown import markdown_table
from tools.scaling.cost import (
    Cluster,
    Gpu,
    Gradient,
    Step,
    Sum,
    fit,
    fullest_server,
    predict,
    speed,
    step_seconds,
    sum_seconds,
    whole_gradient,
)

BENCHMARK = os.path.join(ROOT, 'logs', 'benchmark-input.json')
BATCH = 128
RATE = 471  # images/s of one of the authors' two GPUs: half of the median over the epochs of their log
GPUS = {"the authors' GPU": Gpu(BATCH, RATE), 'one four times as fast': Gpu(BATCH, 4 * RATE)}
GPUS_A_HOST = 8
LINKS = {'1 Gbit/s': 1e9 / 8, '10 Gbit/s': 10e9 / 8}
CASES = [(8, 1), (8, 8), (64, 8), (64, 64)]  # hosts, servers
MOST = 10000  # cores, workers or servers
SECONDS = ['0.2', '0.5', '1', '2', '5']       # marked on its axes
HOSTS = [1, 2, 4, 8, 16, 32, 64]             # of the figure


def draw(measured, out):
    """Print the tables, save the figure, and return what was fitted."""
    figures.check_replaceable(out)
    gradient, sums, steps, cores = read_measured(measured)
    fitted = fit(gradient, sums, steps, cores)
    print(f'link {fitted.link:.2f}, processing {1e9 * fitted.processing:.2f} ns an element, '
          f'overlap {fitted.overlap:.2f}\n')
    print(measured_table(fitted, gradient, sums, steps, cores), predicted_table(fitted), sep='\n\n')
    with figures.look():
        figures.save(figure_of(fitted, gradient, sums, cores), out)
    return fitted


def read_measured(path):
    """(Gradient, Sums, Steps, cores) of a file of measure(). Raises UserError if it is none."""
    try:
        with open(path) as file:
            found = json.load(file)
        gradient, sums = Gradient(*found['gradient']), [Sum(*row) for row in found['sums']]
        steps = [Step(*row) for row in found['steps']]
        is_whole = {bool(one.rate) for one in sums} == {True, False} and min(one.workers for one in sums) > 1 and steps
        counts = [found['cores'], *(count for one in [*sums, *steps] for count in (one.workers, one.servers))]
        numbers = [value for one in [*sums, *steps] for name, value in one._asdict().items()
                   if name != 'rate' or value is not None]
        if is_whole and are_counts(*counts) and are_positive(*gradient, *numbers):
            return gradient, sums, steps, found['cores']
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    raise UserError(f'{path} is not what `python -m tools.scaling measure` writes at its end')


def are_positive(*values):
    return all(type(value) in (int, float) and 0 < value < float('inf') for value in values)


def are_counts(*values):
    """Of cores, workers or servers."""
    return all(type(value) is int and 0 < value <= MOST for value in values)


def modelled(fitted, gradient, one, cores):
    return sum_seconds(fitted, gradient, one.workers, fullest_server(one.servers), one.rate, cores)


def measured_table(fitted, gradient, sums, steps, cores):
    """In Markdown: each job as measured and as the model has it."""
    rows = [('sum', one, modelled(fitted, gradient, one, cores)) for one in sums]
    rows += [('step', one, step_seconds(fitted, one.compute, one.sum)) for one in steps]
    return markdown_table(
        ['job', 'workers', 'servers', 'links', 'measured (s)', 'model (s)', 'error'],
        [(what, str(one.workers), str(one.servers), speed(one.rate), f'{one.seconds:.2f}', f'{seconds:.2f}',
          f'{100 * (seconds / one.seconds - 1):+.0f} %') for what, one, seconds in rows])


def predicted_table(fitted):
    """In Markdown: what to expect of many GPUs, and the cores that decode JPEGs for a host of them."""
    gradient = whole_gradient('float16')
    decoded = decoding_rate()
    cases = [(1, 0, None)] + [(*case, link) for case in CASES for link in LINKS]
    rows = []
    for name, gpu in GPUS.items():
        for hosts, servers, link in cases:
            found = predict(fitted, gradient, Cluster(hosts, GPUS_A_HOST, servers, LINKS.get(link)), gpu)
            rows.append((name, str(found.gpus), link or '-', str(servers or '-'), f'{found.images_per_second:,.0f}',
                         f'{100 * found.efficiency:.0f} %', found.limit,
                         f'{found.images_per_second / hosts / decoded:.1f}'))
    return markdown_table(['GPU', 'GPUs', 'links', 'servers', 'images/s', 'efficiency', 'waits for',
                           'cores a host that decode'], rows)


def decoding_rate():
    """Images/s that a core reads from RecordIO, decodes, crops and flips, in the benchmark of this repository."""
    with open(BENCHMARK) as file:
        found = json.load(file)
    rate = statistics.median(row['images_per_second'] for contest in found['contests'] for row in contest['rows']
                             if row['contestant'] == 'RecordIO, all cores')
    return rate / found['machine']['cores']


def figure_of(fitted, gradient, sums, cores):
    """The figure: the model beside what was measured, and the efficiency with a server on every host."""
    figure, ((left, right),) = figures.new_figure(1, 2, 2.6)
    for number, rate in enumerate(sorted({one.rate for one in sums if one.rate}) + [None]):
        points = [(one.seconds, modelled(fitted, gradient, one, cores)) for one in sums if one.rate == rate]
        left.plot(*zip(*points), label='measured, ' + speed(rate), **dict(figures.style(number), linestyle='none'))
    ends = [min(one.seconds for one in sums) / 1.5, max(one.seconds for one in sums) * 1.5]
    left.plot(ends, ends, color='0.5', linewidth=0.8)
    left.set(xscale='log', yscale='log', xlabel='measured (s)', ylabel='model (s)', title='sum of the gradients')
    for axis in (left.xaxis, left.yaxis):
        axis.set_ticks([float(text) for text in SECONDS], labels=SECONDS)
        axis.set_ticks([], minor=True)
    half = whole_gradient('float16')
    cases = [(name, gpu, link, rate) for name, gpu in GPUS.items() for link, rate in LINKS.items()]
    for number, (name, gpu, link, rate) in enumerate(cases, 3):
        found = [predict(fitted, half, Cluster(hosts, GPUS_A_HOST, hosts, rate), gpu) for hosts in HOSTS]
        right.plot([one.gpus for one in found], [100 * one.efficiency for one in found], label=f'{name}, {link}',
                   **figures.style(number))
    right.set_xscale('log', base=2)
    right.set(xlabel='GPUs (8 on each host, with a server)', ylabel='efficiency (%)', ylim=(0, 105),
              title='predicted, float16', xticks=[GPUS_A_HOST * hosts for hosts in HOSTS],
              xticklabels=[GPUS_A_HOST * hosts for hosts in HOSTS])
    figures.add_legend(figure)
    return figure
