"""What this package imports from outside of it, which the installed package `atac` has itself (setup.py)."""
try:
    from ..ground import UserError, listed
    from ..registry import get_model
except ImportError:
    from runtime import UserError, listed

    from model import get_model

__all__ = ['UserError', 'get_model', 'listed']
