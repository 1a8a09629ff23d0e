"""``flambeau explain``: which fields a kind has, from the server's own schemas."""

from __future__ import annotations

from typing import Any

from flambeau.cli.api import Api, ResourceType
from flambeau.cli.target import HERE, Target
from flambeau.foundation.errors import NotFound


def explain(path: str, /, *, target: Target = HERE) -> int:
    """Show the fields below a place in a kind.

    Parameters
    ----------
    path
        Kind and fields, such as `isvc.spec.predictor.model`.
    """
    name, *fields = path.split(".")
    with target.open() as api:
        kind = api.type_named(name)
        schemas, schema = _schema(api, kind)
        for field in fields:
            schema = _resolve(schemas, schema)
            schema = _resolve(schemas, schema.get("items", schema))
            known = schema.get("properties", {})
            if field not in known:
                raise NotFound(f"{kind.kind} has no field {field!r} there", hint=f"there is: {', '.join(sorted(known)) or 'nothing'}")
            schema = known[field]
        print(f"GROUP:      {kind.group}\nKIND:       {kind.kind}\nVERSION:    {kind.version}\n")
        _print(schemas, schema, fields[-1] if fields else "")
    return 0


def _schema(api: Api, kind: ResourceType) -> tuple[dict[str, Any], dict[str, Any]]:
    group = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
    known = api.get("/openapi/v3")["paths"]
    if group not in known:
        raise NotFound(f"the server has no schemas of {kind.api_version}")
    schemas: dict[str, Any] = api.get(known[group]["serverRelativeURL"])["components"]["schemas"]
    wanted = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    for schema in schemas.values():
        if wanted in schema.get("x-kubernetes-group-version-kind", []):
            return schemas, schema
    raise NotFound(f"the server has no schema of {kind.kind}")


def _resolve(schemas: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for part in (schema, *schema.get("allOf", [])):
        if "$ref" in part:
            resolved: dict[str, Any] = schemas[part["$ref"].rsplit("/", 1)[1]]
            return resolved
    return schema


def _type(schemas: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolve(schemas, schema)
    if schema.get("type") == "array":
        return f"[]{_type(schemas, schema.get('items', {}))}"
    if "additionalProperties" in schema:
        return f"map[string]{_type(schemas, schema['additionalProperties'])}"
    return str(schema.get("type") or ("IntOrString" if schema.get("x-kubernetes-int-or-string") else "Object"))


def _print(schemas: dict[str, Any], schema: dict[str, Any], name: str) -> None:
    if name:
        print(f"FIELD: {name} <{_type(schemas, schema)}>\n")
    schema = _resolve(schemas, schema)
    schema = _resolve(schemas, schema.get("items", schema))
    if schema.get("description"):
        print(f"DESCRIPTION:\n    {schema['description']}\n")
    properties = schema.get("properties", {})
    if properties:
        print("FIELDS:")
    required = schema.get("required", [])
    for field, inner in sorted(properties.items()):
        print(f"  {field}\t<{_type(schemas, inner)}>{' -required-' if field in required else ''}".expandtabs(4))
        text = _resolve(schemas, inner).get("description", "")
        if text:
            print(f"    {text}")
