"""The HTTP doors: a request becomes a Job on its last byte, an Answer becomes a response in one write.

Nothing here waits: the server core calls the exchange, the exchange gives the job to the model's queue, the queue calls the exchange
back. No task, no await and no timer per request. Bodies are counted before they are kept. Pages other than inference are in ``pages``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from flambeau.foundation import server_timing
from flambeau.foundation.errors import FlambeauError, Internal, InvalidInput, TooLarge
from flambeau.foundation.http1 import Connection, Exchange, Head
from flambeau.foundation.tasks import TaskOwner
from flambeau.serving.batching.queue import Ticket
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.frontends.page_request import PageRequest, Rendered, query_pairs
from flambeau.serving.frontends.pages import Pages, Transforms
from flambeau.serving.frontends.request_id import request_id
from flambeau.serving.frontends.routes import OPENAI_PREFIX, Page, Plane, Route, nowhere, route_of
from flambeau.serving.frontends.status import error_answer, error_body
from flambeau.serving.frontends.tokens import Tokens
from flambeau.serving.management import Management
from flambeau.serving.metrics.server import ServerMetrics, Tally
from flambeau.serving.model import Answer, Job, Protocol
from flambeau.serving.protocol.torchserve import model_named_in_form
from flambeau.serving.repository import LoadedModel
from flambeau.serving.workers.messages import head_text
from flambeau.serving.workflow.registry import Workflows

ROUTES_KEPT_MAX = 1_024
"""So many paths are remembered with their routes; then all are forgotten."""
STREAM_BYTES_WAITING_MAX = 8_388_608
"""Of a streamed answer, so much may wait for a client that reads slower than the model writes; then the connection is cut."""

_QUIET = frozenset({Page.LIVE, Page.READY, Page.PING, Page.METRICS})
"""Pages of probers, who ask every second: not in the access log."""

_NO_CACHE = (
    (b"Pragma", b"no-cache"),
    (b"Cache-Control", b"no-cache; no-store, must-revalidate, private"),
    (b"Expires", b"Thu, 01 Jan 1970 00:00:00 UTC"),
)
"""What TorchServe sends with every answer; sent on its own routes."""

_OURS = frozenset({"content-length", "transfer-encoding", "connection", "content-type"})
_BREAKING = frozenset("\r\n\0")
"""Characters that would end a header before its end."""

ANSWER_HEADS_KEPT_MAX = 256
"""So many content types are remembered with the header lines that go with them; then all are forgotten."""

_KSERVE_PATHS = (b"/v1/", b"/v2/")
_UNROUTED = Route(Page.ROOT)
_UNROUTED_KSERVE = Route(Page.ROOT, protocol=Protocol.V1)
"""Routes of paths that lead nowhere: they decide the error's shape."""


class _Asked:
    """What a head asks of a model: made once for a head, which a client of a kept connection mostly sends again."""

    __slots__ = ("content_type", "exchange", "head_text", "headers", "parameters", "route", "sent_id")

    def __init__(self, head: Head, route: Route) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        if route.protocol in (Protocol.TORCHSERVE, Protocol.OPENAI):
            headers.append(("url_path", route.url_path))
        self.route = route
        self.headers = tuple(headers)
        self.content_type = (head.get(b"content-type") or b"").decode("latin-1")
        self.sent_id = head.get(b"x-request-id")
        self.exchange = _Inference if head.get(server_timing.ASK.encode()) is None else _TimedInference
        self.parameters = tuple(query_pairs(head.query)) if route.query_is_input and head.query else ()
        self.head_text = head_text(route.protocol, route.method, self.content_type, self.headers, self.parameters)


