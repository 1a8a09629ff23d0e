"""VirtualServices without hosts, whose rules others name as ``delegate``: put in place as Istio does. Pure; source: specification 5.4.

A rule that delegates stands for the delegate's rules in their order. Each takes what both of them match, and what it doesn't say itself the
delegating rule says for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at

Delegates = Mapping[tuple[str, str], Object]
"""By namespace and name."""

_TEXTS = ("uri", "scheme", "method", "authority")
_TEXTS_BY_NAME = ("headers", "withoutHeaders", "queryParams")
_INHERITED = (
    *("rewrite", "directResponse", "timeout", "retries", "fault", "corsPolicy", "headers"),
    *("mirror", "mirrorPercent", "mirror_percent", "mirrorPercentage", "mirrors"),
)


def delegates_of(virtual_services: Sequence[Object]) -> Delegates:
    """Return those that may be delegated to: they have no hosts."""
    found = [each for each in virtual_services if not each["spec"].get("hosts")]
    return {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in found}


def delegated(rule: Object, namespace: str, delegates: Delegates, warn: Callable[[str], None]) -> list[Object]:
    """Return the rules that a delegating rule stands for.

    Args:
        rule: with a delegate.
        namespace: of its VirtualService.
        delegates: all there are.
        warn: told what is left out.
    """
    place = rule["delegate"].get("namespace") or namespace, rule["delegate"].get("name") or ""
    delegate = delegates.get(place)
    label = f"spec.http.delegate {'/'.join(place)}"
    if delegate is None:
        warn(f"{label}: there is no such VirtualService without hosts; the rule is left out")
        return []
    found = []
    for own in mappings_at(delegate, "spec", "http"):
        matches = _matches(mappings_at(rule, "match"), mappings_at(own, "match"))
        if own.get("delegate"):
            warn(f"{label}: a delegate cannot delegate; that rule is left out")
        elif matches is None:
            warn(f"{label}: a rule matches nothing that it is delegated; it is left out")
        else:
            inherited = {field: rule[field] for field in _INHERITED if field in rule}
            found.append({**inherited, **_with_full_hosts(own, place[0]), "match": matches})
    return found


def _matches(outer: Sequence[Object], inner: Sequence[Object]) -> list[Object] | None:
    """Return what both match; None where one of the inner ones is within none of the outer ones."""
    if not outer or not inner:
        return [*outer, *inner]
    found = []
    for own in inner:
        within = [_both(each, own) for each in outer if _is_within(each, own)]
        if not within:
            return None
        found += within
    return found


def _both(outer: Object, inner: Object) -> Object:
    return {**outer, **inner, **{field: {**(outer.get(field) or {}), **(inner.get(field) or {})} for field in _TEXTS_BY_NAME}}


def _is_within(outer: Object, inner: Object) -> bool:
    pairs = [(outer.get(field), inner.get(field)) for field in _TEXTS]
    for field in _TEXTS_BY_NAME:
        pairs += [((outer.get(field) or {}).get(name), text) for name, text in (inner.get(field) or {}).items()]
    return bool(outer.get("ignoreUriCase")) == bool(inner.get("ignoreUriCase")) and all(_is_text_within(*pair) for pair in pairs)


def _is_text_within(outer: Mapping[str, Any] | None, inner: Mapping[str, Any] | None) -> bool:
    """Tell whether a text that the inner one takes is taken by the outer one; beside a regular expression there is no telling."""
    if outer is None or inner is None:
        return True
    if outer.get("exact"):
        return bool(inner.get("exact") == outer["exact"])
    said = inner.get("exact") or inner.get("prefix")
    return bool(outer.get("prefix") and said) and str(said).startswith(outer["prefix"])


def _with_full_hosts(rule: Object, namespace: str) -> Object:
    """Return a rule whose short names are those of its own namespace."""

    def full(destination: Object) -> Object:
        host = str(destination.get("host", ""))
        return destination if not host or "." in host else {**destination, "host": f"{host}.{namespace}.{CLUSTER_DOMAIN}"}

    changed = dict(rule)
    for field in ("route", "mirrors"):
        if rule.get(field):
            changed[field] = [{**each, "destination": full(each.get("destination") or {})} for each in rule[field]]
    if rule.get("mirror"):
        changed["mirror"] = full(rule["mirror"])
    return changed
