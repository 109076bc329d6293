"""Score a .params file, ours or the authors': top-1 and top-5 error over every image of a validation set, once.

    python evaluate.py --params FILE                                          # of CIFAR or Fashion-MNIST
    python evaluate.py --params FILE --use-rec --rec-val val.rec
    python evaluate.py --params FILE --dtype int8 --calib-images 512
    python evaluate.py --params FILE --model atac_resnet50_v1b --use-rec --rec-val val.rec   # without a description

On a CPU, float32 is folded (training/scoring.py), and int8 is calibrated on images of the training set; it prints the
errors of float32 beside its own.

The authors' released file must come out at a top-1 error in [21.376, 21.536] % and a top-5 error in [6.018, 6.178] % on
the 50,000 images of ImageNet: what their log leaves open, as it scored 49,920 of them.
"""
import json
import sys

from runtime import UserError, printable

import mxnet as mx

from cli import parsing, trained
from cli.build import build_network, dataset_of
from cli.exits import run_script
from training.devices import devices_by_number
from training.loop import evaluate
from training.scoring import check_scoring_memory, compile_for_scoring
from training.weights.arrays import load_weights

ERRORS = ('top1_error', 'top5_error')


def parse_args(argv=None):
    parser = parsing.parser_of('evaluate', 'Score a .params file on a validation set.')
    parser.add_argument('--json', action='store_true', help='print one JSON object and nothing else')
    return trained.parse(parser, argv)


def score_on_cpu(args):
    """What training.loop.evaluate returns; of int8 also the errors that the network has in float32."""
    net, ready = trained.load_network(args)
    source = trained.load_validation(args, args.batch_size)
    check_scoring_memory(ready, (min(args.batch_size, source.images), 3, source.size, source.size))
    scores = evaluate(ready, source, [mx.cpu()])
    if args.dtype == 'int8':
        before = evaluate(compile_for_scoring(net), source, [mx.cpu()])
        scores.update(('float32_' + name, before[name]) for name in ERRORS)
    return scores


def score_on_gpus(args):
    devices = devices_by_number(args.num_gpus, args.dtype)
    net = build_network(args)
    net.cast(args.dtype)
    load_weights(net, args.params, devices)
    net.hybridize(static_alloc=True, static_shape=True)
    return evaluate(net, trained.load_validation(args, args.batch_size * len(devices)), devices, args.dtype)


def score(args):
    """{'top1_error', 'top5_error' (in percent), 'images', 'images_per_second'} of the flags.

    Of int8 also 'float32_top1_error' and 'float32_top5_error'.
    """
    if args.num_gpus and args.dtype in ('bfloat16', 'int8'):
        raise UserError('--dtype %s is for CPUs: GPUs have float32 and float16' % args.dtype)
    on_gpus = args.num_gpus or args.dtype == 'float16'
    scores = score_on_gpus(args) if on_gpus else score_on_cpu(args)
    scores.update((name, round(100 * scores[name], 10)) for name in scores if name.endswith('_error'))
    return scores


def main(argv=None):
    """Score and print; returns what score() returns."""
    args = parse_args(argv)
    scores = score(args)
    print(json.dumps(scores) if args.json else f'{report(scores)} ({printable(data_of(args))})')
    return scores


def data_of(args):
    """What was scored, in words."""
    record = dataset_of(args)
    if not record.small:
        return (args.rec_val if args.use_rec else args.data_dir) or args.dataset
    return args.dataset + (f', {args.label_set} labels' if record.label_sets else '')


def report(scores):
    text = 'top-1 error %(top1_error).3f %%, top-5 error %(top5_error).3f %%, %(images)d images, ' \
           '%(images_per_second).1f images/s' % scores
    before = 'float32: top-1 error %(float32_top1_error).3f %%, top-5 error %(float32_top5_error).3f %%\nint8: '
    return (before % scores if 'float32_top1_error' in scores else '') + text


if __name__ == '__main__':
    sys.exit(run_script(main))
