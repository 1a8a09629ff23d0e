"""Every path that discovery announces: each verb does what it says, and nothing that is sent there makes an internal error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
import pytest
import pytest_asyncio

from flambeau.control.agent.node import register
from flambeau.foundation.clock import SystemClock
from tests.control.apiserver.cluster import Api, Cluster, isvc_object, pod_object
from tests.control.apiserver.test_http import TABLE

pytestmark = pytest.mark.asyncio(loop_scope="session")

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE", "get": "GET"}
SHARE = 4
"""A resource gets each fourth of what is odd, the next one the next: all of it everywhere takes a minute."""
ODD_QUERIES = (
    "",
    "limit=-1",
    "limit=1&continue=e30",
    "continue=%ff",
    "resourceVersion=nothing",
    "labelSelector=%28%28",
    "labelSelector=a%3Db%2C%2C",
    "fieldSelector=a.b.c%3D1",
    "watch=perhaps",
    "timeoutSeconds=-5",
    "includeObject=Everything",
    "pretty=true&exact=1&nothing=%00",
    "dryRun=Some",
    "fieldValidation=Perhaps",
    "fieldManager=" + "x" * 300,
    "tailLines=x&sinceSeconds=-1&container=%2e%2e",
    "command=&stdin=maybe&ports=0",
)
ODD_BODIES: tuple[tuple[str, bytes | None], ...] = (
    ("application/json", None),
    ("application/json", b""),
    ("application/json", b"{"),
    ("application/json", b"[[[]]]"),
    ("application/json", b'{"kind": 5, "apiVersion": [], "metadata": {"name": {}}}'),
    ("application/json", b'{"metadata": {"name": "x"}, "spec": [], "status": "\\ud800"}'),
    ("application/json", b'"' + b"x" * 100_000 + b'"'),
    ("application/json; charset=latin-1", b'{"metadata": {"name": "\xe9"}}'),
    ("application/yaml", b"a: [b\n  c: &x *x"),
    ("application/yaml", b"--- 1\n--- 2\n"),
    ("application/yaml", b"metadata: {name: 2026-01-01, labels: {on: off}}\nspec: !!python/object:os.system {}"),
    ("application/vnd.kubernetes.protobuf", b"k8s\0\x0a\x12\x0a\x02v1\x12\x0cNoSuchKind__"),
    ("application/vnd.kubernetes.protobuf", b"\xff" * 64),
    ("application/merge-patch+json", b"null"),
    ("application/json-patch+json", b'[{"op": "move", "from": "/metadata", "path": "/metadata/x"}]'),
    ("application/strategic-merge-patch+json", b'{"$patch": "delete", "$setElementOrder/x": [{}]}'),
    ("application/apply-patch+yaml", b"metadata: {managedFields: [{}]}"),
    ("application/apply-patch+cbor", b"\xa0"),
    ("text/plain", b"hello"),
    ("nonsense", b"\0"),
)


@dataclass(frozen=True)
class Resource:
    """What discovery says of one resource, or subresource."""

    collection: str
    """Its path; of a subresource, the resource's."""
    verbs: frozenset[str]
    namespaced: bool
    subresource: str = ""

    def one(self, name: str) -> str:
        """Return an object's path."""
        return "/".join(filter(None, (self.collection, name, self.subresource)))


@pytest_asyncio.fixture(loop_scope="session")
async def resources(cluster: Cluster, namespace: str) -> list[Resource]:
    """All that discovery announces, in a namespace with a pod and an InferenceService named ``there``."""
    await cluster.store.create(isvc_object("there", namespace))
    await cluster.store.create(pod_object("there", namespace))
    await register(cluster.store, SystemClock())
    found = []
    for root in ("/api", "/apis"):
        answer = await cluster.api("GET", root, accept=AGGREGATED)
        for group in answer.json()["items"]:
            base = "/apis/" + group["metadata"]["name"] if group["metadata"] else "/api"
            for version in group["versions"]:
                found += [each async for each in _announced(f"{base}/{version['version']}", version["resources"], namespace)]
    return found


async def _announced(base: str, resources: list[dict[str, Any]], namespace: str) -> AsyncIterator[Resource]:
    for each in resources:
        namespaced = each["scope"] == "Namespaced"
        place = f"{base}/namespaces/{namespace}" if namespaced else base
        collection = f"{place}/{each['resource']}"
        yield Resource(collection, frozenset(each["verbs"]), namespaced)
        for sub in each.get("subresources", ()):
            yield Resource(collection, frozenset(sub["verbs"]), namespaced, sub["subresource"])


