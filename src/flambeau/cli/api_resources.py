"""``flambeau api-resources``: which kinds the server has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from flambeau.cli import show
from flambeau.cli.api import ResourceType
from flambeau.cli.target import HERE, Target


def api_resources(
    *, output: Annotated[Literal["name", "json"] | None, Parameter(name=["--output", "-o"])] = None, target: Target = HERE
) -> int:
    """List the kinds the server has, with their short names.

    Parameters
    ----------
    output
        `name` for one line a kind, such as `inferenceservices.serving.kserve.io`, or `json`.
    """
    with target.open() as api:
        kinds = api.types()
    if output == "name":
        print("\n".join(kind.full_name for kind in kinds))
    elif output == "json":
        print(show.as_json([_resource(kind) for kind in kinds]))
    else:
        rows = [[kind.plural, ",".join(kind.short_names), kind.api_version, str(kind.namespaced).lower(), kind.kind] for kind in kinds]
        print("\n".join(show.table_lines(["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"], rows)))
    return 0


def _resource(kind: ResourceType) -> dict[str, Any]:
    """Return a kind in the words of Kubernetes' APIResource."""
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "shortNames": kind.short_names,
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "namespaced": kind.namespaced,
        "verbs": kind.verbs,
        "categories": kind.categories,
    }
