"""``from ts.handler_utils.distributed.deepspeed import get_ds_engine``."""

from flambeau.serving.handlers.defaults.elsewhere import create_checkpoints_json, get_ds_engine

__all__ = ["create_checkpoints_json", "get_ds_engine"]
