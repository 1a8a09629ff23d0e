"""What a rule does to requests beside leading them somewhere, compiled once with the table. Pure.

A rule that does nothing of it has none, and costs its requests nothing. Names and values are checked here, when the table is built: what
a person writes into a route can't end a header or a request line, nor touch how a message is framed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.http1_head import Head
from flambeau.gateway.document import Cors, DirectResponse, Fault, HeaderChanges, Headers, Mirror, Redirect, Rule, TextMatch
from flambeau.gateway.headers import FRAMING, HOP_BY_HOP

DELAY_SECONDS_MAX = 600.0
"""Longest delay on purpose."""
BODY_BYTES_MAX = 65536
"""Longest direct response."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_AUTHORITY = re.compile(r"[A-Za-z0-9._\-\[\]:]{1,255}")
_URI = re.compile(r"/[!-~]*")
_SAFE_TARGET = re.compile(rb"[!-~\x80-\xff]*")

Pairs = list[tuple[bytes, bytes]]
Test = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Edit:
    """Header changes, ready to be made."""

    gone: frozenset[bytes]
    """Lower case; what is set stands here, too."""
    new: tuple[tuple[bytes, bytes], ...]

    def apply(self, headers: Sequence[tuple[bytes, bytes]]) -> Pairs:
        """Return the changed headers."""
        return [*(header for header in headers if header[0].lower() not in self.gone), *self.new]


