"""From flags to what a training is made of: network, data, objective, schedule, learner, run."""
import json
import logging
from collections import namedtuple
from functools import partial

import runtime
from runtime import UserError, listed

import mxnet as mx
import numpy as np

import data
from cli import flags
from cli.rules import RULES
from cli.teacher import load_teacher
from cli.unit_flags import idle
from data.labels import same_classes
from disk import file_digest
from model import ACTIVATIONS, MODELS, complexity, get_model
from training.devices import check_training_memory
from training.distributed import join
from training.fit import Run
from training.learner import Learner, compile_network, make_trainer
from training.loss import Objective
from training.precision import BYTES, use_dtype
from training.resume import continues
from training.runlog import commit
from training.schedule import decay_epochs, learning_rate
from training.seeds import INITIALISATION, seed_mxnet
from training.start import freeze, start_from
from training.weights.arrays import weights_for
from training.weights.description import Description, read_description
from training.weights.network import graph_of, network_from_description

LOG = logging.getLogger(__name__)

# What a training computes on. devices: of this worker. dtype: of the network's input and weights.
Hardware = namedtuple('Hardware', 'devices dtype workers')


def registered(args):
    """(name, Network) of --model in the registry. UserError if there is none of its name."""
    name = flags.CIFAR_MODELS.get(args.model, args.model)
    return name, MODELS[name]


def network_of(args):
    """(name, options) of the network of the flags, as get_model takes them. What the flags do not say is left to the
    network. UserError if they contradict one another."""
    name, chosen = registered(args)
    options = {}
    for flag in flags.FLAGS:
        if flag.option is None or flags.HOSTS[chosen.host.name] not in flag.of:
            continue
        value = getattr(args, flag.dest)
        if chosen.takes_unit or flag.group != 'unit':
            options.update({flag.option: value} if value is not None else {})
        elif value != flag.default(flags.HOSTS[chosen.host.name]):
            takers = [other for other in flags.IMAGENET_MODELS if MODELS[other].takes_unit]
            raise UserError('%s takes no unit: %s is for %s' % (args.model, flag.names[-1], ', '.join(takers)))
    options['classes'] = outputs_of(args)
    if chosen.unit_is_fixed and options.pop('act_type', chosen.unit) != chosen.unit:
        raise UserError(f'the unit of --model {args.model} is {chosen.unit}: --act-type {args.act_type} does not go '
                        'with it')
    return name, options


def dataset_name(args):
    """The name of the data set of the flags: train_imagenet.py has no flag for it."""
    return getattr(args, 'dataset', 'imagenet')


def dataset_of(args):
    """The record of the data set of the flags. UserError if there is none of its name."""
    return data.dataset_of(dataset_name(args))


def outputs_of(args):
    """How many classes the network of the flags tells apart."""
    dataset = dataset_of(args)
    return dataset.classes if dataset.small else args.num_classes


def load_data(args, batch_size, training=True, class_names=()):
    """(training, validation) batches of the flags; the former None where nothing is to be trained.

    With --accumulate a training batch is that of a step, of several times batch_size images. class_names: of the
    outputs of a network that is not to be trained, if they are known.
    """
    return data.load_dataset(dataset_name(args), batch_size, getattr(args, 'seed', 0), args.num_workers, training,
                             shape_of(args), class_names, getattr(args, 'accumulate', 1), **image_places_of(args))


def image_places_of(args):
    """Where the images are, as `load` of their data set takes it."""
    places = dict(data_dir=args.data_dir)
    if dataset_of(args).label_sets:
        places.update(label_set=args.label_set)
    if getattr(args, 'use_rec', False):
        names = ('use_rec', 'rec_train', 'rec_train_idx', 'rec_val', 'rec_val_idx')
        places.update((name, getattr(args, name)) for name in names if hasattr(args, name))
    return places


def shape_of(args):
    """What the flags say of images that are not of a small data set, as ImageBatches takes it."""
    if dataset_of(args).small:
        return {}
    return dict(classes=args.num_classes, size=args.input_size, crop_ratio=args.crop_ratio)


def build_network(args):
    """The network of the flags, not initialised."""
    name, options = network_of(args)
    return get_model(name, **options)


def unit_of(args):
    """The name of the unit in the network of the flags."""
    return args.act_type or registered(args)[1].unit


def warn_of_schedule(args):
    """Warn of epochs that were given and come after the end."""
    for name in ('lr_decay_epoch', 'mixup_off_epoch'):
        epochs = getattr(args, name)
        late = [epoch for epoch in (epochs if isinstance(epochs, list) else [epochs]) if epoch >= args.num_epochs]
        if late and name in args.given:
            LOG.warning('%s %s: the run ends before it, after %d epochs', flags.as_flag(name),
                        ','.join(map(str, late)), args.num_epochs)


def warn_of_unit(args):
    """Warn of flags that change nothing, and of an ablation that the lack of one makes."""
    unit = unit_of(args)
    ignored = idle(args, unit)
    if ignored:
        LOG.warning('%s: no unit of this network reads it, so it changes nothing', ', '.join(ignored))
    if not getattr(args, 'useReLU', True) and 'use_relu' in ACTIVATIONS[unit].options and args.act_layers:
        LOG.warning('without --useReLU there is no ReLU inside of %s, as in the ablation ChaATAC-linear', unit)


