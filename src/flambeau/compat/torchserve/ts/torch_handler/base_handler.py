"""``from ts.torch_handler.base_handler import BaseHandler``."""

from flambeau.serving.handlers.base import BaseHandler
from flambeau.serving.handlers.loading import load_onnx as setup_ort_session
from flambeau.serving.handlers.older.availability import (
    IPEX_AVAILABLE,
    ONNX_AVAILABLE,
    PROFILER_AVAILABLE,
    PT2_AVAILABLE,
    PT230_AVAILABLE,
    XLA_AVAILABLE,
)

__all__ = [
    "IPEX_AVAILABLE",
    "ONNX_AVAILABLE",
    "PROFILER_AVAILABLE",
    "PT2_AVAILABLE",
    "PT230_AVAILABLE",
    "XLA_AVAILABLE",
    "BaseHandler",
    "setup_ort_session",
]
