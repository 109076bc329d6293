"""What this package imports from outside of it, which the installed package `atac` has itself (setup.py)."""
try:
    from ..disk import file_digest, open_text, written
    from ..ground import UserError, listed
except ImportError:
    from runtime import UserError, listed

    from disk import file_digest, open_text, written

__all__ = ['UserError', 'file_digest', 'listed', 'open_text', 'written']
