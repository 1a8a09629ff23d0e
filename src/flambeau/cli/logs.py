"""``flambeau logs``: what a pod's programs wrote."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import Parameter

from flambeau.cli.api import Api, ResourceType
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
        A pod's name, or `isvc/NAME`, `deploy/NAME` or `svc/NAME` for the newest of its pods.
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
        pod = _pod(api, pods, what)
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


def _pod(api: Api, pods: ResourceType, what: str) -> dict[str, Any]:
    """Return the pod that is named, or the newest one of what is named."""
    word, _, name = what.rpartition("/")
    kind = api.type_named(word) if word else pods
    if kind == pods:
        return api.get(pods.path(api.namespace, name))
    labels = {_POD_OF_SERVICE: name}
    if kind.kind != "InferenceService":
        selector = api.get(kind.path(api.namespace, name)).get("spec", {}).get("selector") or {}
        labels = selector.get("matchLabels", selector)
    wanted = ",".join(f"{label}={value}" for label, value in labels.items())
    found = api.get(pods.path(api.namespace), query={"labelSelector": wanted})["items"] if wanted else []
    if not found:
        raise NotFound(f"{kind.kind} {name} has no pod in {api.namespace}", hint=f"see `flambeau describe {what.replace('/', ' ')}`")
    newest: dict[str, Any] = max(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
    return newest
