"""The gateway's process under its supervisor: plain, with a certificate, adopted, replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest

from flambeau.foundation.errors import Unavailable
from flambeau.programs.gateway_supervisor import GatewayAddress, GatewaySupervisor, GatewayTls
from tests.fixtures.certificates import make_certificate
from tests.fixtures.waiting import until


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


async def status_of(port: int, trust: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(b"GET / HTTP/1.1\r\nHost: nobody\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.readline(), 10)
    writer.transport.abort()
    return answer


async def test_a_gateway_with_other_tls_is_replaced_and_the_same_adopted(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=files.certificate)
    plain = GatewayAddress("127.0.0.1", free_port())
    secret = GatewayAddress(plain.host, plain.port, GatewayTls(files.certificate, files.key))
    assert (plain.scheme, secret.scheme) == ("http", "https")
    first, second, third = GatewaySupervisor(tmp_path, plain), GatewaySupervisor(tmp_path, secret), GatewaySupervisor(tmp_path, secret)
    await first.start()
    try:
        assert await status_of(plain.port, None) == b"HTTP/1.1 404 Not Found\r\n"
        first_pid = first.pid
        await first._tasks.close()  # as kill -9 of the control plane leaves it
        await second.start()
        assert second.pid != first_pid
        assert await status_of(plain.port, trust) == b"HTTP/1.1 404 Not Found\r\n"
        await second._tasks.close()
        await third.start()
        assert third.pid == second.pid
    finally:
        for supervisor in (third, second, first):
            await supervisor.stop()


async def test_a_bad_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls.crt").write_text("nothing")
    address = GatewayAddress("127.0.0.1", free_port(), GatewayTls(tmp_path / "tls.crt", tmp_path / "tls.crt"))
    with pytest.raises(Unavailable, match="cannot serve TLS with certificate"):
        await GatewaySupervisor(tmp_path, address).start()


async def test_a_gateway_that_cannot_come_back_at_once_comes_back_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address = GatewayAddress("127.0.0.1", free_port())
    supervisor = GatewaySupervisor(tmp_path, address)
    await supervisor.start()
    try:
        assert supervisor.pid is not None
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            os.kill(supervisor.pid, signal.SIGKILL)
            await until(lambda: can_bind(thief, address.port))
            thief.listen()
            await until(lambda: caplog.text.count("the gateway does not start") >= 2, 30)
        await until(lambda: supervisor.pid is not None and answers(address.port), 30)
    finally:
        await supervisor.stop()


def can_bind(thief: socket.socket, port: int) -> bool:
    try:
        thief.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