def check(answer: httpx2.Response, *about: object) -> None:
    """An answer is what was asked for, or a Status that says why not."""
    code = answer.status_code
    assert code < 500 or code in (501, 503), (about, answer.text)
    if code >= 400 and answer.request.method != "HEAD":
        status = answer.json()
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", code), (about, answer.text)
        assert status["reason"], about
        assert status["message"], about


async def test_each_verb_is_taken_where_it_is_announced_and_nowhere_else(api: Api, resources: list[Resource]) -> None:
    assert len(resources) > 60
    for resource in resources:
        if not resource.subresource:
            listed = await api("GET", resource.collection)
            assert (listed.status_code == 200) is ("list" in resource.verbs), (resource, listed.text)
        for verb, method in METHODS.items():
            on_collection = verb == "create" and not resource.subresource
            path = resource.collection if on_collection else resource.one("nobody")
            body = None if verb == "get" else b"{}"
            answer = await api(method, f"{path}?dryRun=All", body)
            check(answer, resource, verb)
            assert (answer.status_code == 405) is (verb not in resource.verbs), (resource, verb, answer.text)


async def test_odd_requests_are_refused_in_words(api: Api, resources: list[Resource]) -> None:
    for number, resource in enumerate(resources):
        first = number % SHARE
        paths = [resource.one("there"), resource.one("nobody")] if resource.subresource else [resource.collection, resource.one("there")]
        if not resource.subresource and resource.namespaced:
            paths.append(resource.one("..%2Fthere"))
        for path in paths:
            for query in ODD_QUERIES[first::SHARE]:
                check(await api("GET", f"{path}?{query}"), path, query)
        path = paths[0]
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            target = resource.collection if method == "POST" and not resource.subresource else resource.one("there")
            for content_type, body in ODD_BODIES[first::SHARE]:
                answer = await api(method, f"{target}?dryRun=All", body, content_type=content_type)
                check(answer, method, target, content_type, body)
    for path in {resource.one("there") for resource in resources if not resource.subresource}:
        for unknown in ("nothing", "status/more", "proxy/a/b", "%00", "ephemeralcontainers"):
            answer = await api("GET", f"{path}/{unknown}")
            assert 400 <= answer.status_code <= 501, (path, unknown)
            check(answer, path, unknown)


async def test_a_dashboard_s_way_through_everything(cluster: Cluster, api: Api, namespace: str, resources: list[Resource]) -> None:
    """As k9s goes: the old discovery, OpenAPI, every kind as a Table with objects, watches on all of them, metrics, logs, rights."""
    for group in (await api("GET", "/apis")).json()["groups"]:
        for version in group["versions"]:
            assert (await api("GET", f"/apis/{version['groupVersion']}")).json()["kind"] == "APIResourceList"
    index = (await api("GET", "/openapi/v3")).json()["paths"]
    for place in index.values():
        assert (await api("GET", place["serverRelativeURL"])).json()["openapi"].startswith("3.")
    kinds = [each for each in resources if not each.subresource and "watch" in each.verbs]
    for kind in kinds:
        listed = (await api("GET", f"{kind.collection}?limit=500&includeObject=Object", accept=TABLE)).json()
        assert listed["kind"] == "Table", kind
        assert all(len(row["cells"]) == len(listed["columnDefinitions"]) and row["object"]["metadata"]["name"] for row in listed["rows"])
    told = await asyncio.gather(
        *(_watched(api, f"{kind.collection}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true") for kind in kinds)
    )
    seen = {
        (event["object"]["kind"], event["object"]["metadata"]["name"]) for events in told for event in events if event["type"] == "ADDED"
    }
    assert {("Pod", "there"), ("InferenceService", "there")} <= seen
    metrics = "/apis/metrics.k8s.io/v1beta1"
    assert (await api("GET", f"{metrics}/nodes")).json()["kind"] == "NodeMetricsList"
    assert (await api("GET", f"{metrics}/namespaces/{namespace}/pods")).json()["kind"] == "PodMetricsList"
    cluster.logs.lines["there"] = [b"one\n"]
    assert (await api("GET", f"/api/v1/namespaces/{namespace}/pods/there/log?tailLines=100&timestamps=false")).text == "one\n"
    for verb in ("list", "watch", "delete"):
        review = {"spec": {"resourceAttributes": {"verb": verb, "resource": "pods", "namespace": namespace}}}
        allowed = await api("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        assert allowed.json()["status"]["allowed"], verb


async def _watched(api: Api, path: str) -> list[dict[str, Any]]:
    answer = await api("GET", path)
    assert answer.status_code == 200, path
    return [orjson.loads(line) for line in answer.text.splitlines()]
