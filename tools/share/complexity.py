"""Parameters and multiply-adds of the networks and units, beside what the papers print.

    python -m tools.complexity [--json] [--markdown]                           every named network and unit
    python -m tools.complexity --model NAME [--input-size N] [--batch N]       one of them, layer by layer

How they are counted: model/complexity.py. How the papers counted: tools/share/published.py.
"""
import json
import sys

import runtime  # noqa: F401  (before mxnet)

from cli.command import Parser
from cli.exits import run_script
from cli.kinds import at_least
from model import ACTIVATIONS, MODELS, get_model
from model.complexity import layers, parameters, summary
from tools.markdown import markdown_table
from tools.share.published import PUBLISHED

MOST_PIXELS = 2 ** 31  # of a batch, for which the largest maps of all networks are no larger than MXNet can tell
HEADER = ('network', 'parameters', 'trainable', 'multiply-adds', 'published', 'by its rule', 'the rule')


def facts(name, net, input_shape):
    """What --json prints of a network: its counts, and at one image of 224x224 the published ones if there are any."""
    rows, (total, trainable) = layers(net, input_shape), parameters(net)
    row = PUBLISHED.get(name) if tuple(input_shape) == (1, 3, 224, 224) else None
    return {'name': name, 'parameters': total, 'trainable_parameters': trainable, 'macs': sum(row.macs for row in rows),
            'published_gflops': row and row.gflops, 'published_parameters': row and row.parameters * 1e6,
            'gflops_by_published_rule': row and row.rule(rows) / 1e9,
            'published_rule': row and '%s; parameters: %s' % (row.says, row.counted)}


def sized_network(name, input_size, batch):
    """(a network for images of this side, or of its usual one, the shape of a batch of them)."""
    found = MODELS[name]
    size = input_size or found.host.input_size
    return found.make(**found.sized(size)), (batch, 3, size, size)


def every_fact(input_size=None, batch=1):
    """The facts of every named network, and of every unit in the CIFAR network of depth 20."""
    for name in MODELS:
        yield facts(name, *sized_network(name, input_size, batch))
    for unit in ACTIVATIONS:
        size = input_size or 32
        yield facts('cifar_resnet with ' + unit, get_model('cifar_resnet', act_type=unit), (batch, 3, size, size))


def cells(fact):
    """A row of the table, as text."""
    published = by_rule = rule = ''
    if fact['published_gflops']:
        published = '%.4g G, %.1f M' % (fact['published_gflops'], fact['published_parameters'] / 1e6)
        counted = fact['parameters' if fact['published_rule'].endswith('all') else 'trainable_parameters']
        by_rule = '%.2f G, %.2f M' % (fact['gflops_by_published_rule'], counted / 1e6)
        rule = fact['published_rule']
    return (fact['name'], format(fact['parameters'], ','), format(fact['trainable_parameters'], ','),
            format(fact['macs'], ','), published, by_rule, rule)


def table(rows, markdown=False):
    """The rows below HEADER, in columns or as Markdown."""
    if markdown:
        return markdown_table(HEADER, rows)
    widths = [max(len(row[column]) for row in [HEADER, *rows]) for column in range(len(HEADER))]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in [HEADER, *rows])


def main(argv=None):
    """Print the table, JSON, or the layers of one network."""
    parser = Parser(description='Parameters and multiply-adds of the networks and units.')
    parser.add_argument('--model', help='one network, layer by layer')
    parser.add_argument('--input-size', type=at_least(1, most=4096), help='side of the image (default: 224, CIFAR 32)')
    parser.add_argument('--batch', type=at_least(1, most=1024), default=1, help='images')
    parser.add_argument('--json', action='store_true', help='a list of objects')
    parser.add_argument('--markdown', action='store_true', help='the table as Markdown')
    args = parser.parse_args(argv)
    if args.markdown and (args.model or args.json):
        parser.error('--markdown is for the table of all networks, without --model and --json')
    if args.batch * (args.input_size or 224) ** 2 > MOST_PIXELS:
        parser.error(f'--batch {args.batch} of this size has more than {MOST_PIXELS:,} pixels')
    if args.model is None:
        found = list(every_fact(args.input_size, args.batch))
        print(json.dumps(found, indent=1) if args.json else table(list(map(cells, found)), args.markdown))
    else:
        net, shape = sized_network(args.model, args.input_size, args.batch)
        print(json.dumps([facts(args.model, net, shape)]) if args.json else summary(net, shape))


if __name__ == '__main__':
    sys.exit(run_script(main))
