"""What stands behind the gateways that are compared: takes any body, and answers a GET of /N with N bytes. Argument: its port."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from flambeau.foundation.http1 import Connection, Head, Limits, Server


class Answering:
    """One request."""

    def __init__(self, head: Head, connection: Connection) -> None:
        self._length = int(head.path[1:]) if head.method == "GET" else 2
        self._connection = connection

    def on_body(self, data: bytes) -> None: ...
    def on_end(self) -> None:
        self._connection.respond(200, [(b"content-type", b"application/octet-stream")], bytes(self._length))

    def on_abort(self) -> None: ...
    def on_writable(self, writable: bool) -> None: ...


async def main() -> None:
    await Server(Answering, Limits()).start(host="127.0.0.1", port=int(sys.argv[1]))
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
