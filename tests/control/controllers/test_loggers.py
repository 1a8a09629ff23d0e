"""A logger's credentials are found as the original finds them, and left where the gateway alone reads them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flambeau.control.controllers.names import SERVICES
from flambeau.control.controllers.routing.desired import Routes
from flambeau.control.controllers.routing.directory import Directory, Snapshot
from flambeau.control.controllers.routing.loggers import Loggers
from flambeau.control.controllers.sidecar import LoggerConfig, logger_config, logger_of, to_annotations
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.sqlite import SqliteStore
from flambeau.gateway.document import Backend, Document, FileFormat, Logger, LogStore
from flambeau.storage import credential_files
from flambeau.storage.model import Credentials
from tests.control.controllers.world import VirtualClock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / "store.db", clock=VirtualClock())
    for obj in builtin_objects(gateway_port=8000):
        await opened.create(obj)
    yield opened
    opened.close()


def secret(name: str, key: str) -> Object:
    data = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "hush"}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "type": "Opaque", "data": encoded}


def account(name: str, of: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"}, "secrets": [{"name": of}]}


def revision(url: str, **storage: str) -> Object:
    labels = {"serving.kserve.io/inferenceservice": "m"}
    annotations = to_annotations({"logger": {"url": url, "storage": storage}})
    return {"metadata": {"name": "m-1", "namespace": "default", "labels": labels, "annotations": annotations}, "spec": {}}


def routes(url: str) -> Routes:
    document = Document(1, (), (Backend("default/m-1", (), logger=Logger(url, store=LogStore())), Backend("default/other", ())))
    return Routes(document, Directory(()), {})


async def completed(stores: Loggers, of: Object) -> tuple[Routes, Credentials]:
    url = of["metadata"]["annotations"]["internal.serving.kserve.io/logger-sink-url"]
    found = await stores.complete(routes(url), Snapshot((), (of,), ()))
    logger = found.document.backends[0].logger
    assert logger is not None
    assert logger.store is not None
    file = logger.store.credentials
    return found, credential_files.find(Path(file)) if file else Credentials()


async def test_whose_secrets_are_used(store: SqliteStore, tmp_path: Path) -> None:
    stores = Loggers(store, tmp_path / "credentials")
    _, found = await completed(stores, revision("s3://logs"))
    assert found == Credentials()
    for name in ("own", "usual", "named"):
        await store.create(secret(name, name))
    await store.create(account("runs-as", "own"))
    running = {**revision("s3://logs"), "spec": {"serviceAccountName": "runs-as"}}
    _, found = await completed(stores, running)
    assert found.get("AWS_ACCESS_KEY_ID") == "own"
    await store.create(account("logger-sa", "usual"))
    _, found = await completed(stores, running)
    assert found.get("AWS_ACCESS_KEY_ID") == "usual"
    await store.create(account("writer", "named"))
    _, found = await completed(stores, revision("s3://logs", serviceAccountName="writer"))
    assert found.get("AWS_ACCESS_KEY_ID") == "named"


async def test_what_is_missing_is_told_and_holds_up_nobody(store: SqliteStore, tmp_path: Path) -> None:
    stores = Loggers(store, tmp_path / "credentials")
    found, credentials = await completed(stores, revision("s3://logs", serviceAccountName="nobody"))
    assert credentials == Credentials()
    (warning,) = found.warnings[Key(SERVICES, "default", "m")]
    assert warning.startswith('the logger of revision m-1 is not complete: ServiceAccount "nobody" is not there')
    assert len(found.document.backends) == 2


async def test_a_folder_needs_no_credentials(store: SqliteStore, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    found, _ = await completed(Loggers(store, folder), revision("file:///logs", serviceAccountName="nobody"))
    assert (found.warnings, folder.exists()) == ({}, False)


async def test_files_go_when_nobody_needs_them(store: SqliteStore, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    stores = Loggers(store, folder)
    await store.create(secret("one", "one"))
    await store.create(account("writer", "one"))
    first, _ = await completed(stores, revision("s3://logs", serviceAccountName="writer"))
    await stores.clean(first.document)
    await store.create(secret("two", "two"))
    await store.create(account("other", "two"))
    second, _ = await completed(stores, revision("s3://logs", serviceAccountName="other"))
    await stores.clean(second.document)
    assert len(list(folder.iterdir())) == 2, "the last files of before are still being written"
    await stores.clean(second.document)
    assert len(list(folder.iterdir())) == 1
    await stores.clean(Document(2))
    await stores.clean(Document(3))
    assert not list(folder.iterdir())


async def test_collectors_are_trusted_by_the_administrators_certificates(store: SqliteStore, tmp_path: Path) -> None:
    loggers = Loggers(store, tmp_path / "credentials")
    document = Document(1, (), (Backend("default/m-1", (), logger=Logger("https://sink")),))
    snapshot = Snapshot((), (revision("https://sink"),), (), logging=LoggerConfig(certificates="trusted", certificates_key="ca.pem"))
    found = await loggers.complete(Routes(document, Directory(()), {}), snapshot)
    (warning,) = found.warnings[Key(SERVICES, "default", "m")]
    assert "config map default/trusted, named by caBundle of inferenceservice-config's logger, is not there" in warning
    metadata = {"name": "trusted", "namespace": "default"}
    await store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.pem": "a certificate"}})
    found = await loggers.complete(Routes(document, Directory(()), {}), snapshot)
    logger = found.document.backends[0].logger
    assert logger is not None
    assert (logger.certificates, found.warnings) == ("a certificate", {})


def test_what_a_logger_does_not_say_the_administrator_may() -> None:
    storage = {"path": "all", "parameters": {"format": "csv"}, "serviceAccountName": "writer"}
    said = {"defaultUrl": "s3://everything", "storage": storage, "batchSize": 10, "batchInterval": "5s", "tlsSkipVerify": True}
    usual = logger_config({"data": {"logger": json.dumps({"image": "agent", **said})}})
    silent = {"metadata": {"name": "m-1", "namespace": "ns", "annotations": to_annotations({"logger": {"mode": "request"}})}}
    assert logger_of(silent, LoggerConfig()) is None
    found = logger_of(silent, usual)
    assert found is not None
    assert (found.url, found.requests, found.responses, found.verify_tls) == ("s3://everything", True, False, False)
    assert found.store == LogStore("all", FileFormat.CSV, 10, 5.0)
    speaking = {"metadata": {**silent["metadata"], "annotations": to_annotations({"logger": {"url": "http://mine"}})}}
    assert (logger_of(speaking, usual) or found).url == "http://mine"
    assert logger_of({"metadata": {"name": "m-1", "namespace": "ns"}}, usual) is None, "who asks for no logger has none"


@pytest.mark.parametrize("text", ["", "[]", "no JSON", '{"defaultUrl": 1, "storage": [], "batchSize": null}'])
def test_what_can_not_be_read_counts_as_not_said(text: str) -> None:
    assert logger_config({"data": {"logger": text}}) == logger_config(None) == LoggerConfig()
