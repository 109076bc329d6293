"""The operator in this process: whether there is one, and graphs with it."""
import ctypes
import threading
from functools import lru_cache

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx

from native import library
from native.graph import nodes_of, with_operators

LOOKING = threading.Lock()  # MXNet takes an operator only once
OPERATOR, PRODUCTS = '_atac_product', ('broadcast_mul', 'elemwise_mul')


def register(path):
    """Make the operator of a library known to MXNet, while nothing else reads what it knows. OSError if that fails."""
    mx.nd.waitall()
    function = ctypes.PyDLL(path).register_product
    function.restype = ctypes.c_char_p
    problem = function()
    if problem:
        raise OSError(problem.decode(errors='replace').splitlines()[0])


def why_not():
    """'' if this process has the operator, else why it has not. Looks for it at the first call."""
    with LOOKING:
        return looked_for()


@lru_cache(maxsize=None)
def looked_for():
    """What why_not says."""
    path, reason = library.find()
    if path:
        try:
            register(path)
        except OSError as error:
            return 'it cannot be loaded: %s' % error
    return reason


def products_of(symbol, shapes):
    """[(position of a product, shape of its first factor, of its second)].   shapes: {input: its shape}"""
    nodes, inner = nodes_of(symbol), symbol.get_internals()
    products = [position for position, node in enumerate(nodes) if node['op'] in PRODUCTS]
    if not products:
        return []
    factors = mx.sym.Group([inner[nodes[position]['name'] + '_output'].get_children() for position in products])
    known = set(factors.list_inputs())
    sizes = factors.infer_shape_partial(**{name: shape for name, shape in shapes.items() if name in known})[1]
    return list(zip(products, sizes[::2], sizes[1::2]))


def with_product(symbol, shapes):
    """The same graph with the operator for every product of two arrays of one shape.   shapes: {input: its shape}"""
    return with_operators(symbol, {position: OPERATOR for position, *factors in products_of(symbol, shapes)
                                   if factors[0] == factors[1]})
