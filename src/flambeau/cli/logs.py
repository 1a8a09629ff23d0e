"""``flambeau logs``: what a pod's programs wrote."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from flambeau.cli.target import HERE, Target
from flambeau.foundation.errors import NotFound

_POD_OF_SERVICE = "serving.kserve.io/inferenceservice"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def logs(
    what: str,
    /,
    *,
    container: Annotated[str, Parameter(name=["--container", "-c"])] = "",
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=())] = False,
    tail: int = -1,
    previous: Annotated[bool, Parameter(name=["--previous", "-p"], negative=())] = False,
    target: Target = HERE,
) -> int:
    """Show what a pod's container wrote.

    Parameters
    ----------
    what
        A pod's name, or `isvc/NAME` for the newest pod of an InferenceService.
    container
        Which container, such as `-c storage-initializer`; the model server when left out.
    follow
        Go on as it writes, until interrupted, such as `logs isvc/mnist-torchserve -f`.
    tail
        Only the last lines, such as `--tail 20`.
    previous
        What it wrote before its last restart, such as `-p`.
    """
    with target.open() as api:
        pods = api.type_named("pods")
        kind, _, name = what.rpartition("/")
        if kind and api.type_named(kind).kind == "InferenceService":
            found = api.get(pods.path(api.namespace), query={"labelSelector": f"{_POD_OF_SERVICE}={name}"})["items"]
            if not found:
                raise NotFound(f"InferenceService {name} has no pod in {api.namespace}", hint=f"see `flambeau describe isvc {name}`")
            pod = max(found, key=lambda p: str(p["metadata"].get("creationTimestamp")))
        else:
            pod = api.get(pods.path(api.namespace, name))
        metadata = pod["metadata"]
        container = container or metadata.get("annotations", {}).get(_DEFAULT_CONTAINER) or pod["spec"]["containers"][0]["name"]
        query = {"container": container, "follow": str(follow).lower(), "previous": str(previous).lower()}
        if tail >= 0:
            query["tailLines"] = str(tail)
        path = pods.path(metadata["namespace"], metadata["name"], "log")
        with api.stream(path, query=query, read_seconds=None if follow else 30.0) as answer:
            for piece in answer.iter_bytes():
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
    return 0
