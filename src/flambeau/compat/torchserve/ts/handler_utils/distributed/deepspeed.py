"""``from ts.handler_utils.distributed.deepspeed import get_ds_engine``."""

from flambeau.serving.handlers.defaults.elsewhere import get_ds_engine

__all__ = ["get_ds_engine"]
