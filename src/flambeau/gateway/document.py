"""The routes document: what the control plane writes and the gateway reads, whole, swapped whole.

The routing controller writes ``HOME/gateway/routes.json`` atomically, then rings the doorbell: ``POST /reload`` on the Unix socket
``HOME/gateway/admin.sock``; the answer ``{"version": N}`` says which version now serves, so that Ready can mean "the next request
succeeds". A restarted gateway reads the file by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class MatchType(StrEnum):
    """How a text is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    """A full match, as Istio's."""


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A condition on a text."""

    type: MatchType
    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """Fields are ANDed; an empty one matches everything."""

    uri: TextMatch | None = None
    method: TextMatch | None = None
    authority: TextMatch | None = None
    headers: tuple[tuple[str, TextMatch], ...] = ()
    query: tuple[tuple[str, TextMatch], ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What to change before forwarding."""

    uri: str | None = None
    """Replaces the matched prefix, or the whole path for exact and regex matches."""
    authority: str | None = None
    """The new Host."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a share of the requests goes: exactly one of the two is set."""

    weight: int
    backend: str | None = None
    """Name of a Backend."""
    reroute: bool = False
    """Look the (rewritten) authority up again among the hosts: what ``knative-local-gateway`` does in the original."""
    host: str = ""
    """With reroute: the host to look up when authority was not rewritten; for messages otherwise."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule with a match wins; a rule without matches takes everything."""

    destinations: tuple[Destination, ...]
    matches: tuple[RequestMatch, ...] = ()
    rewrite: Rewrite = field(default_factory=Rewrite)
    timeout_seconds: float | None = None
    source: str = ""
    """Who asked for it, for messages: ``VirtualService torchserve/mnist``, ``InferenceService torchserve/mnist``."""


@dataclass(frozen=True, slots=True)
class Host:
    """A virtual host: a name, or ``*.suffix``, or ``*``; lower case, no port."""

    name: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica."""

    address: str
    port: int
    pod: str
    """``namespace/name``, for logs and headers."""
    grpc_port: int = 0
    """Where it speaks HTTP/2 in plain text, for gRPC; 0: on the same port."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Replicas that are interchangeable: a revision's ready pods."""

    name: str
    """``namespace/revision``."""
    endpoints: tuple[Endpoint, ...]
    timeout_seconds: float = 300.0
    """From the request's head to the response's head, and between two pieces of a body."""
    concurrency: int = 0
    """Requests in flight per endpoint at most; 0: no limit of the user's (the gateway's own bound stays)."""
    hold_seconds: float = 0.0
    """When there are no endpoints: a request waits up to so long for one, since the replicas are asleep or waking; 0: it is refused."""
    why_empty: str = ""
    """When there are no endpoints: a sentence for the 503."""


@dataclass(frozen=True, slots=True)
class Document:
    """Everything the gateway knows."""

    version: int
    hosts: tuple[Host, ...] = ()
    backends: tuple[Backend, ...] = ()
