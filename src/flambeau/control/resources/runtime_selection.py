"""Which runtime serves a model: KServe's rules, and why each other one does not. Pure; controllers call it.

Source: KServe's behaviour as in the specification, sections 2.2 and 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at, strings_at
from flambeau.control.resources.serving_runtime import CLUSTER_SERVING_RUNTIME, PROTOCOLS, SERVER_TYPE_ANNOTATION
from flambeau.foundation.timestamps import parse_rfc3339

_ASSUMED_PROTOCOL = "v1"
_PROTOCOL_BY_SERVER_TYPE = {"torchserve": "v1", "mlserver": "v2", "tritonserver": "v2"}
_REJECTIONS_SHOWN_MAX = 12


@dataclass(frozen=True, slots=True)
class Selection:
    """What came of it: a runtime, or why there is none."""

    runtime: Object | None
    reason: str = ""
    """RuntimeNotRecognized, RuntimeDisabled or NoSupportingRuntime."""
    message: str = ""
    """One sentence for people: each candidate, and why it was rejected."""
    newer: str = ""
    """The runtime that would be chosen, were none chosen yet; empty where that is the one."""

    @property
    def is_cluster_scoped(self) -> bool:
        """Tell whether the runtime is a ClusterServingRuntime."""
        return self.runtime is not None and self.runtime["kind"] == CLUSTER_SERVING_RUNTIME.kind


def select_runtime(
    model: Mapping[str, Any], namespace_runtimes: Sequence[Object], cluster_runtimes: Sequence[Object], status: Mapping[str, Any]
) -> Selection:
    """Choose the runtime for a predictor's model.

    One that was chosen before stays chosen as long as it fits: a runtime that is installed later changes no service that runs. (KServe
    chooses anew each time it looks.)

    Args:
        model: ``spec.predictor.model`` after defaulting.
        namespace_runtimes: ServingRuntimes of the InferenceService's namespace; these win over the cluster's.
        cluster_runtimes: ClusterServingRuntimes.
        status: the InferenceService's: it names the runtime that was chosen before.
    """
    name = model.get("runtime")
    if name:
        return _named(str(name), model, [*namespace_runtimes, *cluster_runtimes])
    everything = [*_by_preference(namespace_runtimes, model), *_by_preference(cluster_runtimes, model)]
    unfit = [(runtime, _why_unfit(runtime, model, only_auto_select=True)) for runtime in everything]
    fit = [runtime for runtime, why in unfit if why is None]
    if fit:
        before = next((runtime for runtime in fit if _was_chosen(runtime, status)), fit[0])
        return Selection(before, newer="" if before is fit[0] else str(fit[0]["metadata"]["name"]))
    rejections = [f"{runtime['metadata']['name']}: {why}" for runtime, why in unfit]
    message = (
        f"no runtime supports a model of format {_wanted(model)} with protocol {_protocol(model)}; {_listed(rejections)}; for a server of"
        " your own, apply a ServingRuntime whose container has a command that exists on this machine"
    )
    return Selection(None, "NoSupportingRuntime", message)


def _was_chosen(runtime: Object, status: Mapping[str, Any]) -> bool:
    field = "servingRuntimeName" if runtime["metadata"].get("namespace") else "clusterServingRuntimeName"
    return bool(status.get(field) == runtime["metadata"]["name"])


def effective_protocol(model: Mapping[str, Any], runtime: Mapping[str, Any]) -> str:
    """Return the protocol that a model is served with: its own wish, its server's default, or the runtime's first."""
    if model.get("protocolVersion"):
        return str(model["protocolVersion"])
    server_type = find(runtime, "metadata", "annotations", SERVER_TYPE_ANNOTATION) or find(runtime, "metadata", "name") or ""
    for known, protocol in _PROTOCOL_BY_SERVER_TYPE.items():
        if known in str(server_type):
            return protocol
    return PROTOCOLS[_lowest_protocol(runtime)]


def _named(name: str, model: Mapping[str, Any], runtimes: Sequence[Object]) -> Selection:
    """The person chose: the runtime is there, enabled and fit, or that is said."""
    runtime = next((runtime for runtime in runtimes if runtime["metadata"]["name"] == name), None)
    if runtime is None:
        known = ", ".join(sorted({runtime["metadata"]["name"] for runtime in runtimes})) or "none"
        return Selection(None, "RuntimeNotRecognized", f"there is no runtime {name} in this namespace or the cluster; there are: {known}")
    why = _why_unfit(runtime, model, only_auto_select=False)
    if why is None:
        return Selection(runtime)
    reason = "RuntimeDisabled" if find(runtime, "spec", "disabled") else "NoSupportingRuntime"
    return Selection(None, reason, f"the runtime {name} cannot serve this model: {why}")


def _why_unfit(runtime: Object, model: Mapping[str, Any], *, only_auto_select: bool) -> str | None:
    """Return why a runtime doesn't take a model, or None if it does."""
    if find(runtime, "spec", "disabled"):
        return "it is disabled"
    if find(runtime, "spec", "multiModel"):
        return "it is for many models in one server (multiModel)"
    if find(runtime, "spec", "workerSpec"):
        return "it is for several nodes (workerSpec)"
    formats = mappings_at(runtime, "spec", "supportedModelFormats")
    matching = [entry for entry in formats if _matches(entry, model)]
    if not matching:
        supported = ", ".join(sorted({_label(entry) for entry in formats})) or "no format"
        return f"it supports {supported}"
    if only_auto_select and not any(entry.get("autoSelect") for entry in matching):
        return f"it is not selected by itself (autoSelect is off): set model.runtime to {runtime['metadata']['name']}"
    protocols = strings_at(runtime, "spec", "protocolVersions")
    takes_its_default = not only_auto_select and not model.get("protocolVersion")
    if protocols and not takes_its_default and _protocol(model) not in protocols:
        return f"it speaks {', '.join(protocols)}: set model.protocolVersion to one of these"
    return None


