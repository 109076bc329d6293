"""Parameters and multiply-adds of any network, layer by layer, from its symbolic graph: no data, no forward pass.

Multiply-adds are counted for convolutions (C_in / groups * k_h * k_w per output element), dense layers and products of
matrices; normalisation, activations, pooling and gates count nothing.
"""
import json
from collections import namedtuple
from math import prod

import mxnet as mx

Layer = namedtuple('Layer', 'name op output_shape parameters macs')


def convolution_macs(shapes, output):
    """weight (C_out, C_in / groups, k_h, k_w); output (N, C_out, H, W)"""
    return prod(output) * prod(shapes[1][1:])


def dense_macs(shapes, output):
    """weight (units, in_units); output (..., units)"""
    return prod(output) * shapes[1][1]


def matrix_product_macs(shapes, output):
    """(N, n, k) x (N, k, m), either of them transposed: all elements of the left times those of the right per k."""
    batch, left, right = shapes[0][0], prod(shapes[0]), prod(shapes[1])
    return int(round((left * right * prod(output) / batch ** 3) ** 0.5)) * batch


MACS = {'Convolution': convolution_macs, 'FullyConnected': dense_macs, 'batch_dot': matrix_product_macs}


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
        found.append(Layer(node['name'], node['op'], output, own, macs))
    return found


def _output_shape(shapes, node):
    """Shape of a node's first output; variables are listed under their own name, operators under `name_output`."""
    for name in (node['name'], node['name'] + '_output', node['name'] + '_output0'):
        if name in shapes:
            return shapes[name]
    raise KeyError(node['name'])


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
