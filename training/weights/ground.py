"""What this package imports from outside of it, which the installed package `atac` has itself (setup.py)."""
try:
    from ..disk import written
    from ..ground import UserError, listed
except ImportError:
    from runtime import UserError, listed

    from disk import written

__all__ = ['UserError', 'listed', 'written']
