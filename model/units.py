"""The registry: ACTIVATIONS makes every unit by its name, and a plan says which position of a network gets which."""
import inspect
from functools import partial

from mxnet.gluon import nn

from . import comparison_units
from .activation import ChaATAC, MSSeqATAC, SeqATAC, SEReLU, SpaATAC
from .ground import UserError
from .layers import check_arrays, whole

# What a host may say about its units. Every unit takes from these what its signature names.
OPTIONS = frozenset(['r', 'use_relu', 'use_global', 'kernel_size', 'dilation', 'norm_layer', 'norm_kwargs'])


class Registry(dict):
    """{name: what it names}; UserError for a name that is not there.   kind: what the names are of"""

    def __init__(self, kind, named):
        super().__init__(named)
        self.kind = kind

    def __missing__(self, name):
        raise UserError('unknown %s %r; there are %s' % (self.kind, name, ', '.join(self)))


class Unit:
    """A registered unit: unit(channels, **OPTIONS) makes a new HybridBlock.

    block: its class, or a function of channels. fixed: the options that make it an ablation of another unit.
    options: which of OPTIONS it reads; it takes the others too and ignores them, as one host serves all units.
    """

    def __init__(self, block, **fixed):
        self.block = block
        self.fixed = fixed
        self.options = OPTIONS & inspect.signature(block).parameters.keys() - fixed.keys()

    def __call__(self, channels, **options):
        unknown = options.keys() - OPTIONS
        if unknown:
            raise TypeError('unknown options of an activation unit: %s; there are %s'
                            % (', '.join(sorted(unknown)), ', '.join(sorted(OPTIONS))))
        check_arrays()
        channels = whole('channels', channels)
        read = {name: value for name, value in options.items() if name in self.options}
        return self.block(channels, **self.fixed, **read)


ACTIVATIONS = Registry('activation', {
    'relu': Unit(lambda channels: nn.Activation('relu')),
    'prelu': Unit(lambda channels: nn.PReLU()),
    'elu': Unit(lambda channels: nn.ELU()),
    'selu': Unit(lambda channels: nn.SELU()),
    'gelu': Unit(lambda channels: nn.GELU()),
    'swish': Unit(lambda channels: nn.Swish()),
    'xUnit': Unit(comparison_units.xUnit),
    'SpaATAC': Unit(SpaATAC),
    'ChaATAC': Unit(ChaATAC),
    'SeqATAC': Unit(SeqATAC),
    # Units of other papers (comparison_units.py). A reduction of theirs is not the r of a host, so it is fixed.
    'prelu-channel': Unit(lambda channels: nn.PReLU(in_channels=channels)),
    'mish': Unit(comparison_units.Mish),
    'hard_swish': Unit(comparison_units.HardSwish),
    'srelu': Unit(comparison_units.SReLU),
    'FReLU': Unit(comparison_units.FReLU),
    'DY-ReLU-A': Unit(comparison_units.DYReLU, mode='A', r=8),
    'DY-ReLU-B': Unit(comparison_units.DYReLU, mode='B', r=8),
    'ACON-C': Unit(comparison_units.ACONC),
    'Meta-ACON': Unit(comparison_units.MetaACON),
    'MSSeqATAC': Unit(MSSeqATAC),
    # The ablations of the paper: global instead of local context (without and with a ReLU), and a bottleneck without
    # its ReLU.
    'SE-activation': Unit(ChaATAC, use_global=True),
    'SE-ReLU': Unit(SEReLU),
    'ChaATAC-linear': Unit(ChaATAC, use_relu=False),
    'SeqATAC-linear': Unit(SeqATAC, use_relu=False),
})


def ablated(name):
    """The options that make a unit the ablation of another one: {'use_relu': False} of ChaATAC-linear, {} of most."""
    unit = ACTIVATIONS[name]
    plain = any(other.block is unit.block and not other.fixed for other in ACTIVATIONS.values())
    return unit.fixed if plain else {}


def known_as(name, options):
    """The registered name of a unit with these options: ChaATAC with use_relu=False is ChaATAC-linear."""
    unit = ACTIVATIONS.get(name)
    for ablation in ACTIVATIONS if unit and not unit.fixed else ():
        fixed = ablated(ablation)
        if fixed and ACTIVATIONS[ablation].block is unit.block and \
                all(options.get(option) == value for option, value in fixed.items()):
            return ablation
    return name


def act_factory(name, **options):
    """The factory act(channels) -> HybridBlock of a named unit with its options; UserError for an unknown name."""
    return partial(ACTIVATIONS[name], **options)


def acts_of(act_type, replace_act, act_layers, act_order, **options):
    """The factories of the four positions of a host, by the names of the units; options: of both units."""
    return stage_plan(act_factory(act_type, **options), act_factory(replace_act, **options), act_layers, act_order)


def stage_plan(act, replace, act_layers, act_order='bac'):
    """Which of four positions get the unit `act`: the last act_layers ('bac') or the first ('pre')."""
    act_layers = whole('act_layers', act_layers, least=0)
    if act_layers > 4:
        raise UserError('act_layers=%d must be at most 4' % act_layers)
    if act_order not in ('bac', 'pre'):
        raise UserError("act_order=%r must be 'bac' (from the back) or 'pre' (from the front)" % (act_order,))
    plan = [replace] * (4 - act_layers) + [act] * act_layers
    return plan if act_order == 'bac' else plan[::-1]
