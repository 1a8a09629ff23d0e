from __future__ import annotations

import json
from pathlib import Path

import pytest

from flambeau.foundation.errors import NotReady
from flambeau.serving.model import Job, Protocol
from flambeau.serving.workers.warmup import job_of
from tests.serving.workers.kit import now, serving, write_model

COUNTS = """
seen = []

def handle(data, context):
    if data is None:
        return
    for row in data:
        value = row.get("body", row.get("data"))
        seen.append(bytes(value).decode() if isinstance(value, (bytes, bytearray)) else value)
        if seen[-1] == "bad":
            raise ValueError("cannot read such a picture")
    return [{"seen": len(seen)} for row in data]
"""


@pytest.mark.parametrize(
    ("wish", "protocol", "content_type", "body"),
    [
        ("a.json", Protocol.TORCHSERVE, "application/json", b"{}"),
        ({"file": "a.json", "content_type": "text/x"}, Protocol.TORCHSERVE, "text/x", b"{}"),
        ({"body": "hello"}, Protocol.TORCHSERVE, "text/plain", b"hello"),
        ({"body": {"a": 1}}, Protocol.TORCHSERVE, "application/json", b'{"a": 1}'),
        ({"instances": [1]}, Protocol.V1, "application/json", b'{"instances": [1]}'),
        ({"inputs": [{"name": "x"}]}, Protocol.V2, "application/json", b'{"inputs": [{"name": "x"}]}'),
    ],
)
def test_forms_of_a_request(tmp_path: Path, wish: object, protocol: Protocol, content_type: str, body: bytes) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    job: Job = job_of(wish, tmp_path, "id")
    assert (job.protocol, job.content_type, job.body) == (protocol, content_type, body)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (7, "is a int"),
        ("gone.jpg", r"names gone\.jpg, which the archive does not hold"),
        ("../etc/passwd", "which the archive does not hold"),
        ({"what": 1}, "has none of file, body, instances and inputs"),
    ],
)
def test_what_is_no_request(tmp_path: Path, wish: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        job_of(wish, tmp_path, "id")


async def test_a_worker_counts_as_loaded_after_its_warm_up(tmp_path: Path) -> None:
    (tmp_path / "first.txt").write_text("from a file")
    spec = write_model(tmp_path, COUNTS, warmup=("first.txt", {"instances": [{"data": "v1"}]}, {"body": "raw"}))
    async with serving(spec) as served:
        assert json.loads(await served.ask(b"real").text()) == {"seen": 4}


async def test_a_warm_up_request_that_fails_is_named(tmp_path: Path) -> None:
    spec = write_model(tmp_path, COUNTS, warmup=({"body": "good"}, {"body": "bad"}))
    async with serving(spec, ready=False) as served:
        with pytest.raises(NotReady, match=r"warm-up request 2 was answered 503: Prediction failed.*cannot read such a picture"):
            await served.pool.wait_ready(now() + 20)
        failure = served.pool.failure()
        assert failure is not None
        assert failure.phase == "load"
