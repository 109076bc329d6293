"""Networks and units: `get_model(name, **options)` builds any network, ACTIVATIONS holds every unit."""
from .ground import UserError  # isort: skip  (before mxnet)
from functools import partial

from .activation import ACTIVATIONS
from .cifar_resnet import cifar_resnet, ge_cifar_resnet
from .resnet_v1b import DEPTHS, aa_resnet, fa_resnet, ge_theta_plus_resnet, resnet_v1b, se_resnet

MODELS = {
    'cifar_resnet': cifar_resnet,
    # The other networks of the paper's second CIFAR figure.
    'se_cifar_resnet': partial(cifar_resnet, act_type='SE-ReLU'),
    'ge_cifar_resnet': ge_cifar_resnet,
    'resnet_v1b': resnet_v1b,
}
for _depth, _layers in DEPTHS.items():
    MODELS['resnet%d_v1b' % _depth] = partial(resnet_v1b, _layers, act_type='relu')
    MODELS['atac_resnet%d_v1b' % _depth] = partial(resnet_v1b, _layers)
# The other rows of the paper's table; the first three with the strides of their papers, ResNet-v1's.
MODELS.update({
    'resnet50': partial(resnet_v1b, DEPTHS[50], act_type='relu', v1=True),
    'se_resnet50': partial(se_resnet, DEPTHS[50], v1=True),
    'ge_theta_plus_resnet50': partial(ge_theta_plus_resnet, DEPTHS[50], v1=True),
    'se_resnet50_v1b': partial(se_resnet, DEPTHS[50]),
    'ge_theta_plus_resnet50_v1b': partial(ge_theta_plus_resnet, DEPTHS[50]),
    'aa_resnet50': partial(aa_resnet, DEPTHS[50]),
    'fa_resnet50': partial(fa_resnet, DEPTHS[50]),
})

__all__ = ['ACTIVATIONS', 'MODELS', 'get_model']


def get_model(name, **options):
    """Build a network by name, not initialised; UserError for a name that is not there or an option out of range,
    TypeError for an option that the network does not have.

    get_model('atac_resnet50_v1b', act_type='ChaATAC', r=2, act_layers=2, classes=1000, last_gamma=False)
    get_model('resnet50_v1b', classes=1000, last_gamma=False)
    get_model('cifar_resnet', blocks=3, act_type='ChaATAC', r=2, use_relu=True, classes=100)
    """
    if name not in MODELS:
        raise UserError('unknown model %r; there are %s' % (name, ', '.join(MODELS)))
    return MODELS[name](**options)
