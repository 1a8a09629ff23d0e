"""A logger's copies become files, of S3 and of a folder; a slow or broken store costs no request."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.gateway import proxy
from flambeau.gateway.document import Backend, Destination, Document, FileFormat, Host, Logger, LogStore, Rule
from flambeau.gateway.event_store import EventStore
from flambeau.gateway.table import Table
from flambeau.storage import credential_files
from flambeau.storage.credentials import from_environment
from tests.fixtures.s3 import S3Server
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World
from tests.gateway.http_model import Model


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    started = await Model().start()
    try:
        yield started
    finally:
        await started.server.close()


def serve(world: World, model: Model, url: str, **store: Any) -> EventStore:
    logger = Logger(url, service="m", namespace="ns", component="predictor", store=LogStore(**store))
    backend = Backend(NAME, (model.endpoint,), 30.0, logger=logger)
    hosts = (Host("m", (Rule((Destination(1, backend=NAME),)),)),)
    world.gateway.serve(Table(Document(1, hosts, (backend,))))
    sidecar = world.gateway.services[NAME].sidecar
    assert sidecar is not None
    assert isinstance(sidecar.log, EventStore)
    return sidecar.log


async def ask(world: World, id: str, *, size: int = 0) -> None:
    body = json.dumps({"instances": [1], "more": "x" * size})
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nCe-Id: {id}\r\n"
    assert (await world.client.ask(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())).status == 200


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_each_copy_is_an_object_of_a_bucket(world: World, model: Model, s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.create_bucket()
    given = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    endpoint = {"AWS_ENDPOINT_URL": s3_server.endpoint, "AWS_DEFAULT_REGION": s3_server.region}
    credentials = credential_files.leave(from_environment({**given, **endpoint}), tmp_path)
    log = serve(world, model, f"s3://{bucket}/pre", path="/logs", credentials=str(credentials))
    await ask(world, "mine")
    await until(lambda: log.sent == 2)
    keys = [each["Key"] for each in s3_server.client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [f"pre/ns/m/predictor/logs/mine-{kind}.json" for kind in ("request", "response")]
    records = [json.loads(s3_server.client.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys]
    assert json.loads(base64.b64decode(records[0]["Bytes"])) == {"instances": [1], "more": ""}
    assert json.loads(base64.b64decode(records[1]["Bytes"]))["predictions"] == [2]
    assert {record["Id"] for record in records} == {"mine"}


async def test_copies_gather_until_a_file_is_full(world: World, model: Model, tmp_path: Path) -> None:
    log = serve(world, model, f"file://{tmp_path}", batch_size=4, format=FileFormat.CSV)
    for number in range(3):
        await ask(world, f"id-{number}")
    await until(lambda: log.sent == 4)
    assert names(tmp_path) == ["ns/m/predictor/id-1-response.csv"]
    assert len((tmp_path / "ns/m/predictor/id-1-response.csv").read_text().splitlines()) == 5
    serve(world, model, f"file://{tmp_path}", batch_size=5)  # the file that gathered is written as it is
    await until(lambda: log.sent == 6)
    assert names(tmp_path)[1:] == ["ns/m/predictor/id-2-response.csv"]


async def test_a_file_waits_no_longer_than_is_said(world: World, model: Model, tmp_path: Path) -> None:
    log = serve(world, model, f"file://{tmp_path}", batch_size=100, batch_seconds=0.05)
    await ask(world, "mine")
    await until(lambda: log.sent == 2)
    records = json.loads((tmp_path / names(tmp_path)[0]).read_bytes())
    assert [each["ReqType"].rpartition(".")[2] for each in records] == ["request", "response"]


async def test_what_has_gathered_is_written_when_the_gateway_ends(model: Model, tmp_path: Path) -> None:
    world = World()
    await world.start()
    try:
        log = serve(world, model, f"file://{tmp_path}", batch_size=100)
        await ask(world, "mine")
    finally:
        await world.close()
    assert (log.sent, names(tmp_path)) == (2, ["ns/m/predictor/mine-response.json"])


async def test_a_long_body_fills_a_file_by_itself(world: World, model: Model, tmp_path: Path) -> None:
    log = serve(world, model, f"file://{tmp_path}", batch_size=100)
    for number in range(3):
        await ask(world, f"id-{number}", size=2_000_000)
    await until(lambda: log.sent == 5)
    assert names(tmp_path) == ["ns/m/predictor/id-2-request.json"]


async def test_a_store_that_refuses_is_told_once_and_costs_no_request(
    world: World, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ns").write_bytes(b"a file where the folder should be")
    log = serve(world, model, f"file://{tmp_path}")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            await ask(world, f"id-{number}")
        await until(lambda: log.failed == 6)
    assert len([record for record in caplog.records if "copies for a logger are lost" in record.message]) == 1
    assert "cannot write" in log.last_failure
    (tmp_path / "ns").unlink()
    await ask(world, "again")
    await until(lambda: log.sent == 2)
    assert world.gateway.budget.take(64 * 1024 * 1024), "everything was given back"


class Marshaller:
    """Answer with what it was asked, as a file of its own form."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.status = b"200 OK"
        self.headers = b"X-Log-Marshal-Extension: parquet\r\nContent-Length: 3\r\n"

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(re.search(rb"Content-Length: (\d+)", head).group(1))  # type: ignore[union-attr]
        self.asked.append(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 %b\r\n%b\r\nPAR" % (self.status, self.headers))
        await writer.drain()


async def test_a_marshaller_makes_the_files(world: World, model: Model, tmp_path: Path) -> None:
    marshaller = Marshaller()
    endpoint = await world.scripted(marshaller)
    log = serve(world, model, f"file://{tmp_path}", batch_size=2, marshaller=f"http://127.0.0.1:{endpoint.port}/marshal")
    await ask(world, "mine")
    await until(lambda: log.sent == 2)
    assert [each["Id"] for each in json.loads(marshaller.asked[0])] == ["mine", "mine"]
    assert names(tmp_path) == ["ns/m/predictor/mine-response.parquet"]
    assert (tmp_path / names(tmp_path)[0]).read_bytes() == b"PAR"
    marshaller.headers = b"X-Log-Marshal-Extension: ../x\r\n"
    await ask(world, "other")
    await until(lambda: log.sent == 4)
    assert names(tmp_path)[1:] == ["ns/m/predictor/other-response.json"]


async def test_a_marshaller_that_refuses_or_breaks_off_is_told(world: World, model: Model, tmp_path: Path) -> None:
    marshaller = Marshaller()
    endpoint = await world.scripted(marshaller)
    log = serve(world, model, f"file://{tmp_path}", batch_size=2, marshaller=f"http://127.0.0.1:{endpoint.port}/marshal")
    marshaller.status = b"500 No"
    await ask(world, "mine")
    await until(lambda: log.failed == 2)
    assert log.last_failure.endswith("/marshal answered 500")
    marshaller.status, marshaller.headers = b"200 OK", b"Content-Length: 10\r\n"
    await ask(world, "mine")
    await until(lambda: log.failed == 4)
    assert "broke off" in log.last_failure
    assert names(tmp_path) == []


async def test_credentials_that_are_not_there_are_told(world: World, model: Model, tmp_path: Path) -> None:
    log = serve(world, model, "s3://bucket/pre")
    await ask(world, "mine")
    await until(lambda: log.failed == 2)
    assert log.last_failure == "no credentials for s3://bucket: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set"
    log = serve(world, model, "s3://bucket/pre", credentials=str(tmp_path / "none.json"))
    await ask(world, "mine")
    await until(lambda: log.failed == 2)
    assert log.last_failure.startswith("cannot read the credentials in")


async def test_a_store_that_hangs_costs_no_request(monkeypatch: pytest.MonkeyPatch, world: World, model: Model, tmp_path: Path) -> None:
    monkeypatch.setattr(proxy, "WRITE_SECONDS_MAX", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    endpoint = await world.scripted(silent)
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{endpoint.port}"}
    credentials = credential_files.leave(from_environment(given), tmp_path)
    log = serve(world, model, "s3://bucket", credentials=str(credentials))
    for number in range(60):
        await ask(world, f"id-{number}")
    await until(lambda: log.dropped == 120 - 101)
    assert (log.sent, log.failed) == (0, 0)
