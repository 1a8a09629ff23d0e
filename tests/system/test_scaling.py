"""To zero and back, with real pods: a request that finds nobody waits for the one it wakes."""

from __future__ import annotations

import time

from tests.system.deploy import Model, manifest
from tests.system.harness import Platform, host_of, until

NAME = "mnist-torchserve"
REVISION = f"{NAME}-predictor-00001"


def test_to_zero_and_back(namespace: Platform, model: Model) -> None:
    text = manifest("inference-service").replace("  predictor:\n", "  predictor:\n    minReplicas: 0\n    maxReplicas: 2\n")
    text = text.replace("metadata:\n", 'metadata:\n  annotations:\n    autoscaling.knative.dev/window: "6s"\n', 1)
    namespace.kubectl("apply", "-f", "-", stdin=text)
    namespace.kubectl("wait", "--for=condition=Ready", f"isvc/{NAME}", "-n", "torchserve", "--timeout=90s")
    until(lambda: not namespace.pods(NAME), seconds=40, what="end of the idle pod")
    assert namespace.condition(NAME)["status"] == "True"

    def scale() -> tuple[int, int]:
        status = namespace.get("kpa", REVISION, "-n", "torchserve")["status"]
        return status["desiredScale"], status["actualScale"]

    until(lambda: scale() == (0, 0), seconds=10, what="scale of 0")

    began = time.monotonic()
    answer = namespace.post("/v1/models/mnist:predict", model.request, host=host_of(NAME))
    assert (answer.status_code, answer.text) == (200, '{"predictions":[0]}'), answer.text
    print(f"from zero to the answer: {time.monotonic() - began:.2f} s")
    assert len(namespace.pods(NAME)) == 1
    described = namespace.kubectl("describe", "isvc", NAME, "-n", "torchserve").stdout
    assert f"{REVISION}: 1 -> 0 replicas" in described
    assert f"{REVISION}: 0 -> 1 replicas" in described
