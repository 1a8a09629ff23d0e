"""A pod in one line, state by state, as ``kubectl get pods`` shows it."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod import POD

NOW = 1767225600.0
ENDED_AT = "2025-12-31T23:58:00Z"  # 2 minutes before NOW


def waiting(reason: str) -> Object:
    return {"waiting": {"reason": reason}}


def ended(code: int, reason: str = "") -> Object:
    return {"terminated": {"exitCode": code, **({"reason": reason} if reason else {})}}


RUNNING: Object = {"running": {"startedAt": ENDED_AT}}


def container(state: Object, *, ready: bool = False, restarts: int = 0, restarted: bool = False) -> Object:
    last = {"terminated": {"exitCode": 1, "finishedAt": ENDED_AT}} if restarted else {}
    return {"state": state, "ready": ready, "restartCount": restarts, "lastState": last}


def cells(
    init: list[Object],
    main: list[Object],
    *,
    phase: str = "Pending",
    conditions: tuple[str, ...] = (),
    deleted: bool = False,
    **status: Any,
) -> tuple[Any, ...]:
    metadata = {"name": "p", "creationTimestamp": ENDED_AT, **({"deletionTimestamp": ENDED_AT} if deleted else {})}
    pod: Object = {
        "metadata": metadata,
        "spec": {
            "initContainers": [{"name": "storage-initializer"}],
            "containers": [{"name": "kserve-container"}, {"name": "queue-proxy"}],
        },
        "status": {
            "phase": phase,
            "initContainerStatuses": init,
            "containerStatuses": main,
            "conditions": [{"type": type, "status": "True"} for type in conditions],
            **status,
        },
    }
    by_name = {column.name: column.cell(pod, NOW) for column in POD.columns}
    return by_name["Ready"], by_name["Status"], by_name["Restarts"]


DONE = container(ended(0, "Completed"), ready=True)
STARTING = [container(waiting("PodInitializing")), container(waiting("PodInitializing"))]
UP = container(RUNNING, ready=True)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (cells([], []), ("0/2", "Pending", "0")),
        (cells([container(waiting("PodInitializing"))], STARTING), ("0/2", "Init:0/1", "0")),
        (cells([container(RUNNING)], STARTING), ("0/2", "Init:0/1", "0")),
        (cells([container(ended(1, "Error"))], STARTING), ("0/2", "Init:Error", "0")),
        (cells([container(ended(3))], STARTING), ("0/2", "Init:ExitCode:3", "0")),
        (
            cells([container(waiting("CrashLoopBackOff"), restarts=4, restarted=True)], STARTING),
            ("0/2", "Init:CrashLoopBackOff", "4 (2m ago)"),
        ),
        (cells([DONE], STARTING), ("0/2", "PodInitializing", "0")),
        (cells([DONE], [container(RUNNING), UP], phase="Running"), ("1/2", "Running", "0")),
        (cells([DONE], [UP, UP], phase="Running", conditions=("Initialized", "Ready")), ("2/2", "Running", "0")),
        (
            cells([DONE], [container(RUNNING, ready=True, restarts=3, restarted=True), UP], phase="Running"),
            ("2/2", "Running", "3 (2m ago)"),
        ),
        (
            cells([DONE], [container(waiting("CrashLoopBackOff"), restarts=2, restarted=True), UP], phase="Running"),
            ("1/2", "CrashLoopBackOff", "2 (2m ago)"),
        ),
        (cells([DONE], [container(ended(1, "Error")), UP], phase="Running"), ("1/2", "Error", "0")),
        (cells([DONE], [container({"terminated": {"exitCode": 0, "signal": 9}}), UP], phase="Running"), ("1/2", "Signal:9", "0")),
        (cells([DONE], [container(ended(0, "Completed")), UP], phase="Running", conditions=("Ready",)), ("1/2", "Running", "0")),
        (cells([DONE], [container(ended(0, "Completed")), UP], phase="Running"), ("1/2", "NotReady", "0")),
        (cells([DONE], [container(ended(0, "Completed"))] * 2, phase="Succeeded"), ("0/2", "Completed", "0")),
        (cells([DONE], [UP, UP], phase="Running", deleted=True), ("2/2", "Terminating", "0")),
        (cells([DONE], [container(ended(0, "Completed"))] * 2, phase="Succeeded", deleted=True), ("0/2", "Completed", "0")),
        (cells([], [], phase="Failed", reason="Evicted"), ("0/2", "Evicted", "0")),
    ],
)
def test_states(shown: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert shown == expected


def test_wide_columns() -> None:
    pod: Object = {"metadata": {"name": "p"}, "spec": {"nodeName": "here"}, "status": {"podIP": "127.0.0.9"}}
    wide = {column.name: column.cell(pod, NOW) for column in POD.columns if column.wide}
    assert wide == {"IP": "127.0.0.9", "Node": "here", "Nominated Node": "<none>", "Readiness Gates": "<none>"}
    gated = {
        **pod,
        "spec": {"readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        "status": {"conditions": [{"type": "a", "status": "True"}]},
    }
    assert {column.name: column.cell(gated, NOW) for column in POD.columns if column.wide}["Readiness Gates"] == "1/2"
