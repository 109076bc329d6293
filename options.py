"""The flags that the scripts share, and how a mistake of the user becomes one sentence and exit code 2."""
import argparse
import json
import os
import re
import sys

from runtime import UserError

import mxnet as mx
from gluoncv import model_zoo

from model import ACTIVATIONS, MODELS, get_model
from training.checkpoint import load_weights
from training.distributed import KVSTORES
from training.fit import Run
from training.loss import Objective
from training.schedule import MODES, decay_epochs, learning_rate

# --model of train_cifar.py -> the name in model.MODELS
CIFAR_MODELS = {'atac': 'cifar_resnet', 'se': 'se_cifar_resnet', 'ge': 'ge_cifar_resnet'}
IMAGENET_MODELS = [name for name, network in MODELS.items() if network.host == 'imagenet']
# Those that take a unit; the others are what they are.
UNIT_MODELS = [name for name in IMAGENET_MODELS if MODELS[name].takes_unit]
# The flags of a unit, and what they are where they are not given.
UNIT_FLAGS = {'act_type': None, 'act_layers': None, 'r': 2, 'act_order': 'bac', 'use_global': False, 'skernel': 3,
              'act_dilation': 1}
# Flags that are read only where another one is given.
SWITCHED = {'use_rec': ['rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx'], 'warmup_epochs': ['warmup_lr'],
            'mixup': ['mixup_alpha', 'mixup_off_epoch'], 'teacher': ['temperature', 'hard_weight']}


def at_least(bound, kind=int, most=float('inf')):
    """An argparse type: a finite number that is not below the bound, nor above `most`."""
    def number(text):
        value = kind(text)
        if not bound <= value < float('inf'):
            raise argparse.ArgumentTypeError('%s must be at least %s' % (text, bound))
        if value > most:
            raise argparse.ArgumentTypeError('%s must be at most %s' % (text, most))
        return value
    number.__name__ = 'number'
    return number


def between(low, high):
    """An argparse type: a number from low to high."""
    def number(text):
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError('%s must lie between %s and %s' % (text, low, high))
        return value
    return number


def positive(text):
    value = float(text)
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError('%s must be positive' % text)
    return value


def loss_scale(text):
    """An argparse type: a positive number, or 'dynamic'."""
    return text if text == 'dynamic' else positive(text)


