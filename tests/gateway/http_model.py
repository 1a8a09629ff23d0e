"""A real HTTP server that stands for a model, or for a logger's collector."""

from __future__ import annotations

import json
from typing import Any

from flambeau.foundation.http1 import Connection, Exchange, Head, Server
from flambeau.gateway.document import Endpoint


class Model:
    """A replica that doubles numbers, or a collector that remembers; it waits while it is closed."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.open = True
        self.status = 200
        self.factor = 2
        self.lost = 0
        """Predictions that it forgets."""
        self.waiting: list[Calling] = []
        self.server = Server(self._application)
        self.endpoint = Endpoint("127.0.0.1", 0, "ns/pod")

    def _application(self, head: Head, connection: Connection) -> Exchange:
        return Calling(self, head, connection)

    async def start(self) -> Model:
        _, port = await self.server.start(host="127.0.0.1", port=0)
        self.endpoint = Endpoint("127.0.0.1", port, "ns/pod")
        return self

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for calling in waiting:
            calling.answer()

    def instances(self) -> list[Any]:
        return [json.loads(body)["instances"] for _, body in self.calls]


class Calling:
    def __init__(self, model: Model, head: Head, connection: Connection) -> None:
        self.model = model
        self.head = head
        self.connection = connection
        self.body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.model.calls.append(({name.decode().lower(): value.decode() for name, value in self.head.headers}, self.body))
        if self.model.open:
            self.answer()
        else:
            self.model.waiting.append(self)

    def answer(self) -> None:
        try:
            instances = json.loads(self.body)["instances"][self.model.lost :]
            said = {"predictions": [self.model.factor * each for each in instances], "id": str(id(self))}
        except (ValueError, KeyError):
            said = {"error": "no instances"}
        self.connection.respond(self.model.status, [(b"content-type", b"application/json")], json.dumps(said).encode())

    def on_abort(self) -> None: ...

    def on_writable(self, writable: bool) -> None: ...
