"""A pod's ``status`` as Kubernetes would write it, from what its containers' machines know. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flambeau.control.agent.machine import Exit, Phase, Stage, State
from flambeau.control.resources.conditions import set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER, PROXY_CONTAINER, is_sidecar
from flambeau.control.resources.pod_template import SERVER_CONTAINER
from flambeau.foundation.timestamps import rfc3339


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machines do not know about a pod."""

    address: str
    """Empty until one is given."""
    progress: str = ""
    """How far a fetch is, in words."""
    wall_offset: float = 0.0
    """Seconds to add to the machines' clock to get seconds since the epoch."""
    inits: Mapping[str, float | Exit] = field(default_factory=dict)
    """Init containers that are commands: since when one runs, or how it ended."""


def server_container(pod: Mapping[str, Any]) -> Object:
    """Return the container that requests go to: ``kserve-container``, else the first that is not the proxy."""
    containers = process_containers(pod)
    return next((container for container in containers if container["name"] == SERVER_CONTAINER), containers[0])


def process_containers(pod: Mapping[str, Any]) -> list[Object]:
    """Return the containers that run as processes beside each other, sidecars last."""
    return [*(container for container in pod["spec"]["containers"] if container["name"] != PROXY_CONTAINER), *sidecars(pod)]


def sidecars(pod: Mapping[str, Any]) -> list[Object]:
    """Return the init containers that live on beside the containers, in the order of their start."""
    return [container for container in pod["spec"].get("initContainers") or () if is_sidecar(container)]


def is_asked(pod: Mapping[str, Any], container: Mapping[str, Any]) -> bool:
    """Tell whether a container has a port: the server always, another one if it says so."""
    return bool(container.get("ports")) or container["name"] == server_container(pod)["name"]


def model_source(pod: Mapping[str, Any]) -> str:
    """Return the URI that the storage-initializer is to fetch; empty where the pod has none."""
    containers = pod["spec"].get("initContainers") or ()
    return next((str(container["args"][0]) for container in containers if container["name"] == INITIALIZER_CONTAINER), "")


def pod_status(pod: Mapping[str, Any], states: Mapping[str, State], facts: Facts, now: float) -> Object:
    """Return the pod's whole new status.

    Args:
        pod: as in the store; conditions keep their transition times.
        states: of the containers that run as processes, by name.
        facts: address, progress and clock.
        now: seconds since the epoch.
    """
    server = states[server_container(pod)["name"]]
    status: Object = {
        "phase": _phase(pod, states),
        "conditions": _conditions(pod, states, facts, now),
        "containerStatuses": [_container(container, states, facts) for container in pod["spec"]["containers"]],
        "startTime": (pod.get("status") or {}).get("startTime") or rfc3339(now),
        "qosClass": "Burstable",
    }
    if facts.address:
        status |= {"podIP": facts.address, "podIPs": [{"ip": facts.address}], "hostIP": "127.0.0.1"}
    if server.prepares:
        status["initContainerStatuses"] = [
            _container(each, states, facts) if is_sidecar(each) else _initializer(each, server, facts)
            for each in pod["spec"]["initContainers"]
        ]
    return status


def _phase(pod: Mapping[str, Any], states: Mapping[str, State]) -> str:
    """Return the pod's phase: it ends when all have ended; whether well, sidecars have no say in."""
    if all(state.phase is Phase.ENDED for state in states.values()):
        exits = [states[each["name"]].last_exit for each in pod["spec"]["containers"] if each["name"] in states]
        return "Succeeded" if all(each is None or each.code == 0 for each in exits) else "Failed"
    return "Running" if any(state.started is not None for state in states.values()) else "Pending"


def _conditions(pod: Mapping[str, Any], states: Mapping[str, State], facts: Facts, now: float) -> list[Object]:
    conditions: list[Object] = copy.deepcopy((pod.get("status") or {}).get("conditions") or [])
    server = states[server_container(pod)["name"]]
    reason, message = _why_unready(pod, states, facts)
    set_condition(conditions, "PodScheduled", "True", "", "", now)
    if server.fetched or not server.prepares:
        set_condition(conditions, "Initialized", "True", "", "", now)
    else:
        set_condition(conditions, "Initialized", "False", reason, message, now)
    for type in ("ContainersReady", "Ready"):
        if all(state.phase is Phase.READY for state in states.values()):
            set_condition(conditions, type, "True", "", "", now)
        else:
            set_condition(conditions, type, "False", reason, message, now)
    return conditions


