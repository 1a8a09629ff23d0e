"""InferenceGraph (KServe): models that answer together, and what is wrong with such a graph when it is applied."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.fields.graphs import INFERENCE_GRAPH_SPEC
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.inference_service_check import TIMEOUT_SECONDS_MAX
from flambeau.control.resources.inference_service_scaling import check_replicas
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mapping_at, mappings_at
from flambeau.control.resources.object_meta import LABEL_CHARS_MAX
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.pod_template import no_effect_warning
from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.graph import condition
from flambeau.gateway.graph.spec import ROOT

STEPS_MAX = 256
"""Of all nodes together, and nodes."""
DEPTH_MAX = 32
"""Nodes that a request may be in at once."""
CALLS_MAX = 1024
"""That one request may become."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_REVISION_NUMBER_CHARS = len("-00001")
_TARGETS = ("nodeName", "serviceName", "serviceUrl")
_DATA = ("$request", "$response")


def _check(obj: Object, _: Object | None) -> Review:
    spec = mapping_at(obj, "spec")
    nodes = {str(name): node for name, node in mapping_at(spec, "nodes").items() if isinstance(node, dict)}
    errors = [*_check_name(obj), *_check_nodes(nodes), *_check_numbers(spec), *check_replicas(spec, "spec")]
    warnings = [*no_effect_warning(spec, "spec")]
    for path, node in ((f"spec.nodes.{name}", node) for name, node in nodes.items()):
        errors += _check_steps(node, path, nodes)
        warnings += _step_warnings(node, path)
    if not errors:
        errors += _check_paths(nodes)
    return Review(tuple(errors), tuple(warnings))


def _check_name(obj: Object) -> Iterator[Finding]:
    name = find(obj, "metadata", "name")
    if not isinstance(name, str):
        return
    most = LABEL_CHARS_MAX - _REVISION_NUMBER_CHARS
    if not _NAME.fullmatch(name):
        yield Finding("metadata.name", "must be lower case letters, digits and -, begin with a letter and end with a letter or digit", name)
    elif len(name) > most:
        message = (
            f"is too long by {len(name) - most}: it becomes a label of a host name and of its revisions; use at most {most} characters"
        )
        yield Finding("metadata.name", message, name, "FieldValueTooLong")


def _check_nodes(nodes: Mapping[str, Object]) -> Iterator[Finding]:
    if ROOT not in nodes:
        message = f"must have a node named {ROOT}, where requests come in; it has {', '.join(sorted(nodes)) or 'none'}"
        yield Finding("spec.nodes", message, reason="FieldValueRequired")
    total = sum(len(mappings_at(node, "steps")) for node in nodes.values())
    if total > STEPS_MAX or len(nodes) > STEPS_MAX:
        yield Finding("spec.nodes", f"has {len(nodes)} nodes with {total} steps, the most is {STEPS_MAX} of each", total)


def _check_numbers(spec: Object) -> Iterator[Finding]:
    timeout = spec.get("timeout")
    if isinstance(timeout, int) and not 0 <= timeout <= TIMEOUT_SECONDS_MAX:
        yield Finding("spec.timeout", f"must be from 0 to {TIMEOUT_SECONDS_MAX} seconds", timeout)
    for name, seconds in mapping_at(spec, "routerTimeouts").items():
        if isinstance(seconds, int) and seconds <= 0:
            yield Finding(f"spec.routerTimeouts.{name}", "must be more than 0 seconds", seconds)
    target = spec.get("scaleTarget")
    if isinstance(target, int) and target < 0:
        yield Finding("spec.scaleTarget", "must not be negative", target)
    if spec.get("scaleMetric") in ("cpu", "memory"):
        yield Finding("spec.scaleMetric", "must be concurrency or rps", spec["scaleMetric"], "FieldValueNotSupported")


def _check_steps(node: Object, path: str, nodes: Mapping[str, Object]) -> Iterator[Finding]:
    steps = mappings_at(node, "steps")
    if not steps:
        yield Finding(f"{path}.steps", "must have at least one step", reason="FieldValueRequired")
    names: set[str] = set()
    for index, step in enumerate(steps):
        place = f"{path}.steps[{index}]"
        yield from _check_target(step, place, nodes)
        yield from _check_condition(step, place)
        name = _text(step, "name")
        if name and name in names:
            yield Finding(f"{place}.name", f'the node has two steps named "{name}"', name, "FieldValueDuplicate")
        names.add(name)
        if step.get("data") and step["data"] not in _DATA:
            yield Finding(f"{place}.data", f"must be {' or '.join(_DATA)}", step["data"], "FieldValueNotSupported")
    if node.get("routerType") == "Splitter":
        yield from _check_weights(steps, path)
    if node.get("routerType") == "Switch" and steps and not any(step.get("condition") for step in steps):
        message = "a Switch takes the first step whose condition the request fulfils, and none of these has one"
        yield Finding(f"{path}.steps", message, reason="FieldValueRequired")


