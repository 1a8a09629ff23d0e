"""Python programs that listen on all addresses listen on their pod's own, whatever binds for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau

FOLDER = Path(flambeau.__file__).parent / "compat" / "pod_network"
ADDRESS = "127.250.9.9"

SOCKET = """
import socket
listening = socket.create_server(("0.0.0.0", 18080))
print(listening.getsockname()[0])
"""
ASYNCIO = """
import asyncio
async def main():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host=None, port=18080)
    print(sorted(each.getsockname()[0] for each in server.sockets)[0])
    server.close()
asyncio.run(main())
"""
UVLOOP = """
import asyncio, uvloop
async def main():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "0.0.0.0", 18080)
    print(server.sockets[0].getsockname()[0])
    server.close()
uvloop.run(main())
"""
GRPC = """
import concurrent.futures, grpc, socket
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_insecure_port("[::]:18081")
server.start()
socket.create_connection(("127.250.9.9", 18081), timeout=10).close()
try:
    socket.create_connection(("127.0.0.1", 18081), timeout=10)
except ConnectionRefusedError:
    print("127.250.9.9")
server.stop(None)
"""
GRPC_AIO = """
import asyncio, grpc, grpc.aio, socket
async def main():
    server = grpc.aio.server()
    server.add_insecure_port("0.0.0.0:18081")
    await server.start()
    socket.create_connection(("127.250.9.9", 18081), timeout=10).close()
    try:
        socket.create_connection(("127.0.0.1", 18081), timeout=10)
    except ConnectionRefusedError:
        print("127.250.9.9")
    await server.stop(None)
asyncio.run(main())
"""


def run(program: str, folder: Path = FOLDER, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), **variables}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("program", [SOCKET, ASYNCIO, UVLOOP, GRPC, GRPC_AIO], ids=["socket", "asyncio", "uvloop", "grpc", "grpc.aio"])
def test_all_addresses_means_the_pods_own(program: str) -> None:
    assert run(program, FLAMBEAU_POD_IP=ADDRESS) == ADDRESS


def test_other_addresses_and_ports_of_the_systems_choice_stay() -> None:
    program = """
import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[0], socket.create_server(("0.0.0.0", 0)).getsockname()[0])
"""
    assert run(program, FLAMBEAU_POD_IP=ADDRESS) == "127.0.0.1 0.0.0.0"


def test_without_a_pod_nothing_changes() -> None:
    assert run("import socket, sys; print(socket.socket.bind.__qualname__)").endswith("socket.bind")


def test_a_sitecustomize_behind_it_runs_too(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    environment = {**os.environ, "PYTHONPATH": f"{FOLDER}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", ""], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "mine"
