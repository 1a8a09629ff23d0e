from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flambeau.foundation.server_timing import descriptions_of, durations_of
from tests.fixtures.waiting import until
from tests.serving.frontends.conftest import REQUEST_BYTES_MAX, House

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
V2_BODY = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}]}


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/predictions/echo", {"a": 1}, {"a": 1}),
        ("/predictions/echo/1.0", {"ask": "version"}, "1.0"),
        ("/predictions/echo/2.0", {"ask": "version"}, "2.0"),
        ("/predictions/echo", {"ask": "version"}, "2.0"),
        ("/v1/models/echo:predict", {"instances": [1, "x"]}, {"predictions": [1, "x"]}),
        ("/v1/models/echo%3Apredict", {"instances": [1]}, {"predictions": [1]}),
    ],
)
async def test_predictions_by_every_route(house: House, path: str, body: object, answer: object) -> None:
    response = await house.client.post(path, json=body)
    assert response.status_code == 200
    assert (response.json() if isinstance(answer, dict) else response.text) == answer


@pytest.mark.parametrize("version", ["", "/versions/1.0"])
async def test_v2_inference(house: House, version: str) -> None:
    response = await house.client.post(f"/v2/models/echo{version}/infer", json=V2_BODY)
    assert response.status_code == 200
    told = response.json()
    assert told["model_name"] == "echo"
    assert told["outputs"][0]["data"] == [1.0, 2.0]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_predictions_take_any_method(house: House, method: str) -> None:
    response = await house.client.request(method, "/predictions/echo", content=b"hello", headers={"content-type": "text/plain"})
    assert (response.status_code, response.text) == (200, "hello")


async def test_handlers_read_headers_and_the_rest_of_the_path(house: House) -> None:
    response = await house.client.post("/predictions/echo/1.0/x/y", json={"ask": "headers"}, headers={"X-Mine": "7", "explain": "True"})
    told = response.json()
    assert (told["X-Mine"], told["url_path"], told["explain"]) == ("7", "x/y", "False")


async def test_the_request_id_is_the_clients_or_new(house: House) -> None:
    kept = await house.client.post("/v1/models/echo:predict", json={"instances": [1]}, headers={"x-request-id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    made = [(await house.client.get("/ping")).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert all(len(each) == 36 for each in made)


@pytest.mark.parametrize(("path", "body"), [("/predictions/echo", {"a": 1}), ("/v2/models/echo/infer", V2_BODY)])
async def test_who_asks_hears_how_long_each_station_had_the_request(house: House, path: str, body: object) -> None:
    assert "server-timing" not in (await house.client.post(path, json=body)).headers
    response = await house.client.post(path, json=body, headers={"x-flambeau-timing": "1"})
    seconds = durations_of(response.headers.get_list("server-timing"))
    assert set(seconds) == {"server", "receive", "queue", "worker", "decode", "handler", "encode"}
    assert all(each >= 0 for each in seconds.values())
    assert seconds["server"] == pytest.approx(seconds["receive"] + seconds["queue"] + seconds["worker"], abs=1e-5)
    assert seconds["worker"] >= seconds["decode"] + seconds["handler"] + seconds["encode"] - 1e-5
    assert descriptions_of(response.headers.get_list("server-timing")) == {"batch": "1"}


async def test_torchserves_headers_on_its_own_routes(house: House) -> None:
    own = (await house.client.post("/predictions/echo", json={})).headers
    assert own["pragma"] == "no-cache"
    assert own["expires"] == "Thu, 01 Jan 1970 00:00:00 UTC"
    assert "pragma" not in (await house.client.get("/v2")).headers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", {"status": "alive"}),
        ("/v1/models", {"models": ["broken", "busy", "echo", "torn"]}),
        ("/v2/models", {"models": ["broken", "busy", "echo", "torn"]}),
        ("/v1/models/echo", {"name": "echo", "ready": True}),
        ("/v2/models/echo/ready", {"name": "echo", "ready": True}),
        ("/v2/models/echo/versions/1.0/ready", {"name": "echo", "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/models/echo", {"name": "echo", "versions": ["1.0", "2.0"], "platform": "pytorch", "inputs": [], "outputs": []}),
    ],
)
async def test_pages(house: House, path: str, body: object) -> None:
    response = await house.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    told = response.json()
    if "versions" in told:
        told["versions"].sort()
    assert told == body
    head = await house.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == response.headers["content-length"]


async def test_server_metadata(house: House) -> None:
    assert (await house.client.get("/v2")).json()["name"] == "flambeau"


async def test_not_ready_names_the_model_and_the_cause(house: House) -> None:
    response = await house.client.get("/v2/health/ready")
    told = response.json()
    assert response.status_code == 503
    assert told["ready"] is False
    assert told["reason"] == "ModelLoadFailed"
    assert "broken" in told["message"]
    assert "the weights have gone missing" in told["message"]
    assert any("the weights have gone missing" in line for line in told["log_tail"])
    assert told["models"]["echo 1.0"] == {"ready": True, "phase": "ready"}
    assert told["models"]["torn"]["phase"] == "unpacking"
    assert "neither a zip nor a tar.gz" in told["models"]["torn"]["message"]
    ping = await house.client.get("/ping")
    assert (ping.status_code, ping.json()["status"]) == (500, "Unhealthy")


@pytest.mark.parametrize("path", ["/v1/models/broken", "/v2/models/broken/ready", "/v1/models/torn"])
async def test_a_model_that_failed_says_so(house: House, path: str) -> None:
    response = await house.client.get(path)
    assert response.status_code == 503
    assert response.json()["ready"] is False
    assert response.json()["error"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/v1/models/broken:predict", "the weights have gone missing"),
        ("/v1/models/torn:predict", "neither a zip nor a tar.gz"),
    ],
)
async def test_a_request_to_a_model_that_failed_hears_the_cause(house: House, path: str, why: str) -> None:
    response = await house.client.post(path, json={"instances": [1]})
    assert response.status_code == 503
    assert why in response.json()["error"]
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("/v1/models/echo:predict", b"{no json", 400, "JSON"),
        ("/v1/models/echo:predict", b'{"other": 1}', 400, "instances"),
        ("/v1/models/echo:predict", b'{"instances": 3}', 400, "instances"),
        ("/v2/models/echo/infer", b"{}", 400, "inputs"),
        ("/v1/models/echo/predict", b"{}", 404, "predictions are at /v1/models/NAME:predict"),
        ("/v2/health/ready", b"{}", 405, "use GET"),
        ("/v1/models/nope:predict", b"{}", 404, "Model not found: nope (the models here: broken, busy, echo, torn)"),
        ("/v2/models/echo/versions/9/infer", b"{}", 404, "Model version: 9 does not exist for model: echo"),
        ("/v1/models/echo:predict", b"x" * (REQUEST_BYTES_MAX + 1), 413, f"max_request_size, {REQUEST_BYTES_MAX} bytes"),
    ],
)
async def test_what_is_wrong_is_said_in_kserves_shape(house: House, path: str, body: bytes, status: int, why: str) -> None:
    response = await house.client.post(path, content=body, headers=JSON)
    assert response.status_code == status
    told = response.json()
    assert list(told) == ["error"]
    assert why in told["error"]
    assert (await house.client.post("/v1/models/echo:predict", json={"instances": [1]})).json() == {"predictions": [1]}


