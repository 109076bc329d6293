"""What only the installed package `atac` has: networks from their files, as setup.py puts training/weights into it."""
from .ground import UserError
from .registry import get_model


def load(params, network=None, **options):
    """The network of a .params file with its weights, on the CPU: to be scored, or trained further.

    network, options: the arguments of get_model, for a file that has no description beside it. Raises OSError without
    the file, and UserError if it is damaged, of another network, or without a description.
    """
    try:
        from .weights.arrays import load_weights
        from .weights.description import read_description
    except ImportError as error:
        raise UserError('load is part of the installed package atac (pip install .); beside the scripts there is '
                        'inference.load') from error
    found = read_description(params)
    if found and network is None:
        network = found.network
        options = found.options
    if network is None:
        raise UserError(f'{params} has no description: say which network it is, as load(FILE, "cifar_resnet")')
    try:
        net = get_model(network, **options)
    except TypeError as error:
        raise UserError(f'{params} is described as a network that cannot be: {error}') from error
    load_weights(net, params)
    return net
