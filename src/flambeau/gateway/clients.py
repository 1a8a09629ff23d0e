"""What stands in a client's place: one that looks on, one that changes what passes, one that is nobody's.

To a passage they are clients like any other (``passage.Client``); so what is done to answers costs nothing where nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flambeau.foundation.http1 import ANSWERED, Exchange
from flambeau.gateway.effects import CorsRule, Edit, Pairs
from flambeau.gateway.passage import Client

COPY_BYTES_MAX = 4 * 1024 * 1024
"""Longest body, of a request or of an answer, that is kept whole to be copied, logged or compared."""
COPIES_BYTES_MAX = 64 * 1024 * 1024
"""All bodies that are kept at once; what comes then passes uncopied and is counted."""

HeaderPairs = Sequence[tuple[bytes, bytes]]


class Relay:
    """Pass everything on to the client; others change a part of it."""

    __slots__ = ("client",)

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def peer(self) -> str:
        """The client's address without its port."""
        return self.client.peer

    def respond(self, status: int, headers: HeaderPairs, body: bytes) -> None:
        """Pass a whole answer on."""
        self.client.respond(status, headers, body)

    def start(self, status: int, headers: HeaderPairs, length: int | None) -> None:
        """Pass an answer's head on."""
        self.client.start(status, headers, length)

    def write(self, data: bytes) -> None:
        """Pass a piece of the answer on."""
        self.client.write(data)

    def finish(self) -> None:
        """Pass the answer's end on."""
        self.client.finish()

    def switch(self, headers: HeaderPairs) -> None:
        """Pass the change of protocol on."""
        self.client.switch(headers)

    def abort(self) -> None:
        """Cut the answer off."""
        self.client.abort()

    def pause_reading(self) -> None:
        """Take no more of the request for now."""
        self.client.pause_reading()

    def resume_reading(self) -> None:
        """Take the request again."""
        self.client.resume_reading()


class Edited(Relay):
    """A client whose answers get other headers.

    Args:
        client: who asked.
        edits: in this order.
        cors: the policy to speak for; its origin was let in.
        origin: what the client calls itself.
    """

    __slots__ = ("_cors", "_edits", "_origin")

    def __init__(self, client: Client, edits: Sequence[Edit], cors: CorsRule | None, origin: bytes) -> None:
        super().__init__(client)
        self._edits = edits
        self._cors = cors
        self._origin = origin

    def respond(self, status: int, headers: HeaderPairs, body: bytes) -> None:
        """Pass a whole answer on."""
        self.client.respond(status, self._changed(headers), body)

    def start(self, status: int, headers: HeaderPairs, length: int | None) -> None:
        """Pass an answer's head on."""
        self.client.start(status, self._changed(headers), length)

    def _changed(self, headers: HeaderPairs) -> Pairs:
        changed = list(headers)
        if self._cors is not None:  # the policy replaces what the replica says about origins
            changed = [header for header in changed if not header[0].lower().startswith(b"access-control-")]
            changed += self._cors.headers(self._origin)
        for edit in self._edits:
            changed = edit.apply(changed)
        return changed


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: HeaderPairs
    body: bytes | None
    """None: it was too long to be kept, or broke off."""
    seconds: float

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; ``name`` in lower case."""
        return next((value for known, value in self.headers if known.lower() == name), None)


class Budget:
    """Bytes that may be kept at once."""

    def __init__(self, bytes_max: int = COPIES_BYTES_MAX) -> None:
        self._left = bytes_max

    def take(self, size: int) -> bool:
        """Take so many bytes, if there are so many left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._left += size


