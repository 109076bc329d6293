"""Export a trained network: as ONNX, or as MXNet's own symbol and parameters.

    python -m tools.export --model atac --act-type ChaATAC --useReLU --blocks 1 --dataset fashion-mnist-mini \
        --params FILE --onnx net.onnx
    python -m tools.export --model atac_resnet50_v1b --params FILE --symbol net

--onnx needs `make export-setup`. The file takes float32 images (N, 3, H, W), normalised as its
metadata say, and gives logits (N, classes). N is free unless --batch-size fixes it, H and W are those of the data set
or of --input-size. It is of opset 13, which runtimes since 2021 read. Before it gets its name, the checker of ONNX
reads it, and ONNX Runtime must give the logits of MXNet on random images and on real ones, to 1e-4 of their standard
deviation (the exit code is 1 otherwise).

--symbol writes PREFIX-symbol.json and PREFIX-0000.params, which `mx.gluon.SymbolBlock.imports` reads without this
repository; with --dtype int8 as well, for CPUs, calibrated on --calib-images of the training set.
"""
import ast
import json
import logging
import os
import shlex
import sys
import tempfile
import warnings
from contextlib import contextmanager

import runtime  # noqa: F401  (before mxnet)
from runtime import UserError

import mxnet as mx
import numpy as np
from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

from cli import build, parsing, trained
from cli.exits import run_script
from cli.kinds import at_least
from data import DATASETS, pictures
from data.fashion_mnist import load_mini
from training.scoring import check_memory, compiled, part_convolutions
from training.weights.arrays import load_weights

OPSET, IR_VERSION = 13, 7       # of the newest translations in MXNet 1.9.1; the version of the format with that opset
TOLERANCE = 1e-4                # of a difference of logits, in units of their standard deviation
CHECKED = 8                     # images of either kind
RESHAPING = ('Reshape', 'reshape_like')
SYMBOL_FILES = ('-symbol.json', '-0000.params')


def parse_args(argv=None):
    parser = parsing.parser_of('export', "Export a trained network as ONNX or as MXNet's symbol.")
    export = parser.add_argument_group('export')
    export.add_argument('images', nargs='*', metavar='IMAGE',
                        help='pictures that the result is checked on (default: %d of fashion-mnist-mini)' % CHECKED)
    export.add_argument('--onnx', metavar='FILE', help='write an ONNX file')
    export.add_argument('--symbol', metavar='PREFIX', help='write PREFIX-symbol.json and PREFIX-0000.params')
    export.add_argument('--batch-size', type=at_least(1), metavar='N',
                        help='fix the number of images a call in the ONNX file (default: any)')
    export.add_argument('--overwrite', action='store_true', help='replace files that are there')
    return trained.parse(parser, argv)


def check_places(args):
    """UserError if the flags name no file to write, or one that must not be written."""
    files = [args.onnx] * bool(args.onnx) + [args.symbol + ending for ending in SYMBOL_FILES if args.symbol]
    if not files:
        raise UserError('say what to write: --onnx FILE, --symbol PREFIX or both')
    if args.batch_size and not args.onnx:
        raise UserError('--batch-size is for --onnx: a symbol takes any number of images')
    for path in files:
        folder = os.path.dirname(path) or '.'
        if not os.path.isdir(folder):
            raise UserError('%s cannot be written: there is no folder %s' % (path, folder))
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError('%s cannot be written: it is no ordinary file' % path)
        if any(os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source)
               for source in [args.params, *args.images]):
            raise UserError('%s is what is read: it would be overwritten' % path)
        if os.path.exists(path) and not args.overwrite:
            raise UserError('%s is there already: --overwrite replaces it' % path)
    if len({os.path.realpath(path) for path in files}) < len(files):
        raise UserError('--onnx and --symbol name the same file')


def check_dtype(args):
    if args.dtype not in ('float32', 'int8'):
        raise UserError('an export is float32 or int8: --dtype %s is for scoring' % args.dtype)
    if args.dtype == 'int8' and args.onnx:
        raise UserError('--dtype int8 is for --symbol: an ONNX file is float32')


