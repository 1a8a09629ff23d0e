"""What rules do to HTTP requests beside leading them somewhere: faults, CORS, redirects, other headers, mirrors.

``proxy`` comes here only with requests whose rule does any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from flambeau.foundation.http1 import ANSWERED, Exchange, Head
from flambeau.gateway import answers
from flambeau.gateway.clients import Edited, Tap, Tapped
from flambeau.gateway.copies import Copy, MirrorTap
from flambeau.gateway.effects import Effects, Reply, changed_head, location
from flambeau.gateway.headers import asked_protocol
from flambeau.gateway.passage import Client
from flambeau.gateway.table import Detour, Miss, Route

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway

DELAYED_MAX = 1024
"""Requests that are held back on purpose at once; one more is refused."""


def treat(gateway: Gateway, head: Head, client: Client, found: Route | Detour | Reply | Miss) -> Exchange:
    """Do what the rules say, and begin the request if it still goes anywhere."""
    if isinstance(found, Miss):
        body = answers.miss_body(found, gateway.address, head.target)
        client.respond(answers.miss_status(found), answers.JSON_HEADERS, body)
        return ANSWERED
    effects = found.effects or Effects()
    origin = head.get(b"origin")
    if effects.cors is not None and origin is not None:
        allowed = effects.cors.allows(origin.decode("latin-1"))
        if head.method == "OPTIONS" and head.get(b"access-control-request-method") is not None:
            client.respond(200, effects.cors.preflight(origin) if allowed else [], b"")
            return ANSWERED
        client = Edited(client, effects.response, effects.cors if allowed else None, origin)
    elif effects.response:
        client = Edited(client, effects.response, None, b"")
    return _with_fault(gateway, effects, client, lambda asker: _go(gateway, head, asker, found, effects), found.source)


def _with_fault(gateway: Gateway, effects: Effects, client: Client, go: Callable[[Client], Exchange], source: str) -> Exchange:
    fault = effects.fault
    if fault is None:
        return go(client)
    if fault.abort_status and gateway.draw() * 100 < fault.abort_percent:
        body = answers.error("fault filter abort", route=source, hint="the route asks for this fault")

        def go(asker: Client) -> Exchange:
            asker.respond(fault.abort_status, answers.headers(fault.abort_status), body)
            return ANSWERED

    if fault.delay_seconds and gateway.draw() * 100 < fault.delay_percent:
        return delayed(gateway, client, fault.delay_seconds, go)
    return go(client)


def delayed(gateway: Gateway, client: Client, seconds: float, go: Callable[[Client], Exchange]) -> Exchange:
    """Hold a request back on purpose, or refuse it where too many are held."""
    if len(gateway.delayed) >= DELAYED_MAX:
        client.respond(503, answers.headers(503), answers.error(f"{DELAYED_MAX} requests are delayed by their routes' faults, the most"))
        return ANSWERED
    return Delayed(gateway, client, seconds, go)


class Delayed:
    """A request that is held back on purpose."""

    __slots__ = ("_client", "_ended", "_exchange", "_gateway", "_go", "_pieces", "timer")

    def __init__(self, gateway: Gateway, client: Client, seconds: float, go: Callable[[Client], Exchange]) -> None:
        self._gateway = gateway
        self._client = client
        self._go = go
        self._exchange: Exchange | None = None
        self._pieces: list[bytes] = []  # at most one read, or a window of HTTP/2
        self._ended = False
        client.pause_reading()
        gateway.delayed.add(self)
        self.timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def on_body(self, data: bytes) -> None:
        """Pass a piece on, or keep it."""
        if self._exchange is None:
            self._pieces.append(data)
        else:
            self._exchange.on_body(data)

    def on_end(self) -> None:
        """Pass the end on, or keep it in mind."""
        self._ended = True
        if self._exchange is not None:
            self._exchange.on_end()

    def on_abort(self) -> None:
        """Forget a client that has gone."""
        self.timer.cancel()
        self._gateway.delayed.discard(self)
        if self._exchange is not None:
            self._exchange.on_abort()

    def on_writable(self, writable: bool) -> None:
        """Pass the client's slowness on."""
        if self._exchange is not None:
            self._exchange.on_writable(writable)

    def _begin(self) -> None:
        self._gateway.delayed.discard(self)
        self._client.resume_reading()
        self._exchange = exchange = self._go(self._client)
        for piece in self._pieces:
            exchange.on_body(piece)
        self._pieces = []
        if self._ended:
            exchange.on_end()


def _go(gateway: Gateway, head: Head, client: Client, found: Route | Detour | Reply, effects: Effects) -> Exchange:
    if isinstance(found, Detour):
        where = location(found.redirect, head.get(b"host") or b"", gateway.scheme, found.path, head.query, found.prefix)
        if where is None:
            client.respond(400, answers.JSON_HEADERS, answers.error("the path can't be put into a redirect"))
        else:
            client.respond(found.redirect.code, [(b"location", where)], b"")
        return ANSWERED
    if isinstance(found, Reply):
        client.respond(found.status, found.headers, found.body)
        return ANSWERED
    if effects.request:
        head = changed_head(head, effects.request)
    taps: list[Tap] = []
    if effects.mirrors and asked_protocol(head) is None:
        taps += [
            MirrorTap(Copy(gateway, mirror.backend, found, head, client.peer))
            for mirror in effects.mirrors
            if gateway.draw() * 100 < mirror.percent
        ]
    if not taps:
        return gateway.enter(found, head, client)
    tapped = Tapped(client, taps, gateway.budget)
    tapped.exchange = gateway.enter(found, head, tapped)
    return tapped
