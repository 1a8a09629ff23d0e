"""Which container images stand for our own commands. Pure; the agent runs by it, admission warns by it."""

from __future__ import annotations

RUNTIME_BY_IMAGE = {
    "kserve/sklearnserver": "sklearn",
    "kserve/xgbserver": "xgboost",
    "kserve/lgbserver": "lightgbm",
    "kserve/huggingfaceserver": "huggingface",
    "seldonio/mlserver": "mlserver",
    "nvidia/tritonserver": "triton",
}
"""Images of KServe's runtimes, without a registry -> the word of ``flambeau runtime`` that does their work."""
OWN_IMAGES = ("pytorch/torchserve", "kserve/router", "flambeau/", *RUNTIME_BY_IMAGE)
"""Prefixes, without a registry."""


def stands_for_own_command(image: str) -> bool:
    """Tell whether containers of this image are run by flambeau itself: TorchServe's images, KServe's runtimes' and flambeau's own."""
    return _without_registry(image).startswith(OWN_IMAGES)


def runtime_of(image: str) -> str | None:
    """Return the word of ``flambeau runtime`` that stands for an image; None where it is no runtime's."""
    name = _without_registry(image)
    return next((word for prefix, word in RUNTIME_BY_IMAGE.items() if name.startswith(prefix)), None)


def _without_registry(image: str) -> str:
    first, slash, rest = image.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return rest if is_registry else image
