"""Copies of requests to other backends: mirrors, whose answers nobody reads, and shadows, whose answers are compared.

A copy is sent once its request has arrived whole, beside the real one; it never holds that up, and what there is no room for is dropped
and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from flambeau.foundation.http1 import Head
from flambeau.gateway.clients import Answer, Nobody, Tap
from flambeau.gateway.effects import changed_head
from flambeau.gateway.forward import Forward
from flambeau.gateway.table import Route

if TYPE_CHECKING:
    from flambeau.gateway.grpc_call import Call
    from flambeau.gateway.proxy import Gateway
    from flambeau.gateway.upstream import Service

COPIES_MAX = 128
"""Copies on their way at once."""
COPY_SECONDS_MAX = 900.0
"""For one, from its request to its answer's end: a stream without an end would hold its place for ever."""
_OWN_NAMES = frozenset(("id", "model_name", "model_version"))
"""What a V2 answer says of itself; two models that agree still differ in it."""


class Copy:
    """A copy of one request, for another backend.

    Args:
        gateway: whose backend it is.
        name: of the backend.
        route: how the real request goes: target, authority and timeout hold for the copy as well.
        head: of the real request.
        peer: who asked.
    """

    def __init__(self, gateway: Gateway, name: str, route: Route, head: Head, peer: str) -> None:
        self._gateway = gateway
        self._name = name
        self._route = route
        self._head = head
        self._peer = peer
        self._passage: Forward | Call | None = None

    @property
    def what(self) -> str:
        """What is asked, for people."""
        return f"{self._head.method} {self._head.path.decode('latin-1')}"

    def send(self, body: bytes | None, on_answer: Callable[[Answer | None], None]) -> None:
        """Send the whole request, at a time when nobody waits for it.

        Args:
            body: of the real request; None: it was too long to be kept.
            on_answer: called once, with None if there was no room or no such backend.
        """
        gateway, service = self._gateway, self._gateway.services.get(self._name)
        if body is None or service is None or gateway.copies_under_way >= COPIES_MAX or gateway.refusal(service) is not None:
            gateway.copies_dropped += 1
            on_answer(None)
            return

        def answered(answer: Answer) -> None:
            limit.cancel()
            gateway.copies_under_way -= 1
            on_answer(answer)

        gateway.copies_under_way += 1
        limit = asyncio.get_running_loop().call_later(COPY_SECONDS_MAX, self._cut)
        self._passage = passage = self._passage_to(service, body, answered)
        send_whole(gateway, passage, body)

    def content(self, answer: Answer) -> object:
        """Return what an answer says, without what it says of its own model."""
        try:
            content = orjson.loads(answer.body or b"")
        except orjson.JSONDecodeError:
            return answer.body
        if isinstance(content, dict):
            return {name: value for name, value in content.items() if name not in _OWN_NAMES}
        return content

    def _passage_to(self, service: Service, body: bytes, on_answer: Callable[[Answer], None]) -> Forward | Call:
        client = Nobody(self._gateway.budget, on_answer, self._peer)
        return Forward(self._gateway, service, self._route, whole_head(self._head, body), client)

    def _cut(self) -> None:
        """End what takes too long; its answer counts as one that broke off."""
        if self._passage is not None:
            self._passage.on_abort()
            self._passage.client.abort()


def whole_head(head: Head, body: bytes) -> Head:
    """Return a request's head as that of one whose body is there already."""
    whole = changed_head(head, ())
    whole.content_length, whole.chunked, whole.expect_continue = len(body), False, False
    return whole


def send_whole(gateway: Gateway, passage: Forward | Call, body: bytes) -> None:
    """Begin a request of the gateway's own, whose client is Nobody."""
    gateway.dispatch(passage)
    if body:
        passage.on_body(body)
    passage.on_end()


class MirrorTap(Tap):
    """Send a copy whose answer is dropped."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy

    def on_request(self, body: bytes | None) -> None:
        """Send the copy."""
        self._copy.send(body, lambda answer: None)


class Comparison:
    """What is known of a shadow's answers beside the real ones; kept for each backend that has a shadow."""

    __slots__ = ("different", "dropped", "last", "real_seconds", "same", "shadow_seconds")

    def __init__(self) -> None:
        self.same = 0
        self.different = 0
        self.dropped = 0
        """Copies that could not be sent, or whose answers could not be compared."""
        self.real_seconds = 0.0
        self.shadow_seconds = 0.0
        self.last = ""
        """The last difference."""

    def compare(self, copy: Copy, real: Answer | None, shadow: Answer | None) -> None:
        """Count a pair of answers."""
        if real is None or shadow is None or real.body is None or shadow.body is None:
            self.dropped += 1
            return
        self.real_seconds += real.seconds
        self.shadow_seconds += shadow.seconds
        found = difference(copy, real, shadow)
        if found:
            self.different += 1
            self.last = f"{copy.what}: {found}"
        else:
            self.same += 1


def difference(copy: Copy, real: Answer, shadow: Answer) -> str:
    """Return how two answers differ; empty if they say the same."""
    if real.status != shadow.status:
        return f"status {real.status}, the shadow's {shadow.status}"
    if real.body == shadow.body or copy.content(real) == copy.content(shadow):
        return ""
    return f"the bodies differ ({len(real.body or b'')} bytes, the shadow's {len(shadow.body or b'')})"


class ShadowTap(Tap):
    """Send a copy, and compare its answer with the real one when both are there."""

    def __init__(self, comparison: Comparison, copy: Copy) -> None:
        self._comparison = comparison
        self._copy = copy
        self._real: Answer | None = None
        self._shadow: Answer | None = None
        self._awaited = 2

    def on_request(self, body: bytes | None) -> None:
        """Send the copy."""
        self._copy.send(body, self._take_shadow)

    def on_answer(self, answer: Answer | None) -> None:
        """Take the real answer."""
        self._real = answer
        self._compare()

    def _take_shadow(self, answer: Answer | None) -> None:
        self._shadow = answer
        self._compare()

    def _compare(self) -> None:
        self._awaited -= 1
        if self._awaited == 0:
            self._comparison.compare(self._copy, self._real, self._shadow)