@dataclass(frozen=True, slots=True)
class CorsRule:
    """A CORS policy, ready to be asked."""

    origins: tuple[Test, ...]
    policy: Cors

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin are let in."""
        return any(test(origin) for test in self.origins)

    def headers(self, origin: bytes) -> Pairs:
        """Return what an answer to a page of an allowed origin says."""
        said = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if self.policy.credentials:
            said.append((b"access-control-allow-credentials", b"true"))
        if self.policy.expose:
            said.append((b"access-control-expose-headers", ",".join(self.policy.expose).encode()))
        return said

    def preflight(self, origin: bytes) -> Pairs:
        """Return the headers of the answer to a browser that asks before it sends."""
        said = self.headers(origin)
        for name, values in ((b"methods", self.policy.methods), (b"headers", self.policy.headers)):
            if values:
                said.append((b"access-control-allow-" + name, ",".join(values).encode()))
        if self.policy.max_age_seconds:
            said.append((b"access-control-max-age", b"%d" % self.policy.max_age_seconds))
        return said


@dataclass(frozen=True, slots=True)
class Effects:
    """What the rules on a request's way do to it; in the order of the rules."""

    request: tuple[Edit, ...] = ()
    response: tuple[Edit, ...] = ()
    cors: CorsRule | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()

    def and_then(self, later: Effects) -> Effects:
        """Return these with those of a further rule; an answer passes the later one first."""
        return Effects(
            self.request + later.request,
            later.response + self.response,
            self.cors or later.cors,
            self.fault or later.fault,
            self.mirrors + later.mirrors,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a rule gives itself."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    source: str
    effects: Effects | None


def compile_effects(rule: Rule, place: str, compile_text: Callable[[TextMatch, str], Test]) -> Effects | None:
    """Return what a rule does, or None if it only leads somewhere.

    Args:
        rule: of the document.
        place: for messages.
        compile_text: makes a test of a match.

    Raises:
        InvalidInput: it does what can't be done.
    """
    if rule.fault is not None:
        _check_fault(rule.fault, place)
    cors = None if rule.cors is None else CorsRule(tuple(compile_text(each, place) for each in rule.cors.origins), rule.cors)
    if rule.cors is not None:
        for values in (rule.cors.methods, rule.cors.headers, rule.cors.expose):
            _check_names(values, f"{place}: cors")
    effects = Effects(*compile_headers(rule.headers, place), cors, rule.fault, rule.mirrors)
    return None if effects == Effects() else effects


def compile_headers(headers: Headers | None, place: str) -> tuple[tuple[Edit, ...], tuple[Edit, ...]]:
    """Return the edits of requests and of answers.

    Raises:
        InvalidInput: a name or value can't be a header's, or is one that the gateway writes itself.
    """
    if headers is None:
        return (), ()
    return _edits(headers.request, f"{place}: request headers"), _edits(headers.response, f"{place}: response headers")


def compile_answer(rule: Rule, place: str) -> None:
    """Check a redirect or a direct response.

    Raises:
        InvalidInput: it can't be sent.
    """
    if (rule.redirect is not None) + (rule.direct is not None) + bool(rule.destinations) != 1:
        raise InvalidInput(f"{place}: a rule needs destinations, or a redirect, or a direct response")
    redirect, direct = rule.redirect, rule.direct
    if redirect is not None:
        if redirect.code not in (301, 302, 303, 307, 308):
            raise InvalidInput(f"{place}: redirect code {redirect.code} is none of 301, 302, 303, 307, 308")
        if redirect.uri is not None and not _URI.fullmatch(redirect.uri):
            raise InvalidInput(f"{place}: redirect.uri {redirect.uri!r} is no path of printable ASCII characters")
        if redirect.authority is not None and not _AUTHORITY.fullmatch(redirect.authority):
            raise InvalidInput(f"{place}: redirect.authority {redirect.authority!r} is no host name")
        if redirect.scheme not in (None, "http", "https"):
            raise InvalidInput(f"{place}: redirect.scheme {redirect.scheme!r} is neither http nor https")
    if direct is not None and not (200 <= direct.status <= 599 and len(direct.body) <= BODY_BYTES_MAX):
        raise InvalidInput(f"{place}: a direct response has a status from 200 to 599 and a body of at most {BODY_BYTES_MAX} bytes")


def location(redirect: Redirect, head_host: bytes, scheme: bytes, path: bytes, query: bytes, prefix: str | None) -> bytes | None:
    """Return where a redirect sends a client; None if its request can't be made into a header.

    Args:
        redirect: the rule's.
        head_host: the client's Host, with its port.
        scheme: that the client speaks.
        path: that it asked for.
        query: of its request.
        prefix: that the rule matched.
    """
    new_scheme = redirect.scheme.encode() if redirect.scheme else scheme
    authority = redirect.authority.encode() if redirect.authority else head_host
    if redirect.port or new_scheme != scheme:  # a client's port belongs to its scheme
        authority = _without_port(authority) if not redirect.authority or redirect.port else authority
    if redirect.port:
        authority += b":%d" % redirect.port
    if redirect.uri is not None:
        kept = path[len(prefix.encode("latin-1")) :] if redirect.prefix and prefix is not None else b""
        path = redirect.uri.encode() + (kept.removeprefix(b"/") if redirect.uri.endswith("/") else kept)
    where = b"%b://%b%b" % (new_scheme, authority, path) + (b"?" + query if query and b"?" not in path else b"")
    return where if _SAFE_TARGET.fullmatch(where) else None


def direct_reply(direct: DirectResponse, source: str, effects: Effects | None) -> Reply:
    """Return a direct response, ready to be sent."""
    body = direct.body.encode()
    kind = b"application/json" if _is_json(body) else b"text/plain; charset=utf-8"
    return Reply(direct.status, ((b"content-type", kind),) if body else (), body, source, effects)


def changed_head(head: Head, edits: Sequence[Edit]) -> Head:
    """Return a copy of a request's head with other headers; the original is what answers and messages quote."""
    changed = Head()
    for name in Head.__slots__:
        setattr(changed, name, getattr(head, name))
    changed.kept = None  # it was made of the original
    for edit in edits:
        changed.headers = edit.apply(changed.headers)
    return changed


def _without_port(authority: bytes) -> bytes:
    host, colon, port = authority.rpartition(b":")
    return host if colon and port.isdigit() else authority


def _is_json(body: bytes) -> bool:
    if not body.startswith((b"{", b"[")):
        return False
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _check_fault(fault: Fault, place: str) -> None:
    if not 0 <= fault.delay_seconds <= DELAY_SECONDS_MAX:
        raise InvalidInput(f"{place}: a fault's delay is from 0 to {DELAY_SECONDS_MAX:g} s")
    if fault.abort_status and not 200 <= fault.abort_status <= 599:
        raise InvalidInput(f"{place}: a fault's status is from 200 to 599, not {fault.abort_status}")


def _edits(changes: HeaderChanges, place: str) -> tuple[Edit, ...]:
    named = (*changes.set, *changes.add)
    _check_names((*(name for name, _ in named), *changes.remove), place)
    for name, value in named:
        if not _VALUE.fullmatch(value):
            raise InvalidInput(f"{place}: the value of {name} has a line break or another control character, or over 8192 characters")
    gone = frozenset(name.lower().encode() for name in (*changes.remove, *(name for name, _ in changes.set)))
    new = tuple((name.encode(), value.encode("latin-1")) for name, value in named)
    return (Edit(gone, new),) if gone or new else ()


def _check_names(names: Sequence[str], place: str) -> None:
    for name in names:
        if name == "*":
            continue
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{place}: {name!r} is no header's name")
        if name.lower().encode() in HOP_BY_HOP | FRAMING | {b"host"}:
            raise InvalidInput(f"{place}: {name} is written by the gateway itself", hint="a Host is changed by rewrite.authority")
