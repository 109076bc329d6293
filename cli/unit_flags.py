"""Which flags of a unit a network reads: those that its units have, and where some positions have another unit.

relu has no r; 0 layers of any unit are relu; 4 layers are the same from the back and from the front.
"""
from cli import flags
from model import ACTIVATIONS, units

# Flags that a unit may read, and what its factory calls them.
UNIT_FLAGS = {flag.dest: flag.option for flag in flags.FLAGS if flag.option in units.OPTIONS}
# Which positions get the unit, and what the others get.
PLACES = tuple(flag.dest for flag in flags.FLAGS
               if flag.group == 'unit' and flag.dest not in UNIT_FLAGS and flag.option != 'act_type')


def known_as(unit, options):
    """The name of a unit with these flags: that of the ablation, if they make it one."""
    return units.known_as(unit, {option: options.get(flag) for flag, option in UNIT_FLAGS.items()})


def unread(unit, replaced, layers):
    """The flags that a network does not read which has a unit in so many of its four positions, and `replaced` in the
    others."""
    mixed = (layers is None or 0 < layers < 4) and unit != replaced  # None is 2
    read = flags_read_by(unit) | (flags_read_by(replaced) | set(PLACES) if mixed else set())
    return {*UNIT_FLAGS, *PLACES} - read


def idle(args, unit):
    """The flags that were given and change nothing, as a user writes them.   unit: of the network of these flags"""
    replaced = getattr(args, 'replace_act', 'relu')
    used = {'act_layers', 'replace_act'} if args.act_layers == 0 else {'act_layers'}
    ignored = unread(replaced if args.act_layers == 0 else unit, replaced, args.act_layers) - used
    return [flags.BY_DEST[name].names[-1] for name in sorted(args.given & ignored)]


def flags_read_by(unit):
    """The flags of UNIT_FLAGS that a unit reads; all of them for one that this repository does not know."""
    known = ACTIVATIONS[unit].options if unit in ACTIVATIONS else UNIT_FLAGS.values()
    return {flag for flag, name in UNIT_FLAGS.items() if name in known}
