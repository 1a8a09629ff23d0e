"""OpenAPI v3: enough for kubectl to leave validation to the server, and for ``kubectl explain`` to explain. Pure.

Source: kserve-spec 9.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from flambeau.control.apiserver import codecs
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.resources.registry import Registry

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_SCHEMA_PREFIX = "dev.flambeau"


def index(kinds: Registry) -> Object:
    """Return the list of documents, each under an address that changes with its content."""
    paths = {}
    for group, version in _group_versions(kinds):
        place = _place(group, version)
        digest = hashlib.sha256(codecs.encode(document(kinds, group, version))).hexdigest()[:32].upper()
        paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={digest}"}
    return {"paths": paths}


def document(kinds: Registry, group: str, version: str) -> Object | None:
    """Return one group and version's document, or None where there is none."""
    served = [kind for kind in kinds.all() if kind.group == group and version in kind.versions]
    if not served:
        return None
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for kind in served:
        paths.update(_paths(kind, version))
        schemas[_schema_name(kind, version)] = _schema(kind, version)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Flambeau", "version": "v1.32"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def parse_place(place: str) -> tuple[str, str] | None:
    """Return (group, version) of a document's address, ``api/v1`` or ``apis/<group>/<version>``."""
    match place.strip("/").split("/"):
        case ["api", version]:
            return "", version
        case ["apis", group, version]:
            return group, version
    return None


def _place(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _group_versions(kinds: Registry) -> list[tuple[str, str]]:
    return list(dict.fromkeys((kind.group, version) for kind in kinds.all() for version in kind.versions))


def _type(kind: Kind, version: str) -> dict[str, str]:
    return {"group": kind.group, "version": version, "kind": kind.kind}


def _schema_name(kind: Kind, version: str) -> str:
    return f"{_SCHEMA_PREFIX}.{kind.group or 'core'}.{version}.{kind.kind}"


def _schema(kind: Kind, version: str) -> Mapping[str, Any]:
    schema = kind.schema or {"type": "object", "description": f"{kind.kind} takes any field."}
    return {**schema, "x-kubernetes-group-version-kind": [_type(kind, version)]}


def _paths(kind: Kind, version: str) -> dict[str, Any]:
    namespaced = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"/{_place(kind.group, version)}{namespaced}/{kind.plural}"
    reference = {"$ref": f"#/components/schemas/{_schema_name(kind, version)}"}
    reading = _operation(kind, version, "get", (), reference, None)
    paths: dict[str, Any] = {
        collection: {"get": {**reading, "x-kubernetes-action": "list"}},
        f"{collection}/{{name}}": {"get": reading},
    }
    if kind.namespaced:
        paths[f"/{_place(kind.group, version)}/{kind.plural}"] = {"get": {**reading, "x-kubernetes-action": "list"}}
    if kind.read_only:
        return paths
    whole = {codecs.JSON: {"schema": reference}}
    patches = {media_type: {"schema": {"type": "object"}} for media_type in (codecs.JSON_PATCH, codecs.MERGE_PATCH, codecs.APPLY_PATCH)}
    paths[collection]["post"] = _operation(kind, version, "post", _WRITE_PARAMETERS, reference, whole)
    paths[f"{collection}/{{name}}"] |= {
        "put": _operation(kind, version, "put", _WRITE_PARAMETERS, reference, whole),
        "patch": _operation(kind, version, "patch", (*_WRITE_PARAMETERS, "force"), reference, patches),
        "delete": _operation(kind, version, "delete", ("dryRun",), reference, None),
    }
    return paths


def _operation(
    kind: Kind, version: str, action: str, parameters: tuple[str, ...], reference: dict[str, str], body: dict[str, Any] | None
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "responses": {"200": {"description": "OK", "content": {codecs.JSON: {"schema": reference}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _type(kind, version),
    }
    if parameters:
        operation["parameters"] = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in parameters]
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    return operation
