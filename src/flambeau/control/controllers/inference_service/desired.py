"""Which revisions an InferenceService should have, and what each is for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson

from flambeau.control.controllers.inference_service.parts import Part, has_base, memory
from flambeau.control.controllers.inference_service.template import template_hash
from flambeau.control.controllers.inference_service.traffic import History, Split, from_status, split
from flambeau.control.controllers.names import (
    ACTIVE,
    CHANGED_BY_ANNOTATION,
    HASH_ANNOTATION,
    RESERVE,
    SPEC_ANNOTATION,
    STOP_ANNOTATION,
    revision_number,
)
from flambeau.control.controllers.revision.desired import may_sleep
from flambeau.control.controllers.revision.made import new_revision
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.inference_service_check import deployment_mode
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at

KEEP_ANNOTATION = "serving.kserve.io/disable-auto-update"

REVISIONS_MAX = 10
"""Revisions kept beside those in use, for a look back and a way back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the revisions of a service should be."""

    create: Object | None
    """A new revision."""
    states: dict[str, str]
    """Revision -> active or reserve, for all there are."""
    delete: tuple[str, ...]
    """Too old, and in no use."""
    latest_created: str
    """Empty before the first."""
    latest_ready: str
    split: Split


def plan(service: Object, part: Part, template: Object | None, revisions: Sequence[Object]) -> Plan:
    """Return what the revisions should be.

    Args:
        service: the InferenceService.
        part: the component, or canary.
        template: of its pods; None when it can't be made: then what is there goes on.
        revisions: the part's; those of an earlier name come before its own.
    """
    by_number = sorted(revisions, key=lambda each: (has_base(part, each), revision_number(each["metadata"]["name"])))
    told = memory(service, part)
    created = by_number[-1]["metadata"]["name"] if by_number else ""
    new = None
    newest = next((each for each in by_number[-1:] if has_base(part, each)), None)
    if template is not None and (newest is None or (_hash(newest) != template_hash(template) and not _is_kept(service, part, newest))):
        new = revision_for(service, part, template, _last_number(part, by_number, told) + 1)
        created = new["metadata"]["name"]
    names = {each["metadata"]["name"] for each in by_number}
    history = History(*(_if_there(told.get(f"{which}RolledoutRevision"), names) for which in ("latest", "previous")))
    if is_stopped(service):
        last = _if_there(told.get("latestReadyRevision"), names)
        return Plan(None, dict.fromkeys(names, RESERVE), (), created, last, Split((), (), history))
    ready = _latest_ready(by_number, _if_there(told.get("latestReadyRevision"), names))
    shares = split(
        part.spec.get("canaryTrafficPercent") if deployment_mode(service) == "Knative" else None,
        created=created,
        ready=ready,
        history=history,
        current=tuple(target for target in from_status(told.get("traffic") or []) if target.revision in names),
        serving={each["metadata"]["name"] for each in by_number if is_serving(each)},
    )
    used = {created, *(target.revision for target in (*shares.targets, *shares.wanted))}
    kept = {shares.history.rolled_out, shares.history.previous, ready}
    unused = [each for each in by_number if each["metadata"]["name"] not in used | kept]
    foreign = [each["metadata"]["name"] for each in unused if not has_base(part, each)]
    idle = [each["metadata"]["name"] for each in unused if has_base(part, each)]
    return Plan(
        create=new,
        states={name: ACTIVE if name in used else RESERVE for name in names},
        delete=(*foreign, *idle[: max(0, len(idle) - REVISIONS_MAX)]),
        latest_created=created,
        latest_ready=ready,
        split=shares,
    )


def is_stopped(service: Object) -> bool:
    """Tell whether a service is to have no pods and to answer nothing, but to be kept."""
    return bool(find(service, "metadata", "annotations", STOP_ANNOTATION) == "true")


def is_serving(revision: Object) -> bool:
    """Tell whether a revision can answer requests now, or may be woken up by them."""
    if (get_condition(revision, "Ready") or {}).get("status") != "True":
        return False
    return int(find(revision, "status", "actualReplicas") or 0) > 0 or may_sleep(revision)


def _latest_ready(by_number: Sequence[Object], told: str) -> str:
    """Return the newest revision that has ever been ready; what was told once stays true while it is there."""
    for revision in reversed(by_number):
        name: str = revision["metadata"]["name"]
        if name == told or is_serving(revision):
            return name
    return ""


def _last_number(part: Part, by_number: Sequence[Object], told: Object) -> int:
    """Return the highest number that the part's name ever had, as far as is known."""
    if by_number and not has_base(part, by_number[-1]):
        return 0
    known = [told.get("latestCreatedRevision") or "", *(each["metadata"]["name"] for each in by_number[-1:])]
    return max(revision_number(name) for name in known)


def _is_kept(service: Object, part: Part, revision: Object) -> bool:
    """Tell whether a revision stays although its runtime changed: the service asks for that, and its own part is as it was."""
    if find(service, "metadata", "annotations", KEEP_ANNOTATION) != "true":
        return False
    return bool(find(revision, "metadata", "annotations", SPEC_ANNOTATION) == _as_text(part))


def _as_text(part: Part) -> str:
    return orjson.dumps(part.spec, option=orjson.OPT_SORT_KEYS).decode()


def _if_there(name: str | None, names: Collection[str]) -> str:
    return name if name in names and name is not None else ""


def _hash(revision: Object) -> str:
    return str(find(revision, "metadata", "annotations", HASH_ANNOTATION))


def revision_for(service: Object, part: Part, template: Object, number: int) -> Object:
    """Return a new revision of a part of a service."""
    return new_revision(service, part.base, template, number, _origin(service, part))


def _origin(service: Object, part: Part) -> dict[str, str]:
    """Return the annotations that say what a revision was made from, and by whom."""
    writers = [entry for entry in mappings_at(service, "metadata", "managedFields") if not entry.get("subresource")]
    newest = max(writers, key=lambda entry: str(entry.get("time") or ""), default={})
    told = {
        SPEC_ANNOTATION: _as_text(part),
        CHANGED_BY_ANNOTATION: str(newest.get("manager") or ""),
    }
    return {name: value for name, value in told.items() if value}