def packages():
    """The modules (onnx, onnxruntime). UserError that says how to install them."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError('--onnx needs %s: make export-setup'
                        % (error.name or 'onnx')) from error
    return onnx, onnxruntime


def images_of(args):
    """{'random': (N, 3, H, W), 'real': the same} float32, as the network wants them."""
    found = args.images or list(load_mini(False).pixels[:CHECKED].transpose(0, 2, 3, 1))
    real = pictures.batch_of(found, args.dataset, args.input_size, args.crop_ratio).astype('float32')
    return {'random': np.random.RandomState(0).randn(CHECKED, *real.shape[1:]).astype('float32'), 'real': real}


def metadata_of(args, argv):
    """{key: text} of what a user of the file must know, lists as JSON."""
    mean, std = ([round(float(value), 6) for value in np.broadcast_to(values, 3)]
                 for values in (DATASETS[args.dataset].mean, DATASETS[args.dataset].std))
    return {'model': args.model, 'unit': build.unit_of(args), 'dataset': args.dataset,
            'input': 'float32 (N, 3, H, W), RGB, (pixel / 255 - mean) / std for every colour',
            'mean': json.dumps(mean), 'std': json.dumps(std), 'output': 'logits (N, classes), before the softmax',
            'class_names': json.dumps(list(args.class_names)),
            'command': ' '.join(map(shlex.quote, ['python', '-m', 'tools.export', *map(str, argv)]))}


def graph_of(net, shape):
    """(symbol, {name: NDArray}) of a network for images (3, H, W), in terms that ONNX has.

    What follows the shape of another array, or has codes that ONNX lacks, becomes a Reshape to numbers: -1 is the
    dimension that grows with the number of images. x + 0 y, which DataNorm needs in training, becomes x, so that the
    weights are constants. A gamma that MXNet takes for 1 becomes 1.
    """
    symbol = mx.sym.identity(net(mx.sym.var('data')), name='logits')
    inner = symbol.get_internals()
    two, three = (dict(zip(inner.list_outputs(), inner.infer_shape(data=(images, *shape))[1])) for images in (2, 3))
    graph = json.loads(symbol.tojson())
    nodes, arrays = graph['nodes'], {name: parameter._reduce() for name, parameter in net.collect_params().items()}
    for node in nodes:
        node['inputs'] = [[_without_zero(nodes, number), *rest] for number, *rest in node['inputs']]
        attributes, output = node.setdefault('attrs', {}), node['name'] + '_output'
        if output in two:
            target = tuple(-1 if a != b else a for a, b in zip(two[output], three[output]))
            if node['op'] in RESHAPING:
                node.update(op='Reshape', attrs={'shape': str(target)}, inputs=node['inputs'][:1])
            elif node['op'] in TRANSLATIONS:
                attributes['__target__'] = str(target)
        if node['op'] == 'BatchNorm' and attributes.get('fix_gamma', 'True') == 'True':
            arrays[nodes[node['inputs'][1][0]]['name']][:] = 1
    symbol = mx.sym.load_json(json.dumps(graph))
    return symbol, {name: arrays[name] for name in symbol.list_inputs() if name != 'data'}


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
    """BilinearResize2D to numbers, with half-pixel centres; MXNet's own translation knows aligned corners alone."""
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

    MXNet's warning about `dot` is silenced: it is of arrays of more than two dimensions, which we have not.
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


def write_onnx(net, shape, path, batch_size=None, metadata=None):
    """Write a network as ONNX, for images of shape (3, H, W) in batches of batch_size, or of any number.

    UserError if MXNet has no translation of one of its operators.
    """
    onnx, _ = packages()
    symbol, arrays = graph_of(net, shape)
    free = {} if batch_size else dict(dynamic=True, dynamic_input_shapes=[('N', *shape)])
    with translating(onnx):
        missing = {node['op'] for node in json.loads(symbol.tojson())['nodes']} - set(mx.onnx.get_operator_support())
        if missing:
            raise UserError('MXNet cannot export this network as ONNX: there is no translation of the operator %s'
                            % ', '.join(sorted(missing)))
        mx.onnx.export_model(symbol, arrays, [(batch_size or 1, *shape)], np.float32, path, **free)
    output = (batch_size or 'N', *symbol.infer_shape(data=(1, *shape))[1][0][1:])
    model = finished(onnx, onnx.load(path), output)
    onnx.helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def finished(onnx, model, output):
    """What MXNet leaves undone: its opset, weights that are no inputs, slopes per channel, the shape of the output."""
    model.opset_import[0].version, model.ir_version, model.producer_name = OPSET, IR_VERSION, 'tools.export'
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    slopes = {node.input[1] for node in graph.node if node.op_type == 'PRelu'}
    for tensor in weights:
        if tensor.name in slopes and tensor.dims[0] > 1:
            tensor.dims.extend([1, 1])  # (C,) would stand for the columns of a map
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


