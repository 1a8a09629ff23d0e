"""The gateway with a certificate: HTTP/1.1, HTTP/2 and gRPC over TLS on one port, in the real process."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest
from grpc import aio, ssl_channel_credentials

from flambeau.gateway.document import Endpoint
from tests.fixtures.certificates import make_certificate
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
