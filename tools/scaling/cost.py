"""How long a training step takes when gradients are summed by MXNet's parameter servers: three numbers and two lines.

    t_sum  = max(link * busiest / rate,  processing * elements * workers * fullest)
    t_step = t_compute + max(0, t_sum - overlap * t_compute)

bytes, elements: of the gradients. fullest: the part of them that the fullest server sums. busiest: bytes that the
busiest link carries in one direction. rate: of a link, in bytes/s. link: what the network adds to the bytes (1:
nothing). processing: seconds of one core of the server for an element; that is all of its way from a worker, into the
sum and back. overlap: the part of a step's computation beside which gradients travel. The last three are fitted. Where
all hosts share the cores of one machine, the second term is divided by these and not by the servers.
"""
import statistics
from collections import namedtuple
from functools import lru_cache

import numpy as np

from model import get_model

NETWORK = 'atac_resnet50_v1b'
# Of MXNet's kvstore: MXNET_KVSTORE_BIGARRAY_BOUND, and a prime.
WHOLE = 1000000
HASH = 9973
# A measured round. rate: bytes/s of each link, or None without a limit. seconds: the median of its rounds.
Sum = namedtuple('Sum', 'workers servers rate seconds')
Step = namedtuple('Step', 'workers servers rate seconds compute sum')
Fitted = namedtuple('Fitted', 'link processing overlap')
Gradient = namedtuple('Gradient', 'elements bytes')  # of all parameters together
# One GPU with no other: images of a step, and how many a second.
Gpu = namedtuple('Gpu', 'batch images_per_second')
# Hosts with one worker each. gpus: of a host. rate: bytes/s of each link.
Cluster = namedtuple('Cluster', 'hosts gpus servers rate')
# What a job is expected to do. limit: what a step waits for.
Prediction = namedtuple('Prediction', 'gpus images_per_second efficiency limit')


def speed(rate):
    """The words for a link's rate."""
    return f'{8e-6 * rate:g} Mbit/s' if rate else 'no limit'


@lru_cache(maxsize=None)
def gradients(dtype='float32'):
    """(number of the key, elements, bytes) of each; with float16 those of BatchNorm stay float32."""
    net = get_model(NETWORK)
    net.cast(dtype)
    return [(key, int(np.prod(parameter.shape)), int(np.prod(parameter.shape)) * np.dtype(parameter.dtype).itemsize)
            for key, parameter in enumerate(net.collect_params().values()) if parameter.grad_req != 'null']


def whole_gradient(dtype='float32'):
    """The Gradient of the network."""
    _, elements, sizes = zip(*gradients(dtype))
    return Gradient(sum(elements), sum(sizes))


@lru_cache(maxsize=None)
def fullest_server(servers, bound=WHOLE):
    """The part of the elements that the fullest server sums: arrays of `bound` elements and more are divided evenly,
    each of the others goes whole to the server that MXNet's hash of its key gives."""
    parts = [0] * servers
    for key, elements, _ in gradients():
        if elements < bound:
            parts[key * HASH % servers] += elements
        else:
            parts = [part + elements / servers for part in parts]
    return max(parts) / sum(parts)


def busiest_link(size, workers, part):
    """Bytes through the busiest link in one direction, with a worker on every host and servers on the first hosts.

    The host of the fullest server sends what other servers sum, size (1 - part). It gives its own part of the sum to
    the other workers, (W - 1) size part; and it receives as much. A host without a server sends and receives size.
    """
    return size * (1 + (workers - 2) * part) if workers > 1 else 0


def sum_seconds(fitted, gradient, workers, part, rate=None, cores=None):
    """t_sum.   cores: those of one machine, where all hosts share them"""
    travel = fitted.link * busiest_link(gradient.bytes, workers, part) / rate if rate else 0
    return max(travel, fitted.processing * gradient.elements * workers * (1 / cores if cores else part))


def step_seconds(fitted, compute, summing):
    """t_step"""
    return compute + max(0, summing - fitted.overlap * compute)


def fit(gradient, sums, steps, cores):
    """Fitted: medians, `processing` over the rounds without a limit, `link` and `overlap` over those with one."""
    processing = statistics.median(one.seconds * cores / (gradient.elements * one.workers)
                                   for one in sums if not one.rate)
    link = statistics.median(
        one.seconds * one.rate / busiest_link(gradient.bytes, one.workers, fullest_server(one.servers))
        for one in sums if one.rate)
    overlap = statistics.median((one.compute + one.sum - one.seconds) / one.compute for one in steps)
    return Fitted(link, processing, overlap)


def predict(fitted, gradient, cluster, gpu):
    """The Prediction for a Cluster of Gpus. Summing over the GPUs of a host is not in it: it was not measured."""
    gpus = cluster.hosts * cluster.gpus
    compute = gpu.batch / gpu.images_per_second
    if cluster.hosts == 1:
        return Prediction(gpus, gpus * gpu.images_per_second, 1.0, 'computing')
    part = fullest_server(cluster.servers)
    summing = sum_seconds(fitted, gradient, cluster.hosts, part, cluster.rate)
    seconds = step_seconds(fitted, compute, summing)
    limit = 'computing'
    if seconds > compute:
        limit = 'servers' if summing == sum_seconds(fitted, gradient, cluster.hosts, part) else 'links'
    return Prediction(gpus, gpus * gpu.batch / seconds, compute / seconds, limit)
