"""The gateway with a certificate: HTTP/1.1, HTTP/2 and gRPC over TLS on one port, in the real process."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

import pytest
from grpc import aio, ssl_channel_credentials

from flambeau.gateway.document import Endpoint
from tests.fixtures.certificates import CertificateFiles, make_certificate
from tests.fixtures.raw_http import read_answer
from tests.gateway.conftest import World
from tests.gateway.grpc_replica import GrpcReplica
from tests.gateway.test_program import launch, reload, write_routes


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
async def test_tls(world: World, tmp_path: Path, version: str) -> None:
    files = make_certificate(tmp_path, "m")
    replica, calls = await world.echo(), await GrpcReplica("pod-a").start()
    program = await launch(tmp_path, flags=("--tls-cert", str(files.certificate), "--tls-key", str(files.key)))
    try:
        await program.ready("https")
        write_routes(tmp_path, Endpoint("127.0.0.1", replica.endpoint.port, "torchserve/a", calls.endpoint.grpc_port))
        assert await reload(tmp_path) == 200
        command = ["curl", "-s", version, "-w", "\n%{http_version}", "--cacert", str(files.certificate)]
        command += ["--resolve", f"m:{program.port}:127.0.0.1", f"https://m:{program.port}/x"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=30, check=True)
        body, _, spoken = done.stdout.decode().rpartition("\n")
        assert json.loads(body)["headers"]["x-forwarded-proto"] == "https"
        assert spoken == ("2" if version == "--http2" else "1.1")
        credentials = ssl_channel_credentials(files.certificate.read_bytes())
        options = [("grpc.ssl_target_name_override", "m"), ("grpc.default_authority", "m")]
        async with aio.secure_channel(f"127.0.0.1:{program.port}", credentials, options) as channel:
            assert await channel.unary_unary("/s.S/echo")(b"x" * 100_000, timeout=30) == b"x" * 100_000
        assert calls.calls[0][1]["x-forwarded-proto"] == "https"
        program.process.terminate()
        assert (await program.end())[0] == 0
    finally:
        if program.process.returncode is None:
            program.process.kill()
            await program.end()
        await calls.stop()


async def test_files_that_are_no_certificate_are_told(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("nothing")
    program = await launch(tmp_path, flags=("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "gone")))
    status, said = await program.end()
    assert (status, f"cannot serve TLS with certificate {tmp_path / 'tls.crt'}" in said) == (1, True)


async def test_a_new_certificate_is_taken_and_no_connection_is_lost(world: World, tmp_path: Path) -> None:
    old, new = (make_certificate(_made(tmp_path / name), "m") for name in ("old", "new"))
    used = (tmp_path / "tls.crt", tmp_path / "tls.key")
    _put(old, used)
    replica = await world.echo()
    program = await launch(tmp_path, flags=("--tls-cert", str(used[0]), "--tls-key", str(used[1])))
    try:
        await program.ready("https")
        write_routes(tmp_path, Endpoint("127.0.0.1", replica.endpoint.port, "torchserve/a"))
        assert await reload(tmp_path) == 200
        reader, writer = await _open(program.port, old.certificate)
        assert await _status(reader, writer) == 200
        used[0].write_bytes(new.certificate.read_bytes())  # for a moment it does not fit the key: the old one goes on
        used[1].write_bytes(new.key.read_bytes())
        async with asyncio.timeout(30):
            while True:
                try:
                    fresh = await _open(program.port, new.certificate)
                    break
                except ssl.SSLError:
                    await asyncio.sleep(0.1)
        assert await _status(*fresh) == 200
        assert await _status(reader, writer) == 200
        for each in (writer, fresh[1]):
            each.transport.abort()
    finally:
        program.process.kill()
        await program.end()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _put(files: CertificateFiles, used: tuple[Path, Path]) -> None:
    used[0].write_bytes(files.certificate.read_bytes())
    used[1].write_bytes(files.key.read_bytes())


async def _open(port: int, trusted: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(trusted))
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="m")


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    writer.write(b"GET /x HTTP/1.1\r\nHost: m\r\n\r\n")
    return (await read_answer(reader)).status
