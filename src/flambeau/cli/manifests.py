"""YAML and JSON files become objects, with the reading kubectl gives them (``foundation.yaml_text``).

A duplicate key is refused with both its places, where kubectl would silently take the last.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flambeau.foundation.errors import InvalidInput, NotFound, TooLarge
from flambeau.foundation.yaml_text import read_documents

MANIFEST_BYTES_MAX = 10 * 1024 * 1024
_SUFFIXES = {".yaml", ".yml", ".json"}


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
    objects: list[dict[str, Any]] = []
    for document in read_documents(text, source=source):
        for duplicate in document.duplicates:
            key = duplicate.path.rpartition(".")[2]
            raise InvalidInput(f"{source}:{duplicate.line}: the key {key!r} stands twice (first on line {duplicate.first_line})")
        value = document.value
        if not isinstance(value, dict) or not value.get("kind") or not value.get("apiVersion"):
            raise InvalidInput(
                f"{source}:{document.line}: a document needs apiVersion and kind",
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
