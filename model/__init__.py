"""Networks and units: `get_model(name, **options)` builds any network, ACTIVATIONS holds every unit."""
from .ground import __version__  # isort: skip  (before mxnet)
from .installed import load
from .registry import MODELS, Network, get_model
from .units import ACTIVATIONS

__all__ = ['ACTIVATIONS', 'MODELS', 'Network', '__version__', 'get_model', 'load']
