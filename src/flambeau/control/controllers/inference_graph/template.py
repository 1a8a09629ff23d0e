"""The pod template of a graph's router. Pure.

Source: specification 7.3; the keys of the configuration are those of KServe's ``router`` entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from flambeau.control.controllers.hosts import internal_url
from flambeau.control.controllers.names import MAX_SCALE_ANNOTATION, MIN_SCALE_ANNOTATION
from flambeau.control.controllers.sidecar import INTERNAL_PREFIX
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mapping_at, mappings_at, strings_at
from flambeau.control.resources.pod_template import environment_value
from flambeau.control.resources.runtime_selection import effective_protocol

GRAPH_LABEL = "serving.kserve.io/inferencegraph"
CONTAINER = "user-container"
"""Knative's name for the one container of a service."""
IMAGE = "kserve/router"
TIMEOUT_SECONDS = 300
"""Knative's default."""

_POD_FIELDS = ("serviceAccountName", "affinity", "tolerations", "nodeSelector", "nodeName")
_TIMEOUT_FLAGS = {"serverRead": "--read-timeout", "serverIdle": "--idle-timeout", "serviceClient": "--call-timeout"}
_RESOURCES = {"cpu": ("100m", "1"), "memory": ("100Mi", "1Gi")}
"""Request and limit of a router, where neither the graph nor the configuration says any; KServe's."""
_NEVER_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", MIN_SCALE_ANNOTATION, MAX_SCALE_ANNOTATION)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the cluster says of routers."""

    propagated: tuple[str, ...] = ()
    """Patterns of header names."""
    resources: Mapping[str, tuple[str, str]] = None  # type: ignore[assignment]
    """cpu and memory: request and limit."""


@dataclass(frozen=True, slots=True)
class Services:
    """The InferenceServices that a graph names."""

    urls: Mapping[str, str]
    """Name -> where it is asked."""
    missing: tuple[str, ...]
    unready: tuple[str, ...]
    """Sentences, each names one and says why."""


def configuration_of(config_map: Object | None) -> Configuration:
    """Read the ``router`` entry of ``inferenceservice-config``; what can't be read counts as not said."""
    try:
        entry = orjson.loads(find(config_map or {}, "data", "router") or b"{}")
    except orjson.JSONDecodeError:
        entry = {}
    entry = entry if isinstance(entry, dict) else {}
    said = {
        name: tuple(str(entry.get(f"{name}{bound}") or usual) for bound, usual in zip(("Request", "Limit"), usuals, strict=True))
        for name, usuals in _RESOURCES.items()
    }
    return Configuration(tuple(strings_at(entry, "headers", "propagate")), {name: (low, high) for name, (low, high) in said.items()})


def services_of(graph: Object, services: Sequence[Object], runtimes: Mapping[str, Object]) -> Services:
    """Return the InferenceServices that a graph names.

    Args:
        graph: the InferenceGraph.
        services: all InferenceServices of its namespace.
        runtimes: those that services say they use, by name.
    """
    known = {service["metadata"]["name"]: service for service in services if not service["metadata"].get("deletionTimestamp")}
    names = sorted({step["serviceName"] for step in steps_of(graph) if step.get("serviceName")})
    there = [known[name] for name in names if name in known]
    unready = [(service["metadata"]["name"], get_condition(service, "Ready") or {}) for service in there]
    return Services(
        {service["metadata"]["name"]: _url(service, runtimes) for service in there},
        tuple(name for name in names if name not in known),
        tuple(
            f"InferenceService {name} is not ready: {ready.get('message') or ready.get('reason') or 'it has just been created'}"
            for name, ready in unready
            if ready.get("status") != "True"
        ),
    )


def steps_of(graph: Object) -> list[Object]:
    """Return the steps of all nodes."""
    return [step for node in mapping_at(graph, "spec", "nodes").values() for step in mappings_at(node, "steps")]


