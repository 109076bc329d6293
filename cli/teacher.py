"""The teacher of a distillation, from its flags."""
import re

from runtime import UserError, listed

from gluoncv import model_zoo

from data.labels import same_classes
from model import MODELS, get_model
from training.weights.arrays import load_weights
from training.weights.description import read_description
from training.weights.network import network_from_description

# In the names of GluonCV's networks for other tasks, most of which download weights where none are asked for.
OTHER_TASKS = re.compile('_(ade|citys|coco|custom|hmdb51|kinetics|kitti|mhpv1|otb15|sthsthv2|ucf101|voc)|^custom_')


def load_teacher(args, train, hardware):
    """The compiled network with the weights of --teacher-params, or None without them."""
    if args.teacher_params is None:
        return None
    description = read_description(args.teacher_params)
    if description:
        check_teacher(args, train, description)
        teacher = network_from_description(args.teacher_params, description, get_model)
    else:
        teacher = teacher_by_name(args, train.classes)
    load_weights(teacher, args.teacher_params, hardware.devices)
    teacher.cast(hardware.dtype)
    teacher.hybridize(static_alloc=True, static_shape=True)
    return teacher


def check_teacher(args, train, description):
    """UserError if a teacher has other outputs than the network, was trained on other classes, or is not --teacher."""
    teacher = f'{args.teacher_params}: a teacher'
    known = description.options.get('classes')
    if known != train.classes:
        raise UserError(f'{teacher} of {known} classes for a network of {train.classes}')
    if same_classes(description.class_names, train.class_names) is False:
        raise UserError(f'{teacher} of other classes ({listed(description.class_names, 3)}) than those of the images '
                        f'({listed(train.class_names, 3)})')
    if args.teacher not in (None, description.network):
        raise UserError(f'{args.teacher_params} holds {description.network}: --teacher {args.teacher} contradicts it')


def teacher_by_name(args, classes):
    """The network of a teacher without a description: --teacher, with its default options."""
    name = args.teacher
    if name is None:
        raise UserError(f'{args.teacher_params} has no description: say by --teacher which network it is')
    if name in MODELS:
        return get_model(name, classes=classes, **MODELS[name].sized(getattr(args, 'input_size', 32)))
    if name not in model_zoo.get_model_list():
        raise UserError('unknown teacher %r; there are %s, and those of gluoncv.model_zoo' % (name, ', '.join(MODELS)))
    try:
        if OTHER_TASKS.search(name.lower()):
            raise ValueError
        return model_zoo.get_model(name, classes=classes, pretrained=False)
    except (TypeError, ValueError) as error:
        raise UserError('the teacher %s is not a network for classification' % name) from error
