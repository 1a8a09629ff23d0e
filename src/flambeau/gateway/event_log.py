"""Copies of requests and answers for a collector: CloudEvents 1.0 in binary mode, one POST each.

Traffic never waits: events stand in a bounded queue for each collector, and what finds no room, or no collector, is counted and forgotten.
Nothing is sent twice. Source: specification 6.8.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from flambeau.foundation.ask import ask
from flambeau.foundation.errors import InvalidInput, Unavailable
from flambeau.foundation.tasks import TaskOwner
from flambeau.gateway.clients import Budget
from flambeau.gateway.document import Logger
from flambeau.gateway.events import Event

QUEUE_EVENTS_MAX = 100
"""Events that wait for one collector."""
SENDERS_MAX = 5
"""Events on their way to one collector at once."""
SEND_SECONDS_MAX = 10.0
"""For one event, from connecting to the collector's answer."""
HEADER_CHARACTERS_MAX = 8192
"""Longest attribute: chosen headers or annotations as JSON."""

Inside = Callable[[str, str, Sequence[tuple[str, str]], bytes], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Collector:
    """Where events go."""

    host: str
    port: int
    target: str
    tls: bool
    certificates: str = ""
    """PEM: what it is trusted by; empty: what this machine trusts."""
    verify: bool = True

    @property
    def authority(self) -> str:
        """What the Host header says."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


def collector_of(logger: Logger) -> Collector:
    """Return the place that a logger's URL names.

    Raises:
        InvalidInput: it is no http or https URL, or one with a password.
    """
    url = logger.url
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"the logger's url {url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or not url.isprintable() or " " in url:
        raise InvalidInput(f"the logger's url {url!r} is no http or https URL without user name and password")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    is_secure = parts.scheme == "https"
    return Collector(parts.hostname, port or (443 if is_secure else 80), target, is_secure, logger.certificates, logger.verify_tls)


class EventLog:
    """Send events to one collector.

    Args:
        collector: where to.
        tasks: the owner of the senders, which live only while there is something to send.
        budget: of bytes that wait.
        inside: sends a POST (host, target, headers, body) to a host that the gateway itself leads to, and returns its status; None where
            the host is none of those.
    """

    def __init__(self, collector: Collector, tasks: TaskOwner, budget: Budget, inside: Inside) -> None:
        self.collector = collector
        self._tasks = tasks
        self._budget = budget
        self._queue: deque[Event] = deque()
        self._inside = inside
        self._senders = 0
        self._tls: ssl.SSLContext | None = None
        self.sent = 0
        self.dropped = 0
        """There was no room."""
        self.failed = 0
        """The collector was not there, or refused."""
        self.last_failure = ""

    def offer(self, event: Event) -> None:
        """Queue an event, or count it as dropped."""
        if len(self._queue) >= QUEUE_EVENTS_MAX or not self._budget.take(len(event.body)):
            self.dropped += 1
            return
        self._queue.append(event)
        if self._senders < SENDERS_MAX:
            self._senders += 1
            self._tasks.start(f"events to {self.collector.authority}", self._send())

    def flush(self) -> None:
        """Do nothing: no event waits for another."""

    async def _send(self) -> None:
        try:
            while self._queue:
                event = self._queue.popleft()
                try:
                    await self._post(event)
                finally:
                    self._budget.give(len(event.body))
        finally:
            self._senders -= 1

    async def _post(self, event: Event) -> None:
        to, headers = self.collector, _headers(event)
        status = await self._inside(to.host, to.target, headers, event.body)
        if status is None:
            status = await self._ask(headers, event.body)
        if status is None:
            return
        if status < 300:
            self.sent += 1
        else:
            self.failed += 1
            self.last_failure = f"{to.authority} answered {status}"

    async def _ask(self, attributes: tuple[tuple[str, str], ...], body: bytes) -> int | None:
        """Send an event to the outside; None where nobody answers, which is noted."""
        to = self.collector
        headers = (("Host", to.authority), ("User-Agent", "flambeau"), *attributes)
        try:
            if to.tls and self._tls is None:
                self._tls = _context(to)
            answer = await ask(
                (to.host, to.port),
                to.target,
                method="POST",
                headers=headers,
                body=body,
                tls=self._tls if to.tls else None,
                timeout_seconds=SEND_SECONDS_MAX,
            )
        except (Unavailable, InvalidInput) as error:
            self.failed += 1
            self.last_failure = error.message
            return None
        return answer.status


def _context(to: Collector) -> ssl.SSLContext:
    """Return how a collector is spoken to.

    Raises:
        InvalidInput: its certificates are none.
    """
    try:
        context = ssl.create_default_context(cadata=to.certificates or None)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInput(f"the certificates for collector {to.authority} can't be read: they are no PEM") from error
    if not to.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _headers(event: Event) -> tuple[tuple[str, str], ...]:
    logger = event.logger
    attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", event.id),
        ("ce-source", event.source),
        ("ce-type", event.type),
        ("ce-time", event.time),
        ("ce-inferenceservicename", logger.service),
        ("ce-namespace", logger.namespace),
        ("ce-component", logger.component),
        ("ce-endpoint", ""),
        ("Content-Type", event.content_type),
    ]
    if event.metadata or logger.headers:
        attributes.append(("ce-metadata", _json(event.metadata)))
    if logger.annotations:
        attributes.append(("ce-annotations", _json(dict(logger.annotations))))
    return _sendable(attributes)


def _json(value: object) -> str:
    return orjson.dumps(value).decode().encode("ascii", "backslashreplace").decode()


def _sendable(attributes: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Leave out what can't be a header: empty, too long, or with a control character."""
    return tuple((name, value) for name, value in attributes if value and len(value) <= HEADER_CHARACTERS_MAX and value.isprintable())