def differences(run, net, images, batch_size=None):
    """{kind of images: largest difference of run(images) from net(images), in standard deviations of the latter}.

    Without a batch size all images at once, and the first alone; with one, the last batch is filled up with the first
    images. FloatingPointError if the network's logits are not finite.
    """
    found = {}
    for kind, batch in images.items():
        batches = [batch, batch[:1]]
        if batch_size:
            calls = -(-len(batch) // batch_size)
            batches = np.split(np.resize(batch, (calls * batch_size, *batch.shape[1:])), calls)
        wanted = [net(mx.nd.array(batch)).asnumpy() for batch in batches]
        if not all(np.isfinite(logits).all() for logits in wanted):
            raise FloatingPointError("the network's logits of %s images are not finite: its weights are useless" % kind)
        # NumPy's maximum, which keeps what is no number.
        largest = np.max([abs(run(batch) - logits).max() for batch, logits in zip(batches, wanted)])
        found[kind] = float(largest / (np.concatenate(wanted).std() or 1))
    return found


def export_onnx(net, args, images, metadata):
    """Write args.onnx once it has been checked; returns differences(...). FloatingPointError if they are too large."""
    onnx, onnxruntime = packages()
    with tempfile.TemporaryDirectory(dir=os.path.dirname(args.onnx) or '.') as folder:
        path = os.path.join(folder, 'net.onnx')
        write_onnx(net, images['real'].shape[1:], path, args.batch_size, metadata)
        found = differences(runner(path), net, images, args.batch_size)
        print('%s: ONNX Runtime %s differs from MXNet by %.1e on %d random and %.1e on %d real images, in units of the '
              "logits' standard deviation" % (args.onnx, onnxruntime.__version__, found['random'],
                                              len(images['random']), found['real'], len(images['real'])))
        if not np.max(list(found.values())) <= TOLERANCE:
            raise FloatingPointError('%s is not written: ONNX Runtime differs from MXNet by more than %.0e'
                                     % (args.onnx, TOLERANCE))
        os.replace(path, args.onnx)
    return found


def export_symbol(net, prefix, images):
    """Write a compiled network as PREFIX-symbol.json and PREFIX-0000.params, once what is read back equals it.

    In the symbol no convolution is folded with what follows where that would go wrong (part_convolutions):
    the executors of MXNet other than SymbolBlock (Module, bind, the C API) fold without being asked.
    """
    with tempfile.TemporaryDirectory(dir=os.path.dirname(prefix) or '.') as folder:
        path = os.path.join(folder, 'net')
        net(mx.nd.array(images['real'][:1]))  # compiles it
        net.export(path)
        part_convolutions(mx.sym.load(path + SYMBOL_FILES[0])).save(path + SYMBOL_FILES[0])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that the type of the data is not known yet
            again = mx.gluon.SymbolBlock.imports(path + SYMBOL_FILES[0], ['data'], path + SYMBOL_FILES[1])
        found = differences(lambda batch: again(mx.nd.array(batch)).asnumpy(), net, images)
        if any(found.values()):
            raise FloatingPointError('%s is not written: what is read back differs by %s' % (prefix, found))
        for ending in SYMBOL_FILES:
            os.replace(path + ending, prefix + ending)
    print('%s and %s: read back, they give the same logits' % tuple(prefix + ending for ending in SYMBOL_FILES))
    return found


def quantised(net, args, images):
    """The network in int8, calibrated as in evaluate.py; prints how near its logits are to those of float32."""
    ready = compiled(net, 'int8', trained.load_calibration(args), args.calib_mode)
    for kind, batch in images.items():
        exact, rounded = (block(mx.nd.array(batch)).asnumpy().astype('float64') for block in (net, ready))
        cosine = (exact * rounded).sum() / np.sqrt((exact ** 2).sum() * (rounded ** 2).sum())
        print('int8: cosine of the logits to those of float32 %.4f, the same class on %d of %d %s images'
              % (cosine, (exact.argmax(1) == rounded.argmax(1)).sum(), len(batch), kind))
    return ready


def main(argv=None):
    """Export; returns {'onnx': {'random': ..., 'real': ...}, 'symbol': the same}, the differences from the network."""
    args = parse_args(argv)
    check_places(args)
    check_dtype(args)
    if args.onnx:
        packages()
    net = build.build_network(args)
    load_weights(net, args.params)
    net.hybridize()
    images, found = images_of(args), {}
    if args.onnx:
        if args.batch_size:
            check_memory(net, (args.batch_size, *images['real'].shape[1:]))
        found['onnx'] = export_onnx(net, args, images, metadata_of(args, sys.argv[1:] if argv is None else argv))
    if args.symbol:
        ready = quantised(net, args, images) if args.dtype == 'int8' else net
        found['symbol'] = export_symbol(ready, args.symbol, images)
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
