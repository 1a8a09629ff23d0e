"""The names by which controllers and agent understand each other: both know a pod only from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGENT_FINALIZER = "flambeau.dev/agent"
"""Holds a deleted pod until its processes have ended; the agent takes it off."""

GATEWAY_FINALIZER = "flambeau.dev/gateway"
"""Holds a deleted pod's processes until the gateway sends them nothing more; the routing controller takes it off."""

NODE_NAME = "flambeau"
"""This machine, the only node there is."""

PROXY_CONTAINER = "queue-proxy"
"""Its work is done by the gateway and the prober, so it has no process; it is ready when the pod's address answers."""

INITIALIZER_CONTAINER = "storage-initializer"
"""Its arguments are the model's URI and where the model goes; the agent does its work."""

FETCHER_ANNOTATION = "internal.serving.kserve.io/storage-container-name"
"""Names the ClusterStorageContainer that a pod's initializer is to use."""

MODEL_VOLUME = "kserve-provision-location"
"""What the storage-initializer fills."""

MODELS_PATH = "/mnt/models"
"""Where servers look for their model."""

DEFAULT_PORT = 8080
"""Where a server that names no port is asked."""

DEFAULT_GRPC_PORT = 8081
"""Where our own servers speak gRPC in a pod, as KServe's do."""


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Tell whether an init container lives on beside the containers, as one with ``restartPolicy: Always`` does."""
    return container.get("restartPolicy") == "Always"
