"""What this room is built on: UserError, which in the installed package `atac` is beside it (setup.py)."""
try:
    from ..ground import UserError
except ImportError:
    from runtime import UserError

__all__ = ['UserError']
