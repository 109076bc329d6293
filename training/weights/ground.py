"""What this package imports from outside of it: UserError, which the installed package `atac` has itself (setup.py)."""
try:
    from ..ground import UserError
except ImportError:
    from runtime import UserError

__all__ = ['UserError']
