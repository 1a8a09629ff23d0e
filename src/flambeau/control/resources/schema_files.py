"""The packaged field schemas: read when first looked at, parts that are equal shared in memory.

``tools/strip_crds.py`` writes them. ``ObjectSchema`` is what a kind carries: importing the kinds reads no file.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

from flambeau.control.resources.fields import STRING, Schema, an_object
from flambeau.control.resources.object_meta import OBJECT_META


class ObjectSchema(Mapping[str, Any]):
    """The schema of whole objects of one kind, made when first looked at.

    Args:
        spec: returns the schemas of the fields beside apiVersion, kind and metadata.
        required: which of them must be there.
    """

    def __init__(self, spec: Callable[[], Mapping[str, Schema]], required: tuple[str, ...] = ()) -> None:
        self._spec = spec
        self._required = required

    @functools.cached_property
    def _whole(self) -> Schema:
        return an_object({"apiVersion": STRING, "kind": STRING, "metadata": OBJECT_META, **self._spec()}, self._required)

    def __getitem__(self, key: str) -> Any:
        return self._whole[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


@functools.cache
def packaged(name: str) -> Schema:
    """Return the schema of a kind's ``spec`` from the package; shared parts are the same dicts: read only."""
    file = resources.files("flambeau.control.resources") / "schemas" / f"{name}.json.gz"
    content = json.loads(gzip.decompress(file.read_bytes()))
    parts: list[Schema] = []
    for part in content["shared"]:  # a part refers to earlier ones only
        parts.append(_resolved(part, parts))
    root: Schema = _resolved(content["root"], parts)
    return root


def described(schema: Mapping[str, Any], texts: Mapping[str, str]) -> Schema:
    """Return the schema with descriptions at paths of properties, for ``kubectl explain``; what is not named is shared.

    Args:
        schema: stays as it is.
        texts: description by dotted path, ``predictor.model.storageUri``; the empty path is the schema itself.
    """
    copy = dict(schema)
    if "" in texts:
        copy["description"] = texts[""]
    below: dict[str, dict[str, str]] = {}
    for path, text in texts.items():
        if path:
            first, _, rest = path.partition(".")
            below.setdefault(first, {})[rest] = text
    if below:
        properties = dict(copy["properties"])
        for name, inner in below.items():
            properties[name] = described(properties[name], inner)
        copy["properties"] = properties
    return copy


def _resolved(value: Any, parts: list[Schema]) -> Any:
    if isinstance(value, list):
        return [_resolved(part, parts) for part in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), int):
        return parts[value["$ref"]]
    return {key: _resolved(part, parts) for key, part in value.items()}
