"""What this room is built on, which in the installed package `atac` is beside it (setup.py)."""
try:
    from ..ground import UserError, listed
    from ..registry import get_model
except ImportError:
    from runtime import UserError, listed

    from model import get_model

__all__ = ['UserError', 'get_model', 'listed']
