"""What the gates of a trained network see of an image, and what speaks for a class: Grad-CAM.

    findings = examine(net, image)                 # image: (3, H, W) float32, normalised
    findings.gates['features.3.0.act1']            # (C, h, w)

Grad-CAM for class c, with A the K maps before the last global pooling and y the scores before the softmax:

    relu(sum_k a_k A_k),        a_k = mean over positions of dy_c / dA_k

Paper: R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra, "Grad-CAM: Visual explanations from deep
networks via gradient-based localization", ICCV 2017.
"""
import re
from collections import namedtuple
from contextlib import ExitStack
from functools import partial

from runtime import UserError

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from model.layers import Gated

STAGE = re.compile(r'(?:layer|features\.)(\d)\.')
BINS, SELECTIVE = 50, 4

# probabilities: (classes,). predicted, target: classes. cam: (h, w) Grad-CAM of the target, not negative.
# gates: {path of a unit: (C, h, w)}.
Findings = namedtuple('Findings', 'probabilities predicted target cam gates')


def blocks_of(block, prefix=''):
    """Yield (path, block) of every block inside of one, in order; paths are those of .params files."""
    for name, child in block._children.items():
        yield prefix + name, child
        yield from blocks_of(child, prefix + name + '.')


def gated_units(net):
    """{path: unit} of the units that have a gate, in the order of the network."""
    return {path: block for path, block in blocks_of(net) if isinstance(block, Gated)}


def stage_of(path):
    """'stage 3' of 'layer3.0.relu1' or 'features.3.0.act1'; 'last activation' of the one after the CIFAR stages."""
    found = STAGE.match(path)
    return f'stage {found.group(1)}' if found else 'last activation'


def choose_layers(units, layer=None):
    """The paths whose gate maps are drawn: the layer, or the last of each stage. UserError if it is none of units."""
    if layer is None:
        return list({stage_of(path): path for path in units}.values())
    if layer not in units:
        there = f'are {", ".join(units)}' if units else 'is none in this network'
        raise UserError(f'no unit with a gate is called {layer}; there {there}')
    return [layer]


def examine(net, image, target=None):
    """The Findings for one normalised image (3, H, W); target: the class of Grad-CAM, by default the predicted one.

    The network must not be hybridised: hooks would see no arrays, and MXNet's gradients may be wrong then. Raises
    UserError if it is, if there is no such class, and if the network's scores are not finite.
    """
    if any(getattr(block, '_active', False) for block in [net, *dict(blocks_of(net)).values()]):
        raise UserError('the network is hybridised: only one that is not shows what is inside')
    scores, maps, gates = watched(net, image)
    classes = scores.shape[1]
    if target is not None and target >= classes:
        raise UserError(f'there is no class {target}: the network has classes 0 to {classes - 1}')
    if not np.isfinite(scores.asnumpy()).all():
        raise UserError("the network's scores are not finite: its weights are useless")
    predicted = int(scores.asnumpy().argmax())
    target = predicted if target is None else target
    # MXNet's backward() would take the training mode unless told again.
    scores.backward(mx.nd.one_hot(mx.nd.array([target]), classes), train_mode=False)
    weights = maps.grad.asnumpy()[0].mean((1, 2))                        # (K,)
    cam = np.maximum(np.einsum('k,khw->hw', weights, maps.asnumpy()[0]), 0)
    return Findings(mx.nd.softmax(scores).asnumpy()[0], predicted, target, cam,
                    {path: gate.asnumpy()[0] for path, gate in gates.items()})


def watched(net, image):
    """(scores (1, classes), maps before the last global pooling (1, K, h, w), {path of a unit: its gate}).

    The scores are recorded, and the maps are a variable, at which the backward pass ends.
    """
    gates, seen = {}, {}
    pool = [block for _, block in blocks_of(net) if isinstance(block, nn.GlobalAvgPool2D)][-1]
    with ExitStack() as hooks:
        for path, unit in gated_units(net).items():
            hooks.enter_context(unit.gate_block.register_forward_hook(partial(_keep_output, gates, path)))
        hooks.enter_context(pool.register_forward_pre_hook(partial(_keep_input, seen)))
        with mx.autograd.record(train_mode=False):
            scores = net(mx.nd.array(image[None]))
    return scores, seen['maps'], gates


def _keep_output(gates, path, block, inputs, output):
    gates[path] = output


def _keep_input(seen, pool, inputs):
    inputs[0].attach_grad()
    seen['maps'] = inputs[0]


def histograms(gates):
    """{stage: how many of its gate values are in each of BINS equal parts of 0..1}"""
    counts = {}
    for path, gate in gates.items():
        found = np.histogram(gate, bins=BINS, range=(0, 1))[0]
        counts[stage_of(path)] = counts.get(stage_of(path), 0) + found
    return counts


def most_selective(gate):
    """The SELECTIVE channels of a gate (C, h, w) with the largest standard deviation over positions, largest first."""
    return np.argsort(-gate.std((1, 2)), kind='stable')[:SELECTIVE]
