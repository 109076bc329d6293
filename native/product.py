"""The operator in this process: whether there is one, and graphs with it."""
import ctypes
from functools import lru_cache

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx

from native import library
from native.graph import input_shapes, nodes_of, with_operators

OPERATOR, PRODUCTS = '_atac_product', ('broadcast_mul', 'elemwise_mul')


def register(path):
    """Make the operator of a library known to MXNet, while nothing else reads what it knows. OSError if that fails."""
    mx.nd.waitall()
    function = ctypes.PyDLL(path).register_product
    function.restype = ctypes.c_char_p
    problem = function()
    if problem:
        raise OSError(problem.decode(errors='replace').splitlines()[0])


@lru_cache(maxsize=None)
def why_not():
    """'' if this process has the operator, else why it has not. Looks for it at the first call."""
    path, reason = library.find()
    if path:
        try:
            register(path)
        except OSError as error:
            return 'it cannot be loaded: %s' % error
    return reason


def with_product(symbol, shapes):
    """The same graph with the operator for every product of two arrays of one shape.   shapes: {input: its shape}"""
    products = [position for position, node in enumerate(nodes_of(symbol)) if node['op'] in PRODUCTS]
    sizes = input_shapes(symbol, products, shapes)
    return with_operators(symbol, {position: OPERATOR for position, (x, gate) in zip(products, sizes) if x == gate})
