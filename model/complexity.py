"""Parameters and multiply-adds of a network, layer by layer, from its symbolic graph: no data, no forward pass.

    python -m model.complexity [--json] [--markdown]                           every named network and unit
    python -m model.complexity --model NAME [--input-size N] [--batch N]       one of them, layer by layer

One rule for all: multiply-adds are those of convolutions (C_in / groups * k_h * k_w per output element), dense layers
and products of matrices; normalisation, activations, pooling and gates count nothing. Local attention counts the keys
of each neighbourhood, not those that its blocks share (model.attention).
"""
import argparse
import json
import sys
from collections import namedtuple
from math import prod

import mxnet as mx

# parameters: held by this layer. inputs: size of a row of its first input. pooled: elements that a global mean
# or pooling reads, 0 for all others.
Layer = namedtuple('Layer', 'name op output_shape parameters macs inputs pooled')


def convolution_macs(shapes, output):
    """weight (C_out, C_in / groups, k_h, k_w); output (N, C_out, H, W)"""
    return prod(output) * prod(shapes[1][1:])


def dense_macs(shapes, output):
    """weight (units, in_units); output (..., units)"""
    return prod(output) * shapes[1][1]


def batch_dot_macs(shapes, output):
    """(B, n, k) x (B, k, m) -> (B, n, m), either of them transposed: n k m = sqrt(n k * k m * n m), B times"""
    batch = output[0]
    return batch * round((prod(shapes[0][1:]) * prod(shapes[1][1:]) * prod(output[1:])) ** 0.5)


MACS = {'Convolution': convolution_macs, 'FullyConnected': dense_macs, 'batch_dot': batch_dot_macs}


def parameters(net):
    """(elements of all arrays, elements of the trainable arrays), running statistics being in the first alone."""
    arrays = net.collect_params().values()
    return (sum(prod(array.shape) for array in arrays),
            sum(prod(array.shape) for array in arrays if array.grad_req != 'null'))


def layers(net, input_shape):
    """One Layer for every node of the net's graph, for an input (N, C, H, W); the net may be uninitialised."""
    symbol = net(mx.sym.var('data'))
    internals = symbol.get_internals()
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape(data=input_shape)[1]))
    nodes = json.loads(symbol.tojson())['nodes']
    found, counted = [], {'data'}
    for node in nodes:
        if node['op'] == 'null':
            continue
        inputs = [nodes[index] for index, *_ in node['inputs']]
        input_shapes = [_output_shape(shapes, parent) for parent in inputs]
        output = _output_shape(shapes, node)
        own = sum(prod(shape) for parent, shape in zip(inputs, input_shapes)
                  if parent['op'] == 'null' and parent['name'] not in counted)
        counted.update(parent['name'] for parent in inputs)
        macs = MACS[node['op']](input_shapes, output) if node['op'] in MACS else 0
        is_global = node['op'] == 'mean' or node.get('attrs', {}).get('global_pool') == 'True'
        pooled = prod(input_shapes[0]) if is_global else 0
        row = prod(input_shapes[0][1:]) if input_shapes else 0
        found.append(Layer(node['name'], node['op'], output, own, macs, row, pooled))
    return [_neighbourhood(layer, shapes, nodes) for layer in found]


def _output_shape(shapes, node):
    """Shape of a node's first output; variables are listed under their own name, operators under `name_output`."""
    for name in (node['name'], node['name'] + '_output', node['name'] + '_output0'):
        if name in shapes:
            return shapes[name]
    raise KeyError(node['name'])


def _neighbourhood(layer, shapes, nodes):
    """A product of local attention with the k x k keys of each pixel: C H W k^2, with the C, H and W of the query.

    k is the number of filters in each group of the convolution that makes the relative logits.
    """
    owner, _, product = layer.name.rpartition('_local_')
    if product not in ('qk', 'av') or 'localattention' not in owner:
        return layer
    relative, = [node['attrs'] for node in nodes if node['name'] == owner + '_relative_fwd']
    k = int(relative['num_filter']) // int(relative['num_group'])
    return layer._replace(macs=prod(shapes[owner + '_query_fwd_output']) * k * k)


