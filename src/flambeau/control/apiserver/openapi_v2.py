"""OpenAPI v2, which older kubectls (up to 1.26) ask for before they apply: enough for them to leave validation to the server. Pure.

They read it as protobuf only. A kind without a definition is not validated by the client; the ``patch`` operations say that dry runs work.
Source: gnostic's OpenAPIv2.proto; kserve-spec 9.3.
"""

from __future__ import annotations

from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import Registry
from flambeau.foundation.protobuf_wire import head_of

PROTOBUF_ACCEPTED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
"""How clients ask for it; an ``@`` may not stand in an answer's type."""
PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_INFO = {"title": "Flambeau", "version": "v1.32"}
_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_KIND_EXTENSION = "x-kubernetes-group-version-kind"


def document(kinds: Registry) -> Object:
    """Return the document as JSON."""
    paths: Object = {}
    for path, group_version_kind in _patches(kinds):
        parameters = [{"name": name, "in": "query", "type": "string"} for name in _PARAMETERS]
        paths[path] = {"patch": {"parameters": parameters, _KIND_EXTENSION: group_version_kind}}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": {}}


def protobuf(kinds: Registry) -> bytes:
    """Return the document as the message ``openapi.v2.Document``."""
    parameters = b"".join(_message(8, _message(1, _message(2, _message(3, _text(2, "query") + _text(4, name))))) for name in _PARAMETERS)
    items = []
    for path, group_version_kind in _patches(kinds):
        yaml = "".join(f'{name}: "{value}"\n' for name, value in group_version_kind.items())
        extension = _message(13, _text(1, _KIND_EXTENSION) + _message(2, _text(2, yaml)))
        items.append(_message(2, _text(1, path) + _message(2, _message(8, parameters + extension))))
    info = _text(1, _INFO["title"]) + _text(2, _INFO["version"])
    return _text(1, "2.0") + _message(2, info) + _message(8, b"".join(items))


def _patches(kinds: Registry) -> list[tuple[str, dict[str, str]]]:
    """Return (path, group, version and kind) of everything that can be patched."""
    found = []
    for kind in kinds.all():
        for version in kind.versions if not kind.read_only else ():
            place = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
            namespaced = "/namespaces/{namespace}" if kind.namespaced else ""
            named = {"group": kind.group, "kind": kind.kind, "version": version}
            found.append((f"{place}{namespaced}/{kind.plural}/{{name}}", named))
    return found


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _message(field: int, content: bytes) -> bytes:
    """Return a field that has a length: a text or another message."""
    return head_of(field, len(content)) + content
