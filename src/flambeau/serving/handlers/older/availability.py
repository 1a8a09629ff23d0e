"""Which of PyTorch's companions are there, under the names that handlers import from ``base_handler``."""

from __future__ import annotations

import os
from importlib.util import find_spec

PROFILER_AVAILABLE = PT2_AVAILABLE = PT230_AVAILABLE = True
"""Every PyTorch that flambeau runs on has the profiler and ``torch.compile``."""
XLA_AVAILABLE = find_spec("torch_xla") is not None
ONNX_AVAILABLE = find_spec("onnxruntime") is not None
IPEX_AVAILABLE = os.environ.get("TS_IPEX_ENABLE") == "true" and find_spec("intel_extension_for_pytorch") is not None
