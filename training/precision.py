"""The types of numbers that a training computes in.

float32; float16 on GPUs: weights, activations and gradients, while the optimiser keeps float32 master weights;
bfloat16 on CPUs with AVX-512, by MXNet's automatic mixed precision: convolutions and dense layers compute in it, ReLU,
sigmoid, BatchNorm, pooling and products written x * y take what they are given, and broadcast_mul (ATAC's product) and
the loss compute in float32. Weights and gradients are float32, so a checkpoint looks like one of float32.
"""
import logging
import os
from contextlib import contextmanager

import runtime
from runtime import UserError

import mxnet as mx
import numpy as np
from mxnet.contrib import amp

LOG = logging.getLogger(__name__)
BYTES = {'float32': 4, 'float16': 2, 'bfloat16': 2}  # of an activation
BFLOAT16 = np.dtype([('bfloat16', np.uint16)])  # MXNet's name for it


def use_dtype(dtype, devices):
    """To be called before the network runs. Returns the type of its weights and inputs: float32 for bfloat16.

    MXNet's mixed precision is for a whole process: once asked for, there is no way back. Raises UserError if these
    devices do not compute in bfloat16, and for another dtype after it.
    """
    if dtype != 'bfloat16':
        if amp.amp._amp_initialized:
            raise UserError('this process computes in bfloat16 since an earlier call: use another for %s' % dtype)
        return dtype
    if any(device.device_type == 'gpu' for device in devices):
        raise UserError('bfloat16 is for CPUs: GPUs have float32 and float16')
    check_bfloat16()
    nowhere = logging.NullHandler()  # without any handler, what MXNet says here would install one that stays
    logging.getLogger().addHandler(nowhere)
    amp.init('bfloat16')
    logging.getLogger().removeHandler(nowhere)
    return 'float32'


def check_bfloat16(others='float32'):
    """UserError, which names the others, if this CPU does not compute in bfloat16; a warning if it only emulates it."""
    try:
        with silence():
            ones = mx.nd.amp_cast(mx.nd.ones((1, 16, 1, 1)), dtype=BFLOAT16)
            convolved = mx.nd.Convolution(ones, ones, kernel=(1, 1), num_filter=1, no_bias=True)
            mx.nd.amp_cast(convolved, dtype='float32').asnumpy()
    except mx.base.MXNetError as error:
        raise UserError('bfloat16 needs a CPU with AVX-512, which this one has not: use %s' % others) from error
    if not has_instructions('avx512_bf16', 'amx_bf16'):
        LOG.warning('this CPU has no instructions for bfloat16: it will be slower than float32')


def has_instructions(*names):
    """Whether this CPU has any of these, named as in /proc/cpuinfo."""
    return not set(names).isdisjoint(runtime.processor()[1])


@contextmanager
def silence():
    """Drop what MXNet's C++ writes to the standard error meanwhile: a line for each layer, errors being exceptions."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed already
        yield
        return
    try:
        with open(os.devnull, 'wb') as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
