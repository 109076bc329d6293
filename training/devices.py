"""Which devices a run uses, and how a batch is divided among them."""
import logging

import runtime
from runtime import UserError

import mxnet as mx

LOG = logging.getLogger(__name__)
FLOAT16 = 'float16 needs a GPU: ask for one, or use --dtype float32'


def devices_by_id(gpus, dtype='float32'):
    """The devices of --gpus, such as '0,1'; '' is the CPU.

    On a machine without a GPU the run goes to the CPU, with a warning. Raises UserError for an id that is not there,
    and for a dtype that the devices cannot compute in.
    """
    try:
        ids = [int(gpu) for gpu in gpus.split(',')] if gpus.strip() else []
    except ValueError:
        raise UserError('--gpus %s is not a list of numbers such as 0,1' % gpus) from None
    found = mx.context.num_gpus()
    if any(gpu < 0 for gpu in ids) or len(set(ids)) < len(ids):
        raise UserError('--gpus %s: ids are not negative, and each is given once' % gpus)
    if dtype == 'float16' and not (ids and found):
        raise UserError(FLOAT16)
    if ids and not found:
        LOG.warning('GPU %s was asked for and none was found: running on the CPU', gpus)
        return [mx.cpu()]
    if any(gpu >= found for gpu in ids):
        raise UserError('--gpus %s: %d GPUs were found, so each id must be below %d' % (gpus, found, found))
    return [mx.gpu(gpu) for gpu in ids] or [mx.cpu()]


def devices_by_number(num_gpus, dtype='float32'):
    """The first num_gpus GPUs, or the CPU for 0. Raises UserError if they are not there or cannot compute in dtype."""
    found = mx.context.num_gpus()
    complaints = []
    if num_gpus > found:
        complaints.append('GPUs asked: %d, found: %d: use --num-gpus %d' % (num_gpus, found, found))
    if dtype == 'float16' and not min(num_gpus, found):
        complaints.append(FLOAT16)
    if complaints:
        raise UserError('; '.join(complaints))
    return [mx.gpu(gpu) for gpu in range(num_gpus)] or [mx.cpu()]


def check_training_memory(images, bytes_an_image, devices):
    """UserError if a batch of this number of images cannot fit into the memory; it says which might.

    bytes_an_image: that one takes in training, at least. GPUs, which say so themselves, are not asked.
    """
    needed = images * bytes_an_image
    free = runtime.free_memory()
    if devices[0].device_type == 'cpu' and needed > free:
        raise UserError('a batch of %d images needs at least %.1f GB of memory and %.1f GB are free: %d might fit'
                        % (images, needed / 1e9, free / 1e9, free // bytes_an_image))


def split(array, devices):
    """Slices of a batch along its first axis, one on each device; fewer slices if there are fewer rows than devices."""
    if not isinstance(array, mx.nd.NDArray):
        array = mx.nd.array(array, dtype=array.dtype)
    used = devices[:len(array)]
    bounds = [len(array) * position // len(used) for position in range(len(used) + 1)]
    return [array[start:end].as_in_context(device) for start, end, device in zip(bounds, bounds[1:], used)]


def zero_idle_gradients(trainer, devices):
    """Let devices that got no row take part in the next step with a gradient of zero."""
    for device in devices:
        for parameter in trainer._params:
            if parameter.grad_req != 'null':
                parameter.grad(device)[:] = 0
                parameter.data(device)._fresh_grad = True
