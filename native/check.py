"""The check of a compiled library: python -m native.check LIBRARY, in a process that may crash.

The operator must compute what broadcast_mul computes, bit for bit, forward and backward: in graphs that keep their
layouts between convolutions, in plain ones and mixed ones, with gradients written and added, with every way to compile.
Prints how many cases it has compared, or leaves with exit code 1 and the first that differs.
"""
import itertools
import json
import sys

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx
import numpy as np

from native import product

SHAPES = ((4, 16, 8, 8), (1, 32, 7, 5), (3, 20, 9, 9), (2, 10, 5, 3), (5, 3, 1, 1), (2, 64, 20, 20))
WAYS = ({}, {'static_alloc': True}, {'static_alloc': True, 'static_shape': True})


def products(channels):
    """{name: graph that multiplies}: each factor, and the gradient of the product, in a blocked or a plain layout."""
    def convolved(array, name):
        return mx.sym.Convolution(array, kernel=(1, 1), num_filter=channels, no_bias=True, name=name)

    data, gate = mx.sym.var('data'), mx.sym.var('gate')
    firsts = {'plain': mx.sym.sigmoid(data), 'blocked': convolved(data, 'first')}
    seconds = {'plain': mx.sym.sigmoid(gate), 'blocked': convolved(gate, 'second'),
               'activated': mx.sym.Activation(convolved(gate, 'second'), act_type='sigmoid')}
    graphs = {'itself': mx.sym.broadcast_mul(firsts['blocked'], firsts['blocked'])}
    for (first, x), (second, y) in itertools.product(firsts.items(), seconds.items()):
        product_of_both = mx.sym.broadcast_mul(x, y)
        graphs[first + ' x ' + second] = product_of_both
        graphs[first + ' x ' + second + ', convolved'] = convolved(product_of_both, 'after')
        graphs[first + ' x ' + second + ', again'] = mx.sym.broadcast_mul(product_of_both, y)
    return graphs


def results(graph, shape, flags, request):
    """Output and gradients of two steps of a graph, and its output without gradients."""
    names, random = graph.list_arguments(), np.random.RandomState(0)
    sizes = graph.infer_shape(**{name: shape for name in ('data', 'gate') if name in names})[0]
    arrays = [mx.nd.array(random.randn(*size)) for size in sizes]
    for array in arrays:
        array.attach_grad(request)
    run, found = mx.nd.CachedOp(graph, list(flags.items())), []
    for _ in range(2):
        with mx.autograd.record():
            out = run(*arrays)
        out.backward(mx.nd.array(random.randn(*out.shape)))
        found += [out, *(array.grad.copy() for array in arrays)]
    return [array.asnumpy() for array in found + [run(*arrays)]]


def compare():
    """(how many cases agree, the first that does not, '' if all do)."""
    agreeing = 0
    for shape, flags, request in itertools.product(SHAPES, WAYS, ('write', 'add')):
        for name, graph in products(shape[1]).items():
            ours = product.with_product(graph, {'data': shape, 'gate': shape})
            if product.OPERATOR not in ours.tojson():
                return agreeing, name + ' has no operator'
            pairs = zip(results(graph, shape, flags, request), results(ours, shape, flags, request))
            if not all(np.array_equal(theirs, mine) for theirs, mine in pairs):
                return agreeing, json.dumps([name, shape, list(flags), request])
            agreeing += 1
    return agreeing, ''


def main():
    product.register(sys.argv[1])
    agreeing, differing = compare()
    print(agreeing)
    return 'it differs from broadcast_mul: ' + differing if differing else None


if __name__ == '__main__':
    sys.exit(main())
