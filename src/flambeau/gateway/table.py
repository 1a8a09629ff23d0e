"""Where a request goes: a document compiled whole, asked once for each request, swapped whole.

Pure: the random draw is an argument. The proxy asks; the admin door builds. Matching is Istio's: exact host before the longest wildcard
suffix before ``*``; the first rule with a match wins; regular expressions are RE2's (linear in time whatever the pattern) and match whole.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import re2

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import Backend, Destination, Document, Host, MatchType, Redirect, RequestMatch, Rewrite, Rule, TextMatch
from flambeau.gateway.effects import Effects, Reply, compile_answer, compile_effects, compile_headers, direct_reply

ATTEMPTS_USUAL = 3
"""Connections that are tried for one request before the first byte of it is written."""
ATTEMPTS_MAX = 10
"""As many as a rule may ask for."""
REWRITTEN_CHARACTERS_MAX = 16384
"""Longest path that a pattern's replacement may make."""
REROUTES_MAX = 4
"""Times a request may be looked up again."""
HOSTS_SHOWN_MAX = 50
"""Hosts named in an answer to an unknown one."""
RULES_SHOWN_MAX = 20
"""Rules described in an answer to a path that none takes."""
PATTERN_CHARACTERS_MAX = 1024
"""Longest regular expression."""
PATTERN_MEMORY_BYTES_MAX = 1 << 20
"""What RE2 may keep for one."""

_AUTHORITY = re.compile(r"[A-Za-z0-9._\-\[\]:]{1,255}")
_REWRITTEN_URI = re.compile(r"/[!-~]*")
_REPLACEMENT = re.compile(r"[!-~]{0,1024}")


class MissReason(StrEnum):
    """Why a request has no route."""

    UNKNOWN_HOST = "unknown host"
    NO_RULE = "no rule"
    LOOP = "loop"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and as what."""

    backend: Backend
    target: bytes
    """Path and query to send."""
    authority: str | None
    """The Host to send; None: the client's."""
    timeout_seconds: float
    source: str
    """Who asked for the rule, for messages."""
    attempts: int = ATTEMPTS_USUAL
    """Connections to try before a byte of the request is sent."""
    effects: Effects | None = None
    """What else is done to it."""
    is_drawn: bool = False
    """Chance had a part in it: the same request may go elsewhere the next time."""


@dataclass(frozen=True, slots=True)
class Detour:
    """A redirect, to be put into words with what the client said."""

    redirect: Redirect
    path: bytes
    prefix: str | None
    source: str
    effects: Effects | None


@dataclass(frozen=True, slots=True)
class Miss:
    """Why there is no route, told so that a person can go on."""

    reason: MissReason
    message: str
    hosts: tuple[str, ...] = ()
    """Hosts there are, sorted, at most HOSTS_SHOWN_MAX."""
    hosts_more: int = 0
    """How many more."""
    rules: tuple[str, ...] = ()
    """Rules of the host, described, at most RULES_SHOWN_MAX."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What rules look at."""

    host: str
    path: str
    method: str
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]


_Condition = Callable[[_Request], bool]


@dataclass(frozen=True, slots=True)
class _Alternative:
    """One entry of a rule's matches: all conditions hold."""

    conditions: tuple[_Condition, ...]
    prefix: str | None
    """The matched uri prefix, which a rewrite replaces."""


@dataclass(frozen=True, slots=True)
class _Share:
    """A destination, and where its part of [0, 1) ends."""

    destination: Destination
    begin: float
    end: float
    effects: Effects | None = None
    """The destination's own."""


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: Rule
    alternatives: tuple[_Alternative, ...]
    shares: tuple[_Share, ...]
    effects: Effects | None
    direct: Reply | None
    substitute: Callable[[str], str] | None
    """Rewrites a path by a pattern."""


@dataclass(frozen=True, slots=True)
class _Host:
    name: str
    rules: tuple[_Rule, ...]