class HttpFrontend:
    """What the doors of one server share.

    Args:
        dataplane: what every door calls.
        management: changes what is served.
        metrics: counts what the doors do.
        access_log: one line per request; None for none.
        request_bytes_max: a longer body is answered 413.
        model_api: whether models may be registered and unregistered.
        workflows: what workflows there are.
        tokens: looks at the keys of requests; None: nobody needs one.
        cors: headers of every answer.
        transforms_max: requests at once that SageMaker's batch transform is told of.
        openai_prefix: what stands before OpenAI's paths, such as ``/openai``.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        management: Management,
        metrics: ServerMetrics,
        *,
        access_log: AccessLog | None,
        request_bytes_max: int,
        model_api: bool,
        workflows: Workflows,
        tokens: Tokens | None = None,
        cors: tuple[tuple[bytes, bytes], ...] = (),
        transforms_max: int = 1,
        openai_prefix: str = OPENAI_PREFIX,
    ) -> None:
        self.dataplane = dataplane
        self.metrics = metrics
        self.access_log = access_log
        self.request_bytes_max = request_bytes_max
        self.tokens = tokens
        self.cors = cors
        self.torchserve_headers = (*_NO_CACHE, *cors)
        transforms = Transforms(transforms_max, request_bytes_max)
        self.pages = Pages(
            dataplane,
            management,
            metrics,
            tokens,
            workflows=workflows,
            model_api=model_api,
            transforms=transforms,
            openai_prefix=openai_prefix,
        )
        self._openai_prefix = openai_prefix
        self.tasks = TaskOwner("http")
        self._routes: dict[bytes, Route] = {}
        self._answer_heads: dict[tuple[bool, str | None], bytes] = {}

    def door(self, planes: frozenset[Plane]) -> Callable[[Head, Connection], Exchange]:
        """Return the application of one listener."""

        def application(head: Head, connection: Connection) -> Exchange:
            asked = head.kept
            if isinstance(asked, _Asked):  # as this connection's last request: only the key may be another's by now
                try:
                    if tokens is not None and tokens.are_needed_for(Page.INFER, head.method):
                        tokens.check(asked.route.planes_on(planes), head.get(b"authorization"))
                except FlambeauError as error:
                    return _Refused(self, asked.route, head, connection, error)
                return asked.exchange(self, asked, head, connection)
            route = _UNROUTED_KSERVE if head.path.startswith(_KSERVE_PATHS) else _UNROUTED
            try:
                route = self._route(head.path)
                if not route.is_on(planes):
                    raise nowhere()
                if head.method == "OPTIONS" and self.cors and head.get(b"access-control-request-method") is not None:
                    return _Preflight(self, route, head, connection)
                if tokens is not None and tokens.are_needed_for(route.page, head.method):
                    tokens.check(route.planes_on(planes), head.get(b"authorization"))
                if route.page is Page.INFER and (head.method != "OPTIONS" or route.protocol is not Protocol.TORCHSERVE):
                    route.check_method(head.method)
                    head.kept = asked = _Asked(head, route)
                    return asked.exchange(self, asked, head, connection)
                route.check_method(head.method)
            except FlambeauError as error:
                return _Refused(self, route, head, connection, error)
            return _Paged(self, route, head, connection, planes)

        tokens = self.tokens
        return application

    def _route(self, path: bytes) -> Route:
        route = self._routes.get(path)
        if route is None:
            route = route_of(path, self._openai_prefix)
            if len(self._routes) >= ROUTES_KEPT_MAX:
                self._routes.clear()
            self._routes[path] = route
        return route

    def answer_head(self, route: Route, content_type: str | None) -> bytes:
        """Return the header lines that every answer of a route and content type has."""
        key = (route.protocol is Protocol.TORCHSERVE, content_type)
        lines = self._answer_heads.get(key)
        if lines is None:
            headers = [*(self.torchserve_headers if key[0] else self.cors), *content_type_header(content_type)]
            lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            if len(self._answer_heads) >= ANSWER_HEADS_KEPT_MAX:
                self._answer_heads.clear()
            self._answer_heads[key] = lines
        return lines

    async def close(self) -> None:
        """End what still runs and write the last access lines."""
        await self.tasks.close()
        if self.access_log is not None:
            self.access_log.flush()


class _Exchange:
    """One request and its one answer; the kinds below say how it is found."""

    __slots__ = ("_front", "_head", "_started", "body_bytes", "connection", "done", "id", "parts", "route")

    def __init__(self, front: HttpFrontend, route: Route, head: Head, connection: Connection, id_: str | None = None) -> None:
        self._front = front
        self._head = head
        self._started = time.monotonic()
        self.route = route
        self.connection = connection
        self.id = id_ or request_id(head.get(b"x-request-id"))
        self.done = False
        """Answered, or nobody is there to be answered."""
        self.parts: list[bytes] = []
        self.body_bytes = 0
        if head.content_length is not None and head.content_length > front.request_bytes_max:
            self.refuse(self._too_large())

    def on_body(self, data: bytes) -> None:
        if self.done:
            return
        self.body_bytes += len(data)
        if self.body_bytes > self._front.request_bytes_max:
            self.parts.clear()
            self.refuse(self._too_large())
        else:
            self.parts.append(data)

    def on_end(self) -> None:
        raise NotImplementedError

    def on_abort(self) -> None:
        self.done = True

    def on_writable(self, writable: bool) -> None:
        """Whole answers need no pause: they are bounded."""

    def refuse(self, error: FlambeauError) -> None:
        """Answer with an error in the route's shape."""
        self.send(*error_answer(error, self.route.protocol))

    def send(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, phrase: bytes = b"") -> None:
        """Answer, once."""
        if self.done:
            return
        self.done = True
        self.connection.respond(status, self.with_common(headers), body, phrase)
        self.note(status, time.monotonic())

    def with_common(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return an answer's headers with the id, and what TorchServe adds on its own routes."""
        own = (b"x-request-id", self.id.encode("ascii"))
        front = self._front
        usual = front.torchserve_headers if self.route.protocol is Protocol.TORCHSERVE else front.cors
        if len(headers) > 1:  # beside the content type there are some that a handler set: its own win
            named = {name.lower() for name, _ in headers}
            usual = tuple(header for header in usual if header[0].lower() not in named)
        return [own, *usual, *headers]

    def note(self, status: int, now: float) -> None:
        """Count an answer, which was given now on ``time.monotonic``, and write it to the access log."""
        front = self._front
        front.metrics.count_answer(status)
        log = front.access_log
        if log is not None and self.route.page not in _QUIET:
            head = self._head
            seconds = now - self._started
            peer = self.connection.peer_address
            log.record(peer=peer, method=head.method, target=head.target, status=status, seconds=seconds, request_id=self.id)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the request's body is over max_request_size, {self._front.request_bytes_max} bytes",
            hint="send less, or raise max_request_size in config.properties",
        )