@pytest.mark.parametrize(
    ("path", "body", "status", "name"),
    [
        ("/predictions/nope", b"", 404, "ModelNotFoundException"),
        ("/predictions/echo/9", b"", 404, "ModelVersionNotFoundException"),
        ("/nope", b"", 404, "ResourceNotFoundException"),
        ("/predictions/echo", b"x" * (REQUEST_BYTES_MAX + 1), 413, "RequestEntityTooLargeException"),
        ("/predictions/torn", b"", 503, "ServiceUnavailableException"),
        ("/models", b"", 405, "MethodNotAllowedException"),
    ],
)
async def test_what_is_wrong_is_said_in_torchserves_shape(house: House, path: str, body: bytes, status: int, name: str) -> None:
    response = await house.client.post(path, content=body)
    told = response.json()
    assert (response.status_code, told["code"], told["type"]) == (status, status, name)
    assert told["message"]


async def test_a_body_that_grows_over_the_limit_is_stopped(house: House) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b"x" * 500

    response = await house.client.post("/v1/models/echo:predict", content=endless())
    assert response.status_code == 413


async def test_descriptions(house: House) -> None:
    [told] = (await house.client.get("/models/echo")).json()
    assert (told["modelName"], told["modelVersion"], told["modelUrl"], told["minWorkers"]) == ("echo", "2.0", "echo2.0.mar", 1)
    assert told["workers"][0]["status"] == "READY"
    assert told["workers"][0]["pid"] in _children()
    assert told["jobQueueStatus"] == {"remainingCapacity": 100, "pendingRequests": 0}
    [old] = (await house.client.get("/models/echo/1.0")).json()
    assert old["modelVersion"] == "1.0"
    both = (await house.client.get("/models/echo/all")).json()
    assert sorted(each["modelVersion"] for each in both) == ["1.0", "2.0"]


async def test_the_list_goes_by_pages(house: House) -> None:
    everything = (await house.client.get("/models")).json()
    assert [model["modelName"] for model in everything["models"]] == ["broken", "busy", "echo"]
    assert "nextPageToken" not in everything
    first = (await house.client.get("/models?limit=2")).json()
    assert [model["modelName"] for model in first["models"]] == ["broken", "busy"]
    rest = (await house.client.get(f"/models?limit=2&next_page_token={first['nextPageToken']}")).json()
    assert [model["modelName"] for model in rest["models"]] == ["echo"]
    assert len((await house.client.get("/models?limit=junk&next_page_token=-1")).json()["models"]) == 3


