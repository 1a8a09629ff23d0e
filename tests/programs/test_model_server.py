from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest

from flambeau.programs.model_server import doors_of, fresh_directory
from flambeau.programs.settings.server import Address, DoorSettings
from flambeau.serving.frontends.routes import Plane
from tests.fixtures.archives import BROKEN, ECHO, OBEDIENT, STUCK, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import CONFIG, Served, alive, serving, start

LAST_LINE = len(CONFIG.splitlines()) + 1
"""Of a config to which one is added."""


async def ready(client: httpx2.AsyncClient, *, model: str) -> None:
    async def asks() -> bool:
        return (await client.get(f"/v2/models/{model}/ready")).status_code == 200

    await until_told(asks)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def arguments(store: Path, *models: str) -> list[str]:
    return ["--model-store", str(store), "--models", *models]


@pytest.mark.parametrize(
    ("models", "config", "why"),
    [
        (["gone.mar"], CONFIG, "cannot load model gone.mar: {store} holds no gone.mar (it holds echo.mar)"),
        ([], CONFIG + "model_snapshot={'a'", f"model_snapshot (config.properties line {LAST_LINE}): it is not JSON"),
        (["echo.mar"], CONFIG + "job_queue_size=many", f"job_queue_size (config.properties line {LAST_LINE})"),
        (
            ["echo.mar"],
            "inference_address=http://127.0.0.1:{taken}",
            "cannot listen on 127.0.0.1:{taken}: Address already in use (stop the process that has it, or set inference_address in",
        ),
    ],
)
async def test_what_stops_the_start_is_said_and_nothing_stays(
    tmp_path: Path, store: Path, models: list[str], config: str, why: str
) -> None:
    write_mar(store, "echo", ECHO)
    log = tmp_path / "termination-log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        served = start(
            tmp_path,
            ["--model-store", str(store), *(["--models", *models] if models else [])],
            config=config.replace("{taken}", port),
            environment={"FLAMBEAU_TERMINATION_LOG": str(log)},
        )
        assert await served.ended() == 1
    why = why.replace("{store}", str(store)).replace("{taken}", port)
    assert why in served.err.read_text()
    assert why in log.read_text()
    assert "Traceback" not in served.err.read_text()
    assert not list(served.temporary.glob("flambeau-*"))


async def test_whoever_asks_first_hears_that_the_model_is_not_loaded(tmp_path: Path, store: Path) -> None:
    write_mar(store, "stuck", STUCK)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    doors = f"inference_address=http://127.0.0.1:{port}\nmanagement_address=http://127.0.0.1:0\nmetrics_address=http://127.0.0.1:0"
    served = start(tmp_path, arguments(store, "stuck.mar"), config=f"{doors}\ndisable_token_authorization=true")
    try:
        status, body = await asyncio.to_thread(_first_answer, served, port)
        assert (status, json.loads(body)["ready"]) == (503, False)
    finally:
        served.process.kill()
        served.process.wait()


def _first_answer(served: Served, port: int) -> tuple[int, bytes]:
    while served.process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/v2/health/ready")
            answer = connection.getresponse()
            return answer.status, answer.read()
    raise AssertionError(served.err.read_text())


async def test_sigterm_answers_what_was_accepted(tmp_path: Path, store: Path) -> None:
    write_mar(store, "obedient", OBEDIENT)
    write_mar(store, "broken", BROKEN)
    gate, started = tmp_path / "gate", tmp_path / "started"
    async with serving(tmp_path, arguments(store, "all")) as served, httpx2.AsyncClient(base_url=served.url, timeout=60) as client:
        await ready(client, model="obedient")
        order = {"touch": str(started), "wait_for": str(gate)}
        requests = [asyncio.create_task(client.post("/predictions/obedient", json=order)) for _ in range(3)]
        await until(started.exists)
        await until_told(lambda: fails(client, "the weights have gone missing"))
        await until_in_flight(client, 3)
        family = served.family()
        served.process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in served.err.read_text())
        await until_told(lambda: refuses_connections(served))  # after a moment for those who could not know
        gate.touch()
        answers = await asyncio.gather(*requests)
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert all(answer.headers["connection"] == "close" for answer in answers)
        assert await served.ended() == 0
    await until(lambda: not alive(family))
    assert not list(served.temporary.glob("flambeau-*"))


async def refuses_connections(served: Served) -> bool:
    async with httpx2.AsyncClient() as newcomer:
        try:
            await newcomer.get(served.url + "/ping")
        except httpx2.ConnectError:
            return True
        return False


async def fails(client: httpx2.AsyncClient, why: str) -> bool:
    return why in (await client.get("/v2/health/ready")).json()["message"]


async def until_in_flight(client: httpx2.AsyncClient, count: int) -> None:
    wanted = f'flambeau_requests_in_flight{{model_name="obedient",model_version="1.0"}} {count}.0'

    async def asks() -> bool:
        return wanted in (await client.get("/metrics")).text

    await until_told(asks)


async def test_a_second_signal_cuts_the_drain_short(tmp_path: Path, store: Path) -> None:
    write_mar(store, "obedient", OBEDIENT)
    started = tmp_path / "started"
    async with serving(tmp_path, arguments(store, "obedient.mar")) as served, httpx2.AsyncClient(base_url=served.url) as client:
        await ready(client, model="obedient")
        order = {"touch": str(started), "wait_for": str(tmp_path / "never")}
        request = asyncio.create_task(client.post("/predictions/obedient", json=order, timeout=60))
        await until(started.exists)
        family = served.family()
        served.process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in served.err.read_text())
        served.process.send_signal(signal.SIGINT)
        with pytest.raises(httpx2.RemoteProtocolError):
            await request
        assert await served.ended() == 0
    await until(lambda: not alive(family))