class Table:
    """Answer where a request goes.

    Args:
        document: what to compile.

    Raises:
        InvalidInput: the document contradicts itself; the text names the place.
    """

    def __init__(self, document: Document) -> None:
        self.version = document.version
        self.addresses = document.addresses
        self.backends = {backend.name: backend for backend in document.backends}
        if len(self.backends) != len(document.backends):
            raise InvalidInput("routes document: two backends have the same name")
        self._exact: dict[str, _Host] = {}
        self._suffixes: list[tuple[str, _Host]] = []
        self._any: _Host | None = None
        for host in document.hosts:
            self._add(_compile_host(host, self.backends))
        for backend in document.backends:
            for name in backend.shadow.backends if backend.shadow is not None else ():
                if name not in self.backends:
                    raise InvalidInput(f"routes document: backend {backend.name}: there is no backend {name!r} for its shadow")
        self._suffixes.sort(key=lambda pair: len(pair[0]), reverse=True)

    @property
    def hosts(self) -> list[str]:
        """Every host, sorted: names first, then the addresses that stand for names inside the cluster."""
        names = [*self._exact, *("*" + suffix for suffix, _ in self._suffixes)]
        return sorted([*names, "*"] if self._any is not None else names, key=lambda name: (name[-1].isdigit(), name))

    def names(self, host: str) -> bool:
        """Tell whether a host stands here by its own name, not by a wildcard."""
        return host in self._exact

    def route(
        self, host: str, path: bytes, query: bytes, method: str, headers: Sequence[tuple[bytes, bytes]], draw: float
    ) -> Route | Detour | Reply | Miss:
        """Return where a request goes, or what answers it at once, or why it goes nowhere.

        Args:
            host: lower case, without port.
            path: as the client sent it.
            query: without its question mark.
            method: upper case.
            headers: as the client sent them.
            draw: a random number in [0, 1): decides among weighted destinations.
        """
        request = _Request(host, path.decode("latin-1"), method, query, headers)
        authority: str | None = None
        timeout: float | None = None
        source = ""
        effects: Effects | None = None
        attempts = 0
        is_drawn = False
        seen = {(host, request.path)}
        for _ in range(REROUTES_MAX + 1):
            found = self._host(request.host)
            if found is None:
                return self._unknown_host(request.host, source)
            matched = _first_match(found, request)
            if matched is None:
                return _no_rule(found, request)
            rule, prefix = matched
            source = source or rule.rule.source
            if rule.effects is not None:
                effects = rule.effects if effects is None else effects.and_then(rule.effects)
            if not rule.shares:
                return _answer(rule, request, prefix, source, effects)
            share, draw = _choose(rule.shares, draw)
            is_drawn = is_drawn or len(rule.shares) > 1
            destination = share.destination
            if share.effects is not None:
                effects = share.effects if effects is None else effects.and_then(share.effects)
            rewrite = rule.rule.rewrite
            if rule.substitute is None:
                rewritten = _rewrite_path(request.path, rewrite, prefix)
            else:
                rewritten = rule.substitute(request.path)
                if len(rewritten) > REWRITTEN_CHARACTERS_MAX:
                    told = f"the path gets over {REWRITTEN_CHARACTERS_MAX} characters when it is rewritten ({source})"
                    return Miss(MissReason.NO_RULE, told)
            authority = rewrite.authority or authority
            attempts = attempts or rule.rule.attempts
            if rule.rule.timeout_seconds is not None:
                timeout = rule.rule.timeout_seconds if timeout is None else min(timeout, rule.rule.timeout_seconds)
            if destination.backend is not None:
                backend = self.backends[destination.backend]
                target = rewritten.encode("latin-1") + (b"?" + query if query else b"")
                seconds = backend.timeout_seconds if timeout is None else timeout
                return Route(backend, target, authority, seconds, source, attempts or ATTEMPTS_USUAL, effects, is_drawn)
            request = _Request(_bare_host(rewrite.authority or destination.host), rewritten, method, query, headers)
            if (request.host, request.path) in seen:
                break
            seen.add((request.host, request.path))
        return Miss(MissReason.LOOP, f"the routes of {host} lead in a circle or over more than {REROUTES_MAX} hosts ({source})")

    def _add(self, host: _Host) -> None:
        name = host.name
        if name == "*":
            taken = self._any is not None
            self._any = host
        elif name.startswith("*."):
            taken = any(suffix == name[1:] for suffix, _ in self._suffixes)
            self._suffixes.append((name[1:], host))
        else:
            taken = name in self._exact
            self._exact[name] = host
        if taken:
            raise InvalidInput(f"routes document: host {name} stands there twice")

    def _host(self, name: str) -> _Host | None:
        found = self._exact.get(name)
        if found is not None:
            return found
        for suffix, host in self._suffixes:
            if name.endswith(suffix) and len(name) > len(suffix):
                return host
        return self._any

    def _unknown_host(self, name: str, source: str) -> Miss:
        hosts = self.hosts
        message = f"no route for host {name!r}" + (f", to which {source} leads" if source else "")
        return Miss(MissReason.UNKNOWN_HOST, message, tuple(hosts[:HOSTS_SHOWN_MAX]), max(0, len(hosts) - HOSTS_SHOWN_MAX))


def _first_match(host: _Host, request: _Request) -> tuple[_Rule, str | None] | None:
    """Return the first rule that takes the request, and the uri prefix by which it did."""
    for rule in host.rules:
        if not rule.alternatives:
            return rule, None
        for alternative in rule.alternatives:
            if all(condition(request) for condition in alternative.conditions):
                return rule, alternative.prefix
    return None


