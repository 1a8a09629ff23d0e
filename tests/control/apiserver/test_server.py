"""Certificates, the kubeconfig, starting and stopping."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path

import httpx2
import orjson
import pytest
from cryptography import x509

from flambeau.control.apiserver import certificates, kubeconfig
from flambeau.control.apiserver.server import ApiServer
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import Unavailable
from tests.control.apiserver.cluster import namespace_object, pods_of, watched_by

DAY = 86400


def names(identity: certificates.Identity) -> set[str]:
    certificate = x509.load_pem_x509_certificate(identity.certificate_file.read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_identity_outlives_restarts_until_it_must_change(tmp_path: Path) -> None:
    now = time.time()
    first = certificates.prepare(tmp_path / "pki", ("10.1.2.3",), now=now)
    assert names(first) == {"localhost", "127.0.0.1", "::1", "10.1.2.3"}
    certificate = first.certificate_file.read_bytes()
    again = certificates.prepare(tmp_path / "pki", (), now=now)
    assert (again.token, again.authority, again.certificate_file.read_bytes()) == (first.token, first.authority, certificate)

    with_name = certificates.prepare(tmp_path / "pki", ("box.example",), now=now)
    assert "box.example" in names(with_name)
    assert with_name.authority == first.authority

    renewed_at = now + 340 * DAY
    certificate = with_name.certificate_file.read_bytes()
    renewed = certificates.prepare(tmp_path / "pki", ("box.example",), now=renewed_at)
    assert renewed.certificate_file.read_bytes() != certificate
    assert (renewed.authority, renewed.token) == (first.authority, first.token)
    assert certificates.prepare(tmp_path / "pki", (), now=now + 3600 * DAY).authority != first.authority


def test_damaged_files_are_made_anew(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    first = certificates.prepare(pki, (), now=time.time())
    for name in ("server.crt", "server.key", "ca.key", "token"):
        (pki / name).write_text("x")
    second = certificates.prepare(pki, (), now=time.time())
    assert second.authority != first.authority
    assert len(second.token) >= 32
    context = ssl.create_default_context(cadata=second.authority.decode())
    context.load_cert_chain(second.certificate_file, second.key_file)
    assert second.token not in repr(second)


def test_a_home_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="certificates"):
        certificates.prepare(tmp_path / "file" / "pki", (), now=time.time())


def test_kubeconfig(tmp_path: Path) -> None:
    kubeconfig.write(tmp_path / "kubeconfig", server="https://127.0.0.1:1", authority=b"PEM", token="secret")
    config = orjson.loads((tmp_path / "kubeconfig").read_bytes())
    assert config["current-context"] == "flambeau"
    assert config["contexts"][0]["context"]["namespace"] == "default"
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600


async def test_restart_keeps_the_kubeconfig_and_stop_ends_watches(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "store.db")
    await store.create(namespace_object("default"))
    server = ApiServer(store, KINDS, pods_of(tmp_path), home=tmp_path, clock=SystemClock())
    await server.start("127.0.0.1", 0)
    before, port = server.kubeconfig.read_bytes(), int(server.url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.crt"))
    headers = {"authorization": f"Bearer {(tmp_path / 'pki' / 'token').read_text()}"}
    async with (
        httpx2.AsyncClient(base_url=server.url, verify=context, headers=headers, timeout=10, trust_env=False) as client,
        client.stream("GET", "/api/v1/pods?watch=1") as answer,
    ):
        await client.get("/api/v1/pods")  # leaves an idle connection in the client's pool
        await watched_by(server)
        stopping = asyncio.create_task(server.stop(drain_seconds=60.0))
        assert [line async for line in answer.aiter_lines()] == []  # ended in order, not cut
        await asyncio.wait_for(stopping, 20)  # far from 60: idle connections don't hold it up
    await server.stop()

    again = ApiServer(store, KINDS, pods_of(tmp_path), home=tmp_path, clock=SystemClock())
    await again.start("127.0.0.1", port)
    assert again.kubeconfig.read_bytes() == before
    async with httpx2.AsyncClient(base_url=again.url, verify=context, headers=headers, trust_env=False) as client:
        assert (await client.get("/api/v1/pods")).status_code == 200
    await again.stop()
    store.close()


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "store.db")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = ApiServer(store, KINDS, pods_of(tmp_path), home=tmp_path, clock=SystemClock())
        with pytest.raises(Unavailable, match="Address already in use"):
            await server.start("127.0.0.1", taken.getsockname()[1])
        await server.stop()
    with pytest.raises(Unavailable):
        await ApiServer(store, KINDS, pods_of(tmp_path), home=tmp_path, clock=SystemClock()).start("no-such-host.invalid", 0)
    store.close()
