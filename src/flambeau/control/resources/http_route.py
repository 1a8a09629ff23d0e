"""HTTPRoute (Gateway API): routes of a person's own through the gateway, in Kubernetes' newer words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.fields.http_routes import HTTP_ROUTE_SPEC
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at, strings_at
from flambeau.control.resources.object_schema import object_schema

_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def _hostnames(obj: Object, _: float) -> str | None:
    found = find(obj, "spec", "hostnames")
    return None if found is None else json.dumps(found, separators=(",", ":"))


def _check(obj: Object, _: Object | None) -> Review:
    errors = [*_check_hosts(obj)]
    warnings: list[str] = []
    if not mappings_at(obj, "spec", "parentRefs"):
        warnings.append("spec.parentRefs: no Gateway is named: this route routes nothing")
    for index, rule in enumerate(mappings_at(obj, "spec", "rules")):
        path = f"spec.rules[{index}]"
        errors += _check_rule(rule, path)
        warnings += _rule_warnings(rule, path)
    return Review(tuple(errors), tuple(warnings))


def _check_hosts(obj: Object) -> Iterator[Finding]:
    for index, host in enumerate(strings_at(obj, "spec", "hostnames")):
        if not _HOST.fullmatch(host) or len(host) > 253:
            yield Finding(f"spec.hostnames[{index}]", "must be a host name or *.SUFFIX in lower case, without scheme, port or path", host)


def _check_rule(rule: Object, path: str) -> Iterator[Finding]:
    for index, match in enumerate(mappings_at(rule, "matches")):
        value, kind = find(match, "path", "value"), find(match, "path", "type")
        if isinstance(value, str) and kind != "RegularExpression" and not value.startswith("/"):
            yield Finding(f"{path}.matches[{index}].path.value", "must begin with /", value)
    filters = mappings_at(rule, "filters")
    kinds = [each.get("type") for each in filters]
    if "RequestRedirect" in kinds and ("URLRewrite" in kinds or mappings_at(rule, "backendRefs")):
        yield Finding(f"{path}.filters", "a RequestRedirect stands alone: no URLRewrite and no backendRefs beside it")
    for index, each in enumerate(filters):
        kind = str(each.get("type") or "")
        field = {"URLRewrite": "urlRewrite", "CORS": "cors"}.get(kind, kind[:1].lower() + kind[1:])
        if field and each.get(field) is None:
            yield Finding(f"{path}.filters[{index}].{field}", f"is required with type {kind}", reason="FieldValueRequired")
    for field in ("request", "backendRequest"):
        text = find(rule, "timeouts", field)
        if isinstance(text, str):
            try:
                duration_seconds(text)
            except ValueError:
                yield Finding(f"{path}.timeouts.{field}", "must be a duration such as 30s or 1m30s", text)


def _rule_warnings(rule: Object, path: str) -> Iterator[str]:
    if find(rule, "timeouts", "backendRequest"):
        yield f"{path}.timeouts.backendRequest: is not served here: a request is sent once, so timeouts.request says it all"
    for index, each in enumerate(mappings_at(rule, "filters")):
        if each.get("type") == "ExtensionRef":
            yield f"{path}.filters[{index}]: ExtensionRef is not served here: the rule is left out"
    for index, backend in enumerate(mappings_at(rule, "backendRefs")):
        if any(each.get("type") not in ("RequestHeaderModifier", "ResponseHeaderModifier") for each in mappings_at(backend, "filters")):
            yield f"{path}.backendRefs[{index}].filters: only header modifiers are served here"


HTTP_ROUTE = Kind(
    group="gateway.networking.k8s.io",
    versions=("v1", "v1beta1"),
    kind="HTTPRoute",
    plural="httproutes",
    singular="httproute",
    categories=("gateway-api",),
    columns=(Column("Hostnames", _hostnames), AGE_COLUMN),
    schema=object_schema(
        {"spec": HTTP_ROUTE_SPEC, "status": ANYTHING},
        required=("spec",),
        description="Hosts and paths of the gateway, and the services that they lead to.",
    ),
    check=_check,
)
