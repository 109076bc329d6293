"""Gates of one value a channel, and means over all positions, as products of matrices.

MXNet's own operators, broadcast_mul and mean, are slow on a CPU, above all backward. All sizes are those of the maps
that come, so the graph serves batches and images of any size.
"""
import runtime  # noqa: F401  (before mxnet)

import mxnet as mx

from native.graph import nodes_of, with_graphs, with_operators
from native.product import OPERATOR, products_of

MEAN = {'axis': '(2, 3)', 'keepdims': 'True'}


def with_dots(symbol, shapes):
    """The same graph with such products; in mixed precision as it is, as MXNet has no dot of bfloat16."""
    nodes = nodes_of(symbol)
    if any(node['op'].startswith('amp_') for node in nodes):
        return symbol
    graphs = {position: gated() for position, x, gate in products_of(symbol, shapes)
              if len(x) == 4 and gate == (*x[:2], 1, 1)}
    graphs.update({position: mean() for position, node in enumerate(nodes)
                   if node['op'] == 'mean' and node.get('attrs') == MEAN})
    return with_graphs(symbol, graphs)


def gated():
    """A map (N, C, H, W) and its gate (N, C, 1, 1) -> their product, by our operator: the gate is spread first.

    A gate of another size, which the graph may meet later, fails in dot: with a 1 for the -1 MXNet would not see it.
    """
    x, gate = mx.sym.var('0'), mx.sym.var('1')
    graph = mx.sym.broadcast_mul(x, mx.sym.dot(gate.reshape((0, 0, -1)), ones(x)))
    return with_operators(graph, {len(nodes_of(graph)) - 1: OPERATOR})


def mean():
    """A map (N, C, H, W) -> its means (N, C, 1, 1)."""
    x = mx.sym.var('0')
    weights = mx.sym.broadcast_div(ones(x), mx.sym.sum(ones(x), keepdims=True))
    return mx.sym.dot(x.reshape((0, 0, -1)), weights.reshape((-1, 1))).reshape((0, 0, 1, 1))


def ones(x):
    """A map (N, C, H, W) -> (1, H, W). `slice`, which would take one step, crashes on blocked maps."""
    for axis in (0, 1):
        x = mx.sym.slice_axis(x, axis=axis, begin=0, end=1)
    return mx.sym.ones_like(x).reshape((-3, 0, 0))
