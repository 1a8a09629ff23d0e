"""``flambeau create``: make new objects from files, or a namespace by its name."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from flambeau.cli.api import Api
from flambeau.cli.apply import FIELD_MANAGER
from flambeau.cli.manifests import read_manifests
from flambeau.cli.target import HERE, Target

create = App(name="create", help="Create objects that are not there yet.")


@create.default
def create_files(
    *, filename: Annotated[list[str], Parameter(name=["--filename", "-f"], negative=(), allow_leading_hyphen=True)], target: Target = HERE
) -> int:
    """Create the objects in files; one that is there already is an error.

    Parameters
    ----------
    filename
        File, folder or `-` for standard input, such as `-f isvc.yaml`; may stand several times.
    """
    with target.open() as api:
        for obj in read_manifests(filename):
            _create(api, obj)
    return 0


@create.command(name=["namespace", "ns"])
def create_namespace(name: str, /, *, target: Target = HERE) -> int:
    """Create a namespace.

    Parameters
    ----------
    name
        Its name, such as `torchserve`.
    """
    with target.open() as api:
        _create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return 0


def _create(api: Api, obj: dict[str, Any]) -> None:
    kind = api.type_of(obj)
    namespace = (obj.get("metadata") or {}).get("namespace") or api.namespace
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    _, made = api.request("POST", kind.path(namespace), query=query, body=obj)
    print(f"{kind.label}/{made['metadata']['name']} created")
