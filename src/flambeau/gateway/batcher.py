"""The hands of batching: requests gather while the model is busy, go to it as one, and get their shares of its answer.

Work-conserving: a batch goes at once while a replica has nothing to do; otherwise when it is full, when its oldest request has waited long
enough, or when an answer comes back. Decided by ``batch``; what it can't read passes by untouched, and is never waited with.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flambeau.foundation.http1 import Exchange, Head
from flambeau.gateway import answers
from flambeau.gateway.batch import Part, merged, part_of, split
from flambeau.gateway.clients import COPY_BYTES_MAX, Answer, Nobody
from flambeau.gateway.copies import send_whole, whole_head
from flambeau.gateway.document import Batcher as Settings
from flambeau.gateway.forward import Forward
from flambeau.gateway.passage import Client
from flambeau.gateway.table import Route

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway
    from flambeau.gateway.upstream import Service

MEMBERS_MAX = 1024
"""Requests of one backend that gather or wait for their batch's answer; one more is refused."""


class Batcher:
    """Gather the requests of one backend.

    Args:
        gateway: whom they pass.
        service: the backend.
        settings: the user's.
    """

    def __init__(self, gateway: Gateway, service: Service, settings: Settings) -> None:
        self.gateway = gateway
        self.service = service
        self.settings = settings
        self.under_way = 0
        """Batches that wait for their answers."""
        self.members = 0
        self._open: dict[bytes, Batch] = {}

    def begin(self, route: Route, head: Head, client: Client) -> Exchange:
        """Take a request whose body is still to come."""
        return Member(self, route, head, client)

    def add(self, member: Member, part: Part) -> None:
        """Put a request into a batch that it fits."""
        key = b"%b %b %b" % (part.likeness, member.route.target, (member.route.authority or member.head.host).encode())
        batch = self._open.get(key)
        if batch is not None and batch.rows + part.rows > self.settings.size_max:
            batch.send()
            batch = None
        if batch is None:
            batch = self._open[key] = Batch(self, key)
        batch.add(member, part)
        if batch.rows >= self.settings.size_max or self.under_way < max(1, len(self.service.replicas)):
            batch.send()

    def left(self, batch: Batch) -> None:
        """Know that a batch takes nobody any more."""
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]

    def answered(self) -> None:
        """Send what gathered, now that a replica is free: the oldest first."""
        self.under_way -= 1
        batch = next(iter(self._open.values()), None)
        if batch is not None:
            asyncio.get_running_loop().call_soon(batch.send)

    def close(self) -> None:
        """Send what has gathered: the backend goes."""
        for batch in tuple(self._open.values()):
            batch.send()


