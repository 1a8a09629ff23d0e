"""Which container images stand for our own commands. Pure; the agent runs by it, admission warns by it."""

from __future__ import annotations

OWN_IMAGES = ("pytorch/torchserve", "flambeau/")
"""Prefixes, without a registry."""


def stands_for_own_command(image: str) -> bool:
    """Tell whether containers of this image are run by flambeau itself: TorchServe's images and flambeau's own."""
    first, slash, rest = image.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return (rest if is_registry else image).startswith(OWN_IMAGES)