def _why_unready(pod: Mapping[str, Any], states: Mapping[str, State], facts: Facts) -> tuple[str, str]:
    """Return (reason, message) of the container that is furthest from ready; of equals, the server's."""
    first = server_container(pod)["name"]
    unready = {name: state for name, state in states.items() if state.phase is not Phase.READY} or states
    name = min(unready, key=lambda name: (unready[name].trouble is None, name != first))
    state = unready[name]
    match state.phase:
        case Phase.DRAINING | Phase.STOPPING | Phase.GONE | Phase.ENDED:
            return "PodCompleted", "the pod is being stopped" if state.phase is not Phase.ENDED else f"{name} has ended"
        case Phase.FETCHING if state.trouble is None or facts.progress:
            if not state.source:
                return "PodInitializing", f"running the init containers: {facts.progress}"
            return "PodInitializing", f"fetching {state.source}: {facts.progress}" if facts.progress else f"fetching {state.source}"
    if state.trouble is not None:
        return state.trouble.reason, state.trouble.message
    names = " ".join(_unready_names(pod, states))
    if state.phase is Phase.RUNNING:
        return "ContainersNotReady", f"waiting for an answer of the readiness probe; containers with unready status: [{names}]"
    return "PodInitializing", f"containers with unready status: [{names}]"


def _unready_names(pod: Mapping[str, Any], states: Mapping[str, State]) -> list[str]:
    return [each["name"] for each in (*pod["spec"]["containers"], *sidecars(pod)) if not _is_ready(each["name"], states)]


def _is_ready(name: str, states: Mapping[str, State]) -> bool:
    """Tell whether a container is ready; the proxy is when all others are."""
    of = [states[name]] if name in states else list(states.values())
    return all(state.phase is Phase.READY for state in of)


def _container(container: Mapping[str, Any], states: Mapping[str, State], facts: Facts) -> Object:
    state = states.get(container["name"])
    running = state if state is not None else states[next(iter(states))]
    status: Object = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": _is_ready(container["name"], states),
        "started": running.phase in (Phase.RUNNING, Phase.READY),
        "restartCount": 0 if state is None else state.restarts,
        "state": _proxy_state(running, facts) if state is None else _server_state(state, facts),
        "lastState": {},
    }
    if state is not None and state.last_exit is not None and state.phase is not Phase.ENDED:
        status["lastState"] = {"terminated": _terminated(state.last_exit, facts)}
    return status


def _server_state(state: State, facts: Facts) -> Object:
    if state.phase is Phase.ENDED and state.last_exit is not None:
        return {"terminated": _terminated(state.last_exit, facts)}
    running = (Phase.RUNNING, Phase.READY, Phase.ENDING, Phase.DRAINING, Phase.STOPPING)
    if state.phase in running and state.started is not None:
        return {"running": {"startedAt": _wall(state.started, facts)}}
    if state.trouble is not None and state.trouble.stage is Stage.SERVE and state.phase is Phase.BACKOFF:
        ran = state.last_exit is not None
        return {"waiting": {"reason": "CrashLoopBackOff" if ran else state.trouble.reason, "message": state.trouble.message}}
    return {"waiting": {"reason": "PodInitializing"}}


def _proxy_state(state: State, facts: Facts) -> Object:
    if state.started is None:
        return {"waiting": {"reason": "PodInitializing"}}
    return {"running": {"startedAt": _wall(state.started, facts)}}


def _initializer(container: Mapping[str, Any], state: State, facts: Facts) -> Object:
    fetches = container["name"] == INITIALIZER_CONTAINER
    told = facts.inits.get(container["name"])
    done = state.fetched or (isinstance(told, Exit) and told.code == 0)
    status: Object = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": done,
        "restartCount": state.fetch_restarts,
        "state": _fetch_state(state, facts) if fetches else _init_state(state, told, facts),
        "lastState": {},
    }
    if fetches and state.last_fetch is not None:
        status["lastState"] = {"terminated": _terminated(state.last_fetch, facts)}
    return status


def _init_state(state: State, told: float | Exit | None, facts: Facts) -> Object:
    if isinstance(told, Exit):
        return {"terminated": _terminated(told, facts)}
    if told is not None:
        return {"running": {"startedAt": _wall(told, facts)}}
    if state.fetched:
        return {"terminated": _terminated(Exit(0, None, "Completed", "", state.fetch_started or 0.0, state.fetch_finished or 0.0), facts)}
    return {"waiting": {"reason": "PodInitializing"}}


def _fetch_state(state: State, facts: Facts) -> Object:
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