class Kept:
    """A body that is being kept as it passes, within the bounds."""

    __slots__ = ("_budget", "_lost", "_pieces", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pieces: list[bytes] = []
        self._size = 0
        self._lost = False

    def add(self, data: bytes) -> None:
        """Keep a piece, or let go of everything where it gets too much."""
        if self._lost or not data:
            return
        if self._size + len(data) > COPY_BYTES_MAX or not self._budget.take(len(data)):
            self.free()
            return
        self._size += len(data)
        self._pieces.append(data)

    def whole(self) -> bytes | None:
        """Return the body, or None where it was too much."""
        return None if self._lost else b"".join(self._pieces)

    def free(self) -> None:
        """Let go of it."""
        self._budget.give(self._size)
        self._size = 0
        self._pieces = []
        self._lost = True


class Tap:
    """Who listens to one request and its answer; nothing is asked of it, and it may not hold up anything."""

    def on_request(self, body: bytes | None) -> None:
        """Know the whole request; None: it was too long to be kept."""

    def on_answer(self, answer: Answer | None) -> None:
        """Know the whole answer; None: it broke off, or its client went away. Nothing follows."""


class Tapped(Relay):
    """A client, and at once its request's exchange, with somebody who listens to both directions.

    Args:
        client: who asked.
        taps: who listens.
        budget: of what may be kept.
    """

    __slots__ = ("_answer", "_began", "_head", "_request", "_taps", "exchange")

    def __init__(self, client: Client, taps: Sequence[Tap], budget: Budget) -> None:
        super().__init__(client)
        self.exchange: Exchange = ANSWERED
        """Who takes the request; set once it is made."""
        self._taps = taps
        self._request = Kept(budget)
        self._answer = Kept(budget)
        self._head: tuple[int, HeaderPairs] = (0, ())
        self._began = asyncio.get_running_loop().time()

    # The request.

    def on_body(self, data: bytes) -> None:
        """Keep a piece and pass it on."""
        self._request.add(data)
        self.exchange.on_body(data)

    def on_end(self) -> None:
        """Tell of the request, behind its real end."""
        body = self._request.whole()
        self.exchange.on_end()
        for tap in self._taps:
            tap.on_request(body)
        self._request.free()

    def on_abort(self) -> None:
        """Pass it on that the client has gone."""
        self.exchange.on_abort()
        self._tell(None)

    def on_writable(self, writable: bool) -> None:
        """Pass the client's slowness on."""
        self.exchange.on_writable(writable)

    # The answer.

    def respond(self, status: int, headers: HeaderPairs, body: bytes) -> None:
        """Pass a whole answer on."""
        self.client.respond(status, headers, body)
        self._answer.add(body)
        self._head = status, headers
        self._tell_whole()

    def start(self, status: int, headers: HeaderPairs, length: int | None) -> None:
        """Pass an answer's head on."""
        self._head = status, headers
        self.client.start(status, headers, length)

    def write(self, data: bytes) -> None:
        """Keep a piece of the answer and pass it on."""
        self._answer.add(data)
        self.client.write(data)

    def finish(self) -> None:
        """Pass the answer's end on."""
        self.client.finish()
        self._tell_whole()

    def abort(self) -> None:
        """Cut the answer off."""
        self.client.abort()
        self._tell(None)

    def _tell_whole(self) -> None:
        status, headers = self._head
        self._tell(Answer(status, headers, self._answer.whole(), asyncio.get_running_loop().time() - self._began))

    def _tell(self, answer: Answer | None) -> None:
        taps, self._taps = self._taps, ()
        for tap in taps:
            tap.on_answer(answer)
        self._request.free()
        self._answer.free()


class Nobody:
    """A client of the gateway's own: it keeps the answer and hands it over.

    Args:
        budget: of what may be kept.
        on_answer: called once; its body is None where it was too long or broke off.
        peer: whom the replica is told to be asked by.
    """

    __slots__ = ("_began", "_body", "_head", "_loop", "_on_answer", "is_answered", "peer")

    def __init__(self, budget: Budget, on_answer: Callable[[Answer], None], peer: str) -> None:
        self.peer = peer
        self.is_answered = False
        self._body = Kept(budget)
        self._head: tuple[int, HeaderPairs] = (0, ())
        self._on_answer = on_answer
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    def respond(self, status: int, headers: HeaderPairs, body: bytes) -> None:
        """Take a whole answer."""
        self._head = status, headers
        self._body.add(body)
        self.finish()

    def start(self, status: int, headers: HeaderPairs, length: int | None) -> None:
        """Take an answer's head."""
        self._head = status, headers

    def write(self, data: bytes) -> None:
        """Take a piece of the answer."""
        self._body.add(data)

    def finish(self) -> None:
        """Hand the answer over."""
        self._end(self._body.whole())

    def switch(self, headers: HeaderPairs) -> None:
        """Refuse: nobody asked for it."""
        self.abort()

    def abort(self) -> None:
        """Hand over what is known of an answer that broke off."""
        self._end(None)

    def pause_reading(self) -> None:
        """Do nothing: the whole request is there."""

    def resume_reading(self) -> None:
        """Do nothing: the whole request is there."""

    def _end(self, body: bytes | None) -> None:
        if not self.is_answered:
            self.is_answered = True
            self._on_answer(Answer(*self._head, body, self._loop.time() - self._began))
            self._body.free()