def epoch_list(text):
    """An argparse type: epochs in ascending order, such as 300,350."""
    try:
        epochs = [int(epoch) for epoch in text.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError('%r is not a list of epochs such as 300,350' % text) from None
    if epochs != sorted(set(epochs)) or epochs[0] < 0:
        raise argparse.ArgumentTypeError('%s is not in ascending order' % text)
    return epochs


def add_network_options(parser):
    group = parser.add_argument_group('network')
    group.add_argument('--act-type', choices=list(ACTIVATIONS), metavar='UNIT',
                       help='the activation unit: %s' % ', '.join(ACTIVATIONS))
    group.add_argument('--r', type=at_least(1), help='reduction, C channels become C/r, inside ' + units_with('r'))
    group.add_argument('--act-layers', type=int, choices=range(5),
                       help='how many of four positions get the unit: the stages, of a CIFAR net three and its last '
                            'activation; the others get relu')
    group.add_argument('--act-order', choices=['bac', 'pre'],
                       help='count these positions from the back or from the front')
    group.add_argument('--use-global', action='store_true',
                       help='global instead of local context inside ' + units_with('use_global'))
    group.add_argument('--skernel', type=at_least(1), help='kernel size of ' + units_with('kernel_size'))
    group.add_argument('--act-dilation', type=at_least(1), help='dilation of ' + units_with('dilation'))
    parser.set_defaults(**UNIT_FLAGS)
    return group


def units_with(option):
    return ', '.join(name for name, unit in ACTIVATIONS.items() if option in unit.options)


def add_cifar_network_options(group):
    group.add_argument('--useReLU', action='store_true', help='the ReLU inside ' + units_with('use_relu'))
    group.add_argument('--blocks', type=at_least(1, most=1000), default=3,
                       help='blocks per stage: the depth is 6 * blocks + 2')
    group.add_argument('--replace-act', choices=list(ACTIVATIONS), default='relu', metavar='UNIT',
                       help='what stands in the positions without the unit')


def add_imagenet_network_options(group):
    group.add_argument('--num-classes', type=at_least(1), default=1000, help='number of classes')
    group.add_argument('--last-gamma', action='store_true', help='start the last BatchNorm of each block at gamma 0')


def add_imagenet_data_options(parser):
    group = parser.add_argument_group('data')
    group.add_argument('--use-rec', action='store_true', help='read RecordIO files instead of class folders')
    group.add_argument('--rec-val', default='~/.mxnet/datasets/imagenet/rec/val.rec', help='validation images')
    group.add_argument('--rec-val-idx', help='their index (default: the .idx beside them)')
    group.add_argument('--data-dir', help='folder of train/ and val/ with a folder for each class, or of a small data '
                                          'set (default: ~/.mxnet/datasets/imagenet, or the places in docs/data.md)')
    group.add_argument('--input-size', type=at_least(1, most=4096), default=224,
                       help='size of the image that the network sees')
    group.add_argument('--crop-ratio', type=between(0.1, 1), default=0.875,
                       help='of the validation crop to the shorter side of the image')
    return group


def add_schedule_options(parser, **defaults):
    group = parser.add_argument_group('schedule')
    group.add_argument('--num-epochs', type=at_least(1), help='number of epochs')
    group.add_argument('--batch-size', type=at_least(1), default=128, help=defaults.pop('batch_help'))
    group.add_argument('--lr', type=positive, help='learning rate')
    group.add_argument('--lr-mode', choices=MODES, help='how the learning rate falls')
    group.add_argument('--lr-decay', type=positive, default=0.1, help='factor of each step of --lr-mode step')
    group.add_argument('--lr-decay-epoch', type=epoch_list, help='epochs of these steps, such as 300,350')
    group.add_argument('--lr-decay-period', type=at_least(0), default=0,
                       help='instead of them: a step every so many epochs')
    group.add_argument('--warmup-epochs', type=at_least(0), default=0, help='epochs of linear warm-up')
    group.add_argument('--warmup-lr', type=at_least(0, float), default=0.0, help='learning rate at its start')
    group.add_argument('--momentum', type=between(0, 0.9999), default=0.9, help='Nesterov momentum')
    group.add_argument('--wd', type=at_least(0, float), default=0.0001, help='weight decay')
    group.add_argument('--no-wd', action='store_true', help='no weight decay on gamma, beta and bias')
    parser.set_defaults(**defaults)


def add_objective_options(parser):
    group = parser.add_argument_group('objective')
    group.add_argument('--label-smoothing', action='store_true', help='smooth the labels by 0.1')
    group.add_argument('--mixup', action='store_true', help='train on mixtures of two images')
    group.add_argument('--mixup-alpha', type=positive, default=0.2, help='of Beta(alpha, alpha), its weights')
    group.add_argument('--mixup-off-epoch', type=at_least(0), default=0, help='no mixup from here on (0: to the end)')
    group.add_argument('--teacher', metavar='MODEL',
                       help='distil from this network, of get_model with its default options or of GluonCV')
    group.add_argument('--teacher-params', metavar='FILE', help='its weights')
    group.add_argument('--temperature', type=positive, default=20.0, help='softening of its predictions')
    group.add_argument('--hard-weight', type=between(0, 1), default=0.5, help='weight of the labels beside it')


def add_run_options(parser):
    group = parser.add_argument_group('run')
    group.add_argument('--mode', choices=['hybrid', 'imperative'], default='hybrid',
                       help='compile the network, or run it operator by operator')
    group.add_argument('--dtype', choices=['float32', 'float16', 'bfloat16'], default='float32',
                       help='float16 needs a GPU; master weights, BatchNorm and loss stay float32. bfloat16 needs a '
                            'CPU with AVX-512; weights, gradients and loss stay float32')
    group.add_argument('--loss-scale', type=loss_scale, default=1.0, metavar='SCALE',
                       help="what the loss is multiplied with before the backward pass, or 'dynamic', for float16 "
                            "(default: 1, the authors')")
    group.add_argument('--kvstore', choices=KVSTORES, default='device',
                       help='how gradients are summed: over the devices of this process (local, device, nccl), or over '
                            'all workers of a job too')
    group.add_argument('--stall-timeout', type=at_least(0), default=600, metavar='SECONDS',
                       help='a worker of a job gives up after a step that takes longer than this (0: never)')
    group.add_argument('-j', '--num-workers', type=at_least(0), default=4,
                       help='threads that prepare batches ahead (0: none)')
    group.add_argument('--seed', type=at_least(0), default=0, help='of weights, order, augmentation and mixup')
    group.add_argument('--save-dir', help='where checkpoints go (default: params/<run name>)')
    group.add_argument('--logging-file', help='the log (default: logs/<run name>.log)')
    group.add_argument('--log-interval', type=at_least(0), default=50, help='batches between log lines (0: none)')
    group.add_argument('--resume', action='store_true', help='go on from <save-dir>/last.*')
    group.add_argument('--save-every-steps', type=at_least(0), default=0, metavar='N',
                       help='also save within an epoch, every N batches (0: only after each epoch)')
    group.add_argument('--tensorboard', metavar='DIR', help='also write the numbers for TensorBoard into this folder')
    group.add_argument('--summary', action='store_true', help='print the layers and leave; needs no data')


def parsed(parser, argv):
    """The flags; leaves with 2 if one was given that does nothing without another flag, or beside another one."""
    args = parser.parse_args(argv)
    dataset, label_set = getattr(args, 'dataset', 'imagenet'), getattr(args, 'label_set', 'coarse')
    if label_set != 'coarse' and dataset != 'cifar100':
        parser.error('--label-set %s is of cifar100, not of %s' % (label_set, dataset))
    if getattr(args, 'use_rec', False) and dataset != 'imagenet':
        parser.error('--use-rec is for RecordIO files, not for --dataset %s' % dataset)
    if getattr(args, 'use_rec', False) and args.data_dir:
        parser.error('--use-rec is for RecordIO files and --data-dir for class folders: give one of them')
    for switch, flags in SWITCHED.items():
        idle = [flag for flag in flags if getattr(args, flag, None) != parser.get_default(flag)]
        if idle and not getattr(args, switch, True):
            parser.error('--%s does nothing without --%s' % (idle[0].replace('_', '-'), switch.replace('_', '-')))
    return args


def cifar_network(args, classes):
    """The network of the flags of train_cifar.py. UserError if they contradict one another."""
    if args.model == 'se' and args.act_type is not None:
        raise UserError('the unit of --model se is SE-ReLU: --act-type %s does not go with it' % args.act_type)
    return get_model(CIFAR_MODELS[args.model], blocks=args.blocks, use_relu=args.useReLU, replace_act=args.replace_act,
                     classes=classes, **unit_options(args))


def imagenet_network(args):
    """The network of the flags of train_imagenet.py. UserError if they contradict one another."""
    options = unit_options(args) if args.model in UNIT_MODELS else {}
    idle = [] if options else [flag for flag, default in UNIT_FLAGS.items() if getattr(args, flag) != default]
    if idle:
        raise UserError('%s takes no unit: --%s is for %s'
                        % (args.model, idle[0].replace('_', '-'), ', '.join(UNIT_MODELS)))
    return get_model(args.model, classes=args.num_classes, last_gamma=args.last_gamma, input_size=args.input_size,
                     **options)


def unit_options(args):
    """What the flags say about the unit, as options of get_model; what was not said is left to the network."""
    options = dict(r=args.r, act_order=args.act_order, use_global=args.use_global, kernel_size=args.skernel,
                   dilation=args.act_dilation)
    options.update((name, getattr(args, name)) for name in ('act_type', 'act_layers')
                   if getattr(args, name) is not None)
    return options


def objective_of(args, classes, devices, dtype):
    return Objective(classes, label_smoothing=0.1 if args.label_smoothing else 0.0,
                     mixup_alpha=args.mixup_alpha if args.mixup else 0.0, mixup_off_epoch=args.mixup_off_epoch,
                     teacher=load_teacher(args, classes, devices, dtype),
                     temperature=args.temperature, hard_weight=args.hard_weight, seed=args.seed)


def load_teacher(args, classes, devices, dtype):
    """The compiled network of --teacher with the weights of --teacher-params, or None without them."""
    name, params = args.teacher, args.teacher_params
    if name is None and params is None:
        return None
    if name is None or params is None:
        raise UserError('--teacher and --teacher-params go together')
    if name in MODELS:
        teacher = get_model(name, classes=classes, **MODELS[name].sized(vars(args).get('input_size', 32)))
    elif name in model_zoo.get_model_list():
        try:
            teacher = model_zoo.get_model(name, classes=classes, pretrained=False)
        except (TypeError, ValueError) as error:
            raise UserError('the teacher %s is no network for classification' % name) from error
    else:
        raise UserError('unknown teacher %r; there are %s, and those of gluoncv.model_zoo' % (name, ', '.join(MODELS)))
    load_weights(teacher, params, devices)
    teacher.cast(dtype)
    teacher.hybridize(static_alloc=True, static_shape=True)
    return teacher


def schedule_of(args, images, batch_size):
    """The learning rate as a function of epoch and batch, see training.schedule."""
    return learning_rate(args.lr_mode, args.lr, args.num_epochs, images, batch_size, args.warmup_epochs, args.warmup_lr,
                         decay_epochs(args.lr_decay_epoch, args.lr_decay_period, args.num_epochs), args.lr_decay)


def named_run(args, name, title):
    """The Run of the flags, in the folder and with the log of its name unless they say otherwise."""
    return Run(args.save_dir or 'params/' + name, args.logging_file or 'logs/%s.log' % name, title, flags_of(args),
               args.seed, args.num_epochs, args.log_interval, args.resume, args.save_every_steps, args.tensorboard)


def flags_of(args):
    """All flags by name, as JSON would give them back: what a checkpoint keeps and compares."""
    return json.loads(json.dumps(vars(args)))


def run_script(main):
    """Call main() and leave with its exit code.

    A UserError, and what the system says with an OSError, is one sentence and exit code 2. A training that has diverged
    leaves with 1. Everything else is a defect of ours and keeps its traceback.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except FloatingPointError as error:
        leave(1, error)
    except OSError as error:
        leave(2, '%s: %s' % (error.filename, error.strerror) if error.filename and error.strerror else error)
    except mx.base.MXNetError as error:
        if not re.search('out of memory|[Ff]ailed to allocate|bad_alloc', str(error)):
            raise
        leave(2, 'the memory of the device is full: a smaller --batch-size may fit')
    except UserError as error:
        leave(2, error)


def leave(code, error):
    folder, name = os.path.split(sys.argv[0])
    print('%s: error: %s' % (os.path.basename(folder) if name == '__main__.py' else name, error), file=sys.stderr)
    sys.exit(code)
