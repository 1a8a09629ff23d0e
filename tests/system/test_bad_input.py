"""Bad requests, a test per row: a clear error, and the worker lives. What is wrong with a service itself is in ``failures.py``."""

from __future__ import annotations

import httpx2
import pytest

from tests.system.deploy import Model
from tests.system.harness import Platform, host_of

PNG = "iVBORw0KGgoAAAANSUhEUg=="  # a picture that ends too early


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/mnist:predict", b"{not json", 400, ["JSON"]),
        ("/v1/models/mnist:predict", b'{"inputz": []}', 400, ["instances"]),
        ("/v1/models/mnist:predict", b'{"instances": [{"date": "x"}]}', 400, ["instance 0", "data"]),
        ("/v1/models/mnist:predict", b'{"instances": [{"data": "%s"}]}' % PNG.encode(), 400, ["picture"]),
        ("/v1/models/mnist:predict", b'{"instances": [{"data": "bm8gcGljdHVyZQ=="}]}', 400, ["picture"]),
        ("/v1/models/absent:predict", b'{"instances": []}', 404, ["absent", "mnist"]),
        ("/v1/models/mnist:predict", b'{"instances": ["' + b"x" * 6_600_000 + b'"]}', 413, ["6553500"]),
    ],
    ids=["not-json", "no-instances", "no-data", "cut-picture", "no-picture", "no-model", "too-large"],
)
def test_a_bad_request_is_told_why_and_the_worker_lives(
    ready: Platform, model: Model, path: str, body: bytes, status: int, words: list[str]
) -> None:
    before = worker_pids(ready)
    answer = ready.post(path, body, host=host_of("mnist-torchserve"))
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.json()["error"], answer.text
    after = ready.post("/v1/models/mnist:predict", model.request, host=host_of("mnist-torchserve"))
    assert after.text == '{"predictions":[0]}'
    assert worker_pids(ready) == before


def worker_pids(platform: Platform) -> list[int]:
    pod = platform.pods("mnist-torchserve")[0]
    models = httpx2.get(f"http://{pod['status']['podIP']}:8085/models/mnist", timeout=10, trust_env=False).json()
    return sorted(worker["pid"] for worker in models[0]["workers"])
