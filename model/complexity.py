"""Parameters and multiply-adds of a network, layer by layer, from its symbolic graph: no data, no forward pass.

One rule for all: multiply-adds are those of convolutions (C_in / groups * k_h * k_w per output element), dense layers
and batched matrix products. Normalisation, activations, pooling, gates and what is done to parameters only (such
as embeddings of positions) count nothing. Local attention counts the keys of each neighbourhood, not those that its
blocks share (model/local_attention.py).
"""
import json
from collections import namedtuple
from math import prod

import mxnet as mx

from .ground import UserError

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
    """(elements of all arrays, elements of the trainable arrays), of which only the first has running statistics.

    UserError for a net with a layer that was not told its number of inputs and has seen none.
    """
    arrays = net.collect_params().values()
    for array in arrays:
        if not array.shape or min(array.shape) < 1:
            raise UserError('the shape of %s is not known yet: net.infer_shape(mx.nd.zeros(SHAPE)) tells it'
                            % array.name)
    return (sum(prod(array.shape) for array in arrays),
            sum(prod(array.shape) for array in arrays if array.grad_req != 'null'))


def layers(net, input_shape):
    """One Layer for every node of the net's graph, for an input (N, C, H, W); the net may be uninitialised."""
    symbol = net(mx.sym.var('data'))
    internals = symbol.get_internals()
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape(data=input_shape)[1]))
    nodes = json.loads(symbol.tojson())['nodes']
    found = []
    holders = {nodes[index]['name']: node['name'] for node in nodes for index, *_ in node['inputs']}  # the last reader
    for node in nodes:
        if node['op'] == 'null':
            continue
        inputs = [nodes[index] for index, *_ in node['inputs']]
        input_shapes = [_output_shape(shapes, parent) for parent in inputs]
        output = _output_shape(shapes, node)
        own = sum(prod(shape) for parent, shape in zip(inputs, input_shapes)
                  if parent['op'] == 'null' and parent['name'] != 'data' and holders[parent['name']] == node['name'])
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


def activation_elements(net, input_shape):
    """Elements of the arrays that a training step must keep for its backward pass, at least: what convolutions and
    BatchNorms output, which what follows them reads again."""
    return sum(prod(layer.output_shape) for layer in layers(net, input_shape)
               if layer.op in ('Convolution', 'BatchNorm'))


def summary(net, input_shape):
    """A table of the layers with their sums, as text."""
    rows = layers(net, input_shape)
    total, trainable = parameters(net)
    line = f'%-{max(len(row.name) for row in rows)}s %-18s %-20s %12s %16s'
    table = [line % ('layer', 'operator', 'output', 'parameters', 'multiply-adds')]
    table += [line % (row.name, row.op, 'x'.join(map(str, row.output_shape)), format(row.parameters, ','),
                      format(row.macs, ',')) for row in rows]
    macs = sum(row.macs for row in rows)
    table.append('input %s; parameters: %s in all, %s trainable; multiply-adds: %s (%.3f G)'
                 % ('x'.join(map(str, input_shape)), format(total, ','), format(trainable, ','), format(macs, ','),
                    macs / 1e9))
    return '\n'.join(table)
