"""Which models an InferenceService's pods are to have beside its own, and why others are not among them. Pure.

Source: specification 7.4; conditions as KServe names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.images import stands_for_own_command
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mapping_at, mappings_at
from flambeau.control.resources.quantity import amount
from flambeau.control.resources.trained_models import Wanted

Verdict = tuple[str, str]
"""A reason and a sentence; both empty where all is well."""
FINE: Verdict = ("", "")


@dataclass(frozen=True, slots=True)
class Judged:
    """One TrainedModel, and what there is to say about it before it is loaded."""

    model: Object
    framework: Verdict = FINE
    service: Verdict = FINE
    """Whether the InferenceService is there and ready."""
    server: Verdict = FINE
    """Whether its server takes models while it runs."""
    memory: Verdict = FINE

    @property
    def is_wanted(self) -> bool:
        """Tell whether pods are to load it; a service that is not ready yet makes no difference."""
        return all(verdict == FINE for verdict in (self.framework, self.server, self.memory))


def judge(models: Sequence[Object], service: Object | None, runtime: Object | None, server: Object | None) -> list[Judged]:
    """Return a verdict on each TrainedModel of an InferenceService, the oldest first: who came first has the memory.

    Args:
        models: those that name the service, without those that are going.
        service: the InferenceService; None where it isn't there.
        runtime: the one it uses; None where it has containers of its own, or none yet.
        server: its newest revision's container that serves; None before there is one.
    """
    left = amount(find(server or {}, "resources", "limits", "memory"))
    judged = []
    for model in sorted(models, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"])):
        wanted = amount(find(model, "spec", "model", "memory")) or 0.0
        memory = FINE
        if left is not None and wanted > left:
            told = find(server or {}, "resources", "limits", "memory")
            memory = "MemoryNotAvailable", f"it takes more memory than the {told} of the InferenceService have left"
        elif left is not None:
            left -= wanted
        judged.append(Judged(model, _framework(model, runtime), _service(model, service), _server(service, server), memory))
    return judged


def wanted_of(judged: Sequence[Judged]) -> list[Wanted]:
    """Return the models that pods are to load."""
    specs = ((each.model["metadata"]["name"], mapping_at(each.model, "spec", "model")) for each in judged if each.is_wanted)
    return [Wanted(name, str(spec["storageUri"]), str(spec["framework"]), str(spec["memory"])) for name, spec in specs]


def _framework(model: Object, runtime: Object | None) -> Verdict:
    framework = str(find(model, "spec", "model", "framework"))
    if runtime is None:
        return FINE
    supported = sorted({str(entry.get("name")) for entry in mappings_at(runtime, "spec", "supportedModelFormats")})
    if framework in supported:
        return FINE
    name = runtime["metadata"]["name"]
    return "FrameworkNotSupported", f"the runtime {name} does not support {framework}; it supports {', '.join(supported)}"


def _service(model: Object, service: Object | None) -> Verdict:
    name = find(model, "spec", "inferenceService")
    if service is None:
        return "InferenceServiceNotFound", f"there is no InferenceService {name} in this namespace"
    ready = get_condition(service, "Ready") or {}
    if ready.get("status") == "True":
        return FINE
    return "InferenceServiceNotReady", f"InferenceService {name} is not ready: {ready.get('message') or ready.get('reason') or 'it is new'}"


def _server(service: Object | None, server: Object | None) -> Verdict:
    if service is None or server is None:
        return FINE
    words = [*(server.get("command") or ()), *(server.get("args") or ())]
    program = str(words[0]).rpartition("/")[2] if words else ""
    if program in ("torchserve", "flambeau") or (not server.get("command") and stands_for_own_command(str(server.get("image") or ""))):
        return FINE
    return "IsNotMMSPredictor", f"the server of InferenceService {service['metadata']['name']} takes no models while it runs"
