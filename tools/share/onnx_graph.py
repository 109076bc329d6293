"""The graph of a network in terms that ONNX has, and the translations that MXNet lacks.

    symbol, arrays = exportable_graph(net, (3, 32, 32))
    with translating(onnx):
        mx.onnx.export_model(symbol, arrays, ...)
"""
import ast
import json
import logging
from contextlib import contextmanager

import mxnet as mx
import numpy as np
from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

OPSET = 13                      # of the newest translations in MXNet 1.9.1
RESHAPING = ('Reshape', 'reshape_like')


def exportable_graph(net, shape):
    """(symbol, {name: NDArray}) of a network for images (3, H, W), in terms that ONNX has.

    What follows the shape of another array, or has codes that ONNX lacks, becomes a Reshape to numbers. x + 0 y, which
    DataNorm needs in training, becomes x, so that the weights are constants. A gamma that MXNet takes for 1 becomes 1.
    """
    symbol = mx.sym.identity(net(mx.sym.var('data')), name='logits')
    graph, shapes = json.loads(symbol.tojson()), shapes_of(symbol, shape)
    nodes, arrays = graph['nodes'], {name: parameter._reduce() for name, parameter in net.collect_params().items()}
    for node in nodes:
        node['inputs'] = [[_without_zero(nodes, number), *rest] for number, *rest in node['inputs']]
        attributes, target = node.setdefault('attrs', {}), shapes.get(node['name'] + '_output')
        if target and node['op'] in RESHAPING:
            node.update(op='Reshape', attrs={'shape': str(target)}, inputs=node['inputs'][:1])
        elif target and node['op'] in TRANSLATIONS:
            attributes['__target__'] = str(target)
        if node['op'] == 'BatchNorm' and attributes.get('fix_gamma', 'True') == 'True':
            arrays[nodes[node['inputs'][1][0]]['name']][:] = 1
    symbol = mx.sym.load_json(json.dumps(graph))
    return symbol, {name: arrays[name] for name in symbol.list_inputs() if name != 'data'}


def shapes_of(symbol, shape):
    """{output of a node: its shape for images (3, H, W)}, with -1 for what grows with the number of images."""
    inner = symbol.get_internals()
    two, three = (inner.infer_shape(data=(images, *shape))[1] for images in (2, 3))
    return {name: tuple(-1 if a != b else a for a, b in zip(*sizes))
            for name, *sizes in zip(inner.list_outputs(), two, three)}


def _without_zero(nodes, number):
    """The number of node x if that of x + 0 y is given, else the same."""
    node = nodes[number]
    if node['op'] != 'broadcast_add':
        return number
    addend = nodes[node['inputs'][1][0]]
    while addend['op'] == 'Cast':
        addend = nodes[addend['inputs'][0][0]]
    zero = addend['op'] == '_mul_scalar' and float(addend['attrs']['scalar']) == 0
    return node['inputs'][0][0] if zero else number


def translate_im2col(node, **context):
    """im2col as a convolution of every map with the unit kernels, which is exact."""
    from onnx import helper
    name, (x, *_) = node['name'], _inputs(node, context)
    window = {key: list(ast.literal_eval(node['attrs'].get(key, default)))
              for key, default in (('kernel', '()'), ('stride', '(1, 1)'), ('dilate', '(1, 1)'), ('pad', '(0, 0)'))}
    pixels = int(np.prod(window['kernel']))
    maps = _constant(context, name + '_maps', np.array([-1, 1, 0, 0]))
    kernels = _constant(context, name + '_kernels',
                        np.eye(pixels, dtype='float32').reshape(pixels, 1, *window['kernel']))
    target = _constant(context, name + '_target', np.array(ast.literal_eval(node['attrs']['__target__'])))
    return [helper.make_node('Reshape', [x, maps], [name + '_single']),
            helper.make_node('Conv', [name + '_single', kernels], [name + '_windows'], kernel_shape=window['kernel'],
                             strides=window['stride'], dilations=window['dilate'], pads=2 * window['pad']),
            helper.make_node('Reshape', [name + '_windows', target], [name], name=name)]


def translate_resize(node, **context):
    """BilinearResize2D to numbers, with half-pixel centres; MXNet's own translation knows only aligned corners."""
    from onnx import helper
    name, (x, *_) = node['name'], _inputs(node, context)
    aligned = node['attrs'].get('align_corners', 'True') in ('True', '1')
    begin, end = (_constant(context, name + suffix, np.array([number])) for suffix, number in (('_0', 0), ('_2', 2)))
    sides = _constant(context, name + '_sides', np.array(ast.literal_eval(node['attrs']['__target__'])[2:]))
    return [helper.make_node('Shape', [x], [name + '_shape']),
            helper.make_node('Slice', [name + '_shape', begin, end], [name + '_maps']),
            helper.make_node('Concat', [name + '_maps', sides], [name + '_sizes'], axis=0),
            helper.make_node('Resize', [x, '', '', name + '_sizes'], [name], name=name, mode='linear',
                             coordinate_transformation_mode='align_corners' if aligned else 'half_pixel')]


def _inputs(node, context):
    return [context['outputs_lookup'][number][output].name for number, output, *_ in node['inputs']]


def _constant(context, name, array):
    from onnx import numpy_helper
    context['initializer'].append(numpy_helper.from_array(array, name))
    return name


# Operators that MXNet does not translate, or not as our networks use them.
TRANSLATIONS = {'im2col': translate_im2col, '_contrib_BilinearResize2D': translate_resize}


@contextmanager
def translating(onnx):
    """In here mx.onnx has our TRANSLATIONS, and ONNX checks by the opset that they are written for.

    MXNet's warning about `dot` is silenced: it is about arrays of more than two dimensions, which we do not have.
    """
    registered, checker = MXNetGraph.registry_[OPSET], onnx.checker.DEFAULT_CONTEXT
    before, imports = dict(registered), checker.opset_imports
    try:
        registered.update(TRANSLATIONS)
        checker.opset_imports = {'': OPSET}
        logging.disable(logging.WARNING)
        yield
    finally:
        logging.disable(logging.NOTSET)
        registered.clear()
        registered.update(before)
        checker.opset_imports = imports
