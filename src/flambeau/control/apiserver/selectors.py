"""Label and field selectors: parse once, match many. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from flambeau.control.resources.kind import Kind, Object
from flambeau.foundation.errors import InvalidInput

_LENGTH_MAX = 8192
"""Characters of a selector."""

_SET = re.compile(r"^(?P<key>[\w./-]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[\w./-]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s=!,()]*)$")
_EXISTENCE = re.compile(r"^(?P<negation>!?)\s*(?P<key>[\w./-]+)$")

# Kubernetes allows a handful of fields per kind, and refuses others rather than ignoring them.
_EVERY_KIND = ("metadata.name", "metadata.namespace")
_FIELDS: dict[str, tuple[str, ...]] = {
    "events": (
        *(f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")),
        "reason",
        "type",
        "source",
        "reportingComponent",
    ),
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase", "status.podIP"),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
}


@dataclass(frozen=True, slots=True)
class Selector:
    """A conjunction of requirements; an empty one matches everything."""

    requirements: tuple[Callable[[Object], bool], ...] = ()

    def matches(self, obj: Object) -> bool:
        """Tell whether an object meets every requirement."""
        return all(requirement(obj) for requirement in self.requirements)


def parse(kind: Kind, labels: str, fields: str) -> Selector:
    """Return the selector that two query parameters mean together.

    Raises:
        InvalidInput: a selector doesn't parse, or names a field that this kind can't be selected by.
    """
    for text in (labels, fields):
        if len(text) > _LENGTH_MAX:
            raise InvalidInput(f"selector is {len(text)} characters long: at most {_LENGTH_MAX} are read")
    by_label = [_label_requirement(term) for term in _terms(labels)]
    by_field = [_field_requirement(kind, term) for term in _terms(fields)]
    return Selector(tuple(by_label + by_field))


def _terms(text: str) -> list[str]:
    """Split at the commas outside parentheses."""
    terms, depth, start = [], 0, 0
    for position, character in enumerate(text):
        if character in "()":
            depth += 1 if character == "(" else -1
        elif character == "," and depth == 0:
            terms.append(text[start:position])
            start = position + 1
    terms.append(text[start:])
    return [term.strip() for term in terms if term.strip()]


def _label_requirement(term: str) -> Callable[[Object], bool]:
    if found := _SET.match(term):
        key, wanted = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["operator"] == "in":
            return lambda obj: _labels(obj).get(key) in wanted
        return lambda obj: _labels(obj).get(key) not in wanted
    if found := _EQUALITY.match(term):
        key, value = found["key"], found["value"]
        if found["operator"] == "!=":
            return lambda obj: _labels(obj).get(key) != value
        return lambda obj: _labels(obj).get(key) == value
    if found := _EXISTENCE.match(term):
        key = found["key"]
        if found["negation"]:
            return lambda obj: key not in _labels(obj)
        return lambda obj: key in _labels(obj)
    raise InvalidInput(
        f"unable to parse requirement: {term!r} is no label selector",
        hint="write key=value, key!=value, key in (a,b), key notin (a,b), key or !key, joined by commas",
    )


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _field_requirement(kind: Kind, term: str) -> Callable[[Object], bool]:
    found = _EQUALITY.match(term)
    if not found:
        raise InvalidInput(f"invalid field selector {term!r}", hint="write field=value or field!=value, joined by commas")
    field, value, negated = found["key"], found["value"], found["operator"] == "!="
    allowed = (*_EVERY_KIND, *_FIELDS.get(kind.id, ()))
    if field not in allowed:
        raise InvalidInput(f"field label not supported: {field}", hint=f"{kind.id} can be selected by {', '.join(allowed)}")
    path = ("source", "component") if field == "source" else tuple(field.split("."))
    return lambda obj: (_value(obj, path) == value) != negated


def _value(obj: Object, path: tuple[str, ...]) -> str:
    node: object = obj
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return "" if node is None else str(node)
