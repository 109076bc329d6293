"""Export a trained network: as ONNX, or as MXNet's own symbol and parameters.

    python -m tools.export --params FILE --onnx net.onnx
    python -m tools.export --params FILE --symbol net

The description of the weights says everything else; for a file without one, the flags of its training are needed.

--onnx needs `make export-setup`. The file takes float32 images (N, 3, H, W), normalised as its metadata say, and gives
logits (N, classes). N is free unless --batch-size fixes it. H and W are those of the training, or of --input-size. It
is of opset 13, which runtimes since 2021 read. Before it gets its name, the checker of ONNX reads it. ONNX Runtime must
then give the logits of MXNet on random images and on real ones, to 1e-4 of their standard deviation. If it does not,
the exit code is 1.

--symbol writes PREFIX-symbol.json and PREFIX-0000.params, which `mx.gluon.SymbolBlock.imports` reads without this
repository; with --dtype int8 as well, for CPUs, calibrated on --calib-images of the training set.
"""
import json
import os
import sys
import warnings

import runtime  # noqa: F401  (before mxnet)
from runtime import UserError

import mxnet as mx
import numpy as np

from cli import build, parsing, trained
from cli.exits import run_script
from cli.kinds import at_least
from data.fashion_mnist import load_mini
from data.pictures import batch_of
from disk import file_digest, is_one_of, written
from tools.share.agreement import check_agreement, logit_differences, logits_of
from tools.share.onnx_file import packages, runner, write_onnx
from training.scoring import check_scoring_memory, compile_for_scoring, part_convolutions
from training.weights.arrays import load_weights
from training.weights.params_file import write_params

CHECKED = 8                     # images of either kind
SYMBOL_FILES = ('-symbol.json', '-0000.params')
INPUT = 'float32 (N, 3, H, W), RGB, (pixel / 255 - mean) / std for every colour'
OUTPUT = 'logits (N, classes), before the softmax'


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
    if args.symbol and not os.path.basename(args.symbol):
        raise UserError(f'--symbol {args.symbol} must begin names of files: it is a folder')
    if not files:
        raise UserError('say what to write: --onnx FILE, --symbol PREFIX or both')
    if args.batch_size and not args.onnx:
        raise UserError('--batch-size is for --onnx: a symbol takes any number of images')
    for path in files:
        folder = os.path.dirname(path) or '.'
        if not os.path.isdir(folder):
            raise UserError(f'{path} cannot be written: there is no folder {folder}')
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError(f'{path} cannot be written: it is not an ordinary file')
        if is_one_of(path, [args.params, *args.images]):
            raise UserError(f'{path} is what is read: it would be overwritten')
        if os.path.exists(path) and not args.overwrite:
            raise UserError(f'{path} is there already: --overwrite replaces it')
    if len({os.path.realpath(path) for path in files}) < len(files):
        raise UserError('--onnx and --symbol name the same file')
    if args.onnx and not args.onnx.endswith('.onnx'):  # so that --overwrite replaces nothing else
        raise UserError(f'--onnx {args.onnx}: its name must end in .onnx')


def check_dtype(args):
    """UserError for a type of numbers that the files to write do not have."""
    if args.dtype not in ('float32', 'int8'):
        raise UserError(f'an export is float32 or int8: --dtype {args.dtype} is for scoring')
    if args.dtype == 'int8' and args.onnx:
        raise UserError('--dtype int8 is for --symbol: an ONNX file is float32')


def images_of(args):
    """{'random': (N, 3, H, W), 'real': the same} float32, as the network wants them."""
    found = args.images or list(load_mini(False).pixels[:CHECKED].transpose(0, 2, 3, 1))
    real = batch_of(found, args.dataset, args.input_size, args.crop_ratio).astype('float32')
    return {'random': np.random.RandomState(0).randn(CHECKED, *real.shape[1:]).astype('float32'), 'real': real}


def metadata_of(args):
    """{key: text} of what a user of the file must know: what the description of the weights says, lists as JSON."""
    found = args.description or trained.description_from_args(args, args.class_names, file_digest(args.params))
    facts = {**found._asdict(), 'unit': build.unit_of(args), 'input': INPUT, 'output': OUTPUT,
             'trained_by': found.command, 'command': args.command}
    return {key: value.encode(errors='replace').decode() if isinstance(value, str) else json.dumps(value)
            for key, value in facts.items() if value not in (None, '', {})}


def export_onnx(net, args, images, metadata):
    """Write args.onnx once it has been checked; returns logit_differences(...), or raises FloatingPointError for too
    large ones."""
    _, onnxruntime = packages()
    with written(args.onnx) as (path,):
        write_onnx(net, images['real'].shape[1:], path, args.batch_size, metadata)
        found = logit_differences(runner(path), net, images, args.batch_size)
        print(f'{args.onnx}: ONNX Runtime {onnxruntime.__version__} differs from MXNet by {found["random"]:.1e} on '
              f'{len(images["random"])} random and {found["real"]:.1e} on {len(images["real"])} real images, in units '
              "of the logits' standard deviation")
        check_agreement(args.onnx, found, net, images)
    return found


def export_symbol(net, prefix, images):
    """Write a compiled network as PREFIX-symbol.json and PREFIX-0000.params, once what is read back equals it.

    In the symbol no convolution is folded with what follows where that would go wrong (part_convolutions):
    the executors of MXNet other than SymbolBlock (Module, bind, the C API) fold without being asked.
    """
    with written(*(prefix + ending for ending in SYMBOL_FILES)) as paths:
        write_symbol(net, *paths)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that the type of the data is not known yet
            again = mx.gluon.SymbolBlock.imports(paths[0], ['data'], paths[1])
        found = logit_differences(logits_of(again), net, images)
        if any(found.values()):
            raise FloatingPointError(f'{prefix} is not written: what is read back differs by {found}')
    print(f'{prefix}{SYMBOL_FILES[0]} and {prefix}{SYMBOL_FILES[1]}: read back, they give the same logits')
    return found


def write_symbol(net, symbol_path, params_path):
    """What net.export writes. MXNet's own writer does not notice a full disk."""
    symbol = part_convolutions(net(mx.sym.var('data')))
    kinds = {**dict.fromkeys(symbol.list_arguments(), 'arg'), **dict.fromkeys(symbol.list_auxiliary_states(), 'aux')}
    with open(symbol_path, 'w') as file:
        file.write(symbol.tojson())
    write_params(params_path, {f'{kinds[name]}:{name}': parameter._reduce().asnumpy()
                               for name, parameter in net.collect_params().items() if name in kinds})


def quantised(net, args, images):
    """The network in int8, calibrated as in evaluate.py; prints how near its logits are to those of float32."""
    ready = compile_for_scoring(net, 'int8', trained.load_calibration(args), args.calib_mode)
    for kind, batch in images.items():
        exact, rounded = (logits_of(block)(batch).astype('float64') for block in (net, ready))
        cosine = (exact * rounded).sum() / np.sqrt((exact ** 2).sum() * (rounded ** 2).sum())
        same = (exact.argmax(1) == rounded.argmax(1)).sum()
        print(f'int8: cosine of the logits to those of float32 {cosine:.4f}, the same class on {same} of {len(batch)} '
              f'{kind} images')
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
            check_scoring_memory(net, (args.batch_size, *images['real'].shape[1:]))
        found['onnx'] = export_onnx(net, args, images, metadata_of(args))
    if args.symbol:
        ready = quantised(net, args, images) if args.dtype == 'int8' else net
        found['symbol'] = export_symbol(ready, args.symbol, images)
    return found


if __name__ == '__main__':
    sys.exit(run_script(main))
