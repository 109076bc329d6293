"""To begin from trained weights: what is taken from them, and which parameters stay as they are."""
import re

from runtime import UserError, listed

import mxnet as mx
from mxnet.gluon import nn

from native.graph import nodes_of
from training.weights.arrays import set_weights


def start_from(net, arrays, path, classifier, same_classes=True):
    """Put trained weights into an initialised network; the names of those that were not taken.

    arrays: {name: NumPy array} of the file at a path. classifier: the block that tells the classes apart. It begins
    anew if the classes are others, or not as many; nothing else may differ. Raises as set_weights does.
    """
    parameters = net._collect_params_with_prefix()
    last = [name for name in parameters if name.startswith(classifier + '.')]
    fits = all(arrays[name].shape == parameters[name].shape for name in last if name in arrays)
    anew = [] if same_classes and fits else [name for name in last if name in arrays]
    set_weights(net, {**arrays, **{name: parameters[name].list_data()[0].asnumpy() for name in anew}}, path)
    return anew


def freeze(net, pattern):
    """Keep the parameters whose names, as in a .params file, hold a regular expression, from being trained.

    A BatchNorm whose running statistics are among them uses these in training too, and does not change them. Raises
    UserError for a pattern that is none, that no name holds, that leaves nothing to train, or that leaves running
    statistics which training would neither use nor change.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise UserError(f'--freeze {pattern} is not a regular expression: {error}') from error
    parameters = net._collect_params_with_prefix()
    frozen = {name for name in parameters if found.search(name)}
    if not frozen:
        raise UserError(f'--freeze {pattern}: no parameter has such a name; there are {listed(sorted(parameters))}')
    for name in frozen:
        parameters[name].grad_req = 'null'
    if all(parameter.grad_req == 'null' for parameter in parameters.values()):
        raise UserError(f'--freeze {pattern} leaves nothing to train')
    statistics = {parameters[name] for name in frozen if name.endswith(('running_mean', 'running_var'))}
    blocks = []
    net.apply(blocks.append)
    for block in blocks:
        if isinstance(block, nn.BatchNorm) and {block.running_mean, block.running_var} & statistics:
            block._kwargs['use_global_stats'] = True
    idle = idle_statistics(net)
    if idle:
        names = [name for name, parameter in parameters.items() if parameter.name in idle]
        raise UserError(f'--freeze {pattern} leaves nothing to train at or before some BatchNorms, whose running '
                        f'statistics a CPU would then neither use nor learn: freeze these too, {listed(names)}')
    return frozen


def idle_statistics(net):
    """The automatic names of the running means that training on a CPU neither uses nor changes.

    There MXNet updates them in the backward pass, which goes back no further than there is something to train.
    """
    trained = {parameter.name for parameter in net.collect_params().values() if parameter.grad_req != 'null'}
    nodes, reached, idle = nodes_of(net(mx.sym.var('data'))), [], set()
    for node in nodes:
        sources = [position for position, *_ in node['inputs']]
        reached.append(node['name'] in trained or any(reached[position] for position in sources))
        if node['op'] == 'BatchNorm' and not reached[-1] and node['attrs'].get('use_global_stats') != 'True':
            idle.add(nodes[sources[3]]['name'])
    return idle
