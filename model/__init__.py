"""Networks and units: `get_model(name, **options)` builds any network, ACTIVATIONS holds every unit."""
from functools import partial

from model.activation import ACTIVATIONS
from model.cifar_resnet import cifar_resnet
from model.resnet_v1b import DEPTHS, resnet_v1b

MODELS = {'cifar_resnet': cifar_resnet, 'resnet_v1b': resnet_v1b}
for _depth, _layers in DEPTHS.items():
    MODELS['resnet%d_v1b' % _depth] = partial(resnet_v1b, _layers, act_type='relu')
    MODELS['atac_resnet%d_v1b' % _depth] = partial(resnet_v1b, _layers)

__all__ = ['ACTIVATIONS', 'MODELS', 'get_model']


def get_model(name, **options):
    """Build a network by name, not initialised; ValueError for a name that is not there or an option out of range.

    get_model('atac_resnet50_v1b', act_type='ChaATAC', r=2, act_layers=2, classes=1000, last_gamma=False)
    get_model('resnet50_v1b', classes=1000, last_gamma=False)
    get_model('cifar_resnet', blocks=3, act_type='ChaATAC', r=2, use_relu=True, classes=100)
    """
    if name not in MODELS:
        raise ValueError('unknown model %r; there are %s' % (name, ', '.join(MODELS)))
    return MODELS[name](**options)
