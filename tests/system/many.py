"""Services in numbers, whose pods are small: what the test and the benchmark of many services, and others that need real pods, apply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from flambeau.cli.api import Api
from flambeau.cli.kubeconfig import load_connection
from tests.system.harness import Platform

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
ANSWERING = Path(__file__).with_name("answering.py")


def service(name: str, word: str = "yes", *, namespace: str = "default", asleep: bool = False, **predictor: Any) -> dict[str, Any]:
    """Return a service whose pod answers every prediction with a word.

    Args:
        name: of the service.
        word: what it answers; ``broken`` makes its process end at once.
        namespace: where.
        asleep: it has no pod until the first request.
        predictor: more fields of spec.predictor.
    """
    container = {
        "name": "kserve-container",
        "image": "example.com/answering",
        "command": [sys.executable, str(ANSWERING)],
        "env": [{"name": "WORD", "value": word}],
    }
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if asleep:
        metadata["annotations"] = {"autoscaling.knative.dev/initial-scale": "0"}
        predictor = {"minReplicas": 0, **predictor}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": {"containers": [container], **predictor}},
    }


def client(platform: Platform) -> Api:
    """Return a client in this process: an apply by command would measure the command's start."""
    return Api(load_connection(kubeconfig=platform.home / "kubeconfig", context=None))


def path(name: str, namespace: str = "default") -> str:
    """Return where a service is."""
    return f"{SERVICES.format(namespace=namespace)}/{name}"


def apply(api: Api, obj: dict[str, Any]) -> None:
    """Apply a service, as ``flambeau apply`` does; returns when it is acknowledged."""
    where = path(obj["metadata"]["name"], obj["metadata"]["namespace"])
    query = {"fieldManager": "flambeau", "force": "true"}
    api.request("PATCH", where, query=query, body=obj, content_type="application/apply-patch+yaml")


def ready_count(api: Api, namespace: str = "default") -> int:
    """Return how many services are Ready."""
    return sum(
        any(condition["type"] == "Ready" and condition["status"] == "True" for condition in each.get("status", {}).get("conditions", ()))
        for each in api.get(SERVICES.format(namespace=namespace))["items"]
    )
