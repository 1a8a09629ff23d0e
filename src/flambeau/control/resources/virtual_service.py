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
_STRING_MATCHES = ("uri", "scheme", "method", "authority")

_UNSERVED_RULE_FIELDS = ("redirect", "directResponse", "delegate", "fault", "mirror", "mirrors", "corsPolicy", "retries", "headers")
_UNSERVED_MATCH_FIELDS = ("sourceLabels", "sourceNamespace", "withoutHeaders")
"""The routing controller leaves out a match that has one of these: matching more than was asked for would be worse."""


def _as_json(*path: str) -> Callable[[Object, float], str | None]:
    """Lists print as JSON in custom columns, as in ``["mnist.example.com"]``."""

    def cell(obj: Object, _: float) -> str | None:
        value = find(obj, *path)
        return None if value is None else json.dumps(value, separators=(",", ":"))

    return cell


def _check(obj: Object, _: Object | None) -> Review:
    errors = [*_check_hosts(obj)]
    warnings = [*_gateway_warnings(obj)]
    rules = mappings_at(obj, "spec", "http")
    for index, rule in enumerate(rules):
        path = f"spec.http[{index}]"
        errors += _check_rule(rule, path)
        warnings += _rule_warnings(rule, path)
    if not rules:
        warnings.append("spec.http: there are no rules: this VirtualService routes nothing")
    warnings += (f"spec.{field}: is not served here, only http is" for field in ("tls", "tcp") if find(obj, "spec", field))
    return Review(tuple(errors), tuple(warnings))


def _check_hosts(obj: Object) -> Iterator[Finding]:
    hosts = strings_at(obj, "spec", "hosts")
    if not hosts:
        yield Finding("spec.hosts", "at least one host is required", reason="FieldValueRequired")
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
    yield from _check_destinations(rule, path)
    for index, match in enumerate(mappings_at(rule, "match")):
        yield from _check_match(match, f"{path}.match[{index}]")
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


def _check_match(match: Object, path: str) -> Iterator[Finding]:
    texts: list[tuple[str, Any]] = [(f"{path}.{field}", match[field]) for field in _STRING_MATCHES if field in match]
    for field in ("headers", "queryParams"):
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
    idle = [name for name in _UNSERVED_RULE_FIELDS if rule.get(name)]
    if find(rule, "rewrite", "uriRegexRewrite"):
        idle.append("rewrite.uriRegexRewrite")
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
    schema=object_schema({"spec": VIRTUAL_SERVICE_SPEC, "status": ANYTHING}, required=("spec",)),
    check=_check,
)
