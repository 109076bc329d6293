"""Does what was written give the logits of the network? Differences are in standard deviations of its logits."""
import mxnet as mx
import numpy as np

TOLERANCE = 1e-4                # of a difference
NUDGE = 1e-7                    # of the input: what rounding does to it


def logits_of(net):
    """A function images -> logits, both NumPy arrays, that runs a network."""
    return lambda images: net(mx.nd.array(images)).asnumpy()


def differences(run, net, images, batch_size=None):
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
        # NumPy's maximum, which keeps what is no number.
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
    moves = differences(lambda batch: logits_of(net)(nudged(batch)), net, wrong)
    if min(moves.values()) > TOLERANCE:
        raise FloatingPointError(
            f'{path} is not written: the network is at fault, not ONNX Runtime, as a change of {NUDGE:.0e} of its '
            f'input moves its logits by {max(moves.values()):.0e} of their standard deviation (train it for longer)')
    raise FloatingPointError(f'{path} is not written: ONNX Runtime differs from MXNet by more than {TOLERANCE:.0e}')


def nudged(images):
    """Images whose numbers are each larger or smaller by NUDGE of themselves."""
    signs = np.random.RandomState(0).choice([-1, 1], images.shape)
    return (images * (1 + NUDGE * signs)).astype('float32')
