"""tools.share.agreement: how far what was written is from the network, and whose fault it is."""
import numpy as np
import pytest

from model import get_model
from tests.random_networks import noise, random_net
from tools.share.agreement import check_agreement, logit_differences, moves_of, nudged


def test_the_difference_is_measured_in_standard_deviations():
    def net(x):
        return 2 * x

    images = {'some': np.array([[-1.0], [1.0], [1.0], [-1.0]], 'float32'), 'none': np.zeros((4, 1), 'float32')}
    found = logit_differences(lambda x: 2 * x + 0.25 * (len(x) == 1), net, images)
    assert found == {'some': pytest.approx(0.25 / np.std([-2, 2, 2, -2, -2])), 'none': 0.25}
    sizes = []
    found = logit_differences(lambda x: sizes.append(len(x)) or 2 * x + 0.5 * (len(sizes) == 2), net, images, 3)
    assert sizes == [3, 3, 3, 3] and found == {'some': pytest.approx(0.5 / np.std([-2, 2, 2, -2, -2, 2])), 'none': 0}
    assert np.isnan(logit_differences(lambda x: 2 * x * (1 if len(x) == 4 else np.nan), net, images)['some'])
    with pytest.raises(FloatingPointError, match="logits of some images are not finite"):
        logit_differences(net, lambda x: x / 0, images)


def test_a_nudge_moves_every_number_by_what_rounding_does():
    images = noise(4)
    found = nudged(images, 1e-7, seed=0)
    change = abs(found / images - 1)
    assert images.dtype == found.dtype == 'float32' and change.min() > 0 and change.max() < 2e-7
    assert (nudged(images, 1e-7, seed=1) != found).any()


def test_the_weak_place_of_a_network_is_met_by_one_of_several_nudges():
    class Weak:
        """Its logits are another where the first number of the first image grows by 5e-7 or more of itself."""
        def __call__(self, batch):
            return batch.reshape((len(batch), -1)) + 9 * (batch.reshape((-1,))[0] > 1 + 5e-7)

    assert 1 < moves_of(Weak(), {'some': np.linspace(1, 2, 48, dtype='float32').reshape(4, 3, 2, 2)})['some'] < 99


def test_a_network_that_is_far_from_itself_is_at_fault():
    """56 layers with random weights: a change of the input in its last bit moves the logits by more than they vary."""
    images = {'random': noise(16)}
    net = random_net(get_model('cifar_resnet', blocks=9))
    assert moves_of(net, images)['random'] > 0.1
    with pytest.raises(FloatingPointError, match='x.onnx is not written: the network is at fault, not ONNX Runtime, as '
                                                 'a change of at most 1e-06 of its input moves its logits by [0-9]e.0'):
        check_agreement('x.onnx', {'random': 0.5}, net, images)


@pytest.mark.parametrize('found', [2e-4, float('nan')])
def test_a_network_that_is_near_to_itself_is_not(found):
    images = {'random': noise(16), 'real': noise(16)}
    net = random_net(get_model('cifar_resnet', blocks=1))
    assert max(moves_of(net, images).values()) < 1e-4
    check_agreement('x.onnx', {'random': 1e-5, 'real': 9e-5}, net, images)
    with pytest.raises(FloatingPointError, match='x.onnx is not written: ONNX Runtime differs .* by more than 1e-04'):
        check_agreement('x.onnx', {'random': 1e-5, 'real': found}, net, images)
