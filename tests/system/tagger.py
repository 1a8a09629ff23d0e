"""Models that answer with their name around what they got, so that an answer tells which way a request went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fixtures.archives import write_mar
from tests.system.harness import Platform

TAGGER = """\
class Tagger:
    def initialize(self, context):
        self.name = context.manifest["model"]["modelName"]

    def handle(self, data, context):
        return [self.one(row.get("body", row.get("data")) if isinstance(row, dict) and len(row) == 1 else row) for row in data]

    def one(self, value):
        if value == "fail":
            raise ValueError("told to fail")
        return f"{self.name}({value})"
"""
"""Answers with its name around what it got: the answer tells the way of a request."""

_CONFIG = """\
inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
enable_envvars_config=true
model_store=/mnt/models/model-store
"""


def _snapshot(name: str) -> str:
    model = {
        "1.0": {"defaultVersion": True, "marName": f"{name}.mar", "minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "maxBatchDelay": 10}
    }
    return json.dumps({"name": "startup.cfg", "modelCount": 1, "models": {name: model}})


def make_model(folder: Path, name: str) -> Path:
    """Make what a bucket would hold: config/ and model-store/."""
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "config.properties").write_text(f"{_CONFIG}model_snapshot={_snapshot(name)}\n")
    write_mar(folder / "model-store", name, TAGGER)
    return folder


def service(name: str, folder: Path, namespace: str, **predictor: Any) -> dict[str, Any]:
    """Return an InferenceService that serves a model from a folder."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace, "annotations": {"autoscaling.knative.dev/window": "6s"}},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "pytorch"}, "storageUri": f"file://{folder}"}, **predictor}},
    }


def apply(platform: Platform, *objects: dict[str, Any]) -> None:
    """Apply objects with the real kubectl."""
    platform.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
