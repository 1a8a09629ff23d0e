"""``flambeau apply``: make objects be as the files say, creating or changing them."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from flambeau.cli.api import Api
from flambeau.cli.manifests import read_manifests
from flambeau.cli.target import HERE, Target
from flambeau.foundation.errors import FlambeauError, NotFound

FIELD_MANAGER = "flambeau"


def apply(
    *,
    filename: Annotated[list[str], Parameter(name=["--filename", "-f"], negative=(), allow_leading_hyphen=True)],
    recursive: Annotated[bool, Parameter(name=["--recursive", "-R"], negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    target: Target = HERE,
) -> int:
    """Create or change objects so that they are as the files say.

    Every object is tried; one that is refused doesn't stop the others.

    Parameters
    ----------
    filename
        File, folder or `-` for standard input, such as `-f isvc.yaml`; may stand several times.
    recursive
        Go into folders, such as `-R -f manifests/`.
    dry_run
        Only ask the server what it would say, such as `--dry-run -f isvc.yaml`.
    """
    objects = read_manifests(filename, recursive=recursive)
    failures: list[str] = []
    with target.open() as api:
        for obj in objects:
            try:
                print(_apply_one(api, obj, dry_run))
            except FlambeauError as error:
                name = (obj.get("metadata") or {}).get("name", "?")
                failures.append(f"{str(obj['kind']).lower()}/{name}: {error}")
    if failures and len(objects) == 1:
        raise FlambeauError(failures[0])
    if failures:
        raise FlambeauError(f"{len(failures)} of {len(objects)} objects were refused:\n  " + "\n  ".join(failures))
    return 0


def _apply_one(api: Api, obj: dict[str, Any], dry_run: bool) -> str:
    kind = api.type_of(obj)
    metadata = obj.get("metadata") or {}
    name = str(metadata.get("name", ""))
    path = kind.path(metadata.get("namespace") or api.namespace, name)
    query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"}
    if dry_run:
        query["dryRun"] = "All"
    before = _version(api, path)
    status, after = api.request("PATCH", path, query=query, body=obj, content_type="application/apply-patch+yaml")
    unchanged = before == after["metadata"].get("resourceVersion")
    word = "created" if status == 201 or before is None else "unchanged" if unchanged else "configured"
    return f"{kind.label}/{name} {word}" + (" (dry run)" if dry_run else "")


def _version(api: Api, path: str) -> str | None:
    try:
        return str(api.get(path)["metadata"]["resourceVersion"])
    except NotFound:
        return None
