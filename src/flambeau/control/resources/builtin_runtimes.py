"""The ClusterServingRuntimes that are there from the start: KServe's, for which our own server stands, and one of our own. Pure.

Source: specification 2.6. Those whose servers have no stand-in here (TensorFlow, TensorRT, PMML, Paddle, vLLM) are left out, so that a
service of such a format is told at once that no runtime takes it.
"""

from __future__ import annotations

from typing import Any

from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_template import SERVER_CONTAINER
from flambeau.control.resources.serving_runtime import CLUSTER_SERVING_RUNTIME, SERVER_TYPE_ANNOTATION

TORCHSERVE_RUNTIME = "kserve-torchserve"
OWN_RUNTIME = "flambeau-server"

_SIZE = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
_BOTH_DOORS = ("--allow-grpc=true", "--allow-http=true")
_NAME = "--model_name={{.Name}}"
_FOLDER = (_NAME, "--model_dir=/mnt/models", "--http_port=8080")


def builtin_runtimes(labels: dict[str, str]) -> list[Object]:
    """Return the built-in runtimes.

    Args:
        labels: of all of them.
    """
    return [
        _runtime(
            labels,
            TORCHSERVE_RUNTIME,
            [_format("pytorch", "1", priority=2)],
            ["v1", "v2", "grpc-v2"],
            image="pytorch/torchserve-kfs:0.9.0",
            args=["torchserve", "--start", "--model-store=/mnt/models/model-store", "--ts-config=/mnt/models/config/config.properties"],
            env=[{"name": "TS_SERVICE_ENVELOPE", "value": "{{.Labels.serviceEnvelope}}"}],
            metrics_port=8082,
            server_type="torchserve",
        ),
        _of_kserve(labels, "sklearn", "1", "sklearn"),
        _of_kserve(labels, "xgb", "2", "xgboost", "--nthread=1"),
        _of_kserve(labels, "lgb", "4", "lightgbm", "--nthread=1"),
        _runtime(
            labels,
            "kserve-huggingfaceserver",
            [_format("huggingface", "1")],
            ["v2", "v1"],
            image="kserve/huggingfaceserver:v0.20.0",
            args=[_NAME],
        ),
        _runtime(
            labels,
            "kserve-mlserver",
            [
                *(_format("sklearn", version, priority=2) for version in ("0", "1")),
                *(_format("xgboost", version, priority=2) for version in ("1", "2")),
                *(_format("lightgbm", version, priority=2) for version in ("3", "4")),
            ],
            ["v2"],
            image="seldonio/mlserver:1.7.1",
            args=[],
            env=[{"name": "MLSERVER_MODEL_IMPLEMENTATION", "value": "{{.Labels.modelClass}}"}],
            server_type="mlserver",
        ),
        _runtime(
            labels,
            "kserve-tritonserver",
            [_format("onnx", "1"), _format("triton", "2"), _format("pytorch", "1", by_itself=False)],
            ["v2", "grpc-v2"],
            image="nvcr.io/nvidia/tritonserver:23.05-py3",
            args=["tritonserver", "--model-store=/mnt/models", "--grpc-port=9000", "--http-port=8080", *_BOTH_DOORS],
            server_type="tritonserver",
        ),
        _runtime(
            labels,
            OWN_RUNTIME,
            [
                *(_format(name, None, priority=None) for name in ("torchscript", "torch-export", "onnx")),
                *(
                    _format(name, None, priority=None, by_itself=False)
                    for name in ("pytorch", "sklearn", "xgboost", "lightgbm", "huggingface")
                ),
            ],
            ["v1", "v2", "grpc-v2"],
            image="flambeau/server",
            args=["runtime", "auto", *_FOLDER],
        ),
    ]


def _of_kserve(labels: dict[str, str], short: str, version: str, model_format: str, *flags: str) -> Object:
    image = f"kserve/{short}server:v0.20.0"
    return _runtime(labels, f"kserve-{short}server", [_format(model_format, version)], ["v1", "v2"], image=image, args=[*_FOLDER, *flags])


def _format(name: str, version: str | None, *, priority: int | None = 1, by_itself: bool = True) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "version": version, "autoSelect": by_itself, "priority": priority}
    return {key: value for key, value in entry.items() if value is not None}


def _runtime(
    labels: dict[str, str],
    name: str,
    formats: list[dict[str, Any]],
    protocols: list[str],
    *,
    image: str,
    args: list[str],
    env: list[dict[str, Any]] | None = None,
    metrics_port: int = 8080,
    server_type: str | None = None,
) -> Object:
    container = {"name": SERVER_CONTAINER, "image": image, "args": args, "resources": _SIZE, **({"env": env} if env else {})}
    annotations = {"annotations": {SERVER_TYPE_ANNOTATION: server_type}} if server_type else {}
    return {
        "apiVersion": CLUSTER_SERVING_RUNTIME.api_version,
        "kind": CLUSTER_SERVING_RUNTIME.kind,
        "metadata": {"name": name, "labels": labels, **annotations},
        "spec": {
            "annotations": {"prometheus.kserve.io/port": str(metrics_port), "prometheus.kserve.io/path": "/metrics"},
            "supportedModelFormats": formats,
            "protocolVersions": protocols,
            "containers": [container],
        },
    }