def kept(net, input_shape):
    """Elements of the arrays that a training step must keep for its backward pass, at least: what convolutions and
    BatchNorms hand out, which what follows them reads again."""
    return sum(prod(layer.output_shape) for layer in layers(net, input_shape)
               if layer.op in ('Convolution', 'BatchNorm'))


def summary(net, input_shape):
    """A table of the layers with their sums, as text."""
    rows = layers(net, input_shape)
    total, trainable = parameters(net)
    line = '%-52s %-18s %-20s %12s %16s'
    table = [line % ('layer', 'operator', 'output', 'parameters', 'multiply-adds')]
    table += [line % (row.name, row.op, 'x'.join(map(str, row.output_shape)), format(row.parameters, ','),
                      format(row.macs, ',')) for row in rows]
    macs = sum(row.macs for row in rows)
    table.append('input %s; parameters: %s in all, %s trainable; multiply-adds: %s (%.3f G)'
                 % ('x'.join(map(str, input_shape)), format(total, ','), format(trainable, ','), format(macs, ','),
                    macs / 1e9))
    return '\n'.join(table)


def facts(name, net, input_shape):
    """What --json prints of a network: its counts, and at one image of 224x224 the published ones if there are any."""
    from .published import PUBLISHED
    rows, (total, trainable) = layers(net, input_shape), parameters(net)
    row = PUBLISHED.get(name) if tuple(input_shape) == (1, 3, 224, 224) else None
    return {'name': name, 'parameters': total, 'trainable_parameters': trainable, 'macs': sum(row.macs for row in rows),
            'published_gflops': row and row.gflops, 'published_parameters': row and row.parameters * 1e6,
            'gflops_by_published_rule': row and row.rule(rows) / 1e9,
            'published_rule': row and '%s; parameters: %s' % (row.says, row.counted)}


def every_fact(input_size=None, batch=1):
    """The facts of every named network, and of every unit in the CIFAR network of depth 20."""
    from . import ACTIVATIONS, MODELS, get_model
    for name in MODELS:
        if name == 'resnet_v1b':  # any depth, none of its own
            continue
        size = input_size or default_input_size(name)
        yield facts(name, get_model(name, **sized(name, size)), (batch, 3, size, size))
    for unit in ACTIVATIONS:
        size = input_size or 32
        yield facts('cifar_resnet with ' + unit, get_model('cifar_resnet', act_type=unit), (batch, 3, size, size))


def default_input_size(name):
    return 32 if 'cifar' in name else 224


def sized(name, input_size):
    """The option of the ImageNet networks that tells them the size of their images."""
    return {} if 'cifar' in name else {'input_size': input_size}


HEADER = ('network', 'parameters', 'trainable', 'multiply-adds', 'published', 'by its rule', 'the rule')


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
        return '\n'.join('| %s |' % ' | '.join(row) for row in [HEADER, ['---'] * len(HEADER), *rows])
    widths = [max(len(row[column]) for row in [HEADER, *rows]) for column in range(len(HEADER))]
    return '\n'.join('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in [HEADER, *rows])


def main(argv=None):
    """Print the table, JSON, or the layers of one network."""
    parser = argparse.ArgumentParser(description='Parameters and multiply-adds of the networks and units.')
    parser.add_argument('--model', help='one network, layer by layer')
    parser.add_argument('--input-size', type=int, help='side of the image (default: 224, CIFAR 32)')
    parser.add_argument('--batch', type=int, default=1, help='images')
    parser.add_argument('--json', action='store_true', help='a list of objects')
    parser.add_argument('--markdown', action='store_true', help='the table as Markdown')
    args = parser.parse_args(argv)
    if args.batch < 1 or args.input_size is not None and args.input_size < 1:
        parser.error('--batch and --input-size must be at least 1')
    if args.model is None:
        found = list(every_fact(args.input_size, args.batch))
        return print(json.dumps(found, indent=1) if args.json else table(list(map(cells, found)), args.markdown))
    from . import get_model
    size = args.input_size or default_input_size(args.model)
    shape = (args.batch, 3, size, size)
    try:
        net = get_model(args.model, **sized(args.model, size))
        return print(json.dumps([facts(args.model, net, shape)]) if args.json else summary(net, shape))
    except ValueError as error:
        return parser.error(str(error))


if __name__ == '__main__':
    sys.exit(main())