def hardware_of(args, devices):
    """The Hardware, once all workers of the job are there.   devices: those that the flags name"""
    workers = join(args.kvstore, args.stall_timeout)
    devices = workers.devices_of(devices)
    return Hardware(devices, use_dtype(args.dtype, devices), workers)


def learner_of(args, net, hardware, train, run):
    """The Learner of the flags: its network has random or given weights, is cast and compiled, and has its trainer.

    train: the source of its batches. run: which it is for; if that continues, its checkpoint has the weights.
    UserError if a batch cannot fit into memory.
    """
    elements = complexity.activation_elements(net, (1, 3, train.size, train.size))
    check_training_memory(train.batch_size // hardware.workers.size // args.accumulate, BYTES[args.dtype] * elements,
                          hardware.devices)
    objective = objective_of(args, train, hardware)
    lr_at = schedule_of(args, train.images, train.batch_size)
    seed_mxnet(args.seed, INITIALISATION)
    net.initialize(mx.init.MSRAPrelu(), ctx=hardware.devices)
    continued = hardware.workers.share(partial(continues, run))
    begun_from = init_from(args, net, train.class_names, continued)
    net.cast(hardware.dtype)
    if args.mode == 'hybrid':
        compile_network(net, hardware.devices)
    trainer = make_trainer(net, args.momentum, args.wd, args.no_wd, hardware.workers, args.loss_scale)
    return Learner(net, trainer, lr_at, objective, *hardware, args.accumulate, args.clip_grad, begun_from)


def init_from(args, net, class_names, continued=False):
    """Put the weights of --init-from into a network and freeze what --freeze says; what the log shall say of it.

    A run that continues does not read that file again.
    """
    says, anew = [], []
    if args.init_from and continued:
        says += [f'{args.init_from}, at its first start']
    elif args.init_from:
        known = read_description(args.init_from)
        same = known and same_classes(known.class_names, class_names)
        classifier = registered(args)[1].host.classifier
        anew = start_from(net, weights_for(net, args.init_from), args.init_from, classifier, same is not False)
        check_same_network(args, known)
        what = f', but for {", ".join(anew)}, which begin anew' if anew else ', all of it'
        says += [args.init_from + what + ('' if same or anew else ' (whether its classes are these is not known)')]
    if args.freeze:
        frozen = freeze(net, args.freeze)
        if not frozen.isdisjoint(anew):
            raise UserError(f'--freeze {args.freeze}: {listed(sorted(frozen & set(anew)))} would stay random, as the '
                            'classifier begins anew for other classes')
        says += [] if args.init_from else ['random weights']
        says += [f'{len(frozen)} arrays stay as they are (--freeze {args.freeze})']
    return '; '.join(says)


def check_same_network(args, known):
    """UserError if the weights of --init-from, whose shapes fit, are of a network that computes something else."""
    if not known:
        return
    options = network_of(args)[1]
    sizes = {name: options[name] for name in ('classes', 'input_size') if name in options}
    before = network_from_description(args.init_from, known, get_model, **sizes)
    if graph_of(before) != graph_of(build_network(args)):
        unit = known.options.get('act_type') or MODELS[known.network].unit
        raise UserError(f'{args.init_from} is of another architecture: {known.network} with {unit}, and other options '
                        'than the flags have')


def objective_of(args, train, hardware):
    return Objective(train.classes, label_smoothing=0.1 if args.label_smoothing else 0.0,
                     mixup_alpha=args.mixup_alpha if args.mixup else 0.0, mixup_off_epoch=args.mixup_off_epoch,
                     teacher=load_teacher(args, train, hardware), temperature=args.temperature,
                     hard_weight=args.hard_weight, seed=args.seed)


def describe(args, class_names):
    """The Description of the weights that a training with these flags makes.   class_names: of its images"""
    return Description(*network_of(args), **describe_images(args, class_names), command=args.command,
                       version=runtime.__version__, commit=commit())


def describe_images(args, class_names):
    """{field of a Description: what it says of the images of the flags}."""
    record = dataset_of(args)
    shape = shape_of(args)
    colours = {name: [round(float(value), 6) for value in np.broadcast_to(values, 3)]
               for name, values in (('mean', record.mean), ('std', record.std))}
    return dict(dataset=dataset_name(args), label_set=args.label_set if record.label_sets else None,
                class_names=list(class_names), input_size=shape.get('size', record.input_size),
                crop_ratio=shape.get('crop_ratio'), **colours)


def schedule_of(args, images, batch_size):
    """The learning rate as a function of epoch and batch, see training.schedule."""
    return learning_rate(args.lr_mode, args.lr, args.num_epochs, images, batch_size, args.warmup_epochs, args.warmup_lr,
                         decay_epochs(args.lr_decay_epoch, args.lr_decay_period, args.num_epochs), args.lr_decay)


def run_named(args, name, title):
    """The Run of the flags, in the folder and with the log of its name unless they say otherwise."""
    return Run(args.save_dir or 'params/' + name, args.logging_file or 'logs/%s.log' % name, title, options_of(args),
               args.seed, args.num_epochs, args.log_interval, args.resume, args.save_every_steps, args.tensorboard,
               RULES, args.command)


def options_of(args):
    """All flags by name, as JSON would give them back, and which file a teacher is: what a checkpoint keeps and
    compares."""
    options = json.loads(json.dumps({name: value for name, value in vars(args).items() if name in flags.BY_DEST}))
    return dict(options, teacher_digest=file_digest(args.teacher_params)[:12]) if args.teacher_params else options
