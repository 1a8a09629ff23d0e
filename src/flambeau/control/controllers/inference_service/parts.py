"""The parts of an InferenceService: predictor, transformer, explainer, and the predictor's canaries. Pure.

Each part has revisions of its own, named after its base: ``X-predictor``, ``X-transformer``, or ``X-v2-predictor`` where the predictor's
spec names a variant. What a part remembers stands in the status: of a canary in ``canaryStatuses``, of the others in ``components``.
Source: specification 1.9, 4.1 and 7.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.controllers.hosts import component_name
from flambeau.control.controllers.merge import merge_value
from flambeau.control.controllers.names import COMPONENT_LABEL, CONFIGURATION_LABEL
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find, mappings_at

PREDICTOR = "predictor"
_ASIDE = ("transformer", "explainer")


@dataclass(frozen=True, slots=True)
class Part:
    """Something with revisions of its own."""

    component: str
    """predictor, transformer or explainer."""
    base: str
    """The name that its revisions begin with."""
    spec: Object
    canary: str = ""
    """The variant's name, of a canary."""
    percent: int = 0
    """A canary's share of the requests."""


def parts(service: Object) -> tuple[Part, ...]:
    """Return a service's parts, the predictor first, its canaries last."""
    name, spec = service["metadata"]["name"], service["spec"]
    predictor = spec[PREDICTOR]
    aside = [Part(each, component_name(name, each), spec[each]) for each in _ASIDE if spec.get(each)]
    canaries = [_canary(name, predictor, entry) for entry in mappings_at(spec, "canary")]
    return Part(PREDICTOR, component_name(name, PREDICTOR, predictor.get("name") or ""), predictor), *aside, *canaries


def _canary(service: str, stable: Object, entry: Object) -> Part:
    """Return a canary: the predictor with the canary's fields laid over it."""
    own, percent = entry[PREDICTOR], int(entry["trafficPercent"])
    merged = {name: copy.deepcopy(value) for name, value in stable.items() if name not in ("canaryTrafficPercent", "minReplicas")}
    if "containers" in own and "model" not in own:
        merged.pop("model", None)  # it is a server of its own; beside a model, the stable predictor's containers stay
    for name, value in own.items():
        merge_value(merged, name, value)
    merged.setdefault("minReplicas", math.ceil(least_of(stable) * percent / 100))
    return Part(PREDICTOR, component_name(service, PREDICTOR, own["name"]), merged, own["name"], percent)


def least_of(spec: Object) -> int:
    """Return how many pods a component has at least."""
    least = spec.get("minReplicas")
    return 1 if least is None else int(least)


def stable_least(service: Object, everyone: Sequence[Part]) -> int:
    """Return how many pods the stable predictor has at least: those of canaries that are ready count for it, but one of its own stays."""
    stable = least_of(everyone[0].spec)
    ready = sum(least_of(part.spec) for part in everyone if part.canary and memory(service, part).get("ready"))
    return max(min(1, stable), stable - ready)


def memory(service: Object, part: Part) -> Object:
    """Return what the status says of a part; empty where it says nothing."""
    if part.canary:
        told = mappings_at(service, "status", "canaryStatuses")
        return next((entry for entry in told if entry.get("name") == part.canary), {})
    return find(service, "status", "components", part.component) or {}


def revisions_of(part: Part, everyone: Sequence[Part], revisions: Sequence[Object]) -> list[Object]:
    """Return a part's revisions.

    A component keeps those of an earlier base until its new ones can answer: a predictor that takes a canary's name goes on serving.
    """
    if part.canary:
        return [each for each in revisions if _base(each) == part.base]
    taken = {each.base for each in everyone if each.canary}
    return [each for each in revisions if _component(each) == part.component and _base(each) not in taken]


def has_base(part: Part, revision: Object) -> bool:
    """Tell whether a revision bears the part's name."""
    return _base(revision) == part.base


def _base(revision: Object) -> str:
    return str(revision["metadata"]["labels"].get(CONFIGURATION_LABEL, ""))


def _component(revision: Object) -> str:
    return str(revision["metadata"]["labels"].get(COMPONENT_LABEL, PREDICTOR))
