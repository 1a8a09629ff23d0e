"""To zero and back, with real pods: requests that find nobody wait for the pod they wake, and more load brings more pods."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.fixtures.prometheus import prometheus
from tests.system.deploy import Model, manifest
from tests.system.harness import Platform, host_of, until
from tests.system.many import apply, client, ready_count, service

NAME = "mnist-torchserve"
REVISION = f"{NAME}-predictor-00001"
CLIENTS = 6


class StepLoad:
    """Clients that ask without a pause, from one moment to another, and keep what went wrong."""

    def __init__(self, platform: Platform, model: Model) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self.first_seconds = 0.0
        self._url = f"{platform.gateway}/v1/models/mnist:predict"
        self._model = model
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def start(self) -> None:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=70)

    def _ask(self) -> None:
        with httpx2.Client(timeout=60, trust_env=False) as client:
            while not self._over.is_set():
                answer = client.post(self._url, json=self._model.request, headers={"Host": host_of(NAME)})
                with self._lock:
                    self.first_seconds = self.first_seconds or time.monotonic() - self._began
                    self.answers += 1
                    if (answer.status_code, answer.text) != (200, '{"predictions":[0]}'):
                        self.failures.append(f"{answer.status_code} {answer.text}")


def test_from_zero_to_two_and_back_under_a_step_of_load(namespace: Platform, model: Model) -> None:
    scaling = "    minReplicas: 0\n    maxReplicas: 2\n    scaleTarget: 1\n"
    text = manifest("inference-service").replace("  predictor:\n", f"  predictor:\n{scaling}")
    text = text.replace("metadata:\n", 'metadata:\n  annotations:\n    autoscaling.knative.dev/window: "6s"\n', 1)
    namespace.kubectl("apply", "-f", "-", stdin=text)
    namespace.kubectl("wait", "--for=condition=Ready", f"isvc/{NAME}", "-n", "torchserve", "--timeout=90s")
    until(lambda: not namespace.pods(NAME), seconds=60, what="end of the idle pod")
    assert namespace.condition(NAME)["status"] == "True"

    def scale() -> tuple[int, int]:
        status = namespace.get("kpa", REVISION, "-n", "torchserve")["status"]
        return status["desiredScale"], status["actualScale"]

    until(lambda: scale() == (0, 0), seconds=10, what="scale of 0")
    load = StepLoad(namespace, model)
    load.start()
    try:
        until(lambda: scale() == (2, 2), seconds=60, what="second pod")
        served = load.answers
        until(lambda: load.answers > served + CLIENTS, seconds=30, what="answer of both pods")
    finally:
        load.end()
    until(lambda: not namespace.pods(NAME), seconds=60, what="end of the idle pods")
    assert load.failures == []
    print(f"from zero to the first answer: {load.first_seconds:.2f} s; {load.answers} answers, none lost")
    described = namespace.kubectl("describe", "isvc", NAME, "-n", "torchserve").stdout
    assert f"{REVISION}: 1 -> 0 replicas" in described or f"{REVISION}: 2 -> 0 replicas" in described


def triggered(address: str, query: str) -> dict[str, Any]:
    """Return a service of the class keda, whose pods take 5 each of what a query counts."""
    metric = {"backend": "prometheus", "serverAddress": address, "query": query}
    metrics = [{"type": "External", "external": {"metric": metric, "target": {"type": "AverageValue", "value": "5"}}}]
    obj = service("counted", namespace="torchserve", minReplicas=0, maxReplicas=3, autoScaling={"metrics": metrics})
    annotations = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "keda"}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


async def test_prometheus_says_how_many_pods_there_are_and_a_request_wakes_the_first(namespace: Platform, tmp_path: Path) -> None:
    async with prometheus(tmp_path) as database:
        address = str(database.base_url).rstrip("/")
        with client(namespace) as api:
            apply(api, triggered(address, "vector(0)"))
            until(lambda: ready_count(api, "torchserve") >= 1 and namespace.pods("counted"), seconds=60, what="ready service")
            until(lambda: not namespace.pods("counted"), seconds=60, what="service without pods")
            answer = namespace.post("/v1/models/m:predict", {"instances": []}, host=host_of("counted"))
            assert (answer.status_code, answer.text) == (200, '{"predictions": ["yes"]}'), answer.text
            apply(api, triggered(address, "vector(12)"))
            until(lambda: len(namespace.pods("counted")) == 3, seconds=60, what="three pods")
