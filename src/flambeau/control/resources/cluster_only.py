"""Kinds that every cluster has and this machine has no object of.

They are served, always empty, for clients that go through all of Kubernetes' own kinds and stop at one that is missing: ``kubectl apply
--prune`` does, and so do dashboards.
"""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Kind
from flambeau.control.resources.object_schema import object_schema

_WORKLOAD = "apply an InferenceService, or a Pod: nothing else runs on this machine"
_RIGHTS = "whoever has the kubeconfig may do everything: leave it out"
_NETWORK = "the gateway leads to InferenceServices by itself; a VirtualService or HTTPRoute adds hosts and paths"


def _kind(group: str, kind: str, plural: str, *short_names: str, instead: str, shown_by_all: bool = False, namespaced: bool = True) -> Kind:
    return Kind(
        group=group,
        versions=("v1",),
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        short_names=short_names,
        categories=("all",) if shown_by_all else (),
        columns=(AGE_COLUMN,),
        schema=object_schema({"spec": ANYTHING, "status": ANYTHING}),
        read_only=True,
        instead_of_writing=instead,
    )


CLUSTER_ONLY = (
    _kind("", "Endpoints", "endpoints", "ep", instead=_NETWORK),
    _kind(
        *("", "PersistentVolume", "persistentvolumes", "pv"),
        instead="a PersistentVolumeClaim has a directory by itself, or the one that its annotation flambeau.dev/host-path names",
        namespaced=False,
    ),
    _kind("", "ReplicationController", "replicationcontrollers", "rc", instead=_WORKLOAD, shown_by_all=True),
    _kind("apps", "DaemonSet", "daemonsets", "ds", instead=_WORKLOAD, shown_by_all=True),
    _kind("apps", "StatefulSet", "statefulsets", "sts", instead=_WORKLOAD, shown_by_all=True),
    _kind("batch", "Job", "jobs", instead=_WORKLOAD, shown_by_all=True),
    _kind("batch", "CronJob", "cronjobs", "cj", instead=_WORKLOAD, shown_by_all=True),
    _kind("networking.k8s.io", "Ingress", "ingresses", "ing", instead=_NETWORK),
    _kind("networking.k8s.io", "NetworkPolicy", "networkpolicies", "netpol", instead="pods share the machine's network: leave it out"),
    _kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", instead="nothing evicts pods by itself: leave it out"),
    _kind("storage.k8s.io", "StorageClass", "storageclasses", "sc", instead="a claim is a directory: leave it out", namespaced=False),
    _kind("rbac.authorization.k8s.io", "Role", "roles", instead=_RIGHTS),
    _kind("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", instead=_RIGHTS),
    _kind("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", instead=_RIGHTS, namespaced=False),
    _kind("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", instead=_RIGHTS, namespaced=False),
)
