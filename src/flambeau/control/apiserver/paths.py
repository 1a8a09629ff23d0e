"""Which resource a URL path means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A path below ``/api`` or ``/apis``, taken apart; what isn't there is empty."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse(raw_path: str) -> ResourcePath | None:
    """Return the resource that a path means, or None where it means none.

    Args:
        raw_path: as it stood on the request line, still percent-encoded (so that ``%2F`` stays inside a segment).
    """
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    if not all(rest):
        return None
    namespace = ""
    about_namespace_itself = len(rest) <= 2 or (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES)
    if rest[0] == "namespaces" and not about_namespace_itself:
        namespace, rest = rest[1], rest[2:]
    if rest[2:3] == ["proxy"]:  # what follows is the path behind it
        rest = rest[:3]
    if len(rest) > 3:
        return None
    plural, name, subresource = [*rest, "", ""][:3]
    return ResourcePath(group, version, plural, namespace, name, subresource)
