"""``from ts.handler_utils.distributed.pt_pippy import get_pipeline_driver, initialize_rpc_workers``."""

from flambeau.serving.handlers.defaults.elsewhere import get_pipeline_driver, initialize_rpc_workers, pippy_installed

__all__ = ["get_pipeline_driver", "initialize_rpc_workers", "pippy_installed"]
