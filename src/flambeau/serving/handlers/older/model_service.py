"""Multi Model Server's services, TorchServe's parent: classes that old archives start from."""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from flambeau.serving.handlers.context import Context

logger = logging.getLogger(__name__)


class ModelService(ABC):
    """Serve a model with one method, ``inference``, for each request.

    The arguments are the ones that MMS gave; TorchServe builds handlers without any.
    """

    def __init__(self, model_name: str = "", model_dir: str = "", manifest: Any = None, gpu: int | None = None) -> None:
        self.ctx: Any = None
        self.model_name = model_name
        self.model_dir = model_dir
        self.manifest = manifest
        self.gpu = gpu
        self._context: Any = None
        self._signature: dict[str, Any] | None = None

    def initialize(self, context: Context) -> None:
        """Take the context, and the archive's signature.json where the manifest names one.

        Raises:
            ValueError: the manifest names a signature that the archive does not hold.
        """
        self._context = self.ctx = context
        properties = context.system_properties
        self.model_name, self.manifest = context.model_name, context.manifest
        self.model_dir, self.gpu = properties["model_dir"], properties.get("gpu_id")
        name = ((context.manifest or {}).get("Model") or {}).get("Signature")
        if name is None:
            return
        path = Path(self.model_dir, name)
        if not path.is_file():
            raise ValueError(f"Signature file is not found: {name}")
        self._signature = json.loads(path.read_text(encoding="utf-8"))

    @abstractmethod
    def inference(self, data: Any) -> Any:
        """Answer one request's inputs."""

    def ping(self) -> Any:
        """Say that the service lives."""
        return {"health": "healthy!"}

    def signature(self) -> dict[str, Any] | None:
        """Return what signature.json says."""
        return self._signature

    def handle(self, data: Any, context: Context) -> list[Any]:
        """Answer a batch, row by row: each row's input is what the signature names, else ``body`` or ``data``."""
        return [self._answer(row) for row in data]

    def _answer(self, row: Any) -> Any:
        signature = self._signature or {}
        names = [each["data_name"] for each in signature.get("inputs", ())] + ["body", "data"]
        found = next((row[name] for name in names if row.get(name) is not None), None)
        if signature.get("input_type") == "application/json" and isinstance(found, str | bytes | bytearray):
            found = json.loads(found)
        results = self.inference([found])
        return results[0] if isinstance(results, list) and len(results) == 1 else results


class SingleNodeService(ModelService):
    """Serve a model on one machine: ``_preprocess``, ``_inference``, ``_postprocess``, each measured."""

    def inference(self, data: Any) -> Any:
        """Take a request through the three steps."""
        for name, step in (("Preprocess", self._preprocess), ("Inference", self._inference), ("Postprocess", self._postprocess)):
            started = time.perf_counter()
            data = step(data)
            if self._context is not None:
                self._context.metrics.add_time(f"{name}Time", (time.perf_counter() - started) * 1000, None, "ms")
        return data

    @abstractmethod
    def _inference(self, data: Any) -> Any:
        """Run the model."""

    def _preprocess(self, data: Any) -> Any:
        """Make the model's input; it is taken as it is unless a subclass does more."""
        return data

    def _postprocess(self, data: Any) -> Any:
        """Make the answer of the model's output; it is given as it is unless a subclass does more."""
        return data
