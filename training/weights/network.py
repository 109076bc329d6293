"""The network that the description of a file of weights names, and what a network computes."""
import json

import mxnet as mx

from .description import description_path
from .ground import UserError

OF_GLUON = {'prefix', 'params'}  # options of all blocks, which are no network's own
OF_TRAINING = {'__init__', '__lr_mult__', '__wd_mult__'}  # attributes of parameters that say how they begin and learn


def network_from_description(path, description, get_model, **changes):
    """The network of the description of a .params file, not initialised, with some other options.

    get_model(name, **options): builds it. Raises UserError if it cannot be built, or computes nothing.
    """
    options = {**description.options, **changes}
    try:
        if OF_GLUON & options.keys():
            raise TypeError('it has no option ' + ', '.join(sorted(OF_GLUON & options.keys())))
        net = get_model(description.network, **options)
        graph_of(net)
    except Exception as error:  # what a stranger's options may raise is not known
        why = ascii((str(error).strip() or type(error).__name__).splitlines()[0])[1:-1][:200]
        raise UserError(f'{description_path(path)} describes a network that cannot be: {why}') from error
    return net


def graph_of(net):
    """What a network computes, without the names of its layers, without how often its graph was asked for, and without
    how it is initialised and trained."""
    nodes = json.loads(net(mx.sym.var('data')).tojson())['nodes']
    return [(node['op'], {name: value for name, value in node.get('attrs', {}).items() if name not in OF_TRAINING},
             [source[:2] for source in node['inputs']]) for node in nodes]
