"""``kubectl top pods`` and ``top nodes``: metrics.k8s.io, measured when it is asked for and never stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from flambeau.control.apiserver.paths import ResourcePath
from flambeau.control.resources.kind import Object
from flambeau.foundation.timestamps import rfc3339

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
WINDOW_SECONDS = 0.5
"""How long a measurement takes."""


class PodUsage(Protocol):
    """Who measures pods: the agent, given to the API server by the program that runs both."""

    async def measure(self, pods: Collection[tuple[str, str]], seconds: float) -> dict[tuple[str, str], dict[str, tuple[float, int]]]:
        """Return cores and bytes by (namespace, name) and container, for those that run.

        Args:
            pods: which.
            seconds: over which time the cores are measured.
        """
        ...

    async def measure_machine(self, seconds: float) -> tuple[float, int]:
        """Return cores and bytes that the whole machine uses.

        Args:
            seconds: over which time the cores are measured.
        """
        ...


def is_about(path: ResourcePath) -> bool:
    """Tell whether a path means metrics."""
    return (path.group, path.version, path.subresource) == (GROUP, VERSION, "") and path.plural in ("pods", "nodes")


async def of_pods(usage: PodUsage, pods: Sequence[Object], now: float) -> list[Object]:
    """Return the metrics of those pods that run.

    Args:
        usage: measures.
        pods: the objects.
        now: seconds since the epoch.
    """
    measured = await usage.measure({_name(pod) for pod in pods}, WINDOW_SECONDS)
    return [_metrics(pod, measured[_name(pod)], now) for pod in pods if _name(pod) in measured]


def of_node(node: Object, cores: float, memory_bytes: int, now: float) -> Object:
    """Return the metrics of the machine.

    Args:
        node: its object.
        cores: used.
        memory_bytes: used.
        now: seconds since the epoch.
    """
    return {
        "kind": "NodeMetrics",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": _metadata(node),
        "timestamp": rfc3339(now),
        "window": f"{WINDOW_SECONDS}s",
        "usage": _usage(cores, memory_bytes),
    }


def listed(items: list[Object], resource_version: int, *, kind: str = "PodMetricsList") -> Object:
    """Return a list of metrics."""
    metadata = {"resourceVersion": str(resource_version)}
    return {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", "metadata": metadata, "items": items}


def _name(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _metrics(pod: Object, containers: Mapping[str, tuple[float, int]], now: float) -> Object:
    return {
        "kind": "PodMetrics",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": _metadata(pod),
        "timestamp": rfc3339(now),
        "window": f"{WINDOW_SECONDS}s",
        "containers": [{"name": name, "usage": _usage(*use)} for name, use in containers.items()],
    }


def _metadata(obj: Object) -> Object:
    return {name: obj["metadata"][name] for name in ("name", "namespace", "labels", "creationTimestamp") if name in obj["metadata"]}


def _usage(cores: float, memory_bytes: int) -> Object:
    return {"cpu": f"{round(cores * 1e9)}n", "memory": f"{memory_bytes // 1024}Ki"}
