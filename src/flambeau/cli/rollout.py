"""``flambeau rollout``: how a change of an InferenceService gets on, which revisions there were, and the way back.

A revision never changes, so going back makes a new one from what the old one was made from; the one that serves goes on serving until the
new one answers. While a canary runs, going back is quicker: its share of the requests becomes 0 (KServe's own rule).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import orjson
from cyclopts import App, Parameter

from flambeau.cli import show
from flambeau.cli.api import Api, ResourceType
from flambeau.cli.apply import FIELD_MANAGER
from flambeau.cli.target import HERE, Target
from flambeau.cli.wait import seconds_of
from flambeau.foundation.clock import rfc3339
from flambeau.foundation.errors import InvalidInput, NotFound, TimedOut

_REVISIONS = "revisions.serving.knative.dev"
_CONFIGURATION_LABEL = "serving.knative.dev/configuration"
_GENERATION_LABEL = "serving.knative.dev/configurationGeneration"
_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_COMPONENT_LABEL = "component"
_SPEC_ANNOTATION = "flambeau.dev/component-spec"
_CHANGED_BY_ANNOTATION = "flambeau.dev/changed-by"
_CAUSE_ANNOTATION = "kubernetes.io/change-cause"
_SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
_RESTARTED_ANNOTATION = "kubectl.kubernetes.io/restartedAt"
_SILENCE_SECONDS_MAX = 5.0
"""Of a watch, before the service is read anew."""

Component = Annotated[str, Parameter(name="--component")]
_PREDICTOR = "predictor"

rollout = App(name="rollout", help="See how a change of an InferenceService gets on, look back, go back.")


@rollout.command
def status(service: str, /, *, watch: bool = True, timeout: str = "10m", component: Component = _PREDICTOR, target: Target = HERE) -> int:
    """Wait until the newest revision serves, saying what is missing.

    Parameters
    ----------
    service
        The InferenceService, such as `mnist` or `isvc/mnist`.
    watch
        Wait for the end; `--no-watch` says how it stands now.
    timeout
        How long to wait, such as `--timeout 30s`.
    component
        `predictor`, `transformer` or `explainer`.
    """
    deadline = time.monotonic() + seconds_of(timeout)
    with target.open() as api:
        kind, name = _named(api, service)
        said = ""
        for obj in _states(api, kind, name, deadline):
            done, text = _progress(obj, component)
            if text != said:
                print(text, flush=True)
            said = text
            if done or not watch:
                return 0
    raise TimedOut(f"isvc/{name} has not been rolled out after {timeout}: {said}", hint=f"see `flambeau describe isvc {name}`")


@rollout.command
def history(
    service: str,
    /,
    *,
    revision: int | None = None,
    output: Annotated[str, Parameter(name=["--output", "-o"])] = "",
    component: Component = _PREDICTOR,
    target: Target = HERE,
) -> int:
    """Show the revisions there are, the newest last.

    Parameters
    ----------
    service
        The InferenceService, such as `mnist` or `isvc/mnist`.
    revision
        Show what this one was made from, such as `--revision 2`.
    output
        `json` for scripts.
    component
        `predictor`, `transformer` or `explainer`.
    """
    if output not in ("", "json"):
        raise InvalidInput(f"unknown output {output!r}", hint="there is: json")
    with target.open() as api:
        kind, name = _named(api, service)
        obj = api.get(kind.path(api.namespace, name))
        revisions = _revisions(api, obj, component)
        if revision is not None:
            spec = _spec_of(_chosen(revisions, revision))
            print(show.as_json(spec) if output else show.as_yaml({component: spec}).rstrip())
            return 0
        rows = [_row(each, obj, component) for each in revisions]
    if output:
        print(show.as_json(rows))
        return 0
    columns = ("revision", "created", "traffic", "ready", "storageUri", "image", "changedBy", "cause")
    titles = ("REVISION", "CREATED", "TRAFFIC", "READY", "STORAGE-URI", "IMAGE", "CHANGED-BY", "CAUSE")
    print("\n".join(show.table_lines(titles, [[_cell(row[column]) for column in columns] for row in rows])))
    return 0


@rollout.command
def undo(service: str, /, *, to_revision: int | None = None, component: Component = _PREDICTOR, target: Target = HERE) -> int:
    """Go back to an earlier revision; requests go on being answered meanwhile.

    Parameters
    ----------
    service
        The InferenceService, such as `mnist` or `isvc/mnist`.
    to_revision
        Which one, such as `--to-revision 2`; when left out: the one that was rolled out before, or, while a canary runs, the one beside it.
    component
        `predictor`, `transformer` or `explainer`.
    """
    with target.open() as api:
        kind, name = _named(api, service)
        obj = api.get(kind.path(api.namespace, name))
        beside = _beside_canary(obj, component)
        if to_revision is None and beside:
            _patch(api, kind, obj, f"/spec/{component}/canaryTrafficPercent", 0)
            print(f"{kind.label}/{name} rolled back: {beside} gets all requests")
            return 0
        revisions = _revisions(api, obj, component)
        wanted = _chosen(revisions, _number(_before(obj, component)) if to_revision is None else to_revision)
        spec = {field: value for field, value in _spec_of(wanted).items() if field != "canaryTrafficPercent"}
        if spec == obj["spec"].get(component):
            print(f"{kind.label}/{name} skipped rollback: it is what revision {_number_of(wanted)} was made from already")
            return 0
        _patch(api, kind, obj, f"/spec/{component}", spec)
        print(f"{kind.label}/{name} rolled back to revision {_number_of(wanted)}")
    return 0


@rollout.command
def restart(service: str, /, *, component: Component = _PREDICTOR, target: Target = HERE) -> int:
    """Start new pods in place of those there are, without losing a request.

    Parameters
    ----------
    service
        The InferenceService, such as `mnist` or `isvc/mnist`.
    component
        `predictor`, `transformer` or `explainer`.
    """
    with target.open() as api:
        kind, name = _named(api, service)
        obj = api.get(kind.path(api.namespace, name))
        if component not in obj["spec"]:
            raise NotFound(f"isvc/{name} has no {component}")
        annotations = obj["spec"][component].get("annotations") or {}
        _patch(api, kind, obj, f"/spec/{component}/annotations", {**annotations, _RESTARTED_ANNOTATION: rfc3339(time.time())})
        print(f"{kind.label}/{name} restarted")
    return 0


# How it stands


def _states(api: Api, kind: ResourceType, name: str, deadline: float) -> Iterator[dict[str, Any]]:
    """Yield the service as it is, and after each change, until the deadline."""
    while time.monotonic() < deadline:
        obj = api.get(kind.path(api.namespace, name))
        yield obj
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": obj["metadata"]["resourceVersion"]}
        silence = max(0.1, min(_SILENCE_SECONDS_MAX, deadline - time.monotonic()))
        for event in api.watch(kind.path(api.namespace), query=query, read_seconds=silence):
            if event["type"] != "MODIFIED" or time.monotonic() > deadline:
                break  # it is gone, or the watch has expired: reading it anew says which
            yield event["object"]


def _progress(obj: dict[str, Any], component: str) -> tuple[bool, str]:
    """Return whether the newest revision serves as it is to, and how that is said."""
    name, told = obj["metadata"]["name"], obj.get("status") or {}
    if int(told.get("observedGeneration") or 0) < int(obj["metadata"]["generation"]):
        return False, f"Waiting for isvc/{name}: its change has not been seen yet"
    part = _told(obj, component)
    created, ready = part.get("latestCreatedRevision", ""), part.get("latestReadyRevision", "")
    condition: dict[str, Any] = next((c for c in told.get("conditions") or () if c["type"] == "Ready"), {})
    if not created or created != ready or condition.get("status") != "True":
        why = condition.get("message") or condition.get("reason") or "it has just been created"
        return False, f"Waiting for {created or f'isvc/{name}'}: {why}"
    shares = ", ".join(f"{each['revisionName']} gets {each['percent']} %" for each in part.get("traffic") or ())
    return True, f'isvc "{name}" successfully rolled out: {shares}'


# What there was


def _named(api: Api, service: str) -> tuple[ResourceType, str]:
    kind, _, name = service.rpartition("/")
    found = api.type_named(kind or "inferenceservices")
    if found.kind != "InferenceService":
        raise InvalidInput(
            f"{found.plural} are not rolled out here, InferenceServices are",
            hint=f"`kubectl rollout status {service}` shows how one stands",
        )
    return found, name


def _revisions(api: Api, obj: dict[str, Any], component: str) -> list[dict[str, Any]]:
    """Return a component's revisions, the oldest first; those of spec.canary's variants are not among them."""
    selector = f"{_SERVICE_LABEL}={obj['metadata']['name']},{_COMPONENT_LABEL}={component}"
    found = api.get(api.type_named(_REVISIONS).path(obj["metadata"]["namespace"]), query={"labelSelector": selector})["items"]
    newest = _told(obj, component).get("latestCreatedRevision")
    line = next((_configuration(each) for each in found if each["metadata"]["name"] == newest), None)
    return sorted((each for each in found if line in (None, _configuration(each))), key=_number_of)


def _configuration(revision: dict[str, Any]) -> str:
    return str(revision["metadata"]["labels"].get(_CONFIGURATION_LABEL, ""))


def _number_of(revision: dict[str, Any]) -> int:
    return int(revision["metadata"]["labels"][_GENERATION_LABEL])


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0


def _chosen(revisions: list[dict[str, Any]], number: int) -> dict[str, Any]:
    for each in revisions:
        if _number_of(each) == number:
            return each
    there = ", ".join(str(_number_of(each)) for each in revisions)
    raise NotFound(
        f"there is no revision {number}" if number else "no earlier revision was rolled out", hint=f"there is: {there or 'none'}"
    )


def _spec_of(revision: dict[str, Any]) -> dict[str, Any]:
    text = (revision["metadata"].get("annotations") or {}).get(_SPEC_ANNOTATION)
    if not text:
        # A cluster's own revision, or one of an older version of ours.
        raise NotFound(f"{revision['metadata']['name']} does not say what it was made from", hint="apply the file it came from again")
    spec: dict[str, Any] = orjson.loads(text)
    return spec


def _told(obj: dict[str, Any], component: str) -> dict[str, Any]:
    """Return what the status says of a component."""
    return ((obj.get("status") or {}).get("components") or {}).get(component) or {}


def _traffic(obj: dict[str, Any], component: str) -> dict[str, int]:
    part = _told(obj, component)
    return {each["revisionName"]: int(each.get("percent") or 0) for each in part.get("traffic") or ()}


def _beside_canary(obj: dict[str, Any], component: str) -> str:
    """Return the revision that shares the requests with the latest one; empty where no canary runs."""
    part = _told(obj, component)
    traffic = part.get("traffic") or ()
    if not any(each.get("latestRevision") and 0 < each.get("percent", 0) < 100 for each in traffic):
        return ""
    return next((str(each["revisionName"]) for each in traffic if not each.get("latestRevision")), "")


def _before(obj: dict[str, Any], component: str) -> str:
    """Return the revision that was good before the latest one: the last rolled out, unless that is the latest itself."""
    part = _told(obj, component)
    rolled_out = str(part.get("latestRolledoutRevision") or "")
    return rolled_out if rolled_out != part.get("latestCreatedRevision") else str(part.get("previousRolledoutRevision") or "")


def _row(revision: dict[str, Any], obj: dict[str, Any], component: str) -> dict[str, Any]:
    metadata, annotations = revision["metadata"], revision["metadata"].get("annotations") or {}
    ready: dict[str, Any] = next((c for c in (revision.get("status") or {}).get("conditions") or () if c["type"] == "Ready"), {})
    return {
        "revision": _number_of(revision),
        "name": metadata["name"],
        "created": metadata["creationTimestamp"],
        "traffic": _traffic(obj, component).get(metadata["name"], 0),
        "ready": ready.get("status", "Unknown"),
        "message": ready.get("message", ""),
        "storageUri": annotations.get(_SOURCE_ANNOTATION, ""),
        "image": revision["spec"]["containers"][0].get("image", ""),
        "changedBy": annotations.get(_CHANGED_BY_ANNOTATION, ""),
        "cause": annotations.get(_CAUSE_ANNOTATION, ""),
    }


def _cell(value: Any) -> str:
    return "<none>" if value == "" else str(value)


def _patch(api: Api, kind: ResourceType, obj: dict[str, Any], path: str, value: Any) -> None:
    """Set one field; refused where somebody has changed the service since it was read."""
    steps = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]},
        {"op": "add", "path": path, "value": value},
    ]
    where = kind.path(obj["metadata"]["namespace"], obj["metadata"]["name"])
    api.request("PATCH", where, query={"fieldManager": FIELD_MANAGER}, body=steps, content_type="application/json-patch+json")
