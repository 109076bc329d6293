"""After mx.npx.set_np(), which holds for a whole process, units and networks say that they cannot be used."""
import subprocess
import sys

from tests.test_scripts import ROOT

PROGRAM = '''
import runtime
import mxnet as mx
from model import ACTIVATIONS, MODELS, get_model
SAYS = 'these units and networks take arrays of mx.nd, not of mx.np: call mx.npx.reset_np() first'

def refusal(make):
    try:
        make()
    except runtime.UserError as error:
        return str(error)

mx.npx.set_np()
assert {refusal(lambda: ACTIVATIONS[name](16)) for name in ACTIVATIONS} == {SAYS}
assert {refusal(lambda: get_model(name)) for name in MODELS} == {SAYS}
mx.npx.reset_np()
net = get_model('cifar_resnet', blocks=1, classes=10)
net.initialize()
print(net(mx.nd.ones((2, 3, 32, 32))).shape)
'''


def test_units_and_networks_say_so():
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', PROGRAM], cwd=ROOT, timeout=100, text=True,
                          capture_output=True)
    assert done.stdout == '(2, 10)\n', done.stderr
