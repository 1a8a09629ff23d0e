"""ClusterStorageContainer: a command of one's own that fetches models from where the platform can't."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.containers import CONTAINER
from flambeau.control.resources.fields.words import BOOLEAN, STRING, an_object, explained, list_of, one_of
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.object_schema import object_schema

WORKLOAD_TYPE = "initContainer"
_OTHER_WORKLOAD_TYPE = "localModelDownloadJob"
UNKNOWN_SCHEME = "StorageSchemeNotSupported"
"""Reason of the finding about a URI that only a ClusterStorageContainer could fetch."""

_FORMAT = an_object(
    {"prefix": explained(STRING, "What the URI begins with."), "regex": explained(STRING, "A pattern that is found in it.")}
)
_SCHEMA = {
    "disabled": explained(BOOLEAN, "Leave it out of account."),
    "spec": an_object(
        {
            "container": explained(CONTAINER, "The command that fetches: it gets the URI and a folder as its last arguments."),
            "supportedUriFormats": explained(list_of(_FORMAT), "URIs that it fetches."),
            "workloadType": one_of(WORKLOAD_TYPE, _OTHER_WORKLOAD_TYPE),
            "supportsMultiModelDownload": BOOLEAN,
        },
        ("container", "supportedUriFormats"),
    ),
}


def fetcher_for(uri: str, containers: Iterable[Mapping[str, Any]], named: str = "") -> Mapping[str, Any] | None:
    """Return the ClusterStorageContainer that fetches a URI, None where the platform does it itself.

    Those that run KServe's own storage initializer stand for the platform's own work. Pure.

    Args:
        uri: of a model.
        containers: all ClusterStorageContainers, by name.
        named: the one that an InferenceService asks for; empty: whichever supports the URI.
    """
    mine = _in_question(uri, containers, named)
    return next((each for each in mine if not initializes_storage(each["spec"]["container"])), None)


def initializer_environment(uri: str, containers: Iterable[Mapping[str, Any]], named: str = "") -> dict[str, str]:
    """Return the variables of the container that stands for the platform's own work on a URI; those with plain values.

    Args:
        uri: of a model.
        containers: all ClusterStorageContainers, by name.
        named: the one that an InferenceService asks for; empty: whichever supports the URI.
    """
    for each in _in_question(uri, containers, named):
        if initializes_storage(each["spec"]["container"]):
            return {entry["name"]: str(entry["value"]) for entry in mappings_at(each["spec"]["container"], "env") if "value" in entry}
    return {}


def _in_question(uri: str, containers: Iterable[Mapping[str, Any]], named: str) -> Iterator[Mapping[str, Any]]:
    for each in containers:
        if each.get("disabled") or (each["spec"].get("workloadType") or WORKLOAD_TYPE) != WORKLOAD_TYPE:
            continue
        if (not named or each["metadata"]["name"] == named) and supports(each, uri):
            yield each


def supports(container: Mapping[str, Any], uri: str) -> bool:
    """Tell whether a ClusterStorageContainer says that it fetches a URI."""
    for format in container["spec"].get("supportedUriFormats") or ():
        prefix, pattern = format.get("prefix"), format.get("regex")
        if prefix and uri.startswith(prefix):
            return True
        if pattern and re.search(pattern, uri):
            return True
    return False


def initializes_storage(container: Mapping[str, Any]) -> bool:
    """Tell whether a container is KServe's own storage initializer, whose work the platform does itself."""
    return not container.get("command") and "storage-initializer" in str(container.get("image", ""))


def _check(obj: Object, _: Object | None) -> Review:
    spec = find(obj, "spec")
    return Review(tuple(_errors(spec)), tuple(_warnings(spec))) if isinstance(spec, dict) else Review()


def _errors(spec: Object) -> Iterator[Finding]:
    for index, format in enumerate(mappings_at(spec, "supportedUriFormats")):
        path = f"spec.supportedUriFormats[{index}]"
        if bool(format.get("prefix")) == bool(format.get("regex")):
            yield Finding(path, "must have exactly one of prefix and regex")
        try:
            re.compile(str(format.get("regex") or ""))
        except re.error as error:
            yield Finding(f"{path}.regex", f"is no pattern: {error}", format["regex"])


def _warnings(spec: Object) -> Iterator[str]:
    if spec.get("workloadType") == _OTHER_WORKLOAD_TYPE:
        yield f"spec.workloadType: {_OTHER_WORKLOAD_TYPE} is not served here: the model cache of this machine needs no jobs"
    container = spec.get("container")
    if isinstance(container, dict) and not container.get("command") and not initializes_storage(container):
        yield "spec.container: names no command: images can't run on this machine, so its downloads will fail"


CLUSTER_STORAGE_CONTAINER = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="ClusterStorageContainer",
    plural="clusterstoragecontainers",
    singular="clusterstoragecontainer",
    namespaced=False,
    columns=(
        Column("Container", lambda obj, _: find(obj, "spec", "container", "name")),
        Column("Workload", lambda obj, _: find(obj, "spec", "workloadType") or WORKLOAD_TYPE),
        AGE_COLUMN,
    ),
    schema=object_schema(_SCHEMA),
    has_status=False,
    check=_check,
)
