"""The ``scale`` subresource of Deployments and ReplicaSets: how many pods there are, and who may say so.

A Deployment belongs to a revision, whose autoscaler would take a number written here back within seconds. So it is refused, with the way
that works; only where the InferenceService leaves its replicas to somebody else (autoscaler class ``external``) it counts.
"""

from __future__ import annotations

from typing import Any

from flambeau.control.resources.inference_service import INFERENCE_SERVICE
from flambeau.control.resources.kind import Key, Kind, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.scaler_class import REPLICAS_ANNOTATION, ScalerClass, scaler_of
from flambeau.control.store.interface import Store, modify
from flambeau.foundation.errors import InvalidInput, NotAllowed, NotFound

GROUP, VERSION = "autoscaling", "v1"
KINDS = ("deployments.apps", "replicasets.apps")
REPLICAS_MAX = 1000
_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_BY: dict[ScalerClass, str] = {
    "kpa": "its autoscaler, by the requests that come",
    "hpa": "its HorizontalPodAutoscaler, by what its pods use",
    "none": "minReplicas of its InferenceService",
}


def scale_of(obj: Object) -> Object:
    """Return an object's scale."""
    labels = find(obj, "spec", "selector", "matchLabels") or {}
    metadata = obj["metadata"]
    return {
        "kind": "Scale",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {
            name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if name in metadata
        },
        "spec": {"replicas": int(find(obj, "spec", "replicas") or 0)},
        "status": {
            "replicas": int(find(obj, "status", "replicas") or 0),
            "selector": ",".join(f"{name}={labels[name]}" for name in sorted(labels)),
        },
    }


def replicas_in(body: Any) -> int:
    """Return the number that a Scale, or a patch of one, says.

    Raises:
        InvalidInput: it says none, or one that can't be.
    """
    replicas = find(body, "spec", "replicas") if isinstance(body, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= REPLICAS_MAX:
        raise InvalidInput(f"spec.replicas must be from 0 to {REPLICAS_MAX}: it is {replicas!r}")
    return replicas


async def write(store: Store, kind: Kind, obj: Object, replicas: int, *, dry_run: bool) -> Object:
    """Set how many pods there are to be; return the new scale.

    Raises:
        NotAllowed: somebody else decides; the hint says how to.
        NotFound: it has just gone.
    """
    metadata = obj["metadata"]
    service = await _service_of(store, obj)
    scaler = scaler_of(service) if service is not None else "kpa"
    if scaler != "external" or kind.id != KINDS[0]:
        name = service["metadata"]["name"] if service is not None else "NAME"
        patch = f'{{"spec":{{"predictor":{{"minReplicas":{replicas}}}}}}}'
        raise NotAllowed(
            f"replicas of {kind.singular} {metadata['name']} are set by {_BY.get(scaler, 'its Deployment')}: "
            f"{replicas} would be taken back at once",
            hint=f"kubectl patch isvc {name} -n {metadata['namespace']} --type=merge -p '{patch}'",
        )
    if not dry_run:

        def change(deployment: Object) -> None:
            deployment["metadata"].setdefault("annotations", {})[REPLICAS_ANNOTATION] = str(replicas)

        obj = await modify(store, kind.key(obj), change)
    return scale_of({**obj, "spec": {**obj["spec"], "replicas": replicas}})


async def _service_of(store: Store, obj: Object) -> Object | None:
    metadata = obj["metadata"]
    name = (metadata.get("labels") or {}).get(_SERVICE_LABEL, "")
    try:
        return await store.get(Key(INFERENCE_SERVICE.id, metadata["namespace"], name))
    except NotFound:
        return None