async def test_sigterm_while_a_model_loads(tmp_path: Path, store: Path) -> None:
    write_mar(store, "stuck", STUCK)
    async with serving(tmp_path, arguments(store, "stuck.mar")) as served, httpx2.AsyncClient(base_url=served.url) as client:
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        told = (await client.get("/v2/health/ready")).json()
        assert told["reason"] == "ModelLoading"
        assert "model stuck" in told["message"]
        await until(lambda: list(served.temporary.glob("flambeau-models-*/models/*/loading")))
        family = served.family()
        served.process.send_signal(signal.SIGTERM)
        assert await served.ended() == 0
    await until(lambda: not alive(family))
    assert not list(served.temporary.glob("flambeau-*"))


async def test_a_pod_opens_kserves_door_on_its_own_address(tmp_path: Path, store: Path) -> None:
    write_mar(store, "echo", ECHO)
    pod = "127.83.9.41"
    models = {
        "echo": {
            "1.0": {"defaultVersion": True, "marName": "echo.mar", "minWorkers": 1, "maxWorkers": 2, "batchSize": 1, "maxBatchDelay": 10}
        }
    }
    snapshot = json.dumps({"name": "startup.cfg", "modelCount": 1, "models": models})
    config = (
        "inference_address=http://0.0.0.0:8085\nmanagement_address=http://0.0.0.0:8085\nmetrics_address=http://0.0.0.0:8082\n"
        f"model_store=/mnt/models/store\nmodel_snapshot={snapshot}  # one\nenable_envvars_config=true\n"
    )
    environment = {
        "FLAMBEAU_POD_IP": pod,
        "FLAMBEAU_MOUNTS": json.dumps({"/mnt/models": str(tmp_path)}),
        "INFERENCE_SERVICE_NAME": "echo-service",
        "TS_SERVICE_ENVELOPE": "kserve",
        "PORT": "8080",
    }
    flags = ["--start", "--ts-config=/mnt/models/config.properties"]
    async with serving(tmp_path, flags, config=config, environment=environment) as served, httpx2.AsyncClient() as client:
        assert served.urls == [f"http://{pod}:8085", f"http://{pod}:8082", f"http://{pod}:8080"]
        client.base_url = f"http://{pod}:8080"
        await ready(client, model="echo")
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        for port, name in ((8080, "echo"), (8080, "echo-service"), (8085, "echo")):
            answer = await client.post(f"http://{pod}:{port}/v1/models/{name}:predict", json={"instances": [{"data": "x"}]})
            assert answer.json() == {"predictions": ["x"]}
        enveloped = await client.post(f"http://{pod}:8085/predictions/echo", json={"instances": [{"data": "x"}]})
        assert enveloped.json() == {"predictions": ["x"]}
        [told] = (await client.get(f"http://{pod}:8085/models/echo/1.0")).json()
        assert (told["minWorkers"], told["maxWorkers"], told["maxBatchDelay"]) == (1, 2, 10)
        for port in (8080, 8082):
            assert 'model_name="echo"' in (await client.get(f"http://{pod}:{port}/metrics")).text
        assert (await client.get(f"http://{pod}:8080/models")).status_code == 404
        family = served.family()
        served.process.kill()
        await until(lambda: not alive(family))


def test_show_config_names_every_source(tmp_path: Path, store: Path) -> None:
    served = start(
        tmp_path,
        ["--model_store", str(store), "--show-config"],
        config="job_queue_size=7  # x\nenable_envvars_config=true\n",
        environment={"TS_MAX_REQUEST_SIZE": "9"},
    )
    assert served.process.wait(30) == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in served.out.read_text().splitlines() if len(line.split()) > 2}
    assert rows["job_queue_size"] == ["7", "config.properties line 1"]
    assert rows["max_request_size"] == ["9", "environment TS_MAX_REQUEST_SIZE"]
    assert rows["model_store"] == [str(store), "flag --model-store"]
    assert rows["max_response_size"] == ["6553500", "default"]
    assert "took the remark" in served.err.read_text()


def test_folders_of_killed_servers_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = [f"flambeau-models-{ended.pid}-a", f"flambeau-models-{os.getpid()}-b", "flambeau-models-c", "other"]
    for name in names:
        (tmp_path / name).mkdir()
    made = fresh_directory(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], made.name}


def test_equal_addresses_are_one_door() -> None:
    shared, metrics, kserve = Address("h", 1), Address("h", 2), Address("h", 3)
    doors = doors_of(DoorSettings(inference=shared, management=shared, metrics=metrics, kserve=kserve))
    assert doors == {
        shared: {Plane.INFERENCE, Plane.MANAGEMENT, Plane.METRICS},
        metrics: {Plane.METRICS},
        kserve: {Plane.INFERENCE, Plane.METRICS},
    }
    assert doors_of(DoorSettings(inference=shared, management=shared, metrics=None, kserve=kserve))[kserve] == {Plane.INFERENCE}


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        (Address("127.3.2.1", 1), True),
        (Address("::1", 1), True),
        (Address("localhost", 1), True),
        (Address("", 0, Path("/x")), True),
        (Address("0.0.0.0", 1), False),
        (Address("10.0.0.1", 1), False),
        (Address("example.org", 1), False),
    ],
)
def test_who_reaches_an_address(address: Address, loopback: bool) -> None:
    assert address.is_loopback is loopback
