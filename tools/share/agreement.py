"""Does what was written give the logits of the network? Differences are in standard deviations of its logits."""
import mxnet as mx
import numpy as np

TOLERANCE = 1e-4                # of a difference
NUDGES = (1e-7, 1e-6)           # of the input: what rounding does to it, and to what is computed of it
DRAWS = 4                       # of each, as not every one meets a weak place of the network


def logits_of(net):
    """A function images -> logits, both NumPy arrays, that runs a network."""
    return lambda images: net(mx.nd.array(images)).asnumpy()


def logit_differences(run, net, images, batch_size=None):
    """{kind of images: largest difference of run(images) from the network's logits}.

    Without a batch size: of all images at once, and of the first by itself. With one: the last batch is filled up with
    the first images. FloatingPointError if the network's logits are not finite.
    """
    found, expected = {}, logits_of(net)
    for kind, batch in images.items():
        batches = [batch, batch[:1]]
        if batch_size:
            calls = -(-len(batch) // batch_size)
            batches = np.split(np.resize(batch, (calls * batch_size, *batch.shape[1:])), calls)
        wanted = [expected(batch).astype('float64') for batch in batches]  # whose variance float32 may not hold
        if not all(np.isfinite(logits).all() for logits in wanted):
            raise FloatingPointError(f"the network's logits of {kind} images are not finite: its weights are useless")
        # NumPy's maximum, which keeps what is not a number.
        largest = np.max([abs(run(batch) - logits).max() for batch, logits in zip(batches, wanted)])
        found[kind] = float(largest / (np.concatenate(wanted).std() or 1))
    return found


def check_agreement(path, found, net, images):
    """FloatingPointError, which says whose fault it is, if one of the differences is beyond TOLERANCE.

    found: of what was written. If the network itself gives other logits where its input is only nudged, no program can
    do better.
    """
    wrong = {kind: images[kind] for kind, difference in found.items() if not difference <= TOLERANCE}
    if not wrong:
        return
    moves = moves_of(net, wrong)
    if min(moves.values()) > TOLERANCE:
        raise FloatingPointError(
            f'{path} is not written: the network is at fault, not ONNX Runtime, as a change of at most '
            f'{max(NUDGES):.0e} of its input moves its logits by {max(moves.values()):.0e} of their standard deviation '
            '(train it for longer)')
    raise FloatingPointError(f'{path} is not written: ONNX Runtime differs from MXNet by more than {TOLERANCE:.0e}')


def moves_of(net, images):
    """{kind of images: the largest difference of the network's logits from those of nudged images}"""
    draws = [logit_differences(lambda batch, nudge=nudge, seed=seed: logits_of(net)(nudged(batch, nudge, seed)), net,
                               images) for nudge in NUDGES for seed in range(DRAWS)]
    return {kind: max(draw[kind] for draw in draws) for kind in images}


def nudged(images, nudge, seed):
    """Images whose numbers are each larger or smaller by a part of themselves."""
    signs = np.random.RandomState(seed).choice([-1, 1], images.shape)
    return (images * (1 + nudge * signs)).astype('float32')