def _answer(rule: _Rule, request: _Request, prefix: str | None, source: str, effects: Effects | None) -> Reply | Detour:
    if rule.rule.redirect is not None:
        return Detour(rule.rule.redirect, request.path.encode("latin-1"), prefix, source, effects)
    assert rule.direct is not None, "checked when the table was built"
    return replace(rule.direct, effects=effects)


def _choose(shares: tuple[_Share, ...], draw: float) -> tuple[_Share, float]:
    """Return the share that holds the draw, and what is left of the draw's randomness for a next choice."""
    for share in shares:
        if share.begin <= draw < share.end:
            return share, (draw - share.begin) / (share.end - share.begin)
    return shares[-1], draw


def _rewrite_path(path: str, rewrite: Rewrite, prefix: str | None) -> str:
    if rewrite.uri is None:
        return path
    if prefix is None:
        return rewrite.uri
    rest = path[len(prefix) :]
    if rewrite.uri.endswith("/"):
        return rewrite.uri + rest.removeprefix("/")  # never "//": prefix /a to / makes /b of /a/b
    return rewrite.uri + rest


def _no_rule(host: _Host, request: _Request) -> Miss:
    rules = tuple(_describe(rule.rule) for rule in host.rules[:RULES_SHOWN_MAX])
    message = f"host {request.host} is known ({host.name}), but none of its rules takes {request.method} {request.path}"
    return Miss(MissReason.NO_RULE, message, rules=rules)


def _bare_host(authority: str) -> str:
    host, colon, port = authority.rpartition(":")
    return (host if colon and port.isdigit() else authority).lower().removesuffix(".")


# Compiling.


def _compile_host(host: Host, backends: dict[str, Backend]) -> _Host:
    if host.name != host.name.lower() or not host.name:
        raise InvalidInput(f"routes document: host {host.name!r} is empty or not in lower case")
    if "*" in host.name and host.name != "*" and not (host.name.startswith("*.") and "*" not in host.name[1:]):
        raise InvalidInput(f"routes document: host {host.name!r}: a wildcard stands alone or as the first label")
    return _Host(
        host.name, tuple(_compile_rule(rule, f"host {host.name}, rule {number}", backends) for number, rule in enumerate(host.rules))
    )


def _compile_rule(rule: Rule, place: str, backends: dict[str, Backend]) -> _Rule:
    if rule.rewrite.uri is not None and not _REWRITTEN_URI.fullmatch(rule.rewrite.uri):
        raise InvalidInput(f"{place}: rewrite.uri {rule.rewrite.uri!r} is no path of printable ASCII characters")
    if rule.rewrite.authority is not None and not _AUTHORITY.fullmatch(rule.rewrite.authority):
        raise InvalidInput(f"{place}: rewrite.authority {rule.rewrite.authority!r} is no host name")
    if rule.attempts and not 1 <= rule.attempts <= ATTEMPTS_MAX:
        raise InvalidInput(f"{place}: attempts {rule.attempts} is not from 1 to {ATTEMPTS_MAX}")
    compile_answer(rule, place)
    for mirror in rule.mirrors:
        if mirror.backend not in backends:
            raise InvalidInput(f"{place}: there is no backend {mirror.backend!r} for a mirror")
    if rule.timeout_seconds is not None and rule.timeout_seconds <= 0:
        raise InvalidInput(f"{place}: timeout_seconds {rule.timeout_seconds} is not over 0")
    for destination in rule.destinations:
        if destination.reroute == (destination.backend is not None):
            raise InvalidInput(f"{place}: a destination needs either a backend or reroute")
        if destination.backend is not None and destination.backend not in backends:
            raise InvalidInput(f"{place}: there is no backend {destination.backend!r}")
        if destination.reroute and not (rule.rewrite.authority or destination.host):
            raise InvalidInput(f"{place}: a reroute names no host")
    effects = compile_effects(rule, place, _compile_text)
    return _Rule(
        rule,
        tuple(_compile_match(match, place) for match in rule.matches),
        _compile_shares(rule.destinations, place) if rule.destinations else (),
        effects,
        direct_reply(rule.direct, rule.source, effects) if rule.direct is not None else None,
        _compile_substitution(rule.rewrite, place) if rule.rewrite.pattern else None,
    )


def _compile_substitution(rewrite: Rewrite, place: str) -> Callable[[str], str]:
    compiled = _compiled_pattern(rewrite.pattern, False, place)
    replacement = rewrite.replacement
    if not _REPLACEMENT.fullmatch(replacement):
        raise InvalidInput(f"{place}: the replacement {replacement!r} is no text of printable ASCII characters")
    try:
        compiled.sub(replacement, "")
        if any(int(group) > compiled.groups for group in re.findall(r"\\(\d)", replacement)):
            raise InvalidInput(f"{place}: the replacement {replacement!r} names a group that the pattern hasn't got")
    except (re2.error, IndexError, KeyError) as error:
        raise InvalidInput(f"{place}: the replacement {replacement!r} can't be used: {error}") from error

    def substitute(path: str) -> str:
        made = str(compiled.sub(replacement, path))
        return made if made.startswith("/") else "/" + made

    return substitute


