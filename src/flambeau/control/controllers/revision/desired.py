"""Which pods a revision should have. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.controllers.merge import merge_list
from flambeau.control.controllers.names import (
    CHANGED_BY_ANNOTATION,
    CONFIGURATION_LABEL,
    HASH_ANNOTATION,
    INITIAL_SCALE_ANNOTATION,
    MIN_SCALE_ANNOTATION,
    RESERVE,
    REVISION_LABEL,
    ROUTING_STATE_LABEL,
    SPEC_ANNOTATION,
)
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.owners import controlled_by
from flambeau.control.resources.pod_contract import AGENT_FINALIZER, GATEWAY_FINALIZER, NODE_NAME, PROXY_CONTAINER
from flambeau.control.resources.pod_ports import http_port
from flambeau.control.resources.pod_template import TRANSFORMER_CONTAINER
from flambeau.control.resources.revision import deployment_of, is_standard

_NOT_OF_THE_POD = ("timeoutSeconds", "containerConcurrency")
_OF_THE_REVISION_ALONE = frozenset((HASH_ANNOTATION, SPEC_ANNOTATION, CHANGED_BY_ANNOTATION))
"""Annotations that pods don't get."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done to the pods."""

    create: int
    delete: tuple[str, ...]


def replicas(revision: Object, autoscaler: Object | None) -> int:
    """Return how many pods a revision should have: none in reserve, else what its autoscaler wishes, or its initial scale before that."""
    metadata = revision["metadata"]
    if metadata.get("deletionTimestamp") or (metadata.get("labels") or {}).get(ROUTING_STATE_LABEL) == RESERVE:
        return 0
    wish = find(autoscaler or {}, "status", "desiredScale")
    if wish is not None:
        return int(wish)
    return initial_replicas(revision)


def initial_replicas(revision: Object) -> int:
    """Return how many pods a revision begins with: 0 only where its initial scale and its minimum are 0."""
    annotations = revision["metadata"].get("annotations") or {}
    return max(int(annotations.get(MIN_SCALE_ANNOTATION) or 1), int(annotations.get(INITIAL_SCALE_ANNOTATION) or 1))


def may_sleep(revision: Object) -> bool:
    """Tell whether a revision may have no pods while it is to answer requests."""
    return (revision["metadata"].get("annotations") or {}).get(MIN_SCALE_ANNOTATION) == "0"


def living(pods: Sequence[Object]) -> list[Object]:
    """Return the pods that count: those that are not going and have not ended."""
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp") and not _has_ended(pod)]


def changes(wanted: int, pods: Sequence[Object]) -> Changes:
    """Return what leads from the pods there are to those there should be.

    Pods that ended are replaced; of too many, those that aren't ready go first, then the newest.
    """
    ended = [pod["metadata"]["name"] for pod in pods if _has_ended(pod) and not pod["metadata"].get("deletionTimestamp")]
    alive = living(pods)
    by_worth = sorted(alive, key=lambda pod: (not is_ready(pod), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    surplus = [pod["metadata"]["name"] for pod in by_worth[wanted:]]
    return Changes(max(0, wanted - len(alive)), tuple(ended + surplus))


def is_ready(pod: Object) -> bool:
    """Tell whether a pod answers requests."""
    return (get_condition(pod, "Ready") or {}).get("status") == "True"


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def pod_for(revision: Object) -> Object:
    """Return a new pod of a revision; the store completes its name."""
    metadata, spec = revision["metadata"], copy.deepcopy(revision["spec"])
    digest = metadata["annotations"][HASH_ANNOTATION][:10]
    labels = {name: value for name, value in metadata["labels"].items() if name != ROUTING_STATE_LABEL}
    annotations = {name: value for name, value in metadata["annotations"].items() if name not in _OF_THE_REVISION_ALONE}
    server = spec["containers"][0]
    configuration = labels.get(CONFIGURATION_LABEL, "")
    knative = {
        "K_REVISION": metadata["name"],
        "K_CONFIGURATION": configuration,
        "K_SERVICE": configuration,
    }
    for container in (server, *(each for each in spec["containers"] if each["name"] == TRANSFORMER_CONTAINER and each is not server)):
        own = {"PORT": str(http_port(container)), **knative}
        merge_list(container.setdefault("env", []), [{"name": name, "value": value} for name, value in own.items()], "name")
    spec["containers"].append({"name": PROXY_CONTAINER, "image": "flambeau/queue-proxy"})
    spec["nodeName"] = NODE_NAME
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{deployment_of(revision)}-{digest}-",
            "namespace": metadata["namespace"],
            "labels": {
                **labels,
                "app": f"isvc.{configuration}" if is_standard(revision) else metadata["name"],
                REVISION_LABEL: metadata["name"],
                "serving.knative.dev/revisionUID": metadata["uid"],
                "pod-template-hash": digest,
            },
            "annotations": {**annotations, "kubectl.kubernetes.io/default-container": server["name"]},
            "finalizers": [AGENT_FINALIZER, GATEWAY_FINALIZER],
            "ownerReferences": [controlled_by(revision)],
        },
        "spec": {name: value for name, value in spec.items() if name not in _NOT_OF_THE_POD},
    }
