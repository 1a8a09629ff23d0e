"""kill -9 in the middle of serving: of a worker, of a pod, of the control plane, of the gateway. What survives is in the design."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import psutil

from tests.system.deploy import Model
from tests.system.harness import Platform, host_of, under_load, until

HOST = host_of("mnist-torchserve")
PAUSE_SECONDS = 5.0
"""Longer than three failed probes in a row, and than two ticks of the autoscaler."""


@dataclass
class Load:
    """What steady requests got."""

    answers: list[tuple[int, str]] = field(default_factory=list)

    @property
    def failed(self) -> list[tuple[int, str]]:
        """Return the answers that are not the right one."""
        return [answer for answer in self.answers if answer != (200, '{"predictions":[0]}')]


@contextmanager
def load_on(platform: Platform, model: Model) -> Iterator[Load]:
    """Send requests one after another while the block runs."""
    done = threading.Event()
    load = Load()

    def send() -> None:
        for answer in under_load(platform, HOST, model.request, done.is_set):
            load.answers.append(answer)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        until(lambda: len(load.answers) >= 5, seconds=20, what="answers under load")
        yield load
        seen = len(load.answers)
        until(lambda: len(load.answers) >= seen + 5, seconds=30, what="answers after the fault")
    finally:
        done.set()
        sender.join(70)


def workers(platform: Platform) -> list[int]:
    pod = platform.pods("mnist-torchserve")[0]
    models = httpx2.get(f"http://{pod['status']['podIP']}:8085/models/mnist", timeout=10, trust_env=False).json()
    return [worker["pid"] for worker in models[0]["workers"] if worker["status"] == "READY"]


def pod_process(platform: Platform) -> psutil.Process:
    """Return the leader of the pod's process group: `flambeau serve`."""
    return next(p for p in platform.processes() if "serve" in p.cmdline() and os.getsid(p.pid) == p.pid)


def test_a_killed_worker_costs_its_own_request_and_is_replaced(ready: Platform, model: Model) -> None:
    victim = workers(ready)[0]
    with load_on(ready, model) as load:
        psutil.Process(victim).send_signal(signal.SIGKILL)
        until(lambda: workers(ready) and victim not in workers(ready), seconds=30, what="new worker")
    assert len(load.failed) <= 1 + len([a for a in load.failed if a[0] == 503]), load.failed
    lost = [text for status, text in load.failed if status in (500, 507)]
    assert all("SIGKILL" in text for text in lost), lost
    assert load.answers[-1] == (200, '{"predictions":[0]}')


def test_a_killed_pod_is_started_again_and_says_why(ready: Platform, model: Model) -> None:
    leader = pod_process(ready)
    with load_on(ready, model) as load:
        leader.send_signal(signal.SIGKILL)
        until(lambda: _restarts(ready) == 1, seconds=40, what="restart")
        until(lambda: load.answers[-1][0] == 200, seconds=40, what="answer after the restart")
    assert load.answers[-1] == (200, '{"predictions":[0]}')
    assert all(status in (502, 503) for status, _ in load.failed), load.failed
    pod = ready.pods("mnist-torchserve")[0]
    container = next(c for c in pod["status"]["containerStatuses"] if c["name"] == "kserve-container")
    assert container["lastState"]["terminated"]["signal"] == signal.SIGKILL
    assert container["lastState"]["terminated"]["exitCode"] == 137


def _restarts(platform: Platform) -> int:
    pods = platform.pods("mnist-torchserve")
    return max((c["restartCount"] for pod in pods for c in pod["status"].get("containerStatuses", [])), default=0)


def test_a_killed_gateway_comes_back_with_its_routes(ready: Platform, model: Model) -> None:
    gateway = next(p for p in ready.processes() if "flambeau.programs.gateway" in p.cmdline())
    gateway.send_signal(signal.SIGKILL)

    def answers() -> bool:
        try:
            return ready.post("/v1/models/mnist:predict", model.request, host=HOST).text == '{"predictions":[0]}'
        except httpx2.TransportError:
            return False

    until(answers, seconds=20, what="answer after the gateway was killed")


def test_a_control_plane_that_stands_still_changes_nothing_when_it_goes_on(ready: Platform, model: Model) -> None:
    leader, restarts = pod_process(ready).pid, _restarts(ready)
    assert ready.process is not None
    with load_on(ready, model) as load:
        os.kill(ready.process.pid, signal.SIGSTOP)
        try:
            seen, ends = len(load.answers), time.monotonic() + PAUSE_SECONDS
            until(lambda: len(load.answers) >= seen + 20 and time.monotonic() > ends, seconds=30, what="answers without a control plane")
        finally:
            os.kill(ready.process.pid, signal.SIGCONT)
        until(lambda: ready.condition("mnist-torchserve").get("status") == "True", seconds=20, what="Ready after the pause")
    assert load.failed == []
    assert (pod_process(ready).pid, _restarts(ready)) == (leader, restarts)


def test_a_killed_control_plane_costs_no_request_and_is_followed_by_one_that_adopts(ready: Platform, model: Model) -> None:
    leader, pod = pod_process(ready).pid, ready.pods("mnist-torchserve")[0]["metadata"]["name"]
    gateway = next(p.pid for p in ready.processes() if "flambeau.programs.gateway" in p.cmdline())
    with load_on(ready, model) as load:
        ready.kill()
        seen = len(load.answers)
        until(lambda: len(load.answers) >= seen + 20, seconds=20, what="answers without a control plane")
        ready.start()
        until(lambda: ready.condition("mnist-torchserve").get("status") == "True", seconds=20, what="Ready after the restart")
    assert load.failed == []
    assert pod_process(ready).pid == leader
    assert next(p.pid for p in ready.processes() if "flambeau.programs.gateway" in p.cmdline()) == gateway
    assert [p["metadata"]["name"] for p in ready.pods("mnist-torchserve")] == [pod]
    assert _restarts(ready) == 1  # from the pod that was killed before


def test_what_was_said_while_the_control_plane_was_down_is_done_later(ready: Platform, model: Model) -> None:
    ready.kill()
    leader = pod_process(ready)
    leader.send_signal(signal.SIGKILL)
    leader.wait(10)
    ready.start()
    until(lambda: _restarts(ready) == 2, seconds=40, what="restart after the control plane came back")

    def answers() -> bool:
        return ready.post("/v1/models/mnist:predict", model.request, host=HOST).text == '{"predictions":[0]}'

    until(answers, seconds=40, what="answer")
