"""A pod's ``status`` as Kubernetes would write it, from what the machine knows. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flambeau.control.agent.machine import Exit, Phase, Stage, State
from flambeau.control.resources.conditions import set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER, PROXY_CONTAINER
from flambeau.control.resources.pod_template import SERVER_CONTAINER
from flambeau.foundation.timestamps import rfc3339


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machine does not know about a pod."""

    address: str
    """Empty until one is given."""
    progress: str = ""
    """How far a fetch is, in words."""
    wall_offset: float = 0.0
    """Seconds to add to the machine's clock to get seconds since the epoch."""


def server_container(pod: Mapping[str, Any]) -> Object:
    """Return the container that runs as a process: ``kserve-container``, else the first that is not the proxy."""
    containers: list[Object] = pod["spec"]["containers"]
    named = [container for container in containers if container["name"] == SERVER_CONTAINER]
    return (named or [container for container in containers if container["name"] != PROXY_CONTAINER])[0]


def model_source(pod: Mapping[str, Any]) -> str:
    """Return the URI that the storage-initializer is to fetch; empty where the pod has none."""
    containers = pod["spec"].get("initContainers") or ()
    return next((str(container["args"][0]) for container in containers if container["name"] == INITIALIZER_CONTAINER), "")


def pod_status(pod: Mapping[str, Any], state: State, facts: Facts, now: float) -> Object:
    """Return the pod's whole new status.

    Args:
        pod: as in the store; conditions keep their transition times.
        state: the machine's.
        facts: address, progress and clock.
        now: seconds since the epoch.
    """
    status: Object = {
        "phase": "Running" if state.started is not None else "Pending",
        "conditions": _conditions(pod, state, facts, now),
        "containerStatuses": [_container(container, state, facts) for container in pod["spec"]["containers"]],
        "startTime": (pod.get("status") or {}).get("startTime") or rfc3339(now),
        "qosClass": "Burstable",
    }
    if facts.address:
        status |= {"podIP": facts.address, "podIPs": [{"ip": facts.address}], "hostIP": "127.0.0.1"}
    if state.source:
        status["initContainerStatuses"] = [_initializer(pod, state, facts)]
    return status


def _conditions(pod: Mapping[str, Any], state: State, facts: Facts, now: float) -> list[Object]:
    conditions: list[Object] = copy.deepcopy((pod.get("status") or {}).get("conditions") or [])
    initialized = state.fetched or not state.source
    reason, message = _why_unready(pod, state, facts)
    set_condition(conditions, "PodScheduled", "True", "", "", now)
    if initialized:
        set_condition(conditions, "Initialized", "True", "", "", now)
    else:
        set_condition(conditions, "Initialized", "False", reason, message, now)
    for type in ("ContainersReady", "Ready"):
        if state.phase is Phase.READY:
            set_condition(conditions, type, "True", "", "", now)
        else:
            set_condition(conditions, type, "False", reason, message, now)
    return conditions


def _why_unready(pod: Mapping[str, Any], state: State, facts: Facts) -> tuple[str, str]:
    match state.phase:
        case Phase.DRAINING | Phase.STOPPING | Phase.GONE:
            return "PodCompleted", "the pod is being stopped"
        case Phase.FETCHING if state.trouble is None or facts.progress:
            return "PodInitializing", f"fetching {state.source}: {facts.progress}" if facts.progress else f"fetching {state.source}"
    if state.trouble is not None:
        return state.trouble.reason, state.trouble.message
    names = " ".join(container["name"] for container in pod["spec"]["containers"])
    if state.phase is Phase.RUNNING:
        return "ContainersNotReady", f"waiting for an answer of the readiness probe; containers with unready status: [{names}]"
    return "PodInitializing", f"containers with unready status: [{names}]"


def _container(container: Mapping[str, Any], state: State, facts: Facts) -> Object:
    is_proxy = container["name"] == PROXY_CONTAINER
    status: Object = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": state.phase is Phase.READY,
        "started": state.phase in (Phase.RUNNING, Phase.READY),
        "restartCount": 0 if is_proxy else state.restarts,
        "state": _proxy_state(state, facts) if is_proxy else _server_state(state, facts),
        "lastState": {},
    }
    if not is_proxy and state.last_exit is not None:
        status["lastState"] = {"terminated": _terminated(state.last_exit, facts)}
    return status


def _server_state(state: State, facts: Facts) -> Object:
    if state.phase in (Phase.RUNNING, Phase.READY, Phase.DRAINING, Phase.STOPPING) and state.started is not None:
        return {"running": {"startedAt": _wall(state.started, facts)}}
    if state.trouble is not None and state.trouble.stage is Stage.SERVE and state.phase is Phase.BACKOFF:
        ran = state.last_exit is not None
        return {"waiting": {"reason": "CrashLoopBackOff" if ran else state.trouble.reason, "message": state.trouble.message}}
    return {"waiting": {"reason": "PodInitializing"}}


def _proxy_state(state: State, facts: Facts) -> Object:
    if state.started is None:
        return {"waiting": {"reason": "PodInitializing"}}
    return {"running": {"startedAt": _wall(state.started, facts)}}


def _initializer(pod: Mapping[str, Any], state: State, facts: Facts) -> Object:
    container = next(entry for entry in pod["spec"]["initContainers"] if entry["name"] == INITIALIZER_CONTAINER)
    status: Object = {
        "name": INITIALIZER_CONTAINER,
        "image": container.get("image", ""),
        "imageID": "",
        "ready": state.fetched,
        "restartCount": state.fetch_restarts,
        "state": _initializer_state(state, facts),
        "lastState": {},
    }
    if state.last_fetch is not None:
        status["lastState"] = {"terminated": _terminated(state.last_fetch, facts)}
    return status


def _initializer_state(state: State, facts: Facts) -> Object:
    if state.fetched:
        started, finished = state.fetch_started or 0.0, state.fetch_finished or 0.0
        return {"terminated": _terminated(Exit(0, None, "Completed", "", started, finished), facts)}
    if state.phase is Phase.FETCHING and state.fetch_started is not None:
        running: Object = {"startedAt": _wall(state.fetch_started, facts)}
        return {"running": running | ({"message": facts.progress} if facts.progress else {})}
    if state.trouble is not None and state.phase is Phase.BACKOFF:
        return {"waiting": {"reason": "CrashLoopBackOff", "message": state.trouble.message}}
    return {"waiting": {"reason": "PodInitializing"}}


def _terminated(ended: Exit, facts: Facts) -> Object:
    terminated: Object = {
        "exitCode": ended.code if ended.code is not None else 128 + (ended.signal or 9),
        "reason": ended.reason,
        "startedAt": _wall(ended.started, facts),
        "finishedAt": _wall(ended.finished, facts),
    }
    if ended.signal is not None:
        terminated["signal"] = ended.signal
    if ended.message:
        terminated["message"] = ended.message
    return terminated


def _wall(moment: float, facts: Facts) -> str:
    return rfc3339(moment + facts.wall_offset)
