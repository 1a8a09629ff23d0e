"""Pod: what runs; its columns are computed from its status as Kubernetes does."""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.control.resources.age import AGE_COLUMN, age_text
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.fields.pods import POD_FIELDS
from flambeau.control.resources.fields.words import ANYTHING, an_object
from flambeau.control.resources.kind import Column, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.pod_contract import NODE_NAME, is_sidecar
from flambeau.control.resources.pod_template import containers_with_paths, image_warnings, no_effect_warning
from flambeau.foundation.timestamps import parse_rfc3339

_AS_IT_IS = {"nodeName": NODE_NAME, "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {}}
"""What clients write although it is so anyway."""
_ENDED_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class _Summary:
    """A pod in one line."""

    status: str
    ready: int
    restarts: int
    restarted_at: float | None


def _summary(pod: Object) -> _Summary:
    """Look at a pod as ``kubectl get pods`` does: init containers first, then the containers from last to first."""
    status = pod.get("status") or {}
    text = str(status.get("reason") or status.get("phase") or "Pending")
    init_text, init_restarts, init_restarted_at = _init_progress(pod)
    if init_text is not None and not _is_true(pod, "Initialized"):
        return _Summary(_deleted_or(pod, init_text), 0, init_restarts, init_restarted_at)
    sidecars = _sidecars(pod)
    beside = [each for each in mappings_at(pod, "status", "initContainerStatuses") if each.get("name") in sidecars]
    ready = sum(bool(each.get("ready")) for each in beside)
    restarts = sum(int(each.get("restartCount") or 0) for each in beside)
    restarted_at: float | None = None
    for each in beside:
        restarted_at = _later(restarted_at, each)
    for container in reversed(mappings_at(pod, "status", "containerStatuses")):
        restarts += int(container.get("restartCount") or 0)
        restarted_at = _later(restarted_at, container)
        waiting, ended = find(container, "state", "waiting"), find(container, "state", "terminated")
        if waiting and waiting.get("reason"):
            text = waiting["reason"]
        elif ended:
            text = _ending(ended)
        elif container.get("ready") and find(container, "state", "running") is not None:
            ready += 1
    if text == "Completed" and ready:
        text = "Running" if _is_true(pod, "Ready") else "NotReady"
    return _Summary(_deleted_or(pod, text), ready, restarts, restarted_at)


def _init_progress(pod: Object) -> tuple[str | None, int, float | None]:
    """Return (text while initialising, restarts so far, last restart); the text is None when all init containers are done."""
    restarts = 0
    restarted_at: float | None = None
    total, sidecars = len(mappings_at(pod, "spec", "initContainers")), _sidecars(pod)
    for done, container in enumerate(mappings_at(pod, "status", "initContainerStatuses")):
        restarts += int(container.get("restartCount") or 0)
        restarted_at = _later(restarted_at, container)
        ended, waiting = find(container, "state", "terminated"), find(container, "state", "waiting")
        if container.get("started") and container.get("name") in sidecars:
            continue
        if ended:
            if ended.get("exitCode") == 0:
                continue
            return f"Init:{_ending(ended)}", restarts, restarted_at
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}", restarts, restarted_at
        return f"Init:{done}/{total}", restarts, restarted_at
    return None, restarts, restarted_at


def _sidecars(pod: Object) -> set[str]:
    return {container["name"] for container in mappings_at(pod, "spec", "initContainers") if is_sidecar(container)}


def _ending(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _deleted_or(pod: Object, text: str) -> str:
    if find(pod, "metadata", "deletionTimestamp") is None:
        return text
    return text if find(pod, "status", "phase") in _ENDED_PHASES else "Terminating"


def _later(moment: float | None, container: Object) -> float | None:
    """Return the later of a moment and the end of the container's last run."""
    finished_at = find(container, "lastState", "terminated", "finishedAt")
    if not isinstance(finished_at, str):
        return moment
    ended = parse_rfc3339(finished_at)
    return ended if moment is None else max(moment, ended)


def _is_true(pod: Object, condition: str) -> bool:
    return (get_condition(pod, condition) or {}).get("status") == "True"


def _ready_cell(pod: Object, _: float) -> str:
    return f"{_summary(pod).ready}/{len(mappings_at(pod, 'spec', 'containers')) + len(_sidecars(pod))}"


def _restarts_cell(pod: Object, now: float) -> str:
    summary = _summary(pod)
    if not summary.restarts or summary.restarted_at is None:
        return str(summary.restarts)
    return f"{summary.restarts} ({age_text(now - summary.restarted_at)} ago)"


def _readiness_gates_cell(pod: Object, _: float) -> str:
    gates = [str(gate.get("conditionType")) for gate in mappings_at(pod, "spec", "readinessGates")]
    return f"{sum(_is_true(pod, gate) for gate in gates)}/{len(gates)}" if gates else "<none>"


def _or_none(*path: str) -> Column:
    names = {"podIP": "IP", "nodeName": "Node", "nominatedNodeName": "Nominated Node"}
    return Column(names[path[-1]], lambda obj, _: str(find(obj, *path) or "<none>"), wide=True)


def _check(pod: Object, _: Object | None) -> Review:
    spec = find(pod, "spec")
    if not isinstance(spec, dict):
        return Review()
    warnings = list(no_effect_warning({name: value for name, value in spec.items() if _AS_IT_IS.get(name) != value}, "spec"))
    for container, path in containers_with_paths(spec, "spec"):
        warnings += image_warnings(container, path)
    return Review((), tuple(warnings))


POD = Kind(
    group="",
    versions=("v1",),
    kind="Pod",
    plural="pods",
    singular="pod",
    short_names=("po",),
    categories=("all",),
    columns=(
        Column("Ready", _ready_cell),
        Column("Status", lambda pod, _: _summary(pod).status),
        Column("Restarts", _restarts_cell),
        AGE_COLUMN,
        _or_none("status", "podIP"),
        _or_none("spec", "nodeName"),
        _or_none("status", "nominatedNodeName"),
        Column("Readiness Gates", _readiness_gates_cell, wide=True),
    ),
    schema=object_schema({"spec": an_object(POD_FIELDS, ("containers",)), "status": ANYTHING}, required=("spec",)),
    check=_check,
)
