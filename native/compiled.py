"""Networks that are compiled for CPUs: what runs is another graph than the one that Gluon keeps.

Gluon keeps the graph of a hybridised network and makes a CachedOp of it, which is what runs. Only the CachedOp is made
of a changed graph. So whatever a network has done before, the graph that is exported, saved as a symbol, quantised or
folded is MXNet's own; and what mixed precision casts has been decided before. The changes, all or, without our
operator, none:

- Our operator computes products of two arrays of one shape (native/product.py).
- Global pooling reads a plain copy of its input. Of a blocked one oneDNN passes the gradient on in another layout. For
  that it has no fast code, neither in its own backward pass nor in that of the BatchNorm before it.
- Gates of one value a channel and means over all positions are products of matrices, in float32 (native/channels.py).

MXNet's operator for a BatchNorm with its ReLU, BatchNormWithReLU, is not used, though networks of ReLUs train a
twentieth faster with it: it computes wrong gradients of bfloat16, and fails in aa_resnet50.
"""
import mxnet as mx

from native import channels, product
from native.graph import nodes_of, readers_of, with_nodes_after


def for_cpu(net):
    """Let a network, hybridised or to be hybridised, run the changed graph."""
    build_cache = net._build_cache

    def build_cache_of_changed_graph(*args):
        build_cache(*args)
        inputs, graph = net._cached_graph
        shapes = {variable.name: array.shape for variable, array in zip(inputs, args)}
        places = {True: [], False: []}  # of the inputs and of the parameters among what the CachedOp takes
        for place, (is_input, _) in enumerate(net._cached_op_args):
            places[is_input].append(place)
        net._cached_op = mx.nd.CachedOp(changed(graph, shapes), [
            ('data_indices', places[True]), ('param_indices', places[False]), *net._flags])

    net._build_cache = build_cache_of_changed_graph


def product_of(net):
    """Whose graph a network runs: 'native', changed and with our operator, or 'MXNet'."""
    return 'native' if is_for_cpu(net) and not product.why_not() else 'MXNet'


def describe_product(net):
    """The same, with the reason where it could have been ours."""
    return product_of(net) + (' (native: %s)' % product.why_not() if is_for_cpu(net) and product.why_not() else '')


def is_for_cpu(net):
    return '_build_cache' in vars(net)


def changed(graph, shapes):
    """The graph that runs: without our operator, MXNet's own."""
    if product.why_not():
        return graph
    return with_plain_pooling(channels.with_dots(product.with_product(graph, shapes), shapes))


def with_plain_pooling(graph):
    """A Reshape to the same shape copies what is blocked, forward and backward."""
    readers, pooled = readers_of(graph), set()
    for node in nodes_of(graph):
        source, output = node['inputs'][0][:2] if node['op'] == 'Pooling' else (None, None)
        if output == 0 and readers[source, output] == 1 and node['attrs'].get('global_pool') == 'True':
            pooled.add(source)
    return with_nodes_after(graph, pooled, 'Reshape', '_plain', shape='(0, 0, 0, 0)')