def _check_target(step: Object, place: str, nodes: Mapping[str, Object]) -> Iterator[Finding]:
    found = [name for name in _TARGETS if step.get(name)]
    if len(found) != 1:
        has = f"it has {' and '.join(found)}" if found else "it has none of them"
        reason = "FieldValueInvalid" if found else "FieldValueRequired"
        yield Finding(place, f"must have exactly one of {', '.join(_TARGETS)}: {has}", reason=reason)
        return
    node, url = _text(step, "nodeName"), _text(step, "serviceUrl")
    if node and node not in nodes:
        yield Finding(f"{place}.nodeName", f'there is no node "{node}"; there are: {", ".join(sorted(nodes))}', node, "FieldValueNotFound")
    if url and not _is_url(url):
        yield Finding(f"{place}.serviceUrl", "must be a URL such as http://HOST/v1/models/NAME:predict", url)


def _text(step: Object, name: str) -> str:
    """Return a field of a step; empty where it is no text, which the schema refuses."""
    value = step.get(name)
    return value if isinstance(value, str) else ""


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and text.isascii() and text.isprintable()
    except ValueError:
        return False


def _check_condition(step: Object, place: str) -> Iterator[Finding]:
    text = _text(step, "condition")
    if not text:
        return
    try:
        condition.parse(text)
    except InvalidInput as error:
        yield Finding(f"{place}.condition", f"is no gjson path that is served here: {error}", text)


def _check_weights(steps: list[Object], path: str) -> Iterator[Finding]:
    weights = [step.get("weight") for step in steps]
    for index, weight in enumerate(weights):
        if weight is None:
            yield Finding(f"{path}.steps[{index}].weight", "is required in a Splitter", reason="FieldValueRequired")
        elif isinstance(weight, int) and not 0 <= weight <= 100:
            yield Finding(f"{path}.steps[{index}].weight", "must be from 0 to 100", weight)
    total = sum(weight for weight in weights if isinstance(weight, int))
    if None not in weights and total != 100:
        yield Finding(f"{path}.steps", f"the weights of a Splitter must make 100; these make {total}", total)


def _check_paths(nodes: Mapping[str, Object]) -> Iterator[Finding]:
    """Refuse circles, which would never end, and graphs in which one request becomes too many calls."""
    known: dict[str, _Extent] = {}
    try:
        extents = [_extent(name, nodes, known, ()) for name in nodes]
    except _Circle as circle:
        yield Finding("spec.nodes", f"has a circle, in which a request would never end: {circle}")
        return
    depth, calls = max(each.depth for each in extents), max(each.calls for each in extents)
    if depth > DEPTH_MAX:
        yield Finding("spec.nodes", f"has nodes within nodes {depth} deep, the most is {DEPTH_MAX}")
    if calls > CALLS_MAX:
        yield Finding("spec.nodes", f"can make {calls} calls for one request, the most is {CALLS_MAX}")


@dataclass(frozen=True, slots=True)
class _Extent:
    """How far a request goes from a node on."""

    depth: int
    """Nodes that it is in at once, at most."""
    calls: int
    """Of services, at most."""


def _extent(name: str, nodes: Mapping[str, Object], known: dict[str, _Extent], way: tuple[str, ...]) -> _Extent:
    """Return a node's extent, each node's looked at once.

    Raises:
        _Circle: a way leads back.
    """
    if name in way:
        raise _Circle(" -> ".join((*way[way.index(name) :], name)))
    if name not in known:
        node = nodes[name]
        targets = [_text(step, "nodeName") for step in mappings_at(node, "steps")]
        inner = [_extent(target, nodes, known, (*way, name)) if target else _Extent(0, 1) for target in targets]
        of_all = max if node.get("routerType") in ("Splitter", "Switch") else sum
        known[name] = _Extent(1 + max(each.depth for each in inner), of_all([each.calls for each in inner]))
    return known[name]


class _Circle(Exception):
    """Name the nodes of a circle."""


def _step_warnings(node: Object, path: str) -> Iterator[str]:
    kind = node.get("routerType")
    for index, step in enumerate(mappings_at(node, "steps")):
        place, text = f"{path}.steps[{index}]", _text(step, "condition")
        if kind == "Switch" and not text:
            yield f"{place}: has no condition, so a Switch never takes it; there is no default branch"
        if kind in ("Splitter", "Ensemble") and text:
            yield f"{place}.condition: has no effect in a {kind}"
        if kind == "Sequence" and text and index == 0:
            yield f"{place}.condition: has no effect: it is tested on the answer of the step before, and this is the first"
        if kind != "Splitter" and step.get("weight") is not None:
            yield f"{place}.weight: has no effect in a {kind}"
        if kind != "Sequence" and step.get("data") == "$response":
            yield f"{place}.data: has no effect in a {kind}: its steps are all asked with the request"
        if text and _finds_always(text):
            yield f"{place}.condition: gjson finds a list, even an empty one, by # and #(...)#, in any array; #(...) finds only what fits"


def _finds_always(text: str) -> bool:
    try:
        return condition.parse(text).always_holds_on_arrays
    except InvalidInput:
        return False  # refused above


INFERENCE_GRAPH = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="InferenceGraph",
    plural="inferencegraphs",
    singular="inferencegraph",
    short_names=("ig",),
    columns=(
        Column("URL", lambda obj, _: find(obj, "status", "url")),
        Column("Ready", lambda obj, _: (get_condition(obj, "Ready") or {}).get("status")),
        AGE_COLUMN,
    ),
    schema=object_schema(
        {"spec": INFERENCE_GRAPH_SPEC, "status": ANYTHING},
        required=("spec",),
        description="Several services behind one address: one after the other, side by side, or by a condition.",
    ),
    check=_check,
)