def template_for(graph: Object, services: Services, configuration: Configuration, gateway: str) -> Object:
    """Return the router's template: ``metadata`` (labels, annotations) and ``spec`` (a revision's).

    Args:
        graph: the InferenceGraph.
        services: where the InferenceServices it names are asked; all of them are there.
        configuration: the cluster's.
        gateway: the URL at which the router asks names inside the cluster.
    """
    metadata, spec = graph["metadata"], graph["spec"]
    timeouts = mapping_at(spec, "routerTimeouts")
    seconds = min(int(spec.get("timeout") or TIMEOUT_SECONDS), int(timeouts.get("serverWrite") or TIMEOUT_SECONDS))
    arguments = ["--graph-json", orjson.dumps(_resolved(spec, services.urls)).decode(), "--gateway", gateway, "--timeout", str(seconds)]
    for field, flag in _TIMEOUT_FLAGS.items():
        if timeouts.get(field):
            arguments += [flag, str(timeouts[field])]
    container: Object = {
        "name": CONTAINER,
        "image": IMAGE,
        "args": arguments,
        "resources": spec.get("resources") or _resources(configuration),
    }
    if configuration.propagated:
        container["env"] = [{"name": "PROPAGATE_HEADERS", "value": ",".join(configuration.propagated)}]
    return {
        "metadata": {
            "labels": {**_copied(metadata.get("labels")), GRAPH_LABEL: metadata["name"]},
            "annotations": {**_copied(metadata.get("annotations")), **_scaling(spec)},
        },
        "spec": {
            **{name: spec[name] for name in _POD_FIELDS if spec.get(name)},
            "containers": [container],
            "timeoutSeconds": int(spec.get("timeout") or TIMEOUT_SECONDS),
            "containerConcurrency": 0,
        },
    }


def _resolved(spec: Object, urls: Mapping[str, str]) -> Object:
    """Return the graph with a URL in place of each InferenceService's name."""

    def resolve(step: Object) -> Object:
        name = step.get("serviceName")
        return {**{field: value for field, value in step.items() if field != "serviceName"}, **({"serviceUrl": urls[name]} if name else {})}

    nodes = mapping_at(spec, "nodes")
    return {"nodes": {name: {**node, "steps": [resolve(step) for step in mappings_at(node, "steps")]} for name, node in nodes.items()}}


def _url(service: Object, runtimes: Mapping[str, Object]) -> str:
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    path = f"/v2/models/{name}/infer" if _speaks_v2(service, runtimes) else f"/v1/models/{name}:predict"
    return internal_url(name, namespace) + path


def _speaks_v2(service: Object, runtimes: Mapping[str, Object]) -> bool:
    predictor = mapping_at(service, "spec", "predictor")
    model = predictor.get("model")
    if not isinstance(model, dict):
        return any(environment_value(container, "PROTOCOL") == "v2" for container in mappings_at(predictor, "containers"))
    runtime = runtimes.get(runtime_name(service))
    protocol: Any = effective_protocol(model, runtime) if runtime is not None else model.get("protocolVersion")
    return protocol in ("v2", "grpc-v2")


def runtime_name(service: Object) -> str:
    """Return the runtime that a service says it uses; empty before it has one."""
    status = mapping_at(service, "status")
    return str(status.get("servingRuntimeName") or status.get("clusterServingRuntimeName") or "")


def _resources(configuration: Configuration) -> Object:
    both = (configuration.resources or _RESOURCES).items()
    return {"requests": {name: low for name, (low, _) in both}, "limits": {name: high for name, (_, high) in both}}


def _scaling(spec: Object) -> dict[str, str]:
    least = spec.get("minReplicas")
    annotations = {"autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev", MIN_SCALE_ANNOTATION: str(1 if least is None else least)}
    if spec.get("maxReplicas"):
        annotations[MAX_SCALE_ANNOTATION] = str(spec["maxReplicas"])
    for field, name in (("scaleTarget", "target"), ("scaleMetric", "metric")):
        if spec.get(field) is not None:
            annotations[f"autoscaling.knative.dev/{name}"] = str(spec[field])
    return annotations


def _copied(said: Mapping[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (said or {}).items() if name not in _NEVER_COPIED and not name.startswith(INTERNAL_PREFIX)}
