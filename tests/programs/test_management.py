"""The management API on one real server: every operation, its parameters, its statuses and its words."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import psutil
import pytest
import pytest_asyncio

from tests.fixtures.archives import BROKEN, ECHO, OBEDIENT, STUCK, TALKING, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import CONFIG, Served, alive, serving

SLOW = """\
import time

class Slow:
    def initialize(self, context):
        time.sleep(0.5)

    def handle(self, data, context):
        return data
"""
"""Takes half a second to load."""

CYCLES = int(os.environ.get("FLAMBEAU_TEST_CYCLES", "100"))
"""Of registering, asking and unregistering; `FLAMBEAU_TEST_CYCLES=1000` for what a release is measured by."""
GROWTH_BYTES_MAX = 4 * 1024**2
"""Of the server's memory, however many cycles there are."""
DOORS = CONFIG.replace("default_workers_per_model=1\n", "")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Site:
    """A server with its model store, and a web server that has archives."""

    client: httpx2.AsyncClient
    served: Served
    store: Path
    web: str

    async def register(self, url: str, **parameters: object) -> httpx2.Response:
        return await self.client.post("/models", params={"url": url, **{key: str(value) for key, value in parameters.items()}})

    async def describe(self, name: str) -> Any:
        [told] = (await self.client.get(f"/models/{quote(name, safe='')}")).json()
        return told


