"""``flambeau delete``: remove objects, and wait until they are gone."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import Parameter

from flambeau.cli.api import Api, ResourceType
from flambeau.cli.manifests import read_manifests
from flambeau.cli.target import HERE, Target
from flambeau.foundation.errors import InvalidInput, NotFound, TimedOut

_POLL_SECONDS = 0.2


def delete(
    what: str | None = None,
    /,
    *names: str,
    filename: Annotated[list[str] | None, Parameter(name=["--filename", "-f"], negative=(), allow_leading_hyphen=True)] = None,
    wait: bool = True,
    timeout: float = 120.0,
    ignore_not_found: Annotated[bool, Parameter(negative=())] = False,
    target: Target = HERE,
) -> int:
    """Delete objects, with everything they own.

    Parameters
    ----------
    what
        Kind, such as `isvc`, or `kind/name`.
    names
        The objects, such as `delete isvc mnist-torchserve`.
    filename
        Delete the objects in these files instead, such as `-f isvc.yaml`.
    wait
        Wait until they are gone; `--no-wait` returns at once.
    timeout
        Seconds to wait at most, such as `--timeout 30`.
    ignore_not_found
        An object that isn't there is fine, such as `--ignore-not-found`.
    """
    with target.open() as api:
        wanted = _wanted(api, what, names, filename)
        for kind, namespace, name in wanted:
            try:
                api.request("DELETE", kind.path(namespace, name), body={"propagationPolicy": "Background"})
            except NotFound:
                if not ignore_not_found:
                    raise
                continue
            print(f'{kind.label} "{name}" deleted')
        deadline = time.monotonic() + timeout
        for kind, namespace, name in wanted if wait else []:
            _wait_gone(api, kind, namespace, name, deadline)
    return 0


def _wanted(api: Api, what: str | None, names: tuple[str, ...], filename: list[str] | None) -> list[tuple[ResourceType, str, str]]:
    if filename:
        objects = read_manifests(filename)
        return [(api.type_of(o), o["metadata"].get("namespace") or api.namespace, o["metadata"]["name"]) for o in reversed(objects)]
    if what and "/" in what:
        what, _, name = what.partition("/")
        names = (name, *names)
    if not what or not names:
        raise InvalidInput("say what to delete", hint="for example `flambeau delete isvc mnist-torchserve`, or -f isvc.yaml")
    kind = api.type_named(what)
    return [(kind, api.namespace, name) for name in names]


def _wait_gone(api: Api, kind: ResourceType, namespace: str, name: str, deadline: float) -> None:
    while True:
        try:
            obj = api.get(kind.path(namespace, name))
        except NotFound:
            return
        if time.monotonic() > deadline:
            held = ", ".join(obj["metadata"].get("finalizers", [])) or "nothing known"
            raise TimedOut(f"{kind.label}/{name} is still there", hint=f"it is held by: {held}")
        time.sleep(_POLL_SECONDS)
