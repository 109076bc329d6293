"""What only the installed package `atac` has: networks from their files, as setup.py puts training/weights into it."""
from .ground import UserError
from .registry import get_model


def load(params, network=None, **options):
    """The network of a .params file with its weights, on the CPU: to be scored, or trained further.

    network, options: the arguments of get_model, for a file that has no description beside it. Where it has one, they
    may only agree with it. Raises OSError without the file; UserError if it is damaged, of another network, without a
    description, or if its description is of a network that cannot be built; and TypeError for an option that the
    network does not have.
    """
    try:
        from .weights.arrays import load_weights
        from .weights.description import read_description
        from .weights.network import network_from_description
    except ImportError as error:
        raise UserError('load is part of the installed package atac (pip install .); beside the scripts there is '
                        'inference.load') from error
    with open(params, 'rb'):
        found = read_description(params)
    if network is None and not found:
        raise UserError(f'{params} has no description: say which network it is, as load(FILE, "cifar_resnet")')
    if found:
        net = network_from_description(params, found, get_model)
        network, options = agreed(params, found, network, options)
    if not found or options != found.options:
        net = get_model(network, **options)
    load_weights(net, params)
    return net


def agreed(params, description, network, options):
    """(network, options) of a description. UserError if what is asked for contradicts them."""
    known = {'network': description.network, **description.options}
    asked = {'network': network or description.network, **options}
    differing = [f'{name} is {known[name]!r} and not {value!r}' for name, value in asked.items()
                 if name in known and known[name] != value]
    if differing:
        raise UserError(f'{params}: {", ".join(differing)}')
    return description.network, {**description.options, **options}
