"""YAML and JSON files become objects, with the reading kubectl gives them.

PyYAML's own resolvers differ from kubectl's (dates, sexagesimal numbers, ``1e3``, ``0o14``), so values are resolved here. A duplicate
key is refused with both its places, where kubectl would silently take the last.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flambeau.foundation.errors import InvalidInput, NotFound, TooLarge

MANIFEST_BYTES_MAX = 10 * 1024 * 1024
_SUFFIXES = {".yaml", ".yml", ".json"}
_TRUE = {"true", "yes", "on", "y"}
_FALSE = {"false", "no", "off", "n"}
_NULL = {"", "~", "null"}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o?([0-7]+)")
_HEXADECIMAL = re.compile(r"0x([0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def read_manifests(names: list[str], *, recursive: bool = False) -> list[dict[str, Any]]:
    """Read every object in the files, folders or ``-`` (standard input).

    Args:
        names: as given to ``-f``.
        recursive: go into the folders' folders.

    Raises:
        NotFound: a file isn't there, or a folder holds no manifest.
        InvalidInput: a file isn't YAML, or holds something that isn't an object; the text says where.
    """
    objects = [obj for name in names for obj in _read_one(name, recursive)]
    if not objects:
        raise InvalidInput(f"no objects in {', '.join(names)}")
    return objects


def parse_manifests(text: str, source: str) -> list[dict[str, Any]]:
    """Return the objects in a text; ``List`` kinds are taken apart.

    Args:
        text: YAML (or JSON, which is YAML) with one or more documents.
        source: the file's name, for messages.

    Raises:
        InvalidInput: with line and column.
    """
    try:
        nodes = list(yaml.compose_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        line = text.splitlines()[mark.line].strip() if mark and mark.line < len(text.splitlines()) else ""
        raise InvalidInput(f"{place}: not YAML: {error.problem}", hint=f"the line reads: {line}" if line else None) from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{source}: not YAML: {error}") from error
    objects: list[dict[str, Any]] = []
    for node in nodes:
        if node is None:
            continue
        value = _build(node, source, depth=0)
        if value is None:
            continue
        if not isinstance(value, dict) or not value.get("kind") or not value.get("apiVersion"):
            raise InvalidInput(
                f"{source}:{node.start_mark.line + 1}: a document needs apiVersion and kind",
                hint="an InferenceService begins with `apiVersion: serving.kserve.io/v1beta1` and `kind: InferenceService`",
            )
        objects.extend(value["items"] if value["kind"] == "List" and "items" in value else [value])
    return objects


def _read_one(name: str, recursive: bool) -> Iterator[dict[str, Any]]:
    if name == "-":
        yield from parse_manifests(_bounded(sys.stdin.read(MANIFEST_BYTES_MAX + 1), "standard input"), "standard input")
        return
    path = Path(name)
    if path.is_dir():
        found = sorted(p for p in (path.rglob("*") if recursive else path.iterdir()) if p.suffix in _SUFFIXES and p.is_file())
        if not found:
            raise NotFound(f"the folder {name} holds no .yaml, .yml or .json file")
    elif path.is_file():
        found = [path]
    else:
        raise NotFound(f"the path {name!r} does not exist")
    for file in found:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {file}: {error}") from error
        yield from parse_manifests(_bounded(text, str(file)), str(file))


def _bounded(text: str, source: str) -> str:
    if len(text) > MANIFEST_BYTES_MAX:
        raise TooLarge(f"{source} is over {MANIFEST_BYTES_MAX} characters")
    return text


def _build(node: yaml.Node, source: str, depth: int) -> Any:
    if depth > 100:
        raise InvalidInput(f"{source}:{node.start_mark.line + 1}: nested more than 100 deep")
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, source, depth + 1) for item in node.value]
    assert isinstance(node, yaml.MappingNode)
    mapping: dict[str, Any] = {}
    places: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
            raise InvalidInput(f"{source}:{line}: only plain keys are taken here")
        if key in mapping:
            raise InvalidInput(f"{source}:{line}: the key {key!r} stands twice (first on line {places[key]})")
        mapping[key] = _build(value_node, source, depth + 1)
        places[key] = line
    return mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style or node.tag == "tag:yaml.org,2002:binary":  # quoted or block: a string whatever it looks like
        return text
    lower = text.lower()
    if lower in _NULL:
        return None
    if lower in _TRUE or lower in _FALSE:
        return lower in _TRUE
    return _number(text)


def _number(text: str) -> Any:
    """kubectl's numbers: ``012`` and ``0o14`` are octal, ``1e3`` is 1000, ``1:30`` and dates stay text."""
    if _INTEGER.fullmatch(text):
        return int(text)
    for pattern, base in ((_OCTAL, 8), (_HEXADECIMAL, 16)):
        if match := pattern.fullmatch(text):
            return int(match.group(1), base)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return int(value) if value.is_integer() and abs(value) < 2**53 and "." not in text else value
    return text
