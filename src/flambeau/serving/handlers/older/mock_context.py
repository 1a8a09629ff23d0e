"""A context for users' unit tests of their handlers, without a server."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.older.metrics_store import MetricsStore
from flambeau.serving.handlers.older.yaml_config import get_yaml_config


class MockContext(Context):
    """Stand for the context of a loaded model.

    Args:
        model_pt_file: the manifest's ``serializedFile``; None for none.
        model_dir: where the model's files are.
        model_file: the manifest's ``modelFile``; None for none.
        gpu_id: the device's number; taken only where there is CUDA.
        model_name: the model's.
        model_yaml_config_file: name of a model-config.yaml in ``model_dir``.
    """

    def __init__(
        self,
        model_pt_file: str | None = "model.pt",
        model_dir: str = ".",
        model_file: str | None = "model.py",
        gpu_id: str | None = "0",
        model_name: str = "mnist",
        model_yaml_config_file: str | None = None,
    ) -> None:
        import torch  # noqa: PLC0415 - torch stays out of what workers import

        files = {"serializedFile": model_pt_file, "modelFile": model_file}
        super().__init__(
            model_name,
            model_dir,
            {"model": {key: name for key, name in files.items() if name}},
            1,
            int(gpu_id) if gpu_id is not None and torch.cuda.is_available() else None,
            metrics=MetricsStore({0: str(uuid.uuid4())}, model_name),
            model_yaml_config=get_yaml_config(Path(model_dir, model_yaml_config_file)) if model_yaml_config_file else None,
        )
        self.explain = False
        """Set it to have the handler explain."""

    def get_request_header(self, idx: int, key: str) -> Any:
        """Return whether an explanation is asked for; other headers as a test has set them."""
        return str(self.explain) if key == "explain" else super().get_request_header(idx, key)
