"""Which options of a run may be others when it is resumed, and what those mean that were not said."""
from cli import flags
from model import MODELS
from training.resume import Rules


def resolved(options):
    """The options of a run with the unit that its network has where no flag said it, and the number of its layers."""
    model = str(options.get('model'))
    chosen = MODELS.get(flags.CIFAR_MODELS.get(model, model))
    meant = {'act_type': chosen.unit, 'act_layers': 2} if chosen else {}
    return {**options, **{name: value for name, value in meant.items() if options.get(name, value) is None}}


RULES = Rules(frozenset(flag.dest for flag in flags.FLAGS if flag.free),
              {flag.dest: flag.before for flag in flags.FLAGS if flag.before is not None}, resolved)
