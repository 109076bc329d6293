"""What this room is built on: UserError and get_model. In the installed package `atac` they are beside it."""
try:
    from ..ground import UserError
    from ..registry import get_model
except ImportError:
    from runtime import UserError

    from model import get_model

__all__ = ['UserError', 'get_model']
