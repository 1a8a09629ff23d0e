"""``from ts.torch_handler.distributed.base_pippy_handler import BasePippyHandler``."""

from flambeau.serving.handlers.defaults.elsewhere import BasePippyHandler

__all__ = ["BasePippyHandler"]