class _Refused(_Exchange):
    """A request whose path or method is wrong; its body is not read."""

    __slots__ = ()

    def __init__(self, front: HttpFrontend, route: Route, head: Head, connection: Connection, error: FlambeauError) -> None:
        super().__init__(front, route, head, connection)
        self.refuse(error)

    def on_end(self) -> None:
        pass


class _Preflight(_Exchange):
    """A browser's question whether a page of another origin may ask; the static CORS headers are the answer."""

    __slots__ = ()

    def on_end(self) -> None:
        self.send(204, [], b"")


class _Paged(_Exchange):
    """Every page but inference."""

    __slots__ = ("_making", "_planes")

    def __init__(self, front: HttpFrontend, route: Route, head: Head, connection: Connection, planes: frozenset[Plane]) -> None:
        self._planes = planes
        self._making: asyncio.Task[None] | None = None
        super().__init__(front, route, head, connection)

    def on_end(self) -> None:
        if self.done:
            return
        try:
            answer = self._front.pages.answer(PageRequest(self.route, self._head, self._planes, b"".join(self.parts), self.id))
        except FlambeauError as error:
            self.refuse(error)
            return
        if isinstance(answer, Coroutine):
            self._making = self._front.tasks.start(self.id, self._send_when_made(answer))
        else:
            self.send(*answer)

    def on_abort(self) -> None:
        self.done = True
        # A registration goes on without its client, as it would after a lost answer; a prediction is nobody's any more.
        if self._making is not None and self.route.page is Page.WORKFLOW_PREDICT:
            self._making.cancel()

    async def _send_when_made(self, making: Coroutine[Any, Any, Rendered]) -> None:
        try:
            self.send(*await making)
        except FlambeauError as error:
            self.refuse(error)
        except Exception as error:
            self.refuse(Internal(f"cannot make this page: {type(error).__name__}", hint="the server's log has the cause"))
            raise


