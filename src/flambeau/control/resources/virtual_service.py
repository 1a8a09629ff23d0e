"""VirtualService (Istio): routes of a person's own through the gateway."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.fields.routes import VIRTUAL_SERVICE_SPEC
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at, strings_at
from flambeau.control.resources.object_schema import object_schema

INGRESS_HINT = "knative-serving/knative-ingress-gateway"
MESH = "mesh"

_HOST = re.compile(r"\*|(\*\.)?[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*")
_HOST_CHARS_MAX = 253
_ACTIONS = ("route", "redirect", "directResponse", "delegate")
_REDIRECT_CODES = (301, 302, 303, 307, 308)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_FRAMING = frozenset(("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"))
_STRING_MATCHES = ("uri", "scheme", "method", "authority")

_UNSERVED_RULE_FIELDS = (
    ("retries", "perTryTimeout"),
    ("retries", "retryOn"),
    ("fault", "delay", "exponentialDelay"),
    ("fault", "abort", "http2Error"),
    ("fault", "abort", "grpcStatus"),
)
_DELEGATE_WARNING = "spec.hosts: there are none: it routes only what another VirtualService delegates to it"
_UNSERVED_MATCH_FIELDS = ("sourceLabels", "sourceNamespace")
"""The routing controller leaves out a match that has one of these: matching more than was asked for would be worse."""


def _as_json(*path: str) -> Callable[[Object, float], str | None]:
    """Lists print as JSON in custom columns, as in ``["mnist.example.com"]``."""

    def cell(obj: Object, _: float) -> str | None:
        value = find(obj, *path)
        return None if value is None else json.dumps(value, separators=(",", ":"))

    return cell


def _check(obj: Object, _: Object | None) -> Review:
    is_delegate = not strings_at(obj, "spec", "hosts")
    errors = [*_check_hosts(obj)]
    warnings = [*_gateway_warnings(obj)] if not is_delegate else [_DELEGATE_WARNING]
    rules = mappings_at(obj, "spec", "http")
    for index, rule in enumerate(rules):
        path = f"spec.http[{index}]"
        errors += _check_rule(rule, path)
        if is_delegate and rule.get("delegate"):
            errors.append(Finding(f"{path}.delegate", "a VirtualService without hosts cannot delegate", reason="FieldValueForbidden"))
        warnings += _rule_warnings(rule, path)
    if not rules:
        warnings.append("spec.http: there are no rules: this VirtualService routes nothing")
    warnings += (f"spec.{field}: is not served here, only http is" for field in ("tls", "tcp") if find(obj, "spec", field))
    return Review(tuple(errors), tuple(warnings))


def _check_hosts(obj: Object) -> Iterator[Finding]:
    hosts = strings_at(obj, "spec", "hosts")
    if not hosts and strings_at(obj, "spec", "gateways"):
        message = "at least one host is required; one to which others delegate has no gateways either"
        yield Finding("spec.hosts", message, reason="FieldValueRequired")
    for index, host in enumerate(hosts):
        if not _HOST.fullmatch(host) or len(host) > _HOST_CHARS_MAX:
            message = "must be a host name, *.SUFFIX or *, without scheme, port or path"
            yield Finding(f"spec.hosts[{index}]", message, host)


def _gateway_warnings(obj: Object) -> Iterator[str]:
    gateways = strings_at(obj, "spec", "gateways")
    if all(gateway == MESH for gateway in gateways):
        named = "only mesh is named" if gateways else "none is named, which means mesh"
        yield f"spec.gateways: {named}: requests from outside never see these routes; add {INGRESS_HINT}"


def _check_rule(rule: Object, path: str) -> Iterator[Finding]:
    actions = [name for name in _ACTIONS if rule.get(name)]
    if len(actions) != 1:
        found = " and ".join(actions) if actions else "none of them"
        yield Finding(path, f"must have exactly one of {', '.join(_ACTIONS)}; it has {found}")
    if rule.get("delegate") and not find(rule, "delegate", "name"):
        yield Finding(f"{path}.delegate.name", "is required", reason="FieldValueRequired")
    yield from _check_destinations(rule, path)
    for index, match in enumerate(mappings_at(rule, "match")):
        yield from _check_match(match, f"{path}.match[{index}]")
    yield from _check_answers(rule, path)
    yield from _check_header_changes(rule, path)
    for index, route in enumerate(mappings_at(rule, "route")):
        yield from _check_header_changes(route, f"{path}.route[{index}]")
    if isinstance(rule.get("timeout"), str):
        yield from _check_timeout(rule["timeout"], f"{path}.timeout")


def _check_destinations(rule: Object, path: str) -> Iterator[Finding]:
    routes = mappings_at(rule, "route")
    weights = [route.get("weight") or 0 for route in routes]
    for index, (route, weight) in enumerate(zip(routes, weights, strict=True)):
        place = f"{path}.route[{index}]"
        if not find(route, "destination", "host"):
            yield Finding(f"{place}.destination.host", "is required", reason="FieldValueRequired")
        port = find(route, "destination", "port", "number")
        if isinstance(port, int) and not 1 <= port <= 65535:
            yield Finding(f"{place}.destination.port.number", "must be from 1 to 65535", port)
        if isinstance(weight, int) and weight < 0:
            yield Finding(f"{place}.weight", "must not be negative", weight)
    if len(routes) > 1 and all(isinstance(weight, int) for weight in weights) and sum(weights) <= 0:
        yield Finding(f"{path}.route", "several destinations need weights, and at least one above 0", weights)


def _check_answers(rule: Object, path: str) -> Iterator[Finding]:
    """A redirect's code, a direct response's status, a fault's status and shares."""
    code = find(rule, "redirect", "redirectCode")
    if code is not None and code not in _REDIRECT_CODES:
        yield Finding(f"{path}.redirect.redirectCode", f"must be one of {', '.join(map(str, _REDIRECT_CODES))}", code)
    for place in (("directResponse", "status"), ("fault", "abort", "httpStatus")):
        status = find(rule, *place)
        if isinstance(status, int) and not 200 <= status <= 599:
            yield Finding(f"{path}.{'.'.join(place)}", "must be from 200 to 599", status)
    shares: tuple[tuple[str, ...], ...] = (("fault", "delay", "percentage"), ("fault", "abort", "percentage"), ("mirrorPercentage",))
    for share in shares:
        value = find(rule, *share, "value")
        if isinstance(value, int | float) and not 0 <= value <= 100:
            yield Finding(f"{path}.{'.'.join(share)}.value", "must be from 0 to 100", value)
    delay = find(rule, "fault", "delay", "fixedDelay")
    if isinstance(delay, str):
        yield from _check_timeout(delay, f"{path}.fault.delay.fixedDelay")


