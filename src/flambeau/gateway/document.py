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
    without_headers: tuple[tuple[str, TextMatch], ...] = ()
    """None of these holds."""
    query: tuple[tuple[str, TextMatch], ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What to change before forwarding."""

    uri: str | None = None
    """Replaces the matched prefix, or the whole path for exact and regex matches."""
    authority: str | None = None
    """The new Host."""
    pattern: str = ""
    """Every match of this regular expression in the path becomes ``replacement``; instead of ``uri``."""
    replacement: str = ""
    """``\\1`` is what the first group matched."""


@dataclass(frozen=True, slots=True)
class HeaderChanges:
    """Headers to be changed on their way: removed first, then set, then added."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headers:
    """What happens to headers in both directions."""

    request: HeaderChanges = field(default_factory=HeaderChanges)
    response: HeaderChanges = field(default_factory=HeaderChanges)


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that sends the client elsewhere; what is not set stays as the client asked."""

    uri: str | None = None
    prefix: bool = False
    """``uri`` replaces the matched prefix only."""
    authority: str | None = None
    scheme: str | None = None
    port: int = 0
    """0: the authority's own, or the client's."""
    code: int = 301


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """An answer of the gateway's own."""

    status: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Trouble on purpose, for a share of the requests."""

    delay_seconds: float = 0.0
    delay_percent: float = 0.0
    abort_status: int = 0
    abort_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where copies of requests go; nobody waits for their answers."""

    backend: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Cors:
    """What pages of other origins may do."""

    origins: tuple[TextMatch, ...]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age_seconds: int = 0
    """How long a browser may remember the answer; 0: nothing is said."""


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
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule with a match wins; a rule without matches takes everything.

    It leads to its destinations, or else answers by a redirect or a direct response.
    """

    destinations: tuple[Destination, ...] = ()
    matches: tuple[RequestMatch, ...] = ()
    rewrite: Rewrite = field(default_factory=Rewrite)
    timeout_seconds: float | None = None
    source: str = ""
    """Who asked for it, for messages: ``VirtualService torchserve/mnist``, ``InferenceService torchserve/mnist``."""
    attempts: int = 0
    """Connections to try before a byte of the request is sent; 0: as many as usual."""
    redirect: Redirect | None = None
    direct: DirectResponse | None = None
    headers: Headers | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None


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


class FileFormat(StrEnum):
    """How copies stand in a file."""

    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class LogStore:
    """How copies become files in a bucket or folder."""

    path: str = ""
    """Below the component's own folder."""
    format: FileFormat = FileFormat.JSON
    batch_size: int = 1
    """Copies per file at most."""
    batch_seconds: float = 0.0
    """The longest wait for a file to fill; 0: the gateway's own."""
    credentials: str = ""
    """The file that holds them (``storage.credential_files``); empty: none are needed, or none could be found."""
    marshaller: str = ""
    """URL of who makes the files instead of the gateway; empty: nobody."""


@dataclass(frozen=True, slots=True)
class Logger:
    """Where copies of requests and answers go: as CloudEvents to a collector, or as files."""

    url: str
    """Of a collector, or of a bucket or folder."""
    requests: bool = True
    responses: bool = True
    headers: tuple[str, ...] = ()
    """Of the request, to be sent along; lower case."""
    annotations: tuple[tuple[str, str], ...] = ()
    """Of the service, to be sent along."""
    service: str = ""
    namespace: str = ""
    component: str = ""
    store: LogStore | None = None
    """None: a collector."""
    certificates: str = ""
    """PEM: which collectors to trust; empty: those that this machine trusts."""
    verify_tls: bool = True


@dataclass(frozen=True, slots=True)
class Batcher:
    """How requests are gathered into one call of the model."""

    size_max: int = 32
    """Instances per call."""
    wait_seconds: float = 5.0
    """For company, at most, and only while the model is busy."""
    timeout_seconds: float = 0.0
    """Until a batch must be answered; 0: as the backend's."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """Who gets copies of requests so that the answers can be compared; clients never notice."""

    name: str
    """As the annotation says it, for messages."""
    backends: tuple[str, ...]
    percent: float = 100.0


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
    logger: Logger | None = None
    batcher: Batcher | None = None
    shadow: Shadow | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Everything the gateway knows."""

    version: int
    hosts: tuple[Host, ...] = ()
    backends: tuple[Backend, ...] = ()
    addresses: tuple[str, ...] = ()
    """Loopback addresses to listen on beside the gateway's own, on the same port: the cluster addresses of services."""
