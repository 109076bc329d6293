"""Weights whose arrays have other names than a .params file of ours, for the same network.

Ours are paths of attributes (features.1.0.conv1.weight). `net.export`, `save_params` and Module name arrays by the
blocks that made them (resnetv1b0_conv0_weight). The counter of the outermost block does not matter. Where the rest of
the names differs too, order and shapes must fit, and leave one way only.
"""
import logging
import re

import mxnet as mx

from .ground import UserError

LOG = logging.getLogger(__name__)
OUTERMOST = re.compile(r'^[a-z0-9]*?\d+_')
STATISTICS = ('running_mean', 'running_var', 'moving_mean', 'moving_var')


def with_our_names(arrays, net, path):
    """Arrays by the names that a network has, if those of a file at a path are of another scheme.

    Raises UserError, which names the scheme, where order and shapes do not tell which array is which.
    """
    parameters = net._collect_params_with_prefix()
    if not arrays or any('.' in name for name in arrays) or arrays.keys() <= parameters.keys():
        return arrays
    example = next(iter(arrays))
    by_block = {OUTERMOST.sub('', parameter.name): name for name, parameter in parameters.items()}
    theirs = sorted(OUTERMOST.sub('', name) for name in arrays)
    if len(by_block) == len(parameters) and sorted(by_block) == theirs:
        LOG.info('%s: arrays such as %s are taken by the names of their blocks', path, example)
        return {by_block[OUTERMOST.sub('', name)]: array for name, array in arrays.items()}
    found = {tuple(names) for names in orders_of(net, parameters) if fits(names, parameters, arrays)}
    if len(found) != 1:
        why = 'more than one order of its layers fits' if found else 'neither its names nor their order and shapes fit'
        raise UserError(f'{path} names its arrays as {example}, by a scheme of blocks, and {why}: is that the network, '
                        'unit and depth of its training?')
    LOG.warning('%s: arrays such as %s are taken by their order and shapes', path, example)
    return dict(zip(found.pop(), in_groups(arrays).values()))


def orders_of(net, parameters):
    """The names of a network in the orders in which others write them: as they were made, and as they are used."""
    made = list(in_groups(parameters))
    names = {parameter.name: name for name, parameter in parameters.items()}
    graph = net(mx.sym.var('data'))
    used = [names[name] for name in graph.list_arguments() + graph.list_auxiliary_states() if name in names]
    return made, used


def in_groups(items):
    """The same dict, with running statistics after everything else."""
    return dict(sorted(items.items(), key=lambda item: item[0].endswith(STATISTICS)))


def fits(names, parameters, arrays):
    """Whether arrays, in their order, are of the kinds and shapes of these parameters."""
    theirs = in_groups(arrays)
    return len(names) == len(theirs) and all(
        kind_of(mine) == kind_of(other) and parameters[mine].shape == array.shape
        for mine, (other, array) in zip(names, theirs.items()))


def kind_of(name):
    """'weight' of features.1.0.conv1.weight and of resnetv1b0_conv0_weight."""
    return re.split(r'[._]', name.replace('moving_', 'running').replace('running_', 'running'))[-1]