async def test_a_door_shows_only_its_own_pages(house: House) -> None:
    for path in ("/models", "/models/echo", "/metrics"):
        assert (await house.client.get(house.inference_only + path)).status_code == 404
    assert (await house.client.post(house.inference_only + "/v1/models/echo:predict", json={"instances": [1]})).status_code == 200


async def test_a_dead_worker_is_told_and_replaced(house: House, tmp_path: Path) -> None:
    response = await house.client.post("/predictions/busy", json={"signal": signal.SIGKILL})
    assert response.status_code == 507  # nobody here sent that signal: TorchServe's status, too
    assert "SIGKILL" in response.json()["message"]
    again = await house.client.post("/predictions/busy", json={})
    assert again.status_code == 200


async def test_a_handler_that_raises_fails_the_request_alone(house: House) -> None:
    response = await house.client.post("/v1/models/busy:predict", json={"instances": [{"raise": "nonsense"}]})
    assert response.status_code == 503
    assert list(response.json()) == ["error"]


async def test_a_full_queue_refuses_early(house: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    started = tmp_path / "started"
    running = asyncio.create_task(house.client.post("/predictions/busy", json={"touch": str(started), "wait_for": str(gate)}))
    await until(started.exists)
    waiting = asyncio.create_task(house.client.post("/predictions/busy", json={}))
    model = house.dataplane.model("busy", None)
    await until(lambda: model.queue.pending == 1)
    refused = await house.client.post("/predictions/busy", json={})
    gate.touch()
    assert refused.status_code == 503
    assert refused.json()["type"] == "ServiceUnavailableException"
    assert int(refused.headers["retry-after"]) >= 1
    assert [(await running).status_code, (await waiting).status_code] == [200, 200]


async def test_a_client_that_leaves_takes_its_job_along(house: House, tmp_path: Path) -> None:
    gate, started, never = tmp_path / "gate", tmp_path / "started", tmp_path / "never"
    running = asyncio.create_task(house.client.post("/predictions/busy", json={"touch": str(started), "wait_for": str(gate)}))
    await until(started.exists)
    _, writer = await asyncio.open_connection(*house.address)
    body = json.dumps({"touch": str(never)}).encode()
    head = f"POST /predictions/busy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    model = house.dataplane.model("busy", None)
    await until(lambda: model.queue.pending == 1)
    writer.close()
    await until(lambda: model.queue.pending == 0)
    gate.touch()
    assert (await running).status_code == 200
    assert (await house.client.post("/predictions/busy", json={})).status_code == 200
    assert not never.exists()
    assert house.frontend.metrics.tally("busy", "1.0", None).in_flight == 0


async def test_metrics_count_what_was_answered(house: House) -> None:
    def value(text: str, name: str, model: str) -> float:
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels.get("model_name") == model
        )

    before = (await house.client.get("/metrics")).text
    await house.client.post("/predictions/echo", json={})
    response = await house.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for name in ("ts_inference_requests_total", "flambeau_request_seconds_count", "flambeau_handler_seconds_count"):
        assert value(response.text, name, "echo") == value(before, name, "echo") + 1
    # The parser adds the suffix that TorchServe's own name lacks.
    assert value(response.text, "ts_inference_latency_microseconds_total", "echo") > 0
    assert "nope" not in response.text


async def test_the_access_log_has_a_line_per_request_but_not_for_probers(house: House) -> None:
    await house.client.get("/v2/health/live")
    await house.client.post("/predictions/nope?x=1", json={})
    assert house.frontend.access_log is not None
    house.frontend.access_log.flush()
    lines = house.log.getvalue()
    assert b'"POST /predictions/nope?x=1 HTTP/1.1" 404' in lines
    assert b"/v2/health" not in lines


async def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    reader, writer = await asyncio.open_connection(*house.address)
    for number in range(3):
        body = json.dumps({"instances": [number]}).encode()
        writer.write(b"POST /v1/models/echo:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answers = b""
    async with asyncio.timeout(10):
        while answers.count(b"predictions") < 3:
            answers += await reader.read(65536)
    writer.close()
    assert [answers.index(b'"predictions":[%d]' % number) for number in range(3)] == sorted(
        answers.index(b'"predictions":[%d]' % number) for number in range(3)
    )


async def test_base64_instances_reach_the_handler_as_bytes(house: House) -> None:
    encoded = base64.b64encode(b"hello").decode()
    response = await house.client.post("/v1/models/echo:predict", json={"instances": [{"b64": encoded}]})
    assert response.status_code == 200


def _children() -> set[int]:
    return {child.pid for child in psutil.Process(os.getpid()).children(recursive=True)}


async def test_sagemakers_batch_transform_is_told_how_to_ask(house: House) -> None:
    response = await house.client.get("/execution-parameters")
    expected = {"MaxConcurrentTransforms": 1, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": REQUEST_BYTES_MAX // 2**20}
    assert response.json() == expected
    assert (await house.client.post("/execution-parameters")).status_code == 405
