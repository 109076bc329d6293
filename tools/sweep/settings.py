"""What the network and the schedule of a run read of its options.

Runs that agree in this compute the same, but for their seed: ChaATAC without its inner ReLU is ChaATAC-linear. All that
is known of flags comes from their table (cli/flags.py).
"""
from cli import flags
from cli.rules import RULES
from cli.unit_flags import PLACES, UNIT_FLAGS, known_as, unread
from model import ACTIVATIONS, MODELS, units

# Those that make a unit another one, with a name of its own.
ABLATING = {flag: option for flag, option in UNIT_FLAGS.items() if any(option in units.ablated(unit)
                                                                       for unit in ACTIVATIONS)}
# The settings that tell networks of one depth apart; all others are of the data and the schedule.
NETWORK = (*PLACES, *UNIT_FLAGS, 'unit', 'model')
# What may differ within a group. A run may be resumed with more epochs, but runs of different length are not averaged.
FREE = RULES.free - {'num_epochs'} | {'seed'}
DEFAULTS = flags.defaults(flags.CIFAR)
# Networks that have something besides their units, and its name.
GATED = {'ge': 'GENet-theta'}


def settings_of(options):
    """{name: hashable value} of what the network and schedule of a run read; 'unit' is there instead of act_type."""
    options = dict(options, replace_act=known_as(options['replace_act'], options))
    unit = unit_name(options)
    ignored = FREE | not_read(options, unit) | {'act_type'}
    settings = {name: text_of(value) if isinstance(value, (list, dict)) else value
                for name, value in options.items() if name not in ignored}
    gate = GATED.get(options['model'])
    if gate:
        unit = gate if unit == 'relu' else f'{gate} with {unit}'
    return dict(settings, unit=unit, model=host_of(options['model']))


def key_of(options):
    return frozenset(settings_of(options).items())


def unit_name(options):
    """The unit of a run by the name under which it is known, whichever flags made it."""
    unit = options.get('act_type') or unit_of_model(options['model'])
    return known_as(options['replace_act'] if options['act_layers'] == 0 else unit, options)


def unit_of_model(model):
    """The unit of a network of train_cifar.py without --act-type; the name of a network that is not known here."""
    return MODELS[flags.CIFAR_MODELS[model]].unit if model in flags.CIFAR_MODELS else model


def host_of(model):
    """What a network is but for its unit: without a gate, networks of train_cifar.py differ in their unit only."""
    return flags.CIFAR_MODELS[model if model in GATED else 'atac'] if model in flags.CIFAR_MODELS else model


def not_read(options, unit):
    """The options that a network of this unit and its schedule do not read."""
    return flags.unread(options) | unread(unit, known_as(options['replace_act'], options), options['act_layers'])


def values_read(options, name):
    """The value of an option that a network or its schedule reads, for act_type by all its names; [] if it does not."""
    options = {**DEFAULTS, **options}
    settings = settings_of(options)
    unit = unit_name(options)
    fixed = units.ablated(unit) if unit in ACTIVATIONS else {}
    read = {**{free: options[free] for free in FREE & options.keys()}, **settings, 'act_type': settings['unit'],
            **{flag: fixed[option] for flag, option in ABLATING.items() if option in fixed}}
    if unit != options['replace_act']:  # settings name the layers only if some have another unit
        read['act_layers'] = options['act_layers']
    return ([read[name]] if name in read else []) + [unit, options['act_type']] * (name == 'act_type')


def text_of(value):
    """An option as it would be written after its flag."""
    if isinstance(value, list):
        return ','.join(map(text_of, value))
    return f'{value:.12g}' if isinstance(value, float) else str(value)
