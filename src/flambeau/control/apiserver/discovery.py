"""What the API server serves, in the two ways that clients ask for it. Pure.

Source: kserve-spec 9.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flambeau import __version__
from flambeau.control.apiserver import metrics, scale
from flambeau.control.apiserver.reviews import REVIEW_KINDS
from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.resources.knative_serving import CONFIGURATION, KNATIVE_SERVICE, ROUTE
from flambeau.control.resources.registry import Registry
from flambeau.control.resources.revision import REVISION

AGGREGATED_TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""Content type of the aggregated form; kubectl compares it to the letter."""

_KUBERNETES_VERSION = "1.32.4"
_WRITE_VERBS = ("create", "delete", "deletecollection", "patch", "update")
_READ_VERBS = ("get", "list", "watch")


_SUBRESOURCE_KINDS = {
    "scale": {"group": scale.GROUP, "version": scale.VERSION, "kind": "Scale"},
    "eviction": {"group": "policy", "version": "v1", "kind": "Eviction"},
}
"""What a subresource answers with, where it is no object of its resource's kind."""

MADE_FOR_OWNERS = frozenset(each.id for each in (DEPLOYMENT, REPLICA_SET, REVISION, KNATIVE_SERVICE, CONFIGURATION, ROUTE))
"""What controllers make for an owner, and nobody else may write. One whose owner was deleted without it is deleted by hand."""


@dataclass(frozen=True, slots=True)
class _Resource:
    """One line of discovery."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[tuple[str, tuple[str, ...]], ...] = ()


def wants_aggregated(accept: str) -> bool:
    """Tell whether a client takes the aggregated form, version 2."""
    ranges = ({part.strip() for part in media_range.split(";")} for media_range in accept.split(","))
    return any({"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parts for parts in ranges)


def verbs_of(kind: Kind) -> tuple[str, ...]:
    """Return what users may do with a kind's objects."""
    if kind.read_only:
        return ("delete", *_READ_VERBS) if kind.id in MADE_FOR_OWNERS else _READ_VERBS
    return tuple(sorted((*_WRITE_VERBS, *_READ_VERBS)))


def version_info() -> Object:
    """Return what ``kubectl version`` prints: the Kubernetes that we answer like, and what we are."""
    major, minor, _ = _KUBERNETES_VERSION.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{_KUBERNETES_VERSION}+flambeau.{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    }


def aggregated(kinds: Registry, *, core: bool) -> Object:
    """Return everything below ``/api`` (core) or ``/apis``, in one document."""
    items = [_aggregated_group(group, resources) for group, resources in _groups(kinds).items() if (group == "") is core]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_group(group: str, resources: list[_Resource]) -> dict[str, Any]:
    versions = [
        {"version": version, "freshness": "Current", "resources": [_aggregated(item) for item in resources if item.version == version]}
        for version in _versions(resources)
    ]
    return {"metadata": {"name": group} if group else {}, "versions": versions}


def _aggregated(item: _Resource) -> dict[str, Any]:
    response_kind = {"group": item.group, "version": item.version, "kind": item.kind}
    result: dict[str, Any] = {
        "resource": item.plural,
        "responseKind": response_kind,
        "scope": "Namespaced" if item.namespaced else "Cluster",
        "singularResource": item.singular,
        "verbs": list(item.verbs),
    }
    if item.short_names:
        result["shortNames"] = list(item.short_names)
    if item.categories:
        result["categories"] = list(item.categories)
    if item.subresources:
        result["subresources"] = [
            {"subresource": name, "responseKind": _SUBRESOURCE_KINDS.get(name, response_kind), "verbs": list(verbs)}
            for name, verbs in item.subresources
        ]
    return result


def roots(kinds: Registry) -> list[str]:
    """Return the paths that ``/`` lists."""
    versions = [(group, version) for group, resources in _groups(kinds).items() if group for version in _versions(resources)]
    below = [path for group, version in versions for path in (f"/apis/{group}", f"/apis/{group}/{version}")]
    fixed = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    return sorted({*fixed, *below})


def core_versions() -> Object:
    """Return ``/api`` in the old form."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(kinds: Registry) -> Object:
    """Return ``/apis`` in the old form."""
    groups = [_group(group, resources) for group, resources in _groups(kinds).items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group_document(kinds: Registry, group: str) -> Object | None:
    """Return ``/apis/<group>``, or None where there is no such group."""
    resources = _groups(kinds).get(group)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, resources)} if group and resources else None


def _group(group: str, resources: list[_Resource]) -> dict[str, Any]:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(resources)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def resource_list(kinds: Registry, group: str, version: str) -> Object | None:
    """Return ``/api/v1`` or ``/apis/<group>/<version>`` in the old form, or None where there is no such version."""
    resources = [item for item in _groups(kinds).get(group, ()) if item.version == version]
    if not resources:
        return None
    entries = [entry for item in resources for entry in _entries(item)]
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def _entries(item: _Resource) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": item.plural,
        "singularName": item.singular,
        "namespaced": item.namespaced,
        "kind": item.kind,
        "verbs": list(item.verbs),
    }
    if item.short_names:
        entry["shortNames"] = list(item.short_names)
    if item.categories:
        entry["categories"] = list(item.categories)
    yield entry
    for name, verbs in item.subresources:
        yield {
            "name": f"{item.plural}/{name}",
            "singularName": "",
            "namespaced": item.namespaced,
            **_SUBRESOURCE_KINDS.get(name, {"kind": item.kind}),
            "verbs": list(verbs),
        }


def _groups(kinds: Registry) -> dict[str, list[_Resource]]:
    """Return all resources by group; the core group first, so that its names win where another group has the same."""
    groups: dict[str, list[_Resource]] = {"": []}
    for kind in kinds.all():
        groups.setdefault(kind.group, []).extend(_resource(kind, version) for version in kind.versions)
    for review in REVIEW_KINDS:
        singular = review.kind.lower()
        line = _Resource(review.group, review.version, review.kind, review.plural, singular, False, ("create",))
        groups.setdefault(review.group, []).append(line)
    for metric, plural, singular, namespaced in (("PodMetrics", "pods", "pod", True), ("NodeMetrics", "nodes", "node", False)):
        line = _Resource(metrics.GROUP, metrics.VERSION, metric, plural, singular, namespaced, ("get", "list"))
        groups.setdefault(metrics.GROUP, []).append(line)
    return groups


def _resource(kind: Kind, version: str) -> _Resource:
    subresources: list[tuple[str, tuple[str, ...]]] = []
    if kind.has_status:
        subresources.append(("status", ("get",) if kind.read_only else ("get", "patch", "update")))
    if kind.id in scale.KINDS:
        subresources.append(("scale", ("get", "patch", "update")))
    if kind.id == "pods":
        subresources += [("log", ("get",)), ("portforward", ("create", "get")), ("exec", ("create", "get")), ("eviction", ("create",))]
    return _Resource(
        group=kind.group,
        version=version,
        kind=kind.kind,
        plural=kind.plural,
        singular=kind.singular,
        namespaced=kind.namespaced,
        verbs=verbs_of(kind),
        short_names=kind.short_names,
        categories=kind.categories,
        subresources=tuple(subresources),
    )


def _versions(resources: Iterable[_Resource]) -> list[str]:
    """Return versions in the order of preference in which the kinds name them."""
    return list(dict.fromkeys(item.version for item in resources))
