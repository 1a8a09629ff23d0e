"""CustomResourceDefinition: how a client finds out which kinds beyond Kubernetes' own are installed; here they are built in.

kubectl asks for them when an object's kind is misspelt, installation guides to see that KServe is there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema

CUSTOM_RESOURCE_DEFINITION = Kind(
    group="apiextensions.k8s.io",
    versions=("v1",),
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    columns=(Column("Created At", lambda obj, _: find(obj, "metadata", "creationTimestamp"), type="date"),),
    schema=object_schema({"spec": ANYTHING, "status": ANYTHING}),
    read_only=True,
    instead_of_writing="the kinds of KServe, Knative and Istio that are served are built in: leave their definitions out",
)

_GROUPS_DEFINED = (".kserve.io", ".knative.dev", ".istio.io", "gateway.networking.k8s.io")
"""How the groups end that a cluster has only after something was installed."""


def custom_resource_definitions(kinds: Iterable[Kind]) -> list[Object]:
    """Return the definitions of those kinds that are not Kubernetes' own.

    Args:
        kinds: all there are.
    """
    return [_definition(kind) for kind in kinds if kind.group.endswith(_GROUPS_DEFINED)]


def _definition(kind: Kind) -> Object:
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    versions = [
        {
            "name": version,
            "served": True,
            "storage": version == kind.versions[0],
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            "subresources": {"status": {}} if kind.has_status else {},
        }
        for version in kind.versions
    ]
    conditions = [{"type": type, "status": "True", "reason": "BuiltIn", "message": ""} for type in ("Established", "NamesAccepted")]
    return {
        "apiVersion": CUSTOM_RESOURCE_DEFINITION.api_version,
        "kind": CUSTOM_RESOURCE_DEFINITION.kind,
        "metadata": {"name": kind.id},
        "spec": {"group": kind.group, "scope": "Namespaced" if kind.namespaced else "Cluster", "names": names, "versions": versions},
        "status": {"acceptedNames": names, "storedVersions": [kind.versions[0]], "conditions": conditions},
    }