@contextlib.contextmanager
def web_server(directory: Path) -> Iterator[str]:
    """Serve a folder over HTTP on this machine; ``/redirect`` leads to an address that nobody allows."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/redirect"):
                self.send_response(302)
                self.send_header("location", "http://localhost:1/echo.mar")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    root = tmp_path_factory.mktemp("management")
    store, remote = root / "store", root / "remote"
    write_mar(store, "echo", ECHO)
    write_mar(store, "echo", ECHO, file="echo2.mar", version="2.0")
    write_mar(store, "talking", TALKING)
    write_mar(store, "broken", BROKEN)
    write_mar(store, "obedient", OBEDIENT)
    write_mar(store, "stuck", STUCK)
    write_mar(store, "slow", SLOW)
    write_mar(store, "configured", ECHO, config="minWorkers: 2\nmaxWorkers: 3\nbatchSize: 4\nresponseTimeout: 30\n")
    (store / "torn.mar").write_bytes(b"nothing")
    (root / "outside").mkdir()
    write_mar(remote, "remote", ECHO)
    write_mar(remote, "echo", ECHO)
    (remote / "rotten.mar").write_bytes(b"nothing")
    with web_server(remote) as web:
        allowed = f"{web}/.*,file://{remote}/.*,http://169\\\\.254\\\\..*,http://localhost:.*/never/.*"
        config = f"{DOORS}enable_model_api=true\nallowed_urls={allowed}\njob_queue_size=50\n"
        async with (
            serving(root, ["--model-store", str(store)], config=config) as served,
            httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
        ):
            yield Site(client, served, store, web)


@pytest_asyncio.fixture(loop_scope="module")
async def clean(site: Site) -> AsyncIterator[Site]:
    """The server with no model before and none left after, and nothing of any on this machine."""
    yield site
    while names := [model["modelName"] for model in (await site.client.get("/models")).json()["models"]]:
        for name in names:
            versions = (await site.client.get(f"/models/{quote(name, safe='')}/all")).json()
            default = (await site.describe(name))["modelVersion"]
            for version in sorted((each["modelVersion"] for each in versions), key=lambda each: each == default):
                await site.client.delete(f"/models/{quote(name, safe='')}/{version}")
    await until(lambda: not list(site.served.temporary.glob("flambeau-models-*/models/*")))
    assert sorted(path.name for path in site.store.iterdir()) == [
        "broken.mar",
        "configured.mar",
        "echo.mar",
        "echo2.mar",
        "obedient.mar",
        "slow.mar",
        "stuck.mar",
        "talking.mar",
        "torn.mar",
    ]


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        (
            {"url": "echo.mar"},
            200,
            'Model "echo" Version: 1.0 registered with 0 initial workers. Use scale workers API to add workers for the',
        ),
        ({"url": "echo.mar", "initial_workers": "1"}, 200, 'Model "echo" Version: 1.0 registered with 1 initial workers'),
        ({"url": "echo.mar", "initial_workers": "1", "synchronous": "false"}, 202, "Processing worker updates..."),
        ({"url": "echo.mar", "initial_workers": "-1"}, 200, "registered with 0 initial workers"),
        ({"url": "echo.mar", "synchronous": "-1"}, 200, "registered with 0 initial workers"),
        ({"url": "echo.mar", "batch_size": "dd", "max_batch_delay": "junk"}, 200, "registered with 0 initial workers"),
        ({"url": "echo.mar", "model_name": "other"}, 200, 'Model "other" Version: 1.0'),
        ({"url": "echo.mar", "handler": "nowhere.py:nothing"}, 200, "registered with 0 initial workers"),
        ({"url": "stuck.mar", "initial_workers": "3", "startup_timeout": "0"}, 500, "Failed to start workers for model stuck version: 1.0"),
        ({"url": "broken.mar", "initial_workers": "1"}, 500, "the weights have gone missing"),
        ({"url": "echo.mar", "runtime": "python4"}, 400, "Invalid RuntimeType value: python4"),
        ({"url": "echo.mar", "model_name": "a/b"}, 200, 'Model "a/b" Version: 1.0'),
        ({"url": "echo.mar", "model_name": "a\n"}, 400, "model_name must have 1 to 256 printable characters"),
        ({}, 400, "Parameter url is required."),
        ({"url": ""}, 404, "empty url"),
        ({"url": "gone.mar"}, 404, "Model not found at: gone.mar"),
        ({"url": "/etc"}, 404, "Model not found at: /etc"),
        ({"url": "../store/echo.mar"}, 404, "Relative path is not allowed in url: ../store/echo.mar"),
        ({"url": "ftp://x/none.mar"}, 404, "Model not found at: ftp://x/none.mar"),
        ({"url": "https://example.org/echo.mar"}, 404, "does not match any allowed URL(s)"),
        ({"url": "http://169.254.169.254/x.mar"}, 404, "link-local ones are never fetched"),
        ({"url": "torn.mar"}, 400, "neither a zip nor a tar.gz"),
        ({"url": "{web}/remote.mar"}, 200, 'Model "remote" Version: 1.0'),
        ({"url": "{web}/gone.mar"}, 400, "it answers 404"),
        ({"url": "{web}/rotten.mar"}, 400, "neither a zip nor a tar.gz"),
        ({"url": "{web}/redirect.mar"}, 404, "it came as a redirect"),
        ({"url": "{web}/echo.mar"}, 500, "Model file already exists echo.mar"),
        ({"url": "{web}/remote.mar", "s3_sse_kms": "true"}, 400, "s3_sse_kms needs AWS_ACCESS_KEY_ID"),
    ],
)
async def test_register(clean: Site, parameters: dict[str, str], status: int, message: str) -> None:
    asked = {key: value.replace("{web}", clean.web) for key, value in parameters.items()}
    response = await clean.client.post("/models", params=asked)
    told = response.json()
    assert response.status_code == status, told
    assert message in told["status" if status < 300 else "message"]
    if status >= 300:
        assert told["code"] == status
        assert (await clean.client.get("/models")).json()["models"] == []


async def test_register_by_a_json_body(clean: Site) -> None:
    body = {"url": "echo.mar", "model_name": "mine", "batch_size": 8, "initial_workers": 1}
    assert (await clean.client.post("/models", json=body)).status_code == 200
    told = await clean.describe("mine")
    assert (told["batchSize"], told["maxBatchDelay"], told["minWorkers"], told["maxWorkers"]) == (8, 100, 1, 1)
    assert (await clean.client.post("/predictions/mine", json={"a": 1})).json() == {"a": 1}
    for content, why in ((b"{", "JSON"), (b"[]", "must be a JSON object"), (b"", "Parameter url is required.")):
        response = await clean.client.post("/models", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert why in response.json()["message"]


async def test_a_version_is_registered_once(clean: Site) -> None:
    answers = await asyncio.gather(*(clean.register("echo.mar", initial_workers=1) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    [refused, *_] = [answer.json() for answer in answers if answer.status_code == 409]
    assert refused == {
        "code": 409,
        "type": "ConflictStatusException",
        "message": "Model version 1.0 is already registered for model echo",
    }
    assert (await clean.client.post("/predictions/echo", json={"a": 1})).json() == {"a": 1}


async def test_a_failed_registration_can_be_made_good_at_once(clean: Site) -> None:
    for _ in range(3):
        assert (await clean.register("broken.mar", model_name="m", initial_workers=1)).status_code == 500
        assert (await clean.client.get("/models/m")).status_code == 404
        assert (await clean.register("echo.mar", model_name="m", initial_workers=1)).status_code == 200
        assert (await clean.client.delete("/models/m")).status_code == 200


async def test_the_archives_own_configuration_wins_over_workers_and_timeouts(clean: Site) -> None:
    await clean.register("configured.mar", initial_workers=1, batch_size=2, response_timeout=5, startup_timeout=60)
    told = await clean.describe("configured")
    found = [told[key] for key in ("minWorkers", "maxWorkers", "batchSize", "responseTimeout", "startupTimeout")]
    assert found == [2, 3, 2, 30, 60]
    assert "the request's response_timeout_seconds 5 has no effect" in clean.served.err.read_text()


async def test_a_model_that_was_registered_does_not_decide_readiness_until_it_fails(clean: Site) -> None:
    assert (await clean.register("broken.mar", initial_workers=1, synchronous="false")).status_code == 202

    async def failed() -> bool:
        return "failure" in await clean.describe("broken")

    await until_told(failed)
    told = await clean.describe("broken")
    assert "the weights have gone missing" in told["failure"]["message"]
    assert told["failure"]["phase"] == "load"
    assert told["loadedAtStartup"] is False
    assert (await clean.client.get("/v2/health/ready")).status_code == 200
    ping = await clean.client.get("/ping")
    assert (ping.status_code, ping.json()["status"]) == (500, "Unhealthy")


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"min_worker": "1"}, 202, "Processing worker updates..."),
        ({"min_worker": "2", "synchronous": "true"}, 200, "Workers scaled to 2 for model: echo"),
        ({"synchronous": "TRUE"}, 200, "Workers scaled to 1 for model: echo"),
        ({"min_worker": "0", "max_worker": "0", "synchronous": "true"}, 200, "Workers scaled to 0 for model: echo"),
        ({"min_worker": "1", "model_version": "1.0", "synchronous": "true"}, 200, "Workers scaled to 1 for model: echo, version: 1.0"),
        ({"min_worker": "2", "max_worker": "1"}, 400, "max_worker cannot be less than min_worker."),
        ({"min_worker": "-2"}, 400, "min_worker and max_worker must be from 0 to 4096"),
        ({"model_version": "0.0"}, 404, "Model version: 0.0 does not exist for model: echo"),
    ],
)
async def test_scale(clean: Site, query: dict[str, str], status: int, message: str) -> None:
    await clean.register("echo.mar")
    response = await clean.client.put("/models/echo", params=query)
    told = response.json()
    assert response.status_code == status, told
    assert message in told["status" if status < 300 else "message"]
    if "version" not in message:
        assert (await clean.client.put("/models/echo/1.0", params=query)).status_code == status
    if status == 200:
        workers = (await clean.describe("echo"))["workers"]
        assert [worker["status"] for worker in workers] == ["READY"] * int(query.get("min_worker", "1"))


async def test_a_model_that_grows_stays_ready(clean: Site) -> None:
    await clean.register("slow.mar", initial_workers=1)
    assert (await clean.client.put("/models/slow", params={"min_worker": 2})).status_code == 202
    assert {worker["status"] for worker in (await clean.describe("slow"))["workers"]} == {"READY", "LOADING"}
    assert (await clean.client.get("/v1/models/slow")).json()["ready"] is True


async def test_scaling_down_ends_workers(clean: Site) -> None:
    await clean.register("echo.mar", initial_workers=3)
    processes = [psutil.Process(worker["pid"]) for worker in (await clean.describe("echo"))["workers"]]
    assert len(processes) == 3
    assert (await clean.client.put("/models/echo", params={"min_worker": 1, "synchronous": "true"})).status_code == 200
    assert len(alive(processes)) == 1
    assert (await clean.client.put("/models/echo", params={"min_worker": 0, "synchronous": "true"})).status_code == 200
    assert not alive(processes)
    assert (await clean.client.get("/v1/models/echo")).json()["ready"] is False
    assert (await clean.client.get("/ping")).status_code == 200
    refused = await clean.client.post("/predictions/echo", json={})
    assert (refused.status_code, refused.json()["type"]) == (503, "ServiceUnavailableException")


async def test_a_scaling_that_fails_is_undone(clean: Site) -> None:
    assert (await clean.register("broken.mar")).status_code == 200
    response = await clean.client.put("/models/broken", params={"min_worker": 2, "synchronous": "true"})
    assert response.status_code == 500
    assert "Failed to start workers for model broken" in response.json()["message"]
    told = await clean.describe("broken")
    assert (told["minWorkers"], told["maxWorkers"]) == (0, 0)
    await until_told(lambda: no_workers(clean, "broken"))


async def no_workers(site: Site, name: str) -> bool:
    return not (await site.describe(name))["workers"]


async def test_versions_and_the_default_one(clean: Site) -> None:
    for url in ("echo.mar", "echo2.mar"):
        assert (await clean.register(url, initial_workers=1)).status_code == 200
    ask = {"ask": "version"}
    assert (await clean.client.post("/predictions/echo", json=ask)).text == "1.0"
    assert (await clean.client.post("/predictions/echo/2.0", json=ask)).text == "2.0"
    assert {each["modelVersion"] for each in (await clean.client.get("/models/echo/all")).json()} == {"1.0", "2.0"}
    assert (await clean.client.get("/models/echo/2.0")).json()[0]["modelVersion"] == "2.0"
    assert len((await clean.client.get("/models")).json()["models"]) == 1

    response = await clean.client.put("/models/echo/2.0/set-default")
    assert response.json() == {"status": 'Default version successfully updated for model "echo" to "2.0"'}
    assert (await clean.client.post("/predictions/echo", json=ask)).text == "2.0"
    for path, message in (
        ("/models/echo/9/set-default", "Model version 9 does not exist for model echo"),
        ("/models/nope/1.0/set-default", "Model not found: nope"),
    ):
        response = await clean.client.put(path)
        assert response.status_code == 404
        assert message in response.json()["message"]

    response = await clean.client.delete("/models/echo/2.0")
    assert (response.status_code, response.json()["type"]) == (403, "InvalidModelVersionException")
    assert "Cannot remove default version for model echo" in response.json()["message"]
    assert (await clean.client.delete("/models/echo/1.0")).json() == {"status": 'Model "echo" unregistered'}
    assert (await clean.client.delete("/models/echo")).status_code == 200
    assert (await clean.client.get("/models/echo")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/models/nope", 404),
        ("GET", "/models/nope/1.0", 404),
        ("GET", "/models/nope/all", 404),
        ("DELETE", "/models/nope", 404),
        ("PUT", "/models/nope", 404),
        ("PATCH", "/models/nope", 405),
        ("POST", "/models/nope", 405),
        ("PUT", "/models", 405),
        ("GET", "/models/m/1.0/set-default", 405),
        ("GET", "/models/m/1.0/set-default/x", 404),
        ("GET", "/token", 404),
    ],
)
async def test_what_is_not_there(clean: Site, method: str, path: str, status: int) -> None:
    response = await clean.client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, status)


async def test_unregistering_answers_what_was_accepted(clean: Site, tmp_path: Path) -> None:
    await clean.register("obedient.mar", initial_workers=1)
    gate, started = tmp_path / "gate", tmp_path / "started"
    order = {"touch": str(started), "wait_for": str(gate)}
    requests = [asyncio.create_task(clean.client.post("/predictions/obedient", json=order)) for _ in range(3)]
    await until(started.exists)
    going = asyncio.create_task(clean.client.delete("/models/obedient"))

    async def gone() -> bool:
        return (await clean.client.get("/models/obedient")).status_code == 404

    await until_told(gone)
    gate.touch()
    assert (await going).status_code == 200
    assert [(await each).status_code for each in requests] == [200, 200, 200]


async def test_lists_are_paged(clean: Site) -> None:
    for name in "abcde":
        await clean.register("echo.mar", model_name=name)
    seen: list[str] = []
    token: str | None = "0"
    while token is not None:
        page = (await clean.client.get("/models", params={"limit": 2, "next_page_token": token})).json()
        seen += [model["modelName"] for model in page["models"]]
        token = page.get("nextPageToken")
    assert seen == list("abcde")
    assert (await clean.client.get("/models")).json()["models"][0] == {"modelName": "a", "modelUrl": "echo.mar"}
    for query in ({"limit": "-1"}, {"limit": "101"}, {"limit": "x"}, {"next_page_token": "-1"}, {"limit": "0"}):
        assert len((await clean.client.get("/models", params=query)).json()["models"]) == 5
    assert (await clean.client.get("/models", params={"next_page_token": "5"})).json() == {"models": []}


async def test_describe(clean: Site) -> None:
    await clean.register("talking.mar", initial_workers=1)
    told = await clean.describe("talking")
    assert list(told)[:9] == [
        "modelName",
        "modelVersion",
        "modelUrl",
        "runtime",
        "minWorkers",
        "maxWorkers",
        "batchSize",
        "maxBatchDelay",
        "responseTimeout",
    ]
    assert told["jobQueueStatus"] == {"remainingCapacity": 50, "pendingRequests": 0}
    [worker] = told["workers"]
    assert set(worker) == {"id", "startTime", "status", "memoryUsage", "pid", "gpu", "gpuUsage"}
    assert worker["memoryUsage"] > 0
    assert "customizedMetadata" not in told
    for path in ("/models/talking", "/models/talking/1.0", "/models/talking/all"):
        [told] = (await clean.client.get(path, params={"customized": "true"})).json()
        assert told["customizedMetadata"] == {"version": "1.0"}
    await clean.client.put("/models/talking", params={"min_worker": 0, "synchronous": "true"})
    response = await clean.client.get("/models/talking", params={"customized": "true"})
    assert response.status_code == 503
    assert "has no worker to serve describe request" in response.json()["message"]


async def test_the_oldest_and_sagemakers_routes_add_the_query_to_the_row(clean: Site) -> None:
    await clean.register("talking.mar", initial_workers=1)
    for path in ("/models/talking/invoke", "/talking/predict", "/talking/1.0/predict", "/invocations"):
        query = {"a": "1"} | ({"model_name": "talking"} if path == "/invocations" else {})
        response = await clean.client.post(path, params=query, content=b"x", headers={"content-type": "text/plain"})
        assert response.json() == {**query, "body": "x"}, path
    response = await clean.client.post("/predictions/talking", params={"a": "1"}, content=b"x", headers={"content-type": "text/plain"})
    assert response.json() == {"body": "x"}
    for data, files in (({"model_name": "talking", "b": "2"}, None), ({"model_name": "talking"}, {"b": b"2"})):
        response = await clean.client.post("/invocations", data=data, files=files)
        assert response.json() == {"model_name": "talking", "b": "2"}
    response = await clean.client.post("/invocations", content=b"x")
    assert (response.status_code, response.json()["type"]) == (400, "BadRequestException")
    assert "Parameter model_name is required." in response.json()["message"]


async def test_a_download_is_removed_with_its_model(clean: Site) -> None:
    assert (await clean.register(f"{clean.web}/remote.mar", initial_workers=1)).status_code == 200
    assert (clean.store / "remote.mar").is_file()
    told = await clean.describe("remote")
    assert told["modelUrl"] == f"{clean.web}/remote.mar"
    assert (await clean.register(f"{clean.web}/remote.mar")).status_code == 500
    await clean.client.delete("/models/remote")
    assert not (clean.store / "remote.mar").exists()


async def test_a_file_address_is_copied(clean: Site) -> None:
    assert (await clean.register(f"file://{clean.store.parent}/remote/remote.mar", initial_workers=1)).status_code == 200
    assert (await clean.client.post("/predictions/remote", json={"a": 1})).json() == {"a": 1}
    refused = await clean.register(f"file://{clean.store.parent}/remote/nothing.mar")
    assert (refused.status_code, refused.json()["type"]) == (400, "DownloadArchiveException")


async def test_a_folder_in_the_store_is_used_where_it_is(clean: Site, tmp_path: Path) -> None:
    folder = clean.store / "folder"
    folder.mkdir()
    try:
        (folder / "handler.py").write_text(ECHO)
        for url in ("folder", str(folder)):
            response = await clean.register(url, model_name="f", handler="handler.py", initial_workers=1)
            assert response.status_code == 200, response.text
            assert (await clean.client.post("/predictions/f", json={"a": 1})).json() == {"a": 1}
            await clean.client.delete("/models/f")
            assert (folder / "handler.py").is_file()
        refused = await clean.register("folder")
        assert (refused.status_code, refused.json()["type"]) == (400, "InvalidModelException")
    finally:
        (folder / "handler.py").unlink()
        folder.rmdir()


async def test_descriptions_of_the_api(clean: Site) -> None:
    for method, path in (("GET", "/api-description"), ("POST", "/api-description"), ("OPTIONS", "/")):
        told = (await clean.client.request(method, path)).json()
        assert told["openapi"] == "3.0.1"
        assert {"/ping", "/models", "/models/{model_name}/{model_version}/set-default", "/metrics"} <= told["paths"].keys()
    await clean.register("echo.mar", model_name="m")
    told = (await clean.client.options("/predictions/m")).json()
    assert told["info"] == {"title": "RESTful API for: m", "version": "1.0.0"}
    assert "/predictions/m" in told["paths"]
    told = (await clean.client.options("/models/m")).json()
    assert told["info"]["title"] == "RESTful Management API for: m"
    assert set(told["paths"]["/models/{model_name}"]) == {"get", "put", "delete"}
    assert (await clean.client.options("/predictions/nope")).status_code == 404


async def test_an_invalid_handler_is_found_by_the_first_worker(clean: Site) -> None:
    assert (await clean.register("echo.mar", handler="nowhere.py:nothing")).status_code == 200
    response = await clean.client.put("/models/echo", params={"min_worker": 1, "synchronous": "true"})
    assert (response.status_code, response.json()["type"]) == (500, "InternalServerException")


async def test_comings_and_goings_leave_nothing(clean: Site) -> None:
    server = psutil.Process(clean.served.process.pid)

    async def cycles(count: int) -> None:
        for _ in range(count):
            assert (await clean.register("echo.mar", initial_workers=1)).status_code == 200
            assert (await clean.client.post("/predictions/echo", json={"a": 1})).status_code == 200
            assert (await clean.client.delete("/models/echo")).status_code == 200

    def held() -> tuple[int, int, int, int]:
        connections = sum(each.status == psutil.CONN_ESTABLISHED for each in server.net_connections("all"))
        return len(server.children(recursive=True)), server.num_fds(), server.num_threads(), connections

    await cycles(10)
    before, memory = held(), server.memory_info().rss
    await cycles(CYCLES)
    # Less is fine: what an earlier test had left may have ended meanwhile.
    await until(lambda: all(now <= was for now, was in zip(held(), before, strict=True)))
    grown = server.memory_info().rss - memory
    assert grown < GROWTH_BYTES_MAX, f"{grown} bytes in {CYCLES} cycles"
