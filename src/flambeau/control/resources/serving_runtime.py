"""ServingRuntime and ClusterServingRuntime: which image serves which model format, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.runtimes import SERVING_RUNTIME_SPEC
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at, strings_at
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.pod_template import (
    SERVER_CONTAINER,
    containers_with_paths,
    forbidden_environment,
    image_warnings,
    no_effect_warning,
)

PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")
"""In the order in which runtimes are preferred."""

SERVER_TYPE_ANNOTATION = "serving.kserve.io/server-type"
"""Says which server an image has inside, and so which defaults it needs."""


def _first_name(*path: str) -> Callable[[Object, float], str | None]:
    """Custom columns show the first match of a JSONPath only."""

    def cell(obj: Object, _: float) -> str | None:
        entries = mappings_at(obj, *path)
        return str(entries[0].get("name", "")) if entries else None

    return cell


def _check(obj: Object, _: Object | None) -> Review:
    spec = find(obj, "spec")
    if not isinstance(spec, dict):
        return Review()
    errors = [*_check_containers(spec), *_check_priorities(spec)]
    warnings = list(no_effect_warning(spec, "spec"))
    for container, path in containers_with_paths(spec, "spec"):
        errors += forbidden_environment(container, path, ("PYTHONPATH",))
        warnings += image_warnings(container, path)
    if spec.get("multiModel"):
        warnings.append("spec.multiModel: such runtimes are never chosen for an InferenceService")
    if spec.get("workerSpec"):
        warnings.append("spec.workerSpec: several nodes are not served on one machine; such runtimes are never chosen")
    return Review(tuple(errors), tuple(warnings))


def _check_containers(spec: Object) -> Iterator[Finding]:
    names = [container.get("name") for container in mappings_at(spec, "containers")]
    if names and SERVER_CONTAINER not in names:
        yield Finding("spec.containers", f"one container must be named {SERVER_CONTAINER}: it is the one that serves", names)


def _check_priorities(spec: Object) -> Iterator[Finding]:
    """All entries of a format have one priority: which one would count otherwise?"""
    seen: dict[str, object] = {}
    for index, entry in enumerate(mappings_at(spec, "supportedModelFormats")):
        name, priority = str(entry.get("name")), entry.get("priority")
        if seen.setdefault(name, priority) != priority:
            message = f"all entries of format {name} need the same priority, an earlier one has {seen[name]}"
            yield Finding(f"spec.supportedModelFormats[{index}].priority", message, priority)


def _check_among(obj: Object, others: Sequence[Object]) -> Iterator[Finding]:
    """Two runtimes that are chosen by themselves need different priorities, or the order of names would decide which one serves."""
    if find(obj, "spec", "disabled"):
        return
    taken = {}
    for other in others:
        if not find(other, "spec", "disabled"):
            taken.update(dict.fromkeys(_claims(other), other["metadata"]["name"]))
    for index, entry in enumerate(mappings_at(obj, "spec", "supportedModelFormats")):
        rival = next((taken[claim] for claim in _claims_of(entry, obj) if claim in taken), None)
        if rival is not None:
            message = f"runtime {rival} has the same priority for the same format, version and protocol: choose another"
            yield Finding(f"spec.supportedModelFormats[{index}].priority", message, entry.get("priority"))


_Claim: TypeAlias = tuple[str, str, int, str]
"""(format, version, priority, protocol)"""


def _claims(runtime: Object) -> Iterator[_Claim]:
    for entry in mappings_at(runtime, "spec", "supportedModelFormats"):
        yield from _claims_of(entry, runtime)


def _claims_of(entry: Object, runtime: Object) -> Iterator[_Claim]:
    """Yield what an entry claims; one without a priority gives way to all others."""
    if entry.get("autoSelect") and isinstance(entry.get("priority"), int):
        for protocol in strings_at(runtime, "spec", "protocolVersions") or PROTOCOLS:
            yield str(entry.get("name")), str(entry.get("version") or ""), entry["priority"], protocol


_COLUMNS = (
    Column("Disabled", lambda obj, _: find(obj, "spec", "disabled"), type="boolean"),
    Column("ModelType", _first_name("spec", "supportedModelFormats")),
    Column("Containers", _first_name("spec", "containers")),
    AGE_COLUMN,
)

_SCHEMA = object_schema(
    {"spec": SERVING_RUNTIME_SPEC, "status": ANYTHING},
    required=("spec",),
    description="A server, and the formats of models that it can serve.",
)

SERVING_RUNTIME = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="ServingRuntime",
    plural="servingruntimes",
    singular="servingruntime",
    columns=_COLUMNS,
    schema=_SCHEMA,
    check=_check,
    check_among=_check_among,
)

CLUSTER_SERVING_RUNTIME = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="ClusterServingRuntime",
    plural="clusterservingruntimes",
    singular="clusterservingruntime",
    namespaced=False,
    columns=_COLUMNS,
    schema=_SCHEMA,
    check=_check,
    check_among=_check_among,
)
