"""``from ts.torch_handler.distributed.base_deepspeed_handler import BaseDeepSpeedHandler``."""

from flambeau.serving.handlers.defaults.elsewhere import BaseDeepSpeedHandler

__all__ = ["BaseDeepSpeedHandler"]
