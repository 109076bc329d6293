"""An ONNX file of a network: written, and run in ONNX Runtime.

    write_onnx(net, (3, 32, 32), 'net.onnx')
    logits = runner('net.onnx')(images)                     # (N, classes) of (N, 3, 32, 32) float32
"""
import json

from runtime import UserError

import mxnet as mx
import numpy as np

from tools.share.onnx_graph import OPSET, exportable_graph, translating

IR_VERSION = 7                  # of the format that has this opset


def packages():
    """The modules (onnx, onnxruntime). UserError that says how to install them."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f'--onnx needs {error.name or "onnx"}: make export-setup') from error
    return onnx, onnxruntime


def write_onnx(net, shape, path, batch_size=None, metadata=None):
    """Write a network as ONNX, for images of shape (3, H, W) in batches of batch_size, or of any number.

    UserError if MXNet has no translation of one of its operators.
    """
    onnx, _ = packages()
    symbol, arrays = exportable_graph(net, shape)
    free = {} if batch_size else dict(dynamic=True, dynamic_input_shapes=[('N', *shape)])
    with translating(onnx):
        missing = {node['op'] for node in json.loads(symbol.tojson())['nodes']} - set(mx.onnx.get_operator_support())
        if missing:
            raise UserError(f'MXNet cannot export this network as ONNX: there is no translation of the operator '
                            f'{", ".join(sorted(missing))}')
        mx.onnx.export_model(symbol, arrays, [(batch_size or 1, *shape)], np.float32, path, **free)
    output = (batch_size or 'N', *symbol.infer_shape(data=(1, *shape))[1][0][1:])
    model = finished(onnx, onnx.load(path), output)
    onnx.helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def finished(onnx, model, output):
    """What MXNet leaves undone: its opset, weights that are no inputs, slopes per channel, the shape of the output."""
    model.opset_import[0].version = OPSET
    model.ir_version = IR_VERSION
    model.producer_name = 'tools.export'
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    slopes = {node.input[1] for node in graph.node if node.op_type == 'PRelu'}
    for tensor in weights:
        if tensor.name in slopes and tensor.dims[0] > 1:
            tensor.dims.extend([1, 1])  # (C,) would mean the columns of a map
    inputs = [value for value in graph.input if value.name == 'data']
    logits = onnx.helper.make_tensor_value_info('logits', onnx.TensorProto.FLOAT, output)
    for field, values in ((graph.initializer, weights), (graph.input, inputs), (graph.output, [logits])):
        del field[:]
        field.extend(values)
    return model


def runner(path):
    """A function images -> logits that runs an ONNX file in ONNX Runtime, on one core."""
    _, onnxruntime = packages()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    return lambda images: session.run(['logits'], {'data': images})[0]