class Member:
    """One request: first its body gathers, then it waits for its share; or it passes by, as a request of its own."""

    __slots__ = ("_batcher", "_bytes", "_passage", "_pieces", "batch", "client", "gone", "head", "route")

    def __init__(self, batcher: Batcher, route: Route, head: Head, client: Client) -> None:
        self._batcher = batcher
        self.route = route
        self.head = head
        self.client = client
        self.batch: Batch | None = None
        self.gone = False
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._passage: Exchange | None = None

    def on_body(self, data: bytes) -> None:
        """Gather a piece; a body that gets too long passes by."""
        if self._passage is not None:
            self._passage.on_body(data)
            return
        self._pieces.append(data)
        if self._bytes + len(data) > COPY_BYTES_MAX or not self._batcher.gateway.budget.take(len(data)):
            self._pass_by()
        else:
            self._bytes += len(data)

    def on_end(self) -> None:
        """Join a batch, or pass by."""
        if self._passage is not None:
            self._passage.on_end()
            return
        batcher = self._batcher
        part = part_of(self.head.path, self.head.headers, b"".join(self._pieces))
        if part is None or part.rows > batcher.settings.size_max:
            self._pass_by().on_end()
            return
        self._pieces = []
        if batcher.members >= MEMBERS_MAX:
            why = f"{MEMBERS_MAX} requests wait for their batches, the most"
            self.free()
            self.client.respond(503, answers.headers(503), answers.error(why, route=self.route.source))
            return
        batcher.add(self, part)

    def on_abort(self) -> None:
        """Forget a client that has gone; the others of its batch are answered all the same."""
        self.gone = True
        if self._passage is not None:
            self._passage.on_abort()
        else:
            self.free()
            if self.batch is not None:
                self.batch.lost()

    def on_writable(self, writable: bool) -> None:
        """Pass the client's slowness on; a share of an answer is written whole."""
        if self._passage is not None:
            self._passage.on_writable(writable)

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Give the client its share."""
        if not self.gone:
            self.free()
            own = self.head.get(b"x-request-id")
            if own is not None:  # the batch went by the first one's
                headers = [*(header for header in headers if header[0].lower() != b"x-request-id"), (b"x-request-id", own)]
            self.client.respond(status, headers, body)

    def free(self) -> None:
        """Give back what was kept of the budget."""
        size, self._bytes = self._bytes, 0
        self._batcher.gateway.budget.give(size)

    def _pass_by(self) -> Exchange:
        self._passage = passage = self._batcher.gateway.forward(self._batcher.service, self.route, self.head, self.client)
        for piece in self._pieces:
            passage.on_body(piece)
        self._pieces = []
        self.free()
        return passage


class Batch:
    """Requests that go to the model as one."""

    def __init__(self, batcher: Batcher, key: bytes) -> None:
        self._batcher = batcher
        self.key = key
        self.rows = 0
        self._members: list[Member] = []
        self._parts: list[Part] = []
        self._passage: Forward | None = None
        self._is_sent = self._is_over = False
        self._timer = asyncio.get_running_loop().call_later(batcher.settings.wait_seconds, self.send)

    def add(self, member: Member, part: Part) -> None:
        """Take a request in."""
        member.batch = self
        self._members.append(member)
        self._parts.append(part)
        self.rows += part.rows
        self._batcher.members += 1

    def send(self) -> None:
        """Go to the model once, without those who have left."""
        if self._is_sent:
            return
        self._is_sent = True
        self._timer.cancel()
        self._batcher.left(self)
        present = [(member, part) for member, part in zip(self._members, self._parts, strict=True) if not member.gone]
        self._batcher.members -= len(self._members) - len(present)
        self._members, self._parts = [member for member, _ in present], [part for _, part in present]
        if not present:
            self._is_over = True
            return
        gateway, service = self._batcher.gateway, self._batcher.service
        self._batcher.under_way += 1
        why = gateway.refusal(service)
        if why is not None:
            service.numbers.count(503, 0.0)
            self._answer(Answer(503, answers.headers(503), answers.error(why, backend=service.backend.name), 0.0))
            return
        first = self._members[0]
        body = merged(self._parts)
        if body is None:
            self._part_ways()
            return
        head = whole_head(first.head, body)
        head.headers = [header for header in head.headers if header[0].lower() != b"accept-encoding"]  # the answer is to be shared out
        client = Nobody(gateway.budget, self._answer, first.client.peer)
        route = first.route
        limit = self._batcher.settings.timeout_seconds
        if limit:
            route = replace(route, timeout_seconds=min(limit, route.timeout_seconds))
        self._passage = Forward(gateway, service, route, head, client)
        send_whole(gateway, self._passage, body)

    def _part_ways(self) -> None:
        """Let each go on by itself, since one of them is nested too deep; who is that, and alone, is told."""
        if len(self._members) == 1:
            self._answer(
                Answer(400, answers.headers(400), answers.error("the request's JSON is nested too deep to be put into a batch"), 0.0)
            )
            return
        alone = list(zip(self._members, self._parts, strict=True))
        self._members, self._parts = [], []
        self._batcher.members -= len(alone)
        self._end()
        for member, part in alone:
            batch = Batch(self._batcher, self.key)
            batch.add(member, part)
            batch.send()

    def lost(self) -> None:
        """Cancel what nobody waits for any more."""
        if all(member.gone for member in self._members) and not self._is_over:
            if self._passage is None:
                self.send()
            else:
                self._passage.on_abort()
                self._end()

    def _answer(self, answer: Answer) -> None:
        members, parts = self._members, self._parts
        body = answer.body
        if any(name.lower() == b"content-encoding" for name, _ in answer.headers):
            body = None  # nobody asked for it
        if body is None:
            shares = [answers.error("the model's answer to the batch broke off, is too long or is compressed")] * len(members)
            answer = Answer(502, answers.headers(502), b"", answer.seconds)
        elif answer.status == 200:
            found = split(body, parts, str(uuid.uuid4()))
            if found is None:
                rows = sum(part.rows for part in parts)
                why = f"the model's answer can't be shared out: it has not one prediction for each of the batch's {rows} instances"
                hint = "take the batcher out of the InferenceService, or let the handler answer row by row"
                found = [answers.error(why, hint=hint)] * len(parts)
                answer = Answer(502, answers.headers(502), b"", answer.seconds)
            shares = found
        else:
            shares = [body] * len(members)
        self._end()
        for member, share in zip(members, shares, strict=True):
            member.answer(answer.status, answer.headers, share)

    def _end(self) -> None:
        self._is_over = True
        self._batcher.members -= len(self._members)
        self._batcher.answered()


def is_batchable(head: Head) -> bool:
    """Tell whether a request may be one for a batch, by its head: small, JSON, not compressed, to predict or infer."""
    if head.method != "POST" or not head.path.endswith((b":predict", b"/infer")) or head.get(b"content-encoding") is not None:
        return False
    return head.get(b"inference-header-content-length") is None and (head.content_length or 0) <= COPY_BYTES_MAX