def _matches(entry: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    if entry.get("name") != find(model, "modelFormat", "name"):
        return False
    version = find(model, "modelFormat", "version")
    return not version or entry.get("version") == version


def _by_preference(runtimes: Sequence[Object], model: Mapping[str, Any]) -> list[Object]:
    """Order by lowest protocol, newest, name; then, stably, by priority."""

    def order(runtime: Object) -> tuple[int, float, str]:
        created = find(runtime, "metadata", "creationTimestamp")
        return _lowest_protocol(runtime), -(parse_rfc3339(created) if created else 0.0), runtime["metadata"]["name"]

    return sorted(sorted(runtimes, key=order), key=lambda runtime: -_priority(runtime, model))


def _priority(runtime: Object, model: Mapping[str, Any]) -> int:
    """Return the priority of the first entry of the format; one that is set beats one that isn't."""
    wanted = find(model, "modelFormat", "name")
    for entry in mappings_at(runtime, "spec", "supportedModelFormats"):
        if entry.get("name") == wanted:
            return int(entry.get("priority") or 0)
    return 0


def _lowest_protocol(runtime: Mapping[str, Any]) -> int:
    numbers = [PROTOCOLS.index(protocol) for protocol in strings_at(runtime, "spec", "protocolVersions") if protocol in PROTOCOLS]
    return min(numbers, default=0)


def _protocol(model: Mapping[str, Any]) -> str:
    return str(model.get("protocolVersion") or _ASSUMED_PROTOCOL)


def _wanted(model: Mapping[str, Any]) -> str:
    return _label(find(model, "modelFormat") or {"name": "(none)"})


def _label(model_format: Mapping[str, Any]) -> str:
    version = model_format.get("version")
    return f"{model_format.get('name')}:{version}" if version else str(model_format.get("name"))


def _listed(rejections: Sequence[str]) -> str:
    if not rejections:
        return "there are no runtimes"
    more = len(rejections) - _REJECTIONS_SHOWN_MAX
    return "; ".join(rejections[:_REJECTIONS_SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
