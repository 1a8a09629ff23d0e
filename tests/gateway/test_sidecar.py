"""What stands beside replicas: requests are logged, put into batches, and compared with a shadow's; clients never wait for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.tls import context_of
from flambeau.gateway import copies, metrics
from flambeau.gateway.document import Backend, Batcher, Destination, Document, Host, Logger, Rule, Shadow
from flambeau.gateway.event_log import EventLog
from flambeau.gateway.table import Table
from tests.fixtures.certificates import make_certificate
from tests.fixtures.raw_http import Answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World
from tests.gateway.http_model import Model


@pytest.fixture
async def models() -> AsyncIterator[list[Model]]:
    started = [await Model().start() for _ in range(2)]
    try:
        yield started
    finally:
        for model in started:
            await model.server.close()


def serve(world: World, *models: Model, others: tuple[Backend, ...] = (), **extras: Any) -> None:
    backend = Backend(NAME, tuple(model.endpoint for model in models), 30.0, **extras)
    world.gateway.serve(
        Table(Document(1, (Host("m", (Rule((Destination(1, backend=NAME),), source="InferenceService ns/m"),)),), (backend, *others)))
    )


def post(*instances: Any, path: str = "/v1/models/m:predict", headers: str = "") -> bytes:
    body = json.dumps({"instances": list(instances)})
    return (
        f"POST {path} HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


# The logger.


def logger(collector: Model, **fields: Any) -> Logger:
    return Logger(f"http://127.0.0.1:{collector.endpoint.port}/events?a=1", service="m", namespace="ns", component="predictor", **fields)


async def test_requests_and_answers_become_events(world: World, models: list[Model]) -> None:
    model, collector = models
    serve(world, model, logger=logger(collector, headers=("x-user",), annotations=(("team", "ä"),)))
    answer = await world.client.ask(post(1, headers="X-User: me\r\nX-Other: no\r\n"))
    assert (answer.status, said(answer)["predictions"]) == (200, [2])
    await until(lambda: len(collector.calls) == 2)
    events = {headers["ce-type"].rpartition(".")[2]: (headers, body) for headers, body in collector.calls}
    headers, body = events["request"]
    assert json.loads(body) == {"instances": [1]}
    assert (headers["ce-specversion"], headers["ce-source"], headers["content-type"]) == ("1.0", "/ns/m", "application/json")
    assert (headers["ce-inferenceservicename"], headers["ce-namespace"], headers["ce-component"]) == ("m", "ns", "predictor")
    assert json.loads(headers["ce-metadata"]) == {"X-User": ["me"]}
    assert events["response"][1] == answer.body
    assert events["response"][0]["ce-id"] == headers["ce-id"]
    assert headers["host"] == f"127.0.0.1:{collector.endpoint.port}"


async def test_only_what_is_wanted_is_logged(world: World, models: list[Model]) -> None:
    model, collector = models
    serve(world, model, logger=logger(collector, requests=False))
    await world.client.ask(b"GET /v1/models/m HTTP/1.1\r\nHost: m\r\n\r\n")
    model.status = 500
    await world.client.ask(post(1))
    model.status = 200
    await world.client.ask(post(2, headers="Ce-Id: mine\r\n"))
    await until(lambda: collector.calls)
    assert [(headers["ce-type"].rpartition(".")[2], headers["ce-id"]) for headers, _ in collector.calls] == [("response", "mine")]


async def test_a_collector_that_hangs_or_is_gone_costs_no_request(world: World, models: list[Model]) -> None:
    model, collector = models
    collector.open = False
    serve(world, model, logger=logger(collector))
    for _ in range(60):
        assert (await world.client.ask(post(1))).status == 200
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    log = sidecar.log
    assert log is not None
    await until(lambda: log.dropped > 0)
    collector.open = True
    collector.release()
    await until(lambda: log.sent == 120 - log.dropped)
    await collector.server.close()
    await world.client.ask(post(1))
    await until(lambda: log.failed == 2)
    assert "127.0.0.1" in log.last_failure


async def test_a_collector_that_is_a_service_here_is_found_and_never_logged(world: World, models: list[Model]) -> None:
    model, collector = models
    serve(world, model, logger=Logger("http://m/events", service="m", namespace="ns", component="predictor"))
    await world.client.ask(post(1))
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    log = sidecar.log
    assert log is not None
    await until(lambda: log.sent == 2)
    assert [headers.get("ce-type", "").rpartition(".")[2] for headers, _ in model.calls] == ["", "request", "response"]
    assert not collector.calls
    model.status = 503
    await world.client.ask(post(1))
    await until(lambda: log.failed == 1)
    assert log.last_failure == "m answered 503"


async def test_a_collector_of_https_is_trusted_by_its_certificates(world: World, models: list[Model], tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    collector = Model()
    _, port = await collector.server.start(host="127.0.0.1", port=0, ssl=context_of(files.certificate, files.key, ("http/1.1",)))

    async def logged(**tls: Any) -> EventLog:
        collector.calls.clear()
        serve(world, models[0], logger=Logger(f"https://127.0.0.1:{port}/", responses=False, service="m", namespace="ns", **tls))
        await world.client.ask(post(1))
        log = world.gateway.services[NAME].sidecar.log  # type: ignore[union-attr]
        assert isinstance(log, EventLog)
        await until(lambda: log.sent + log.failed == 1)
        return log

    try:
        assert "its certificate is not trusted" in (await logged()).last_failure
        assert (await logged(certificates=files.certificate.read_text())).sent == 1
        assert (await logged(verify_tls=False)).sent == 1
        assert (await logged(certificates="none")).last_failure.endswith("can't be read: they are no PEM")
    finally:
        await collector.server.close()


# The batcher.


async def test_requests_gather_while_the_model_is_busy(world: World, models: list[Model]) -> None:
    model = models[0]
    model.open = False
    serve(world, model, batcher=Batcher(size_max=4, wait_seconds=30))
    first = asyncio.create_task(world.client.ask(post(1)))
    await until(lambda: model.calls)  # it goes at once: nobody is busy
    more = []
    for number in (2, 3):
        more.append(asyncio.create_task(world.client.ask(post(number, headers=f"X-Request-Id: id-{number}\r\nAccept-Encoding: gzip\r\n"))))
        await until(lambda: world.gateway.services[NAME].sidecar.batcher.members == len(more) + 1)  # type: ignore[union-attr]
    model.release()
    assert said(await first)["predictions"] == [2]
    await until(lambda: len(model.calls) == 2)
    model.release()
    got = [await each for each in more]
    assert [each.headers["x-request-id"] for each in got] == ["id-2", "id-3"]
    answers = [said(each) for each in got]
    assert [each["predictions"] for each in answers] == [[4], [6]]
    assert answers[0]["batchId"] == answers[1]["batchId"]
    assert model.instances() == [[1], [2, 3]]
    assert "accept-encoding" not in model.calls[1][0]


async def test_a_full_batch_goes_and_so_does_one_that_waited(world: World, models: list[Model]) -> None:
    model = models[0]
    model.open = False
    serve(world, model, batcher=Batcher(size_max=3, wait_seconds=0.3))
    tasks = [asyncio.create_task(world.client.ask(post(0)))]
    await until(lambda: len(model.calls) == 1)
    tasks += [asyncio.create_task(world.client.ask(post(1, 2)))]
    await until(lambda: world.gateway.services[NAME].sidecar.batcher.members == 2)  # type: ignore[union-attr]
    tasks += [asyncio.create_task(world.client.ask(post(3)))]
    await until(lambda: len(model.calls) == 2)  # three instances
    tasks += [asyncio.create_task(world.client.ask(post(4)))]
    await until(lambda: len(model.calls) == 3)  # after 0.3 s
    model.release()
    assert [said(await task)["predictions"] for task in tasks] == [[0], [2, 4], [6], [8]]
    assert model.instances() == [[0], [1, 2, 3], [4]]


async def test_a_status_reaches_everybody_and_what_cannot_be_shared_is_told(world: World, models: list[Model]) -> None:
    model = models[0]
    model.status = 418
    serve(world, model, batcher=Batcher())
    answer = await world.client.ask(post(1))
    assert (answer.status, said(answer)["predictions"]) == (418, [2])
    model.status = 200
    model.lost = 1
    answer = await world.client.ask(post(1, 2))
    assert (answer.status, "not one prediction for each" in said(answer)["error"]) == (502, True)


async def test_what_is_no_batch_passes_by(world: World, models: list[Model]) -> None:
    serve(world, models[0], batcher=Batcher(size_max=2))
    big = await world.client.ask(post(1, 2, 3))
    assert (big.status, "batchId" in said(big)) == (200, False)
    other = await world.client.ask(post(1, path="/predictions/m"))
    assert (other.status, "batchId" in said(other)) == (200, False)
    odd = await world.client.ask(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\n\r\nx")
    assert said(odd) == {"error": "no instances"}
    size = 5_000_000
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
    long = await world.client.ask(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
    assert (said(long), len(models[0].calls[-1][1])) == ({"error": "no instances"}, size)
    assert world.gateway.budget.take(64 * 1024 * 1024), "everything was given back"


async def test_json_that_is_nested_too_deep_fails_alone(world: World, models: list[Model]) -> None:
    model = models[0]
    model.open = False
    serve(world, model, batcher=Batcher(size_max=3, wait_seconds=30))
    batcher = world.gateway.services[NAME].sidecar.batcher  # type: ignore[union-attr]
    assert batcher is not None
    first = asyncio.create_task(world.client.ask(post(0)))
    await until(lambda: len(model.calls) == 1)
    deep = b'{"instances": [%s]}' % (b"[" * 500 + b"]" * 500)
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(deep)
    poison = asyncio.create_task(world.client.ask(head + deep))
    await until(lambda: batcher.members == 2)
    others = [asyncio.create_task(world.client.ask(post(number))) for number in (1, 2)]
    refused = await poison
    assert (refused.status, "nested too deep" in said(refused)["error"]) == (400, True)
    await until(lambda: len(model.calls) == 3)
    model.release()
    assert [said(await each)["predictions"] for each in (first, *others)] == [[0], [2], [4]]
    assert (batcher.members, batcher.under_way) == (0, 0)
    assert world.gateway.budget.take(64 * 1024 * 1024), "everything was given back"


async def test_a_client_that_leaves_costs_the_others_nothing(world: World, models: list[Model]) -> None:
    model = models[0]
    model.open = False
    serve(world, model, batcher=Batcher(size_max=8, wait_seconds=30))
    first = asyncio.create_task(world.client.ask(post(1)))
    await until(lambda: model.calls)
    batcher = world.gateway.services[NAME].sidecar.batcher  # type: ignore[union-attr]
    assert batcher is not None
    _, writer = await world.client.open()
    writer.write(post(2))
    await until(lambda: batcher.members == 2)
    second = asyncio.create_task(world.client.ask(post(3)))
    await until(lambda: batcher.members == 3)
    writer.transport.abort()
    await until(lambda: world.front.connections == 2)
    model.release()
    assert (await first).status == 200
    await until(lambda: len(model.calls) == 2)
    model.release()
    assert said(await second)["predictions"] == [6]
    assert batcher.members == 0


# Shadows.


async def test_a_shadow_is_asked_the_same_and_compared(world: World, models: list[Model]) -> None:
    model, shadow = models
    serve(world, model, others=(Backend("ns/other", (shadow.endpoint,)),), shadow=Shadow("other", ("ns/other",)))
    assert said(await world.client.ask(post(1)))["predictions"] == [2]
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    seen = sidecar.comparison
    await until(lambda: seen.same == 1)  # ids differ, answers don't
    shadow.factor = 3
    assert said(await world.client.ask(post(1)))["predictions"] == [2]
    await until(lambda: seen.different == 1)
    assert seen.last.startswith("POST /v1/models/m:predict: the bodies differ")
    shadow.status = 500
    assert (await world.client.ask(post(1))).status == 200
    await until(lambda: seen.different == 2)
    assert seen.last == "POST /v1/models/m:predict: status 200, the shadow's 500"
    shadow.open = False
    assert (await world.client.ask(post(1))).status == 200  # while the shadow hangs
    assert len(model.calls) == 4
    shadow.release()


async def test_a_shadow_that_hangs_is_cut(monkeypatch: pytest.MonkeyPatch, world: World, models: list[Model]) -> None:
    monkeypatch.setattr(copies, "COPY_SECONDS_MAX", 0.1)
    model, shadow = models
    shadow.open = False
    serve(world, model, others=(Backend("ns/other", (shadow.endpoint,)),), shadow=Shadow("other", ("ns/other",)))
    assert (await world.client.ask(post(1))).status == 200
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    await until(lambda: sidecar.comparison.dropped == 1)
    assert (world.gateway.copies_under_way, len(world.gateway.active)) == (0, 0)


async def test_a_shadow_that_is_not_there_costs_nothing(world: World, models: list[Model]) -> None:
    serve(world, models[0], others=(Backend("ns/other", ()),), shadow=Shadow("other", ("ns/other",)))
    assert (await world.client.ask(post(1))).status == 200
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    await until(lambda: sidecar.comparison.dropped == 1)


async def test_what_happened_is_in_status_and_metrics(world: World, models: list[Model]) -> None:
    model, shadow = models
    others = (Backend("ns/other", (shadow.endpoint,)),)
    serve(world, model, others=others, shadow=Shadow("other", ("ns/other",)), logger=logger(shadow))
    await world.client.ask(post(1))
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    await until(lambda: sidecar.log is not None and sidecar.log.sent == 2 and sidecar.comparison.same == 1)
    status = sidecar.status()
    assert (status["shadow"]["name"], status["shadow"]["same"], status["logger"]["sent"]) == ("other", 1, 2)
    text = metrics.render(world.gateway.readings()).decode()
    assert f'flambeau_gateway_events_total{{backend="{NAME}",outcome="sent"}} 2.0' in text
    assert f'flambeau_gateway_shadow_answers_total{{backend="{NAME}",outcome="same"}} 1.0' in text
    serve(world, model, others=others, shadow=Shadow("other", ("ns/other",)), logger=logger(shadow))
    again = world.gateway.services[NAME].sidecar
    assert again is not None
    assert again.status() == status, "a reload forgets nothing"
