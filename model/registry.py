"""The registry of networks: MODELS says by name how each is built, and get_model builds it."""
from collections import namedtuple
from functools import partial

from .cifar_resnet import cifar_resnet, ge_cifar_resnet, se_cifar_resnet
from .layers import check_arrays
from .resnet_v1b import DEPTHS, aa_resnet, fa_resnet, ge_theta_plus_resnet, resnet_v1b, se_resnet
from .units import Registry

# What the networks of a host share. classifier: the name of the block that tells the classes apart. input_size: the
# side of the images that it is made for. takes_size: whether a network must be told another one.
Host = namedtuple('Host', 'name classifier input_size takes_size')
CIFAR = Host('cifar', 'output', 32, False)
IMAGENET = Host('imagenet', 'fc', 224, True)


class Network(namedtuple('Network', 'make host unit takes_unit unit_is_fixed', defaults=(True, False))):
    """A registered network.

    make(**options): builds it. unit: the name of what is in its activations unless act_type says otherwise. takes_unit:
    whether the options of a unit are options of this network. unit_is_fixed: whether act_type is not one of them.
    """

    def sized(self, input_size):
        """The options that tell it the side of its images."""
        return {'input_size': input_size} if self.host.takes_size else {}


def _plain(make, **options):
    """A network of the ImageNet host without units, of 50 layers."""
    return Network(partial(make, layers=DEPTHS[50], **options), IMAGENET, 'relu', takes_unit=False)


# Those of the CIFAR host, of any depth, are the three networks of the paper's second CIFAR figure.
MODELS = Registry('model', {
    'cifar_resnet': Network(cifar_resnet, CIFAR, 'ChaATAC'),
    'se_cifar_resnet': Network(se_cifar_resnet, CIFAR, 'SE-ReLU', unit_is_fixed=True),
    'ge_cifar_resnet': Network(ge_cifar_resnet, CIFAR, 'relu'),
})
for _depth, _layers in DEPTHS.items():
    MODELS[f'resnet{_depth}_v1b'] = Network(partial(resnet_v1b, layers=_layers, act_type='relu'), IMAGENET, 'relu')
    MODELS[f'atac_resnet{_depth}_v1b'] = Network(partial(resnet_v1b, layers=_layers), IMAGENET, 'ChaATAC')
# The other rows of the paper's table; the first three with the strides of their papers, ResNet-v1's.
MODELS.update({
    'resnet50': Network(partial(resnet_v1b, layers=DEPTHS[50], act_type='relu', v1=True), IMAGENET, 'relu'),
    'se_resnet50': _plain(se_resnet, v1=True),
    'ge_theta_plus_resnet50': _plain(ge_theta_plus_resnet, v1=True),
    'se_resnet50_v1b': _plain(se_resnet),
    'ge_theta_plus_resnet50_v1b': _plain(ge_theta_plus_resnet),
    'aa_resnet50': _plain(aa_resnet),
    'fa_resnet50': _plain(fa_resnet),
})


def get_model(name, **options):
    """Build a network by name, not initialised.

    get_model('atac_resnet50_v1b', act_type='ChaATAC', r=2, act_layers=2, classes=1000, last_gamma=False)
    get_model('resnet50_v1b', layers=(2, 2, 2, 2), classes=1000, last_gamma=False)     # another depth
    get_model('cifar_resnet', blocks=3, act_type='ChaATAC', r=2, use_relu=True, classes=100)

    options: those of model.cifar_resnet.cifar_resnet, or of model.resnet_v1b.resnet_v1b and ResNetV1b.
    Raises UserError, a ValueError, for a name that is not there or an option out of range, and after mx.npx.set_np().
    Raises TypeError for an option that the network does not have.
    """
    check_arrays()
    return MODELS[name].make(**options)
