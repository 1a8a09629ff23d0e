"""``flambeau bench`` as it is typed, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from tests.fixtures.archives import ECHO, write_mar
from tests.programs.kit import CONFIG, serving

PAGE = Path(__file__).parents[2] / "docs" / "bench.md"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Said:
    """What the command has said."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass
class Place:
    """A server, and a folder with bodies of requests."""

    url: str
    folder: Path

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flambeau", "bench", *arguments, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    async def bench(self, *arguments: str) -> Said:
        process = await self.start(*arguments)
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode())

    async def models(self) -> list[str]:
        async with httpx2.AsyncClient(trust_env=False) as client:
            return [each["modelName"] for each in (await client.get(f"{self.url}/models")).json()["models"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    root = tmp_path_factory.mktemp("bench")
    write_mar(root / "store", "echo", ECHO)
    (root / "body.txt").write_text("hello")
    (root / "v1.json").write_text('{"instances": [1]}')
    (root / "v2.json").write_text('{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}')
    arguments = ["--model-store", "store", "--models", "echo.mar", "--enable-model-api", "--no-config-snapshots"]
    async with serving(root, arguments, config=CONFIG) as served:
        yield Place(served.url, root)


async def test_loads_are_measured_and_split(place: Place) -> None:
    said = await place.bench(
        f"{place.url}/predictions/echo", "--data", "body.txt", "--seconds", "0.5s", "--connections", "1,4", "--rate", "50", "-o", "json"
    )
    assert said.status == 0, said.err
    told = said.data
    assert [(level["connections"], level["rate"]) for level in told["levels"]] == [(1, None), (4, None), (4, 50.0)]
    assert told["bodies"] == [{"file": "body.txt", "bytes": 5, "contentType": "text/plain", "form": "raw"}]
    for level in told["levels"]:
        assert level["answered"] > 0
        assert level["failed"] == {}
        assert level["split"]["handler"] > 0
        assert level["split"]["batch"] == 1
        assert level["latencyMs"]["p50"] <= level["latencyMs"]["p99.9"]
    assert told["levels"][2]["requestsPerSecond"] < 100
    assert said.err.splitlines()[0] == "measuring 1 connection for 0.5 s"


@pytest.mark.parametrize(("path", "file"), [("/v1/models/echo:predict", "v1.json"), ("/v2/models/echo/infer", "v2.json")])
async def test_other_forms(place: Place, path: str, file: str) -> None:
    said = await place.bench(place.url + path, "--data", file, "--seconds", "0.2s", "--connections", "2", "-o", "json")
    assert said.data["levels"][0]["split"]["handler"] > 0
    assert said.data["bodies"][0]["form"] == file[:2].upper()


async def test_a_search_leaves_the_model_alone(place: Place) -> None:
    search = ["--search", "--batch-sizes", "1,4", "--workers", "1,2", "--management", place.url]
    load = ["--data", "body.txt", "--seconds", "0.3s", "--connections", "8"]
    said = await place.bench(f"{place.url}/predictions/echo", *load, *search, "-o", "json")
    tried = [(each["batchSize"], each["workers"]) for each in said.data["search"]["tried"]]
    best = said.data["search"]["best"]
    assert tried[:2] == [(1, 1), (4, 1)]
    assert tried[2][1] == 2
    assert (best["batchSize"], best["workers"]) in tried
    assert not [note for note in said.data["notes"] if "search" in note]
    assert await place.models() == ["echo"]


async def test_ctrl_c_shows_what_there_is(place: Place) -> None:
    arguments = ["--data", "body.txt", "--seconds", "0.5s", "--connections", "1,2,3,4,5,6,7,8,9,10,11,12"]
    process = await place.start(f"{place.url}/predictions/echo", *arguments)
    assert process.stderr is not None
    async with asyncio.timeout(60):
        assert await process.stderr.readline() == b"measuring 1 connection for 0.5 s\n"
        assert await process.stderr.readline() == b"measuring 2 connections for 0.5 s\n"
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 130
    [first, *others] = [line.split() for line in out.decode().splitlines() if line.endswith(" 0")]
    assert first[0] == "1"
    assert len(others) < 11
    assert out.decode().endswith("stopped early; this is what there was\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["URL/predictions/none", "--data", "body.txt"], "answered 404: Model not found: none"),
        (["http://127.0.0.1:1/predictions/echo", "--data", "body.txt"], "cannot connect to 127.0.0.1:1"),
        (["URL/predictions/echo", "--data", "nothing.txt"], "cannot read nothing.txt: No such file"),
        (["URL/predictions/echo", "--data", "body.txt", "--connections", "0"], "--connections '0': numbers from 1"),
        (["URL/predictions/echo", "--data", "body.txt", "--rate", "-5"], "--rate '-5'"),
        (["URL/predictions/echo", "--data", "body.txt", "--plot", "x.png"], "neither .svg nor .html"),
        (["URL/predictions/echo", "--data", "body.txt", "--header", "Host: x"], "this client writes it itself"),
        (["https://127.0.0.1:1/x", "--data", "body.txt", "--ca-cert", "nothing.pem"], "cannot trust nothing.pem: No such file"),
        (["https://127.0.0.1:1/x", "--data", "body.txt", "--ca-cert", "body.txt"], "cannot trust body.txt: "),
        (["URL/invocations", "--data", "body.txt", "--search"], "does not name a model"),
    ],
)
async def test_what_is_wrong_is_said_at_once(place: Place, arguments: list[str], words: str) -> None:
    said = await place.bench(*[each.replace("URL", place.url) for each in arguments])
    assert said.status == 1
    assert words in said.err


async def test_a_search_says_what_it_would_need(place: Place, tmp_path: Path) -> None:
    write_mar(tmp_path / "store", "echo", ECHO)
    arguments = ["--model-store", "store", "--models", "echo.mar", "--no-config-snapshots"]
    load = ["--data", "body.txt", "--seconds", "0.1s", "--connections", "1", "--search"]
    async with serving(tmp_path, arguments, config=CONFIG) as served:
        said = await place.bench(f"{served.url}/predictions/echo", *load, "--management", served.url)
    assert "start the server with --enable-model-api" in said.out
    said = await place.bench(f"{place.url}/predictions/echo", *load, "--management", "http://127.0.0.1:1")
    assert "cannot reach the management API at http://127.0.0.1:1" in said.out


async def test_keys_come_from_the_servers_file(tmp_path: Path, place: Place) -> None:
    write_mar(tmp_path / "store", "echo", ECHO)
    arguments = ["--model-store", "store", "--models", "echo.mar", "--enable-model-api", "--no-config-snapshots"]
    load = ["--data", "body.txt", "--seconds", "0.1s", "--connections", "1", "--search", "--batch-sizes", "1,2", "--workers", "1"]
    async with serving(tmp_path, arguments, config=CONFIG.replace("disable_token_authorization=true\n", "")) as served:
        url, key_file = f"{served.url}/predictions/echo", tmp_path / "key_file.json"
        refused = await place.bench(url, *load)
        said = await place.bench(url, *load, "--management", served.url, "--key-file", str(key_file), "-o", "json")
    assert "--key-file names the server's key_file.json" in refused.err
    tried = said.data["search"]["tried"]
    assert [(each["batchSize"], each["workers"]) for each in tried] == [(1, 1)]  # one connection fills no batch of two
    keys = [each["key"] for each in json.loads(key_file.read_text()).values()]
    assert not [key for key in keys if key in said.out + said.err]


async def test_the_page_shows_what_there_is(place: Place) -> None:
    """The example of docs/bench.md runs, and says what the page says but for its figures."""
    (place.folder / "zero.png").write_bytes(b"png")
    [(command, shown)] = re.findall(r"```console\n\$ flambeau bench (.*?)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    words = command.replace("http://127.0.0.1:8080/predictions/mnist", f"{place.url}/predictions/echo").split()
    said = await place.bench(*words, "--seconds", "0.2s")
    assert said.status == 0, said.err
    heads = [line.split() for line in shown.splitlines() if line.lstrip().startswith(("connections", "where"))]
    assert len(heads) == 3
    assert heads == [line.split() for line in said.out.splitlines() if line.lstrip().startswith(("connections", "where"))]
    assert (place.folder / "mnist.html").read_text().startswith("<!doctype html>")
    assert os.path.getsize(place.folder / "mnist.html") > 1000
