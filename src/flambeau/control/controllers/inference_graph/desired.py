"""Which revisions a graph's router should have, and which one answers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.controllers.inference_service.desired import is_serving
from flambeau.control.controllers.inference_service.template import template_hash
from flambeau.control.controllers.names import HASH_ANNOTATION, revision_number
from flambeau.control.controllers.revision.made import new_revision
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at


@dataclass(frozen=True, slots=True)
class Plan:
    """What the revisions of a graph should be."""

    create: Object | None
    """A new revision."""
    delete: tuple[str, ...]
    """Older than the one that answers: a graph has no way back but its own text."""
    latest: str
    """Empty before the first."""
    serving: str
    """The one that requests go to; empty before one was ready."""


def plan(graph: Object, template: Object | None, revisions: Sequence[Object]) -> Plan:
    """Return what the revisions should be: the newest, and until it is ready the one that answered before.

    Args:
        graph: the InferenceGraph.
        template: of its router's pods; None when it can't be made: then what is there goes on.
        revisions: those that it owns.
    """
    by_number = sorted(revisions, key=lambda each: revision_number(each["metadata"]["name"]))
    names = [each["metadata"]["name"] for each in by_number]
    told = next((str(entry.get("revisionName")) for entry in mappings_at(graph, "status", "traffic")), "")
    new = None
    if template is not None and (
        not by_number or find(by_number[-1], "metadata", "annotations", HASH_ANNOTATION) != template_hash(template)
    ):
        last = max(revision_number(name) for name in ("", told, *names))
        new = new_revision(graph, graph["metadata"]["name"], template, last + 1)
    latest = new["metadata"]["name"] if new is not None else names[-1] if names else ""
    ready = [each["metadata"]["name"] for each in by_number if is_serving(each)]
    serving = latest if latest in ready else told if told in names else ready[-1] if ready else ""
    return Plan(new, tuple(name for name in names if name not in (latest, serving)), latest, serving)
