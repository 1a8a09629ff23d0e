"""kill -9 of the control plane while a graph, a transformer, and a service that is scaled by its cpu are asked: no request notices."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import psutil
import pytest

from tests.system.harness import Platform, until
from tests.system.many import apply, client, service

NAMESPACE = "default"
ASKED = {
    "graph": ("/", {"instances": [1]}),
    "changed": ("/v1/models/changed:predict", {"instances": [1]}),
    "scaled": ("/v1/models/scaled:predict", {"instances": [1]}),
}
"""By name: path and body; each answers ``{"predictions": [...]}``."""


def transformed(name: str) -> dict[str, Any]:
    made = service(name, "predictor")
    made["spec"]["transformer"] = service(name, "transformer")["spec"]["predictor"]
    return made


def scaled(name: str) -> dict[str, Any]:
    made = service(name, "scaled", minReplicas=1, maxReplicas=2)
    made["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "hpa"}
    made["spec"]["predictor"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    return made


def graph(name: str) -> dict[str, Any]:
    steps = [{"serviceName": "scaled"}, {"serviceName": "changed", "data": "$response"}]
    spec = {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def services(platform: Platform) -> Platform:
    """Have them all, Ready."""
    with client(platform) as api:
        apply(api, scaled("scaled"))
        apply(api, transformed("changed"))
    platform.kubectl("wait", "--for=condition=Ready", "isvc/scaled", "isvc/changed", "--timeout=90s")
    platform.kubectl("apply", "-f", "-", stdin=_json(graph("graph")))
    platform.kubectl("wait", "--for=condition=Ready", "ig/graph", "--timeout=90s")
    return platform


def _json(obj: dict[str, Any]) -> str:
    return httpx2.Request("POST", "http://x", json=obj).content.decode()


class Load:
    """What each service got."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(ASKED, 0)
        self.failed: list[str] = []

    def more(self, before: dict[str, int], count: int) -> bool:
        return all(self.counts[name] >= before[name] + count for name in ASKED)


@contextmanager
def load_on(platform: Platform) -> Iterator[Load]:
    """Ask each service, one request after another, while the block runs."""
    load, done = Load(), threading.Event()

    def ask(name: str) -> None:
        path, body = ASKED[name]
        with httpx2.Client(timeout=30, trust_env=False, headers={"Host": f"{name}.{NAMESPACE}.svc.cluster.local"}) as http:
            while not done.is_set():
                try:
                    answer = http.post(platform.gateway + path, json=body)
                    if answer.status_code != 200 or "predictions" not in answer.json():
                        load.failed.append(f"{name}: {answer.status_code} {answer.text}")
                except httpx2.TransportError as error:
                    load.failed.append(f"{name}: {error!r}")
                load.counts[name] += 1

    threads = [threading.Thread(target=ask, args=(name,)) for name in ASKED]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        done.set()
        for thread in threads:
            thread.join(40)


def leaders(platform: Platform) -> set[int]:
    """Return the pods' and the gateway's processes: leaders of their sessions, but for the control plane."""
    assert platform.process is not None
    return {each.pid for each in platform.processes() if os.getsid(each.pid) == each.pid and each.pid != platform.process.pid}


def test_everything_goes_on_without_its_control_plane_and_is_adopted(services: Platform) -> None:
    processes = leaders(services)
    assert len(processes) == 5, [psutil.Process(pid).cmdline() for pid in processes]  # two predictors, transformer, router, gateway
    with load_on(services) as load:
        for _ in range(2):
            until(lambda: load.more(dict.fromkeys(ASKED, 0), 5), seconds=30, what="answers")
            services.kill()
            seen = dict(load.counts)
            until(lambda seen=seen: load.more(seen, 20), seconds=30, what="answers without a control plane")  # type: ignore[misc]
            services.start()
            services.kubectl("wait", "--for=condition=Ready", "isvc/scaled", "isvc/changed", "ig/graph", "--timeout=60s")
            seen = dict(load.counts)
            until(lambda seen=seen: load.more(seen, 20), seconds=30, what="answers after the restart")  # type: ignore[misc]
    assert load.failed == []
    assert leaders(services) == processes


def test_files_that_were_damaged_meanwhile_are_made_anew(services: Platform) -> None:
    services.kill()
    gateway = next(p for p in services.processes() if "flambeau.programs.gateway" in p.cmdline())
    gateway.kill()
    gateway.wait(10)
    for damaged in ("gateway/routes.json", "gateway/process.json", "kubeconfig"):
        (services.home / damaged).write_bytes(b"\x00 this is no file of ours {")
    records = sorted(services.home.glob("pods/*/processes/*.json"))
    records[0].write_bytes(b"{")
    notes = sorted(services.home.glob("pods/*/pod.json"))
    notes[-1].write_bytes(b"")
    services.start()
    services.kubectl("wait", "--for=condition=Ready", "isvc/scaled", "isvc/changed", "ig/graph", "--timeout=90s")

    def answers(name: str) -> bool:
        path, body = ASKED[name]
        return services.post(path, body, host=f"{name}.{NAMESPACE}.svc.cluster.local").status_code == 200

    until(lambda: all(answers(name) for name in ASKED), seconds=60, what="right answers from all")
    until(lambda: len(leaders(services)) == 5, seconds=30, what="as many processes as before, none of them twice")


def test_a_store_that_is_no_store_is_refused_by_name(services: Platform) -> None:
    assert services.stop() == 0
    assert [process.cmdline() for process in services.processes()] == []
    store = services.home / "store.db"
    whole = store.read_bytes()
    store.write_bytes(b"this is no database " * 1000)
    refused = services.flambeau("up", "--home", str(services.home), "--api", f"127.0.0.1:{services.api_port}", check=False)
    assert refused.returncode == 1
    assert str(store) in refused.stderr
    assert "move it away" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert services.processes() == []
    store.write_bytes(whole)
    services.start()
    until(lambda: len(leaders(services)) == 5, seconds=60, what="everything again")
