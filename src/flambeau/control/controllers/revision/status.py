"""A Revision's ``status``, from its pods. Pure.

Conditions are Knative's; a revision that isn't ready says what its worst pod says.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from flambeau.control.controllers.revision.desired import initial_replicas, is_ready, living, may_sleep
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at

PROGRESS_REASONS = frozenset(("", "PodInitializing", "ContainersNotReady", "PodCompleted", "ModelLoading", "Stopping"))
"""Reasons of a pod that is on its way, in the words of the agent and of our server's health answer; every other one is a failure."""


def revision_status(revision: Object, pods: Sequence[Object], wanted: int, now: float) -> Object:
    """Return the whole new status.

    A revision becomes ready when all its pods are, so that it can carry what it takes over; it stays ready as long as one is. One that may
    sleep stays ready without pods, and while it wakes up, unless a pod of it fails.

    Args:
        revision: as it is.
        pods: those that it owns.
        wanted: how many it should have.
        now: seconds since the epoch.
    """
    alive = living(pods)
    ready = sum(is_ready(pod) for pod in alive)
    was_ready = (get_condition(revision, "Ready") or {}).get("status") == "True"
    conditions: list[Object] = copy.deepcopy(mappings_at(revision, "status", "conditions"))
    if wanted == 0:
        set_condition(conditions, "Active", "False", "NoTraffic", "it gets no requests, so it has no pods", now, "Info")
        if get_condition(revision, "Ready") is None and initial_replicas(revision) == 0:
            _set_ready(conditions, now)  # whether it can answer shows when the first request wakes it
    elif may_sleep(revision) and was_ready and ready == 0 and _worst(alive)[0] != "False":
        set_condition(conditions, "Active", "Unknown", "Queued", "requests wait at the gateway while a pod starts", now, "Info")
    else:
        set_condition(conditions, "Active", "True", "", "", now, "Info")
        if ready >= (1 if was_ready else wanted):
            _set_ready(conditions, now)
        else:
            _set_unready(conditions, alive, ready, wanted, now)
    return {
        "observedGeneration": revision["metadata"].get("generation", 1),
        "conditions": conditions,
        "actualReplicas": ready,
        "desiredReplicas": wanted,
    }


def _set_ready(conditions: list[Object], now: float) -> None:
    for type in ("ContainerHealthy", "ResourcesAvailable", "Ready"):
        set_condition(conditions, type, "True", "", "", now)


def _set_unready(conditions: list[Object], alive: Sequence[Object], ready: int, wanted: int, now: float) -> None:
    status, reason, message = _worst(alive)
    if not reason:
        reason, message = "Deploying", f"{ready} of {wanted} pods are ready"
    set_condition(conditions, "ContainerHealthy", status, reason, message, now)
    set_condition(conditions, "ResourcesAvailable", "Unknown" if status == "Unknown" else "True", "", "", now)
    set_condition(conditions, "Ready", status, reason, message, now)


def _worst(pods: Sequence[Object]) -> tuple[str, str, str]:
    """Return (status, reason, message) of the pod that is furthest from ready."""
    unready = [get_condition(pod, "Ready") or {} for pod in pods if not is_ready(pod)]
    failing = [each for each in unready if each.get("reason", "") not in PROGRESS_REASONS]
    if failing:
        return "False", failing[0]["reason"], failing[0].get("message", "")
    for each in unready:
        return "Unknown", each.get("reason", ""), each.get("message", "")
    return "Unknown", "", ""
