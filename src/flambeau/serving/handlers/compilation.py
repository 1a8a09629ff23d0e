"""torch.compile as model-config.yaml asks for it: the section ``pt2``.

Forms, newest first: ``{compile: {enable: true, backend: ..., mode: ...}}``; ``{export: {aot_compile: true}}``, where the archive's model
is compiled already; and the old ones, ``pt2: inductor`` and ``pt2: {backend: ..., mode: ...}``.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

logger = logging.getLogger(__name__)


class PT2Backend(StrEnum):
    """Backends of torch.compile that a model-config.yaml may name."""

    EAGER = "eager"
    AOT_EAGER = "aot_eager"
    INDUCTOR = "inductor"
    NVFUSER = "nvfuser"
    AOT_NVFUSER = "aot_nvfuser"
    AOT_CUDAGRAPHS = "aot_cudagraphs"
    OFI = "ofi"
    FX2TRT = "fx2trt"
    ONNXRT = "onnxrt"
    IPEX = "ipex"
    TORCHXLA_TRACE_ONCE = "torchxla_trace_once"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    HPU_BACKEND = "hpu_backend"


_REGISTERED_BY = {
    "openvino": "openvino.torch",
    "tensorrt": "torch_tensorrt",
    "onnxrt": "onnxruntime",
    "ipex": "intel_extension_for_pytorch",
}
"""Backends that exist once a package is imported."""


def check_valid_pt2_backend(backend: str) -> bool:
    """Tell whether a backend's name is known; a warning says so if not."""
    known = [each.value for each in PT2Backend]
    if backend in known:
        return True
    logger.warning("model-config.yaml: pt2 backend %r is not one of %s", backend, ", ".join(known))
    return False


def optimized_by_ipex(model: Any, device: Any) -> Any:
    """Return the model as Intel's extension for PyTorch wants it, where TS_IPEX_ENABLE asks for that; as it was where that can't be done.

    Args:
        model: a module.
        device: what it runs on.
    """
    if os.environ.get("TS_IPEX_ENABLE") != "true":
        return model
    try:
        ipex = importlib.import_module(_REGISTERED_BY["ipex"])
    except ImportError as error:
        logger.warning("the model is not optimized: ipex_enable needs intel-extension-for-pytorch, for this torch: %s", error)
        return model
    import torch  # noqa: PLC0415 - names of backends are checked without it

    if not isinstance(model, torch.nn.Module):
        return model  # onnxruntime's have engines of their own
    return ipex.optimize(model.to(memory_format=torch.channels_last).to(device))


def options_of(pt2: Any) -> dict[str, Any] | None:
    """Return torch.compile's arguments, or None where nothing is to be compiled.

    Args:
        pt2: the section of model-config.yaml; None where there is none.
    """
    if isinstance(pt2, str):
        logger.warning("model-config.yaml: pt2: %s is an old form; write pt2: {compile: {enable: true, backend: %s}}", pt2, pt2)
        return {"backend": pt2}
    if not isinstance(pt2, Mapping) or not pt2:
        return None
    if "compile" in pt2:
        section = dict(pt2["compile"] or {})
        return section if section.pop("enable", False) is True else None
    if "export" in pt2:
        return None
    logger.warning(
        "model-config.yaml: arguments of torch.compile straight under pt2 are an old form; write pt2: {compile: {enable: true, ...}}"
    )
    return dict(pt2)


def is_compiled_ahead(pt2: Any) -> bool:
    """Tell whether the archive's ``.so`` is a model that AOTInductor compiled."""
    export = pt2.get("export") if isinstance(pt2, Mapping) else None
    return isinstance(export, Mapping) and export.get("aot_compile") is True


def compiled(model: Any, options: Mapping[str, Any]) -> Any:
    """Return the model compiled; as it was, with a warning, where that can't be done: it serves all the same.

    Args:
        model: a module.
        options: of torch.compile.
    """
    import torch  # noqa: PLC0415 - names of backends are checked without it

    backend = options.get("backend", "inductor")
    if isinstance(backend, str):
        if not check_valid_pt2_backend(backend):
            return model
        if backend in _REGISTERED_BY:
            try:
                importlib.import_module(_REGISTERED_BY[backend])
            except ImportError as error:
                logger.warning("the model is not compiled: backend %s needs %s: %s", backend, _REGISTERED_BY[backend], error)
                return model
    try:
        result = torch.compile(model, **options)
    except Exception as error:
        # Whatever the compiler does not like; it is an optimisation.
        logger.warning("the model is not compiled: torch.compile with %s failed: %s: %s", dict(options), type(error).__name__, error)
        return model
    logger.info("the model is compiled with %s", dict(options))
    return result
