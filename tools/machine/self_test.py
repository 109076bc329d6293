"""python -m tools.self_test cpu (or 0, the number of a GPU): a few seconds of MXNet on one device, printed as JSON.

The doctor runs it as a process of its own and judges the numbers: {'features', 'gpus', 'broken', 'losses',
'gate_error'}.
"""
import importlib
import json

import runtime  # noqa: F401  (before mxnet)

import mxnet as mx
import numpy as np

from cli.command import Parser
from model import ACTIVATIONS, get_model

MODULES = ('cv2', 'gluoncv', 'matplotlib', 'pooch', 'tqdm')  # of requirements.txt, beside MXNet and NumPy
STEPS = 10     # of the training
CHANNELS = 16  # of the gate


def broken_modules():
    """{module of requirements.txt: why it does not import}."""
    broken = {}
    for name in MODULES:
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            broken[name] = str(error)
    return broken


def tiny_training(device, dtype):
    """The losses of the first and the last step of a small ATAC network on 16 random images."""
    mx.random.seed(0)
    images = mx.nd.random.normal(shape=(16, 3, 16, 16), ctx=device)
    labels = mx.nd.arange(16, ctx=device) % 10
    net = get_model('cifar_resnet', blocks=1, act_type='ChaATAC', classes=10)
    net.initialize(mx.init.MSRAPrelu(), ctx=device)
    net.cast(dtype)
    net.hybridize(static_alloc=True, static_shape=True)
    options = {'learning_rate': 0.05, 'momentum': 0.9, 'multi_precision': dtype == 'float16'}
    trainer = mx.gluon.Trainer(net.collect_params(), 'nag', options, kvstore=None)
    criterion, losses = mx.gluon.loss.SoftmaxCrossEntropyLoss(), []
    for _ in range(STEPS):
        with mx.autograd.record():
            loss = criterion(net(images.astype(dtype)).astype('float32'), labels)
        loss.backward()
        trainer.step(len(images))
        losses.append(float(loss.mean().asscalar()))
    return losses[0], losses[-1]


def gate_error(device):
    """The largest difference of ChaATAC from X * sigmoid(BN(W2 relu(BN(W1 X)))) in NumPy."""
    unit = ACTIVATIONS['ChaATAC'](CHANNELS, r=2)
    unit.initialize(mx.init.Normal(0.3), ctx=device)
    x = mx.nd.random.normal(shape=(2, CHANNELS, 5, 5), ctx=device)
    out, x = unit(x).asnumpy(), x.asnumpy()
    values = {name: parameter.data(device).asnumpy() for name, parameter in unit._collect_params_with_prefix().items()}

    hidden = np.maximum(_norm(_mix(x, values['module.0.weight']), values, 'module.1.'), 0)
    gate = 1 / (1 + np.exp(-_norm(_mix(hidden, values['module.3.weight']), values, 'module.4.')))
    return float(np.abs(out - x * gate).max())


def _mix(x, weight):
    """A pointwise convolution."""
    return np.einsum('oi,nihw->nohw', weight[:, :, 0, 0], x)


def _norm(x, values, prefix):
    """BatchNorm with its running statistics."""
    gamma, beta, mean, variance = (values[prefix + name][:, None, None]
                                   for name in ('gamma', 'beta', 'running_mean', 'running_var'))
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def main(argv=None):
    """Print the JSON object and return it."""
    parser = Parser(description='Train for a moment on one device.')
    known = ['cpu', *map(str, range(mx.context.num_gpus()))]
    parser.add_argument('device', choices=known, metavar='DEVICE', help='cpu, or the number of a GPU')
    name = parser.parse_args(argv).device
    device, dtypes = (mx.cpu(), ['float32']) if name == 'cpu' else (mx.gpu(int(name)), ['float32', 'float16'])
    result = {'features': [feature.name for feature in mx.runtime.feature_list() if feature.enabled],
              'gpus': mx.context.num_gpus(), 'broken': broken_modules(), 'gate_error': gate_error(device),
              'losses': {dtype: tiny_training(device, dtype) for dtype in dtypes}}
    print(json.dumps(result))
    return result


if __name__ == '__main__':
    main()
