"""A trained network made for scoring on a CPU: folded float32, bfloat16 or int8.

Of float32 networks `compile_for_scoring` folds BatchNorm, activation and residual sum into the convolutions before
them. With bfloat16 it lets convolutions compute in that type. With int8 it quantises after training, with ranges from
calibration images. All three hand out float32 or what casts to it.

Tried on the ATAC-ResNet-50 at 224x224 and left out: folding before the conversion to bfloat16 (MXNet's lists keep
folded convolutions in float32; forced, they are slower and less exact), and int8 by tensor instead of by channel (the
same to the third digit of the cosine).
"""
import logging

import runtime
from runtime import UserError

import mxnet as mx
import numpy as np
from mxnet.contrib import amp
from mxnet.contrib.quantization import quantize_net_v2
from mxnet.gluon import SymbolBlock

from native.compiled import for_cpu
from native.graph import nodes_of, readers_of, with_nodes_after
from training.precision import check_bfloat16, has_instructions, silence

LOG = logging.getLogger(__name__)
DTYPES = ('float32', 'bfloat16', 'int8')
CALIBRATION_MODES = ('naive', 'entropy')
FEWEST_TO_CALIBRATE = 16
# What int8 does not touch: BatchNorms that are not folded, classifiers, and products by elemwise_mul, whose quantised
# operator in MXNet 1.9.1 fails on factors that are never negative.
FLOAT32 = ('BatchNorm', '_sg_mkldnn_fully_connected', 'elemwise_mul')
SAMPLE = 16          # images on which the memory that one takes is measured
LARGE = 512          # pixels a side, more than which SAMPLE images may not fit
INPUTS_HELD = 6      # copies of a batch that reading ahead and scoring hold


def compile_for_scoring(net, dtype='float32', calibration=None, calib_mode='naive'):
    """A network that computes the same as `net`, made for scoring on this CPU; its weights are shared or copied.

    net: with weights, float32. dtype: one of DTYPES. calibration: (N, 3, H, W) float32, normalised images as the
    network was trained on, and calib_mode: 'naive' (smallest and largest value) or 'entropy' (the range whose
    quantisation loses least by the Kullback-Leibler divergence), both for int8.
    Batches may differ in size from call to call. Raises UserError for what this CPU or the calibration do not allow.
    """
    check_dtype(dtype)
    with silence():
        graph = part_convolutions(net(mx.sym.var('data')))
        if dtype == 'int8':
            ready = _quantised(_block(graph, net), graph, calibration, calib_mode)
        elif dtype == 'bfloat16':
            ready = amp.convert_hybrid_block(_block(graph, net), 'bfloat16', ctx=mx.cpu(), cast_optional_params=True,
                                             excluded_sym_names=_operators(graph, 'LeakyReLU'))
        else:
            ready = _block(graph.get_backend_symbol('MKLDNN'), net)
    # Without static_shape, MXNet folds and lays out the weights anew in every call.
    ready.hybridize(static_alloc=True, static_shape=True)
    if dtype != 'int8':
        for_cpu(ready)
    return ready


def check_dtype(dtype):
    """UserError if this CPU does not compute in a dtype; a warning if it does so only by detours."""
    if dtype not in DTYPES:
        raise UserError('%s is not for CPUs: there are %s' % (dtype, ', '.join(DTYPES)))
    if dtype == 'bfloat16':
        check_bfloat16('float32 or int8')
    if dtype == 'int8' and not has_instructions('avx512_vnni', 'avx_vnni', 'amx_int8'):
        LOG.warning('this CPU has no instructions for int8 (VNNI): it may be slower than float32')


def _block(symbol, net):
    return SymbolBlock(symbol, [mx.sym.var('data')], params=net.collect_params())


def part_convolutions(symbol):
    """The same graph, with an identity after every convolution whose output is read more than once.

    oneDNN's pass in MXNet 1.9.1 folds a BatchNorm into such a convolution and hands its output to the other readers
    too, silently: in pre-activation networks the first shortcut then carries normalised values. BlockGrad is an
    identity that it neither folds nor removes, as it does `_copy`.
    """
    readers = readers_of(symbol)
    shared = {position for position, node in enumerate(nodes_of(symbol))
              if node['op'] == 'Convolution' and readers[position, 0] > 1}
    return with_nodes_after(symbol, shared, 'BlockGrad', '_parted')


def _operators(symbol, operator):
    """The names of the nodes of an operator, from the input on."""
    return [node['name'] for node in nodes_of(symbol) if node['op'] == operator]


def _quantised(block, graph, calibration, mode):
    """int8 for what takes the time; FLOAT32 and the first convolution, which cost little and lose most, stay as is."""
    if mode not in CALIBRATION_MODES:
        raise UserError('unknown calibration mode %r; there are %s' % (mode, ', '.join(CALIBRATION_MODES)))
    images = 0 if calibration is None else len(calibration)
    if images < FEWEST_TO_CALIBRATE:
        raise UserError('int8 is calibrated on images, at least %d, and %d were given' % (FEWEST_TO_CALIBRATE, images))
    calibration = np.asarray(calibration, 'float32')
    if calibration.ndim != 4 or not np.isfinite(calibration).all():
        raise UserError('int8 is calibrated on finite images (N, 3, H, W), and these are %s' % (calibration.shape,))
    # MXNet would fill an incomplete batch up with images that then count twice.
    batch_size = max(size for size in range(1, 33) if images % size == 0)
    return quantize_net_v2(block, quantized_dtype='auto', quantize_mode='smart', quantize_granularity='channel-wise',
                           exclude_layers=_operators(graph, 'Convolution')[:1], exclude_operators=list(FLOAT32),
                           calib_data=mx.io.NDArrayIter(calibration, batch_size=batch_size),
                           calib_mode=mode, ctx=mx.cpu())


def check_scoring_memory(net, shape):
    """UserError if a batch (N, 3, H, W) does not fit into the memory of this machine; it says which would.

    net: as `compile_for_scoring` makes it. What an image takes is measured on SAMPLE images, on one if they are LARGE,
    and the batches read ahead are added.
    """
    sample = 1 if shape[2] > LARGE else SAMPLE
    if shape[0] <= sample:
        return
    net(mx.nd.zeros((1, *shape[1:]))).wait_to_read()  # what is made once and stays
    grown = _growth(net, mx.nd.zeros((sample, *shape[1:])))
    per_image = grown / sample + 4 * INPUTS_HELD * int(np.prod(shape[1:]))
    free = runtime.free_memory()
    if shape[0] * per_image > free:
        raise UserError('a batch of %d images needs about %.1f GB of memory and %.1f GB are free: %d would fit'
                        % (shape[0], shape[0] * per_image / 1e9, free / 1e9, free // per_image))


def _growth(net, data):
    """Bytes by which the resident size of this process rises at most while a batch is scored."""
    try:
        with open('/proc/self/clear_refs', 'w') as file:
            file.write('5')  # lets the peak begin anew
    except OSError as error:
        LOG.warning('whether the batch fits into memory is not checked: %s', error)
        return 0
    before = runtime.resident_size()
    net(data).wait_to_read()
    return max(0, runtime.resident_size('VmHWM') - before)
