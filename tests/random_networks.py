"""Small networks with random weights, and images for them."""
import sys

import mxnet as mx
import numpy as np

from model import MODELS, get_model
from tests.numpy_layers import randomise

# Of a tool that takes the network of write_weights().
FLAGS = ['--model', 'atac', '--blocks', '1', '--useReLU', '--act-type', 'ChaATAC', '--dataset', 'fashion-mnist-mini']


def random_net(net):
    net.initialize()
    randomise(net)
    net.hybridize()
    return net


def write_weights(folder):
    """The path of the weights of a random network, which FLAGS are of."""
    path = str(folder / 'net.params')
    random_net(get_model('cifar_resnet', blocks=1)).save_parameters(path)
    return path


def small(name, monkeypatch):
    """A network of one block a stage and few channels, with random weights, and the side of its images."""
    if MODELS[name].host.name == 'cifar':
        return random_net(get_model(name, blocks=1)), 12
    # 80 channels are the least that the 8 heads of AugmentedConv can share.
    monkeypatch.setattr(sys.modules['model.resnet_v1b'], 'STAGE_CHANNELS', (16, 80, 80, 80))
    return random_net(get_model(name, layers=(1, 1, 1, 1), classes=5, input_size=40)), 40


def noise(side, images=3):
    return np.random.RandomState(1).randn(images, 3, side, side).astype('float32')


def run_graph(symbol, arrays, x):
    """The output of a symbol in MXNet's executor."""
    auxiliary = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    return symbol.bind(mx.cpu(), {**arrays, 'data': x}, aux_states=auxiliary).forward()[0].asnumpy()
