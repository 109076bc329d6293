"""The network that the description of a file of weights names, and what a network computes."""
import json

from runtime import UserError

import mxnet as mx

from model import get_model
from training.weights.description import description_path


def network_described(path, description, **changes):
    """The network of the description of a .params file, with some other options. UserError if it cannot be built."""
    try:
        return get_model(description.network, **{**description.options, **changes})
    except (TypeError, ValueError, OverflowError, mx.MXNetError) as error:
        why = ascii(str(error).splitlines()[0])[1:201]
        raise UserError(f'{description_path(path)} describes a network that cannot be: {why}') from error


def graph_of(net):
    """What a network computes, without the names of its layers."""
    nodes = json.loads(net(mx.sym.var('data')).tojson())['nodes']
    return [(node['op'], node.get('attrs'), node['inputs']) for node in nodes]