def _check_header_changes(entry: Object, path: str) -> Iterator[Finding]:
    """Names and values that can stand in a header, and none that frame a message."""
    for direction in ("request", "response"):
        for way in ("set", "add", "remove"):
            changes = find(entry, "headers", direction, way)
            named = changes.items() if isinstance(changes, dict) else [(name, "") for name in changes] if isinstance(changes, list) else []
            for name, value in named:
                place = f"{path}.headers.{direction}.{way}[{name}]"
                if not isinstance(name, str) or (not _HEADER.fullmatch(name) and name != ":authority"):
                    yield Finding(place, "is no header's name", name)
                elif name.lower() in _FRAMING:
                    yield Finding(place, "is written by the gateway itself", name)
                elif isinstance(value, str) and not _HEADER_VALUE.fullmatch(value):
                    yield Finding(place, "must not have line breaks or other control characters", value)


def _check_match(match: Object, path: str) -> Iterator[Finding]:
    texts: list[tuple[str, Any]] = [(f"{path}.{field}", match[field]) for field in _STRING_MATCHES if field in match]
    for field in ("headers", "withoutHeaders", "queryParams"):
        entries = match.get(field)
        if isinstance(entries, dict):
            texts += [(f"{path}.{field}[{name}]", value) for name, value in entries.items()]
    for place, text in texts:
        if isinstance(text, dict):
            yield from _check_text_match(text, place, may_be_empty=not place.startswith(f"{path}.uri"))


def _check_text_match(text: Object, path: str, *, may_be_empty: bool) -> Iterator[Finding]:
    """An empty header match asks for presence; an empty URI match is a mistake."""
    if not text and not may_be_empty:
        yield Finding(path, "must have one of exact, prefix, regex", reason="FieldValueRequired")
    for kind, value in text.items():
        if kind == "prefix" and value == "":
            yield Finding(f"{path}.prefix", "must not be empty: leave the match out to take everything", value)
        if kind == "regex" and isinstance(value, str):
            try:
                re.compile(value)
            except re.error as error:
                yield Finding(f"{path}.regex", f"is no regular expression: {error}", value)


def _check_timeout(text: str, path: str) -> Iterator[Finding]:
    try:
        seconds = duration_seconds(text)
    except ValueError:
        yield Finding(path, "must be a duration such as 30s or 1m30s", text)
        return
    if 0 < seconds < 0.001:
        yield Finding(path, "must be at least 1ms", text)


def _rule_warnings(rule: Object, path: str) -> Iterator[str]:
    idle = [".".join(place) for place in _UNSERVED_RULE_FIELDS if find(rule, *place)]
    if any(find(each, "destination", "subset") for each in mappings_at(rule, "route")):
        idle.append("route.destination.subset")
    if idle:
        yield f"{path}: {', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not served here"
    for index, match in enumerate(mappings_at(rule, "match")):
        ignored = [name for name in _UNSERVED_MATCH_FIELDS if match.get(name)]
        if ignored:
            yield f"{path}.match[{index}]: {', '.join(ignored)} cannot be looked at here: the match is left out"


VIRTUAL_SERVICE = Kind(
    group="networking.istio.io",
    versions=("v1", "v1beta1", "v1alpha3"),
    kind="VirtualService",
    plural="virtualservices",
    singular="virtualservice",
    short_names=("vs",),
    categories=("istio-io", "networking-istio-io"),
    columns=(Column("Gateways", _as_json("spec", "gateways")), Column("Hosts", _as_json("spec", "hosts")), AGE_COLUMN),
    schema=object_schema(
        {"spec": VIRTUAL_SERVICE_SPEC, "status": ANYTHING},
        required=("spec",),
        description="Hosts and paths of the gateway, and the services that they lead to.",
    ),
    check=_check,
)
