"""What this package imports from outside of it, which the installed package `atac` has itself (setup.py)."""
try:
    from ..disk import file_digest, written
    from ..ground import UserError, listed
except ImportError:
    from runtime import UserError, listed

    from disk import file_digest, written

__all__ = ['UserError', 'file_digest', 'listed', 'written']
