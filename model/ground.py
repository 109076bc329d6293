"""What this package imports from outside of it: `runtime`, which prepares a process for MXNet and so is imported first.

Beside the scripts it is the file of that name; the installed package `atac` holds a copy of its own (setup.py).
"""
try:
    from .runtime import UserError, __version__, listed
except ImportError:
    from runtime import UserError, __version__, listed

__all__ = ['UserError', '__version__', 'listed']
