"""For gRPC calls what ``clients`` and ``copies`` are for HTTP: one that looks on, one that is nobody's, and copies of whole calls.

A call is copied once its client has sent everything, and only if that is one message. A client's stream passes uncopied.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.gateway import grpc_answers, grpc_messages
from flambeau.gateway.clients import Answer, Budget, Nobody, Tap, Tapped
from flambeau.gateway.copies import Copy
from flambeau.gateway.grpc_call import Call, CallClient
from flambeau.gateway.http2_link import Codes, HeaderList
from flambeau.gateway.upstream import Service


class TappedCall(Tapped):
    """A call's client, and at once its exchange, with somebody who listens to both directions.

    What they hear are streams' bytes, as they pass; an answer's status is the one of HTTP that the call's own is counted as.
    """

    __slots__ = ()

    client: CallClient

    def __init__(self, client: CallClient, taps: list[Tap], budget: Budget) -> None:
        super().__init__(client, taps, budget)

    def send_head(self, headers: HeaderList, *, end: bool = False) -> None:
        """Pass an answer's head on; it may be all there is."""
        self.client.send_head(headers, end=end)
        self._head = grpc_answers.counted_as(headers), headers
        if end:
            self._tell_whole()

    def finish(self, trailers: HeaderList = ()) -> None:
        """Pass the answer's end on."""
        self.client.finish(trailers)
        self._head = grpc_answers.counted_as(trailers), self._head[1]
        self._tell_whole()

    def abort(self, code: Codes = Codes.INTERNAL_ERROR) -> None:
        """Break the answer off."""
        self.client.abort(code)
        self._tell(None)


class NobodyCalling(Nobody):
    """A client of the gateway's own that makes a call: it keeps the answer and hands it over."""

    __slots__ = ()

    def send_head(self, headers: HeaderList, *, end: bool = False) -> None:
        """Take an answer's head; it may be all there is."""
        self._head = grpc_answers.counted_as(headers), headers
        if end:
            super().finish()

    def finish(self, trailers: HeaderList = ()) -> None:
        """Hand the answer over."""
        self._head = grpc_answers.counted_as(trailers), self._head[1]
        super().finish()

    def abort(self, code: Codes = Codes.INTERNAL_ERROR) -> None:
        """Hand over what is known of an answer that broke off."""
        super().abort()


class CallCopy(Copy):
    """A copy of one call."""

    def send(self, body: bytes | None, on_answer: Callable[[Answer | None], None]) -> None:
        """Send the whole call, unless its client sent several messages, or none."""
        if body is None or grpc_messages.is_single(body):
            super().send(body, on_answer)
        else:
            on_answer(None)

    def content(self, answer: Answer) -> object:
        """Return what an answer says, without what it says of its own model."""
        found = grpc_messages.messages(answer.body or b"", answer.header(b"grpc-encoding"))
        return answer.body if found is None else [grpc_messages.comparable(self._head.path, message) for message in found]

    def _passage_to(self, service: Service, body: bytes, on_answer: Callable[[Answer], None]) -> Call:
        return Call(self._gateway, service, self._route, self._head, NobodyCalling(self._gateway.budget, on_answer, self._peer))
