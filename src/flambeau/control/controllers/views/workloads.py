"""Revisions as Deployments and ReplicaSets: in mode Knative one of each a revision, in mode Standard one Deployment a component. Pure.

Source: specification 4.4 and 4.8.
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.control.controllers.names import HASH_ANNOTATION, revision_number
from flambeau.control.controllers.revision.desired import pod_for
from flambeau.control.controllers.views.view import View, view_object
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.revision import deployment_of

REVISION_UID_LABEL = "serving.knative.dev/revisionUID"
ROLLOUT_ANNOTATION = "deployment.kubernetes.io/revision"
"""The number that ``kubectl rollout history`` shows."""
_TEMPLATE_LABEL = "pod-template-hash"
_KNATIVE_LABELS = "serving.knative.dev/"


def revision_view(revision: Object) -> View:
    """Return a revision's Deployment, which owns its ReplicaSet."""
    pod, name = pod_for(revision), deployment_of(revision)
    selector = {"matchLabels": {REVISION_UID_LABEL: revision["metadata"]["uid"]}}
    wanted, ready = _desired(revision), _ready(revision)
    spec = {"replicas": wanted, "selector": selector, "template": _template(pod)}
    replica_set = view_object(REPLICA_SET, f"{name}-{_digest(revision)}", pod, spec, _counts(wanted, ready))
    rolling = {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 0, "strategy": {"type": "RollingUpdate"}}
    status = {
        **_counts(wanted, ready),
        "updatedReplicas": wanted,
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": _rollout(revision, available=False),
    }
    deployment = view_object(DEPLOYMENT, name, pod, {**spec, **rolling}, status)
    for obj in (deployment, replica_set):
        obj["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: "1"}  # a new template is a new revision, with a Deployment of its own
    return View(DEPLOYMENT, deployment, (View(REPLICA_SET, replica_set),))


def component_view(revisions: Sequence[Object]) -> View:
    """Return a component's Deployment, which owns a ReplicaSet for each template that it has had.

    Args:
        revisions: the component's, the oldest first.
    """
    newest = revisions[-1]
    pod, name = pod_for(newest), deployment_of(newest)
    wanted, ready = sum(map(_desired, revisions)), sum(map(_ready, revisions))
    spec = {
        "replicas": _desired(newest),
        "selector": {"matchLabels": _selected(pod)},
        "template": _template(pod),
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    }
    status = {
        **_counts(wanted, ready),
        "updatedReplicas": _desired(newest),
        "unavailableReplicas": max(0, wanted - ready),
        "conditions": _rollout(newest, available=ready > 0),
    }
    by_template = {_digest(each): each for each in revisions}  # a way back is a new revision with an old template
    deployment = _without_knative(view_object(DEPLOYMENT, name, pod, spec, status), newest)
    return View(DEPLOYMENT, deployment, tuple(_replica_set(each) for each in by_template.values()))


def _replica_set(revision: Object) -> View:
    pod, wanted = pod_for(revision), _desired(revision)
    labels = {**_selected(pod), _TEMPLATE_LABEL: pod["metadata"]["labels"][_TEMPLATE_LABEL]}
    spec = {"replicas": wanted, "selector": {"matchLabels": labels}, "template": _template(pod)}
    name = f"{deployment_of(revision)}-{_digest(revision)}"
    obj = view_object(REPLICA_SET, name, pod, spec, _counts(wanted, _ready(revision)))
    obj = _without_knative(obj, revision)
    obj["metadata"]["labels"] |= labels
    return View(REPLICA_SET, obj)


def _without_knative(obj: Object, revision: Object) -> Object:
    """Return an object of mode Standard without the labels that its pods have from Knative, with its number."""
    labels = obj["metadata"]["labels"]
    obj["metadata"]["labels"] = {
        name: value for name, value in labels.items() if not name.startswith(_KNATIVE_LABELS) and name != _TEMPLATE_LABEL
    }
    obj["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: str(revision_number(revision["metadata"]["name"]))}
    return obj


def _selected(pod: Object) -> Object:
    return {"app": pod["metadata"]["labels"]["app"]}


def _template(pod: Object) -> Object:
    return {"metadata": {field: pod["metadata"][field] for field in ("labels", "annotations")}, "spec": pod["spec"]}


def _digest(revision: Object) -> str:
    return str(revision["metadata"]["annotations"][HASH_ANNOTATION])[:10]


def _desired(revision: Object) -> int:
    return int(find(revision, "status", "desiredReplicas") or 0)


def _ready(revision: Object) -> int:
    return int(find(revision, "status", "actualReplicas") or 0)


def _counts(wanted: int, ready: int) -> Object:
    return {"replicas": wanted, "readyReplicas": ready, "availableReplicas": ready}


def _rollout(revision: Object, *, available: bool) -> list[Object]:
    """Return a Deployment's conditions.

    Args:
        revision: its newest.
        available: whether there are pods that answer, even if the newest revision has none.
    """
    ready = get_condition(revision, "Ready") or {"status": "Unknown"}
    shared: Object = {field: ready[field] for field in ("lastTransitionTime", "message") if field in ready}
    is_ready = ready["status"] == "True"
    progress = "NewReplicaSetAvailable" if is_ready else "ReplicaSetUpdated"
    return [
        {
            "type": "Available",
            "status": "True" if is_ready or available else "False",
            "reason": "MinimumReplicasAvailable" if is_ready or available else "MinimumReplicasUnavailable",
            **shared,
        },
        {"type": "Progressing", "status": "True", "reason": progress, **shared},
    ]