def _compile_shares(destinations: tuple[Destination, ...], place: str) -> tuple[_Share, ...]:
    weights = [destination.weight for destination in destinations]
    if min(weights) < 0:
        raise InvalidInput(f"{place}: a negative weight")
    if len(weights) == 1:
        return (_Share(destinations[0], 0.0, 1.0, _own_effects(destinations[0], place)),)
    total = sum(weights)
    if total == 0:
        raise InvalidInput(f"{place}: the weights sum to 0")
    shares, reached = [], 0
    for destination, weight in zip(destinations, weights, strict=True):
        if weight:
            shares.append(_Share(destination, reached / total, (reached + weight) / total, _own_effects(destination, place)))
        reached += weight
    return tuple(shares)


def _own_effects(destination: Destination, place: str) -> Effects | None:
    if destination.headers is None:
        return None
    return Effects(*compile_headers(destination.headers, place))


def _compile_match(match: RequestMatch, place: str) -> _Alternative:
    conditions: list[_Condition] = []
    prefix: str | None = None
    if match.uri is not None:
        conditions.append(_on_path(_compile_text(match.uri, place)))
        prefix = match.uri.value if match.uri.type is MatchType.PREFIX else None
    if match.method is not None:
        conditions.append(_on_method(_compile_text(match.method, place)))
    if match.authority is not None:
        conditions.append(_on_host(_compile_text(match.authority, place)))
    conditions.extend(_on_header(name.lower().encode(), _compile_text(text, place)) for name, text in match.headers)
    conditions.extend(_not(_on_header(name.lower().encode(), _compile_text(text, place))) for name, text in match.without_headers)
    conditions.extend(_on_query(name, _compile_text(text, place)) for name, text in match.query)
    return _Alternative(tuple(conditions), prefix)


_Test = Callable[[str], bool]


def _compile_text(match: TextMatch, place: str) -> _Test:
    if match.type is MatchType.REGEX:
        return _compile_pattern(match, place)
    value = match.value.lower() if match.ignore_case else match.value
    if match.type is MatchType.EXACT:
        return (lambda text: text.lower() == value) if match.ignore_case else (lambda text: text == value)
    return (lambda text: text.lower().startswith(value)) if match.ignore_case else (lambda text: text.startswith(value))


def _compile_pattern(match: TextMatch, place: str) -> _Test:
    fullmatch = _compiled_pattern(match.value, match.ignore_case, place).fullmatch
    return lambda text: fullmatch(text) is not None


def _compiled_pattern(pattern: str, ignore_case: bool, place: str) -> Any:
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise InvalidInput(f"{place}: a regular expression has {len(pattern)} characters; at most {PATTERN_CHARACTERS_MAX} are allowed")
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        cause = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
        raise InvalidInput(f"{place}: regular expression {pattern!r}: {cause}", hint="the syntax is RE2's, as Istio's") from error


def _on_path(test: _Test) -> _Condition:
    return lambda request: test(request.path)


def _on_method(test: _Test) -> _Condition:
    return lambda request: test(request.method)


def _on_host(test: _Test) -> _Condition:
    return lambda request: test(request.host)


def _on_header(name: bytes, test: _Test) -> _Condition:
    def holds(request: _Request) -> bool:
        return any(key.lower() == name and test(value.decode("latin-1")) for key, value in request.headers)

    return holds


def _not(condition: _Condition) -> _Condition:
    return lambda request: not condition(request)


def _on_query(name: str, test: _Test) -> _Condition:
    def holds(request: _Request) -> bool:
        pairs = urllib.parse.parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
        return any(key == name and test(value) for key, value in pairs)

    return holds


# Describing, for people.


def _describe(rule: Rule) -> str:
    conditions = " or ".join(_describe_match(match) for match in rule.matches) or "everything"
    goal = ", ".join(destination.backend or destination.host or "reroute" for destination in rule.destinations)
    goal = goal or ("redirect" if rule.redirect is not None else "direct response")
    return f"{conditions} -> {goal}" + (f" ({rule.source})" if rule.source else "")


def _describe_match(match: RequestMatch) -> str:
    named = [("uri", match.uri), ("method", match.method), ("authority", match.authority)]
    named += [(f"header {name}", text) for name, text in match.headers]
    named += [(f"no header {name}", text) for name, text in match.without_headers]
    named += [(f"query {name}", text) for name, text in match.query]
    return " and ".join(f"{name} {text.type.value} {text.value}" for name, text in named if text is not None) or "everything"
