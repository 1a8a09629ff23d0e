"""The least that a gRPC server on Python's event loop can do: give every message back as it came, unread.

As a program: ``python -m benchmarks.sides.grpc_echo``; it prints its port.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import uvloop
from grpc import aio

from benchmarks.archives import ROOT

NAME = "bare grpc.aio"


@contextlib.contextmanager
def grpc_echo() -> Iterator[int]:
    """Run it until the block ends; yield its port."""
    with subprocess.Popen([sys.executable, "-m", "benchmarks.sides.grpc_echo"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def main() -> None:
    """Serve until killed."""
    server = aio.server(options=[("grpc.max_receive_message_length", -1)])

    async def same(message: bytes, _: Any) -> bytes:
        return message

    methods = {"ModelInfer": grpc.unary_unary_rpc_method_handler(same)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
