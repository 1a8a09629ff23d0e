"""A workflow's spec: its models with their sizes, and its graph. Pure: a text in, checked values out.

Every value is checked where it stands, so that an error names it. A node of the graph that is no model is a function of the handler.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.yaml_text import read_documents
from flambeau.serving.workflow.dag import Dag, dag_of

SPEC_BYTES_MAX = 1_048_576
"""A larger file is refused unread."""
RETRIES_MAX = 10
"""Of one node in one request."""
TIMEOUT_MS_MAX = 3_600_000
"""Of one attempt of one node."""
WORKERS_MAX = 4_096
BATCH_SIZE_MAX = 65_536

_NODE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HINT = "see the spec file in the workflow archive"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How a node is run; the defaults are TorchServe's."""

    min_workers: int = 1
    max_workers: int = 1
    batch_size: int = 1
    max_batch_delay_ms: int = 50
    retries: int = 1
    """``retry-attempts``: so many further attempts after the first."""
    timeout_ms: int = 10_000
    """Of one attempt, waiting in the model's queue included."""


_KEYS: dict[str, tuple[str, int, int]] = {
    "min-workers": ("min_workers", 1, WORKERS_MAX),
    "max-workers": ("max_workers", 1, WORKERS_MAX),
    "batch-size": ("batch_size", 1, BATCH_SIZE_MAX),
    "max-batch-delay": ("max_batch_delay_ms", 0, TIMEOUT_MS_MAX),
    "retry-attempts": ("retries", 0, RETRIES_MAX),
    "timeout-ms": ("timeout_ms", 1, TIMEOUT_MS_MAX),
}
"""Key -> field, least and most."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the graph."""

    name: str
    url: str | None
    """The model's archive; None: a function of the handler."""
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """What a workflow consists of."""

    sizes: Sizes
    """The workflow's own, which nodes inherit."""
    nodes: Mapping[str, Node]
    """Every node of the graph, by name."""
    dag: Dag
    edges: Mapping[str, tuple[str, ...]]
    """The graph as it was written."""
    warnings: tuple[str, ...] = ()
    """What was odd."""


def read_spec(text: str, *, source: str) -> WorkflowSpec:
    """Read a spec.

    Args:
        text: YAML.
        source: the file's name, for errors.

    Raises:
        InvalidInput: it is no YAML, or a value is wrong; the text names the value.
        TooLarge: the graph or what the text expands to is over its limit.
    """
    documents = read_documents(text, source=source)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise InvalidInput(f"{source} must hold one mapping, with models and dag", hint=_HINT)
    for duplicate in documents[0].duplicates:
        raise InvalidInput(f"{source}:{duplicate.line}: {duplicate.path} is there already, in line {duplicate.first_line}", hint=_HINT)
    document = documents[0].value
    models = _mapping(document.get("models") or {}, "models", source)
    sizes, own_warnings = _sizes(Sizes(), {key: value for key, value in models.items() if key in _KEYS}, f"{source}: models")
    edges = _edges(document.get("dag"), source)
    dag = dag_of(edges)
    nodes, warnings = {}, list(own_warnings)
    described = {name: value for name, value in models.items() if name not in _KEYS}
    for name, value in described.items():
        if not isinstance(value, dict):
            raise InvalidInput(f"{source}: models.{name} must be a mapping with a url{_meant(name)}", hint=_HINT)
        if name not in dag.children:
            warnings.append(f"{source}: model {name} is not in the graph and is not loaded")
    for name in dag.children:
        nodes[name], odd = _node(name, described.get(name), sizes, source)
        warnings += odd
    return WorkflowSpec(sizes, nodes, dag, edges, tuple(warnings))


def _node(name: str, described: Mapping[str, Any] | None, inherited: Sizes, source: str) -> tuple[Node, list[str]]:
    if described is None:
        if not name.isidentifier():
            raise InvalidInput(f"{source}: node {name} is neither a model nor the name of a function", hint="list it under models")
        # As in TorchServe a function has one worker and takes one request at a time.
        return Node(name, None, Sizes(max_batch_delay_ms=0, retries=inherited.retries, timeout_ms=inherited.timeout_ms)), []
    where = f"{source}: models.{name}"
    url = described.get("url")
    if not isinstance(url, str) or not url:
        raise InvalidInput(f"{where} needs a url, the name of a model archive", hint=_HINT)
    sizes, warnings = _sizes(inherited, {key: value for key, value in described.items() if key != "url"}, where)
    return Node(name, url, sizes), warnings


def _sizes(inherited: Sizes, written: Mapping[str, Any], where: str) -> tuple[Sizes, list[str]]:
    fields, warnings = {}, []
    for key, value in written.items():
        if key not in _KEYS:
            warnings.append(f"{where}: unknown key {key} has no effect{_meant(key)}")
            continue
        field, least, most = _KEYS[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput(f"{where}.{key} must be a whole number from {least} to {most}", hint=_HINT)
        fields[field] = value
    sizes = replace(inherited, **fields)
    if sizes.min_workers > sizes.max_workers:
        if "max_workers" in fields:
            raise InvalidInput(f"{where}: min-workers is {sizes.min_workers}, more than max-workers, {sizes.max_workers}", hint=_HINT)
        sizes = replace(sizes, max_workers=sizes.min_workers)
    return sizes, warnings


def _edges(written: object, source: str) -> dict[str, tuple[str, ...]]:
    edges: dict[str, tuple[str, ...]] = {}
    for name, targets in _mapping(written, "dag", source).items():
        if targets is not None and not isinstance(targets, list):
            raise InvalidInput(
                f"{source}: dag.{name} must be a list of nodes", hint=f"write {name}: [{targets}]" if _is_name(targets) else _HINT
            )
        edges[name] = tuple(targets or ())
        for node in (name, *edges[name]):
            if not _is_name(node):
                raise InvalidInput(
                    f"{source}: dag.{name} names a node that is none: a name is up to 128 letters, digits, underscores, dots and dashes",
                    hint="quote it if YAML takes it for something else than text",
                )
    return edges


def _mapping(value: object, key: str, source: str) -> dict[str, Any]:
    if not isinstance(value, dict) or (key == "dag" and not value):
        raise InvalidInput(f"{source}: {key} must be a mapping of nodes", hint=_HINT)
    return value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NODE_NAME.fullmatch(value) is not None


def _meant(word: str) -> str:
    near = difflib.get_close_matches(word, _KEYS, n=1, cutoff=0.7)
    return f' (did you mean "{near[0]}"?)' if near else ""