class _Inference(_Exchange):
    """The hot path; also the Reply that the model's queue answers."""

    __slots__ = ("_asked", "_model", "_slow_reader", "_streaming", "_submitted", "_tally", "_ticket", "_waiting_bytes")

    def __init__(self, front: HttpFrontend, asked: _Asked, head: Head, connection: Connection) -> None:
        self._asked = asked
        self._model: LoadedModel | None = None
        self._slow_reader = False
        self._streaming = False
        self._submitted = 0.0
        self._tally: Tally | None = None
        self._ticket: Ticket | None = None
        self._waiting_bytes = 0
        super().__init__(front, asked.route, head, connection, request_id(asked.sent_id))

    def on_end(self) -> None:
        if self.done:
            return
        front, route, asked = self._front, self.route, self._asked
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.parts = []
        try:
            job = Job(self.id, route.protocol, route.method, asked.content_type, asked.headers, body, asked.parameters, asked.head_text)
            model = front.dataplane.model(route.model or self._named(job), route.version)
            self._model = model
            self._tally = front.metrics.tally(model.name, model.version, route.version)
            self._tally.enter()
            self._submitted = time.monotonic()
            self._ticket = model.queue.submit(job, self)
        except FlambeauError as error:
            self._leave()
            self.refuse(error)

    def _named(self, job: Job) -> str:
        """Return the model of a path that names none (``/invocations``): the query's, the only one, or a form field's."""
        name = dict(job.parameters).get("model_name") or self._front.dataplane.only_startup_model() or model_named_in_form(job)
        if not name:
            raise InvalidInput("Parameter model_name is required.", hint="there are several models: add ?model_name=NAME")
        return name

    def on_abort(self) -> None:
        self.done = True
        if self._model is not None and self._ticket is not None:
            self._model.queue.cancel(self._ticket)
        self._leave()

    def answer(self, answer: Answer) -> None:
        """Send what the worker said; the queue calls this once."""
        now = time.monotonic()
        tally, self._tally = self._tally, None
        if tally is not None:
            given_at = self._ticket.given_at if self._ticket is not None else 0.0
            tally.answered(now, self._submitted, given_at, answer.handler_seconds, self.id)
            tally.leave()
        if self._streaming:
            self._end_stream(answer)
        elif answer.error_type is None:
            if answer.status == 200 and not answer.headers and not answer.phrase:
                self._send_plain(answer, now)
            else:
                self.send(answer.status, _handler_headers(answer), answer.body, _phrase_of(answer))
        else:
            body = error_body(self.route.protocol, answer.status, answer.error_type, answer.body.decode("utf-8", "replace"))
            self.send(answer.status, [(b"content-type", b"application/json")], body)

    def _send_plain(self, answer: Answer, now: float) -> None:
        """Send what nearly every answer is: 200, with nothing that a handler set; the same bytes as ``send``."""
        if self.done:
            return
        self.done = True
        lines = b"x-request-id: %b\r\n%b" % (self.id.encode("ascii"), self._front.answer_head(self.route, answer.content_type))
        self.connection.respond(200, (), answer.body, block=lines)
        self.note(200, now)

    def begin(self, head: Answer) -> None:
        """Send the head of a streamed answer."""
        if self.done:
            return
        self._streaming = True
        headers = [*_handler_headers(head), (b"ts_stream_next", b"true")]
        self.connection.start(head.status, self.with_common(headers), None, _phrase_of(head))

    def chunks(self, parts: Sequence[bytes]) -> None:
        """Send parts of a streamed answer, each as a chunk of its own."""
        if self.done:
            return
        self.connection.write(*parts)
        if self._slow_reader:
            self._waiting_bytes += sum(map(len, parts))
            if self._waiting_bytes > STREAM_BYTES_WAITING_MAX:
                self.connection.abort()
                self.on_abort()

    def on_writable(self, writable: bool) -> None:
        """Note whether the client keeps up with a stream."""
        self._slow_reader = not writable
        self._waiting_bytes = 0

    def _end_stream(self, answer: Answer) -> None:
        if self.done:
            return
        self.done = True
        if answer.error_type is None:
            self.connection.write(answer.body)
            self.connection.finish()
        else:
            self.connection.abort()  # the status line is gone: a cut tells the client that this is not the whole answer
        self.note(200 if answer.error_type is None else answer.status, time.monotonic())

    def _leave(self) -> None:
        if self._tally is not None:
            self._tally.leave()
            self._tally = None


class _TimedInference(_Inference):
    """An inference whose client asks where its time goes: a class of its own, so that the others pay nothing for it."""

    __slots__ = ()

    def answer(self, answer: Answer) -> None:
        """Send what the worker said, and how long each station had the request."""
        if answer.error_type is None and self._ticket is not None:
            given_at, now = self._ticket.given_at, time.monotonic()
            stations = (
                ("server", now - self._started),
                ("receive", self._submitted - self._started),
                ("queue", given_at - self._submitted),
                ("worker", now - given_at),
                ("handler", answer.handler_seconds),
            )
            line = ", ".join(server_timing.duration(*station) for station in stations)
            answer = replace(answer, headers=(*answer.headers, (server_timing.NAME, line)))
        super().answer(answer)


def _phrase_of(answer: Answer) -> bytes:
    """Return the reason phrase that a handler set; one that would break the framing counts as none."""
    phrase = answer.phrase
    return phrase.encode("latin-1", "replace") if phrase and not _BREAKING.intersection(phrase) else b""


def content_type_header(content_type: str | None) -> list[tuple[bytes, bytes]]:
    """Return an answer's content type as a header; none where there is none, or it would break the framing."""
    if not content_type or _BREAKING.intersection(content_type):
        return []
    return [(b"content-type", content_type.encode("latin-1", "replace"))]


def _handler_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return an answer's headers; those that a handler set and that would break the framing are left out."""
    headers = content_type_header(answer.content_type)
    for name, value in answer.headers:
        if name.lower() not in _OURS and not _BREAKING.intersection(name + value):
            headers.append((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")))
    return headers
