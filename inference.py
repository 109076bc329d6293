"""Name what is on pictures with a trained network, and make networks fast for scoring on a CPU.

    import inference
    classifier = inference.load('cifar_resnet', 'FILE.params', dataset='fashion-mnist', act_type='ChaATAC', blocks=1)
    classifier.top_k(['a.png', array], k=3)               # [[('ankle boot', 0.93), ('sneaker', 0.06), ...], [...]]

`compiled` is what evaluate.py and tools.classify score with. Of float32 networks it folds BatchNorm, activation and
residual sum into the convolutions before them; bfloat16 computes convolutions in that type; int8 quantises after
training, with ranges from calibration images. All three hand out float32 or what casts to it.

Tried on the ATAC-ResNet-50 at 224x224 and left out: folding before the conversion to bfloat16 (MXNet's lists keep
folded convolutions in float32; forced, they are slower and less exact), and int8 by tensor instead of by channel (the
same to the third digit of the cosine).
"""
import logging
import os

import runtime

import mxnet as mx
import numpy as np
from mxnet.contrib import amp
from mxnet.contrib.quantization import quantize_net_v2
from mxnet.gluon import SymbolBlock

from data import DATASETS
from data.pictures import class_name, class_names, prepare
from model import get_model
from native.compiled import for_cpu
from native.graph import nodes_of, readers_of, with_nodes_after
from training.checkpoint import load_weights
from training.precision import check_bfloat16, has_instructions, silence

LOG = logging.getLogger(__name__)
DTYPES = ('float32', 'bfloat16', 'int8')
CALIBRATION_MODES = ('naive', 'entropy')
FEWEST_TO_CALIBRATE = 16
# What int8 leaves alone: BatchNorms that are not folded, classifiers, and products by elemwise_mul, whose quantised
# operator in MXNet 1.9.1 fails on factors that are never negative.
FLOAT32 = ('BatchNorm', '_sg_mkldnn_fully_connected', 'elemwise_mul')
BATCH = 16           # pictures at once
SAMPLE = 16          # images on which the memory that one takes is measured
INPUTS_HELD = 6      # copies of a batch that reading ahead and scoring hold


def load(model, params, dataset='imagenet', label_set='coarse', dtype='float32', calibration=None, calib_mode='naive',
         size=224, crop_ratio=0.875, **options):
    """A Classifier of a network of model.get_model with weights from a .params file.

    dataset: what it was trained on, 'imagenet' or a name of data.DATASETS; label_set: of cifar100.
    dtype, calibration, calib_mode: of `compiled`. size, crop_ratio: of data.pictures.prepare.
    options: those of get_model; `classes` is that of the data set unless it is given.
    Raises OSError for a missing file, and ValueError for weights of another network or a dtype that is not there.
    """
    class_names(dataset, label_set)  # says which there are
    options.setdefault('classes', 1000 if dataset == 'imagenet' else DATASETS[dataset].classes)
    if 'cifar' not in model:
        options['input_size'] = size
    net = get_model(model, **options)
    load_weights(net, params)
    return Classifier(compiled(net, dtype, calibration, calib_mode), dataset, label_set, size, crop_ratio,
                      options['classes'])


class Classifier:
    """Pictures in, class names and probabilities out.   net: as `compiled` makes it; the rest: as in `load`

    classes: how many the network tells apart; unless it is 1000, those of 'imagenet' are somebody's own.
    """

    def __init__(self, net, dataset='imagenet', label_set='coarse', size=224, crop_ratio=0.875, classes=1000):
        self.net, self.dataset, self.size, self.crop_ratio = net, dataset, size, crop_ratio
        self.names = class_names(dataset, label_set, classes)

    def probabilities(self, pictures):
        """(N, classes) float32 of N paths or arrays; what they may be, and what is raised: data.pictures.prepare."""
        if isinstance(pictures, (str, os.PathLike)):
            raise ValueError('%s is one picture where a list of them is wanted' % pictures)
        if isinstance(pictures, np.ndarray) and (pictures.ndim < 3 or pictures.ndim == 3 and pictures.shape[2] == 3):
            raise ValueError('the array %s is one picture where a list of them is wanted' % (pictures.shape,))
        if not len(pictures):
            raise ValueError('there is no picture')
        batches = (np.concatenate([prepare([picture], self.dataset, self.size, self.crop_ratio)
                                   for picture in pictures[start:start + BATCH]])  # one large photo at a time
                   for start in range(0, len(pictures), BATCH))
        probabilities = np.concatenate([
            mx.nd.softmax(self.net(mx.nd.array(batch)).astype('float32')).asnumpy() for batch in batches])
        if not np.isfinite(probabilities).all():
            raise FloatingPointError('the network answers with numbers that are not finite')
        return probabilities

    def top_k(self, pictures, k=5):
        """For each picture its k likeliest (class name, probability), the likeliest first; all if there are fewer."""
        if k < 1:
            raise ValueError('k=%s must be at least 1' % (k,))
        return [[(class_name(index, self.names), float(row[index])) for index in np.argsort(-row, kind='stable')[:k]]
                for row in self.probabilities(pictures)]


