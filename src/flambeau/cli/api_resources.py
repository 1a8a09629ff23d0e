"""``flambeau api-resources``: which kinds the server has."""

from __future__ import annotations

from flambeau.cli import show
from flambeau.cli.target import HERE, Target


def api_resources(*, target: Target = HERE) -> int:
    """List the kinds the server has, with their short names."""
    with target.open() as api:
        rows = [
            [kind.plural, ",".join(kind.short_names), kind.api_version, str(kind.namespaced).lower(), kind.kind] for kind in api.types()
        ]
    print("\n".join(show.table_lines(["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"], rows)))
    return 0