def compiled(net, dtype='float32', calibration=None, calib_mode='naive'):
    """A network that computes the same as `net`, made for scoring on this CPU; its weights are shared or copied.

    net: with weights, float32. dtype: one of DTYPES. calibration: (N, 3, H, W) float32, normalised images as the
    network was trained on, and calib_mode: 'naive' (smallest and largest value) or 'entropy' (the range whose
    quantisation loses least by the Kullback-Leibler divergence), both for int8.
    Batches may differ in size from call to call. Raises ValueError for what this CPU or the calibration do not allow.
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
    """ValueError if this CPU does not compute in a dtype; a warning if it does so by detours alone."""
    if dtype not in DTYPES:
        raise ValueError('%s is not for CPUs: there are %s' % (dtype, ', '.join(DTYPES)))
    if dtype == 'bfloat16':
        check_bfloat16('float32 or int8')
    if dtype == 'int8' and not has_instructions('avx512_vnni', 'avx_vnni', 'amx_int8'):
        LOG.warning('this CPU has no instructions for int8 (VNNI): it may be slower than float32')


def _block(symbol, net):
    return SymbolBlock(symbol, [mx.sym.var('data')], params=net.collect_params())


def part_convolutions(symbol):
    """The same graph, with an identity behind every convolution whose output is read more than once.

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
        raise ValueError('unknown calibration mode %r; there are %s' % (mode, ', '.join(CALIBRATION_MODES)))
    images = 0 if calibration is None else len(calibration)
    if images < FEWEST_TO_CALIBRATE:
        raise ValueError('int8 is calibrated on images, at least %d, and %d were given' % (FEWEST_TO_CALIBRATE, images))
    calibration = np.asarray(calibration, 'float32')
    if calibration.ndim != 4 or not np.isfinite(calibration).all():
        raise ValueError('int8 is calibrated on finite images (N, 3, H, W), and these are %s' % (calibration.shape,))
    # MXNet would fill an incomplete batch up with images that then count twice.
    batch_size = max(size for size in range(1, 33) if images % size == 0)
    return quantize_net_v2(block, quantized_dtype='auto', quantize_mode='smart', quantize_granularity='channel-wise',
                           exclude_layers=_operators(graph, 'Convolution')[:1], exclude_operators=list(FLOAT32),
                           calib_data=mx.io.NDArrayIter(calibration, batch_size=batch_size),
                           calib_mode=mode, ctx=mx.cpu())


def check_batch(net, shape):
    """ValueError if a batch (N, 3, H, W) does not fit into the memory of this machine; it says which would.

    net: as `compiled` makes it. What an image takes is measured on SAMPLE images, and the batches read ahead are added.
    """
    if shape[0] <= SAMPLE:
        return
    net(mx.nd.zeros((1, *shape[1:]))).wait_to_read()  # what is made once and stays
    grown = _growth(net, mx.nd.zeros((SAMPLE, *shape[1:])))
    per_image, free = grown / SAMPLE + 4 * INPUTS_HELD * int(np.prod(shape[1:])), runtime.free_memory()
    if shape[0] * per_image > free:
        raise ValueError('a batch of %d images needs about %.1f GB of memory and %.1f GB are free: %d would fit'
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
