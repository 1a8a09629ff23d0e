"""The API server over plain HTTP: what other clients than kubectl send, and what nobody should."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Mapping
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.control.apiserver.bodies import BODY_BYTES_MAX
from flambeau.control.apiserver.guard import OPEN_PATHS
from flambeau.control.apiserver.listener import HEAD_BYTES_MAX
from flambeau.control.resources.kind import Kind
from flambeau.control.resources.owners import controlled_by
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.interface import modify
from tests.control.apiserver.cluster import Api, Cluster, isvc_object, key_of, pod_object, watched

pytestmark = pytest.mark.asyncio(loop_scope="session")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def isvcs(namespace: str) -> str:
    return f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"


def every_path() -> list[str]:
    paths = ["/", "/api", "/apis", "/api/v1", "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/metrics", "/debug/pprof"]
    for kind in KINDS.all():
        for version in kind.versions:
            base = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
            one = f"{base}/namespaces/default/{kind.plural}/x" if kind.namespaced else f"{base}/{kind.plural}/x"
            paths += [base, f"{base}/{kind.plural}", one, f"{one}/status", f"{one}/log", f"{one}/exec"]
    reviews = ("authorization.k8s.io/v1/selfsubjectaccessreviews", "authentication.k8s.io/v1/selfsubjectreviews")
    return paths + [f"/apis/{review}" for review in reviews]


# -- who may come in --


async def test_every_route_and_method_is_closed_without_the_token(api: Api) -> None:
    basic = api.headers["authorization"].replace("Bearer", "Basic")
    wrong: tuple[dict[str, str], ...] = ({}, {"authorization": "Bearer wrong"}, {"authorization": basic})
    for number, (path, method) in enumerate(itertools.product(every_path(), METHODS)):
        answer = await api.client.request(method, path, headers=wrong[number % len(wrong)])
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert method == "HEAD" or answer.json()["reason"] == "Unauthorized"


async def test_what_is_open_tells_nothing(api: Api) -> None:
    for path in OPEN_PATHS:
        answer = await api.client.get(path)
        assert answer.status_code == 200
    assert (await api.client.get("/livez/")).status_code == 401
    assert (await api.client.get("//version")).status_code == 401


async def test_other_hosts_and_origins_are_refused(api: Api) -> None:
    for host in ("evil.example", "evil.example:7443", "localhost.evil.example", "", "127.0.0.1.evil.example"):
        assert (await api("GET", "/api", host=host)).status_code == 403, host
    assert (await api("GET", "/api", host="[::1]:7443")).status_code == 200
    assert (await api("GET", "/api", host="LOCALHOST")).status_code == 200
    assert (await api("GET", "/api", origin="https://evil.example")).status_code == 403
    assert (await api("GET", "/api", origin="null")).status_code == 403


async def test_files_are_for_the_owner_only(cluster: Cluster) -> None:
    for file in [cluster.server.kubeconfig, *(cluster.home / "pki").iterdir()]:
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert (cluster.home / "pki").stat().st_mode & 0o777 == 0o700


# -- limits --


async def test_bodies_are_bounded(api: Api, namespace: str) -> None:
    large = await api("POST", isvcs(namespace), b" " * (BODY_BYTES_MAX + 1))
    assert (large.status_code, large.json()["reason"]) == (413, "RequestEntityTooLarge")

    async def pieces() -> Any:
        for _ in range(BODY_BYTES_MAX // 65536 + 1):
            yield b" " * 65536

    headers = api.headers | {"content-type": "application/json"}
    chunked = await api.client.post(isvcs(namespace), content=pieces(), headers=headers)
    assert chunked.status_code == 413


async def test_deep_bodies_are_refused(api: Api, namespace: str) -> None:
    for depth in (101, 2000, 200_000):
        for content_type in ("application/json", "application/yaml"):
            answer = await api("POST", isvcs(namespace), b"[" * depth + b"]" * depth, content_type=content_type)
            assert answer.status_code == 400, depth
    many = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20))
    bomb = await api("POST", isvcs(namespace), many.encode(), content_type="application/yaml")
    assert bomb.status_code == 413


async def test_heads_are_bounded(cluster: Cluster, api: Api) -> None:
    try:
        answer = await api("GET", "/api", x_padding="x" * (HEAD_BYTES_MAX + 1))
        assert answer.status_code == 400
    except httpx2.TransportError:
        pass  # cut while it was sending
    assert (await api("GET", "/api")).status_code == 200


async def test_garbage_on_the_wire(cluster: Cluster) -> None:
    context = ssl.create_default_context(cafile=str(cluster.home / "pki" / "ca.crt"))
    port = int(cluster.server.url.rpartition(":")[2])
    two_hosts = b"GET /api HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"
    for sent in (
        b"\x16\x03garbage\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /api HTTP/1.1\r\n\r\n",
        two_hosts,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(sent)
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line.split()[1] in (b"400", b"403"), sent
        writer.close()
        await writer.wait_closed()


# -- bad input is the client's mistake --

BAD_BODIES: tuple[Any, ...] = (
    b"",
    b"{",
    b"\xff\xfe",
    b'{"a": 1e999}',
    b'{"metadata": {"name": "x", "generation": 123456789012345678901234567890}}',
    b"null",
    [],
    "text",
    5,
    {"kind": "Pod"},
    {"metadata": 5},
    {"metadata": {"name": 5}},
    {"metadata": {"name": "x", "labels": 5}},
    {"metadata": {"name": "x", "labels": {"a": 5}}},
    {"metadata": {"name": "x", "annotations": ["a"]}},
    {"metadata": {"name": "x", "namespace": 5}},
    {"metadata": {"name": "x", "namespace": "elsewhere"}},
    {"metadata": {"name": "x", "ownerReferences": [5]}},
    {"metadata": {"name": "x", "finalizers": {"a": 1}}},
    {"metadata": {"name": "x", "managedFields": [{"manager": 5}], "labels": []}},
    {"metadata": {"name": "../../etc", "generateName": 7}},
    {"metadata": {"name": "x" * 300}},
    {"metadata": {"generateName": ["x"]}},
    {"metadata": {"name": "x"}, "spec": 5},
    {"metadata": {"name": "x"}, "spec": {"predictor": []}},
    {"metadata": {"name": "x"}, "spec": {"predictor": {"model": "m", "minReplicas": 2**64 - 1}}},
    {"metadata": {"name": "x"}, "spec": {"containers": 5, "initContainers": [None], "http": [5], "servers": {}, "ports": "80"}},
    {"metadata": {"name": "x"}, "data": 5, "stringData": [1], "type": {}, "secrets": 5, "involvedObject": []},
    {"metadata": {"name": "x"}, "status": 5},
)


def collections(namespace: str) -> list[str]:
    found = []
    for kind in KINDS.all():
        base = f"/apis/{kind.group}/{kind.versions[0]}" if kind.group else "/api/v1"
        found.append(f"{base}/namespaces/{namespace}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}")
    return found


@pytest.mark.parametrize("validation", ["Strict", "Ignore"])
async def test_no_body_makes_an_internal_error(api: Api, namespace: str, validation: str) -> None:
    for path in collections(namespace):
        for number, body in enumerate(BAD_BODIES):
            with_name = {**body, "metadata": {"name": f"bad-{number}"}} if isinstance(body, dict) and "metadata" not in body else body
            for method, target in (("POST", path), ("PUT", f"{path}/x"), ("PATCH", f"{path}/x")):
                content_type = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
                answer = await api(
                    method, f"{target}?fieldValidation={validation}&dryRun=All&fieldManager=t", with_name, content_type=content_type
                )
                assert answer.status_code < 500 or answer.status_code == 501, (method, target, body, answer.text)
                if answer.status_code >= 400:
                    assert answer.json()["kind"] == "Status"


_ODD = st.sampled_from(
    [None, True, 5, -1, 2**40, 1.5, "", "x", "s3://bucket/key", "file:///a", [], {}, [None], [5], ["x"], {"a": "b"}, [{"name": "x"}]]
)


def nearly(schema: Mapping[str, Any], depth: int) -> st.SearchStrategy[Any]:
    """Values that nearly fit a schema."""
    properties, items = schema.get("properties"), schema.get("items")
    if depth == 0 or not (properties or items):
        return _ODD
    if properties:

        def with_fields(names: list[str]) -> st.SearchStrategy[Any]:
            return st.fixed_dictionaries({name: nearly(properties[name], depth - 1) for name in names})

        return st.lists(st.sampled_from(sorted(properties)), unique=True, max_size=5).flatmap(with_fields) | _ODD
    return st.lists(nearly(items or {}, depth - 1), max_size=2) | _ODD


@settings(max_examples=300)
@given(st.sampled_from(KINDS.all()).flatmap(lambda kind: st.tuples(st.just(kind), nearly(kind.schema or {}, 6))))
async def test_nothing_that_nearly_fits_makes_an_internal_error(cluster: Cluster, case: tuple[Kind, Any]) -> None:
    kind, body = case
    base = f"/apis/{kind.group}/{kind.versions[0]}" if kind.group else "/api/v1"
    path = f"{base}/namespaces/default/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    if isinstance(body, dict):
        body = {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {**_dict(body.get("metadata")), "name": "x"}}
    for accept in ("application/json", TABLE):
        answer = await cluster.api("POST", f"{path}?dryRun=All", body, accept=accept)
        assert answer.status_code < 500, answer.text


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


async def test_no_patch_makes_an_internal_error(api: Api, namespace: str) -> None:
    stored = {
        "secrets": {"metadata": {"name": "x"}, "data": {"a": "Yg=="}},
        "configmaps": {"metadata": {"name": "x"}, "data": {"a": "b"}},
        "serviceaccounts": {"metadata": {"name": "x"}, "secrets": [{"name": "a"}]},
    }
    for plural, obj in stored.items():
        assert (await api("POST", f"/api/v1/namespaces/{namespace}/{plural}", obj)).status_code == 201
    assert (await api("POST", isvcs(namespace), isvc_object("x", namespace))).status_code == 201
    paths = [f"/api/v1/namespaces/{namespace}/{plural}/x" for plural in stored] + [f"{isvcs(namespace)}/x", f"{isvcs(namespace)}/x/status"]
    merges: list[Any] = [*BAD_BODIES, {"metadata": None}, {"kind": None}, {"secrets": [{"$patch": "delete"}]}, {"$patch": "delete"}]
    merges += [
        {"secrets": [{"name": {}}]},
        {"$setElementOrder/secrets": 5, "$deleteFromPrimitiveList/data": 5},
        {"metadata": {"name": None}},
    ]
    operations: list[Any] = [
        [5],
        [{"op": "nothing", "path": "/a"}],
        [{"op": "add", "path": "/metadata"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "remove", "path": ""}],
        [{"op": "replace", "path": "", "value": 5}],
        [{"op": "replace", "path": "/metadata", "value": None}],
        [{"op": "add", "path": "/metadata/name/x", "value": 1}],
        [{"op": "add", "path": "/kind", "value": {}}],
        [{"op": "copy", "from": "", "path": "/metadata/a"}],
        [{"op": "move", "from": "/metadata", "path": "/metadata/a"}],
        [{"op": "test", "path": "/metadata/name", "value": "y"}],
        [{"op": "add", "path": "/secrets/-1", "value": {}}],
        [{"op": "add", "path": "/x", "value": []}, *[{"op": "copy", "from": "", "path": "/x/-"}] * 64],
    ]
    for path in paths:
        for kind, bodies in (
            ("merge-patch+json", merges),
            ("strategic-merge-patch+json", merges),
            ("apply-patch+yaml", merges),
            ("json-patch+json", operations + merges),
        ):
            for body in bodies:
                answer = await api("PATCH", f"{path}?fieldManager=t&dryRun=All", body, content_type=f"application/{kind}")
                assert answer.status_code < 500, (path, kind, body, answer.text)


async def test_protobuf_garbage(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for body in (
        b"k8s\0",
        b"k8s\0\xff",
        b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"k8x\0",
        b"k8s\0\x0b",
        b"k8s\0\x0a\x04\x12\x02\xff\xff",
    ):
        answer = await api("POST", path, body, content_type="application/vnd.kubernetes.protobuf")
        assert answer.status_code == 400, answer.text


async def test_bad_queries(api: Api, namespace: str) -> None:
    for query in (
        "labelSelector=a,,=b",
        "labelSelector=a%20in%20b",
        "labelSelector=" + "a" * 9000,
        "fieldSelector=spec.x=1",
        "fieldSelector=nothing",
        "limit=-1",
        "limit=x",
        "resourceVersion=x",
        "resourceVersion=99999999999999999999",
        "watch=maybe",
        "continue=%25%25",
        "timeoutSeconds=1e3",
        "includeObject=All",
    ):
        answer = await api("GET", f"{isvcs(namespace)}?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["reason"] == "BadRequest"
    for query in ("dryRun=Some", "fieldValidation=Maybe", "fieldManager=" + "x" * 200, "force=perhaps"):
        answer = await api("POST", f"{isvcs(namespace)}?{query}", isvc_object("x", namespace))
        assert answer.status_code == 400, query


async def test_paths_and_methods_that_mean_nothing(api: Api, namespace: str) -> None:
    assert "/apis/serving.kserve.io/v1beta1" in (await api("GET", "/")).json()["paths"]
    for path, code in (
        ("/api/v2", 404),
        ("/api/v1/nothings", 404),
        ("/apis/nothing.io/v1", 404),
        ("/apis/nothing.io", 404),
        ("/openapi/v3/nothing", 404),
        (f"{isvcs(namespace)}/a/b/c/d", 404),
        (f"{isvcs(namespace)}//status", 404),
        (f"{isvcs(namespace)}/a/nothing", 404),
        (f"{isvcs(namespace)}/a%2Fb", 404),
        ("/apis/serving.kserve.io/v1beta1/inferenceservices/x", 405),
        (f"/api/v1/namespaces/{namespace}/namespaces/x", 404),
        (f"/api/v1/namespaces/{namespace}/namespaces", 404),
        (f"/api/v1/namespaces/{namespace}/pods/x/exec", 404),
        (f"/api/v1/namespaces/{namespace}/pods/x/portforward", 404),
        (f"/api/v1/namespaces/{namespace}/pods/x/attach", 501),
        (f"/api/v1/namespaces/{namespace}/pods/x:80/proxy/v2/health/ready", 501),
    ):
        answer = await api("GET", path)
        assert answer.status_code == code, (path, answer.text)
        assert answer.json()["kind"] == "Status"
    for method, path in (("POST", f"{isvcs(namespace)}/x"), ("PUT", isvcs(namespace)), ("PATCH", isvcs(namespace)), ("DELETE", "/api")):
        answer = await api(method, path, {})
        assert answer.status_code == 405, (method, path)
        assert answer.json()["reason"] == "MethodNotAllowed"


async def test_read_only_kinds_refuse_writes(api: Api, namespace: str) -> None:
    path = f"/apis/serving.knative.dev/v1/namespaces/{namespace}/revisions"
    for method, target in (("POST", path), ("DELETE", path), ("PUT", f"{path}/x"), ("PATCH", f"{path}/x")):
        answer = await api(method, target, {})
        assert answer.status_code == 405
        assert "read-only" in answer.json()["message"]
    assert (await api("GET", path)).status_code == 200


@pytest.mark.parametrize(
    ("body", "query"),
    [({"propagationPolicy": "Orphan"}, ""), ({"orphanDependents": True}, ""), (None, "?propagationPolicy=Orphan")],
)
async def test_what_an_object_owns_may_stay_and_is_then_deleted_by_hand(
    cluster: Cluster, api: Api, namespace: str, body: Any, query: str
) -> None:
    owner = (await api("POST", isvcs(namespace), isvc_object("x", namespace))).json()
    metadata = {"name": "x-predictor-00001", "namespace": namespace, "ownerReferences": [controlled_by(owner)]}
    await cluster.store.create({"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": metadata, "spec": {}})
    revision = f"/apis/serving.knative.dev/v1/namespaces/{namespace}/revisions/x-predictor-00001"
    refused = await api("DELETE", revision)
    assert (refused.status_code, "delete the object that owns it" in refused.text) == (405, True)
    assert (await api("DELETE", f"{isvcs(namespace)}/x{query}", body)).json()["status"] == "Success"
    assert "ownerReferences" not in (await api("GET", revision)).json()["metadata"]
    assert (await api("DELETE", revision)).status_code == 200
    assert (await api("GET", revision)).status_code == 404


async def test_content_types(api: Api, namespace: str) -> None:
    unread = await api("POST", isvcs(namespace), {}, content_type="text/plain")
    assert (unread.status_code, unread.json()["reason"]) == (415, "UnsupportedMediaType")
    packed = await api("POST", isvcs(namespace), b"x", content_encoding="gzip")
    assert packed.status_code == 415
    unwritten = await api("GET", isvcs(namespace), accept="application/vnd.kubernetes.protobuf")
    assert (unwritten.status_code, unwritten.json()["reason"]) == (406, "NotAcceptable")
    either = await api("GET", isvcs(namespace), accept="application/vnd.kubernetes.protobuf,application/json")
    assert either.headers["content-type"] == "application/json"


# -- what clients rely on --


async def test_create_conflict_and_generated_names(api: Api, namespace: str) -> None:
    made = await api("POST", isvcs(namespace), isvc_object("x", namespace))
    assert made.status_code == 201
    metadata = made.json()["metadata"]
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert metadata["creationTimestamp"].endswith("Z")
    again = await api("POST", isvcs(namespace), isvc_object("x", namespace))
    assert (again.status_code, again.json()["reason"]) == (409, "AlreadyExists")
    for dry_run in ("", "?dryRun=All"):
        secret = {"metadata": {"generateName": "kserve-secret-"}, "data": {"a": "Yg=="}}
        named = await api("POST", f"/api/v1/namespaces/{namespace}/secrets{dry_run}", secret)
        assert named.status_code == 201, named.text
        assert named.json()["metadata"]["name"].startswith("kserve-secret-")
    assert (await api("POST", f"{isvcs(namespace)}?dryRun=All", isvc_object("x", namespace))).json()["reason"] == "AlreadyExists"
    assert (await api("POST", f"{isvcs('nowhere')}?dryRun=All", isvc_object("x", "nowhere"))).status_code == 404


async def test_replace_with_an_old_version_is_a_conflict(api: Api, namespace: str) -> None:
    await api("POST", isvcs(namespace), isvc_object("x", namespace))
    path = f"{isvcs(namespace)}/x"
    first = (await api("GET", path)).json()
    first["spec"]["predictor"]["minReplicas"] = 2
    assert (await api("PUT", path, first)).status_code == 200
    first["spec"]["predictor"]["minReplicas"] = 3
    late = await api("PUT", path, first)
    assert (late.status_code, late.json()["reason"]) == (409, "Conflict")
    patch = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"predictor": {"minReplicas": 4}}}
    assert (await api("PATCH", path, patch, content_type="application/merge-patch+json")).status_code == 409
    assert (await api("PUT", f"{path}?dryRun=All", first)).status_code == 409
    del first["metadata"]["resourceVersion"]
    assert (await api("PUT", path, first)).json()["metadata"]["generation"] == 3
    assert (await api("PUT", f"{isvcs(namespace)}/y", first)).status_code == 404
    for kind in ("apply-patch+yaml", "merge-patch+json"):
        for name, code in (("x", 400), ("y", 400 if kind.startswith("apply") else 404)):
            renamed = await api("PATCH", f"{isvcs(namespace)}/{name}", {"metadata": {"name": "z"}}, content_type=f"application/{kind}")
            assert renamed.status_code == code, renamed.text


async def test_status_and_spec_are_written_apart(api: Api, namespace: str) -> None:
    obj = isvc_object("x", namespace) | {"status": {"url": "http://made-up"}}
    made = (await api("POST", isvcs(namespace), obj)).json()
    assert "status" not in made
    path = f"{isvcs(namespace)}/x"
    both = {"spec": {"predictor": {"minReplicas": 9}}, "status": {"url": "http://real"}}
    written = (await api("PATCH", f"{path}/status", both, content_type="application/merge-patch+json")).json()
    assert written["status"] == {"url": "http://real"}
    assert "minReplicas" not in written["spec"]["predictor"]
    spec_only = (await api("PATCH", path, both | {"status": None}, content_type="application/merge-patch+json")).json()
    assert spec_only["status"] == {"url": "http://real"}
    assert (await api("GET", f"{path}/status")).json()["status"] == {"url": "http://real"}
    assert (await api("PATCH", f"{path}/status", {"status": 5}, content_type="application/merge-patch+json")).status_code == 400


async def test_a_scheme_is_taken_once_somebody_fetches_it(api: Api, namespace: str) -> None:
    service = isvc_object("x", namespace)
    service["spec"]["predictor"]["model"]["storageUri"] = "mine://m"
    refused = await api("POST", isvcs(namespace), service)
    assert refused.status_code == 422
    assert "the scheme mine:// is not supported" in refused.json()["message"]
    fetcher = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": namespace},
        "spec": {"container": {"name": "c", "image": "i", "command": ["f"]}, "supportedUriFormats": [{"prefix": "mine://"}]},
    }
    path = "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers"
    assert (await api("POST", path, fetcher)).status_code == 201
    try:
        assert (await api("POST", isvcs(namespace), service)).status_code == 201
    finally:
        await api("DELETE", f"{path}/{namespace}")


async def test_strict_validation_sees_duplicates(api: Api, namespace: str) -> None:
    text = orjson.dumps(isvc_object("x", namespace)).decode()
    twice = text.replace('"storageUri":', '"storageUri":"s3://other","storageUri":').encode()
    refused = await api("POST", f"{isvcs(namespace)}?fieldValidation=Strict", twice)
    assert refused.status_code == 400
    assert 'duplicate field "spec.predictor.model.storageUri"' in refused.json()["message"]
    warned = await api("POST", isvcs(namespace), twice)
    assert warned.status_code == 201
    assert 'duplicate field \\"spec.predictor.model.storageUri\\"' in warned.headers["warning"]
    quiet = await api("PUT", f"{isvcs(namespace)}/x?fieldValidation=Ignore", twice)
    assert "warning" not in quiet.headers


async def test_yaml_bodies(api: Api, namespace: str) -> None:
    text = f"""
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: tidy, namespace: {namespace}, labels: {{switch: "on"}}}}
spec:
  predictor:
    minReplicas: 1
    model: {{modelFormat: {{name: pytorch}}, storageUri: "s3://bucket/b"}}
""".encode()
    made = await api("PATCH", f"{isvcs(namespace)}/tidy?fieldManager=t", text, content_type="application/apply-patch+yaml")
    assert made.status_code == 201, made.text
    assert made.json()["metadata"]["labels"] == {"switch": "on"}
    again = await api("PATCH", f"{isvcs(namespace)}/tidy?fieldManager=t", text, content_type="application/apply-patch+yaml")
    assert again.status_code == 200
    assert again.json()["metadata"]["resourceVersion"] == made.json()["metadata"]["resourceVersion"]


async def test_lists_are_cut_and_continued(api: Api, namespace: str) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await api("POST", isvcs(namespace), isvc_object(name, namespace))
    names: list[str] = []
    token = ""
    while True:
        page = (await api("GET", f"{isvcs(namespace)}?limit=2&continue={token}")).json()
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
        assert page["metadata"]["remainingItemCount"] == 5 - len(names)
    assert names == ["a", "b", "c", "d", "e"]
    one = (await api("GET", f"{isvcs(namespace)}?fieldSelector=metadata.name=c,metadata.namespace!=x")).json()
    assert [item["metadata"]["name"] for item in one["items"]] == ["c"]


async def test_versions_share_objects(api: Api, namespace: str) -> None:
    body = {"metadata": {"name": "route"}, "spec": {"hosts": ["a.example"], "http": [{"route": [{"destination": {"host": "b"}}]}]}}
    made = await api("POST", f"/apis/networking.istio.io/v1alpha3/namespaces/{namespace}/virtualservices", body)
    assert made.status_code == 201, made.text
    assert made.json()["apiVersion"] == "networking.istio.io/v1alpha3"
    read = (await api("GET", f"/apis/networking.istio.io/v1/namespaces/{namespace}/virtualservices/route")).json()
    assert read["apiVersion"] == "networking.istio.io/v1"
    patch = {"spec": {"hosts": ["c.example"]}}
    path = f"/apis/networking.istio.io/v1beta1/namespaces/{namespace}/virtualservices/route"
    changed = await api("PATCH", path, patch, content_type="application/merge-patch+json")
    assert changed.json()["apiVersion"] == "networking.istio.io/v1beta1"


async def test_deletion_waits_for_finalizers_and_heeds_preconditions(api: Api, namespace: str) -> None:
    obj = isvc_object("x", namespace)
    obj["metadata"]["finalizers"] = ["flambeau.dev/test"]
    made = (await api("POST", isvcs(namespace), obj)).json()
    path = f"{isvcs(namespace)}/x"
    for conditions in ({"uid": "another"}, {"resourceVersion": "1"}):
        assert (await api("DELETE", path, {"preconditions": conditions})).status_code == 409
    for wrong in ({"propagationPolicy": "orphan"}, {"orphanDependents": 1}, {"orphanDependents": True, "propagationPolicy": "Orphan"}):
        assert (await api("DELETE", path, wrong)).status_code == 400
    assert (await api("DELETE", f"{path}?propagationPolicy=orphan")).status_code == 400
    assert (await api("DELETE", f"{path}?dryRun=All")).json()["status"] == "Success"
    held = (await api("DELETE", path, {"preconditions": {"uid": made["metadata"]["uid"]}})).json()
    assert held["metadata"]["deletionTimestamp"]
    remove = [{"op": "remove", "path": "/metadata/finalizers"}]
    assert (await api("PATCH", path, remove, content_type="application/json-patch+json")).status_code == 200
    gone = await api("DELETE", path)
    assert (gone.status_code, gone.json()["details"]["name"]) == (404, "x")


# -- forms --


async def test_tables_and_metadata_only(api: Api, namespace: str) -> None:
    await api("POST", isvcs(namespace), isvc_object("x", namespace))
    table = (await api("GET", isvcs(namespace), accept=TABLE)).json()
    assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "x")
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = (await api("GET", f"{isvcs(namespace)}/x?includeObject=Object", accept=TABLE)).json()
    assert whole["rows"][0]["object"]["kind"] == "InferenceService"
    bare = (await api("GET", f"{isvcs(namespace)}?includeObject=None", accept=TABLE.replace("v=v1", "v=v1beta1"))).json()
    assert bare["apiVersion"] == "meta.k8s.io/v1beta1"
    assert "object" not in bare["rows"][0]
    partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = (await api("GET", isvcs(namespace), accept=partial)).json()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "spec" not in listed["items"][0]


async def test_legacy_discovery(api: Api) -> None:
    assert (await api("GET", "/api")).json()["versions"] == ["v1"]
    groups = {group["name"]: group for group in (await api("GET", "/apis")).json()["groups"]}
    assert groups["networking.istio.io"]["preferredVersion"]["version"] == "v1"
    listed = (await api("GET", "/apis/serving.kserve.io/v1beta1")).json()
    assert {"inferenceservices", "inferenceservices/status"} <= {item["name"] for item in listed["resources"]}
    assert (await api("GET", "/apis/serving.kserve.io")).json()["kind"] == "APIGroup"
    aggregated = await api("GET", "/apis", accept="application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
    assert aggregated.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_openapi_documents_are_those_of_the_index(api: Api) -> None:
    index = (await api("GET", "/openapi/v3")).json()["paths"]
    assert {"api/v1", "apis/serving.kserve.io/v1beta1"} <= set(index)
    for place in index.values():
        document = (await api("GET", place["serverRelativeURL"])).json()
        assert document["components"]["schemas"]


# -- watching --


class Watch:
    """A watch, read line by line."""

    def __init__(self, api: Api, path: str, **headers: str) -> None:
        self._context = api.client.stream("GET", path, headers=api.headers | headers)

    async def __aenter__(self) -> Watch:
        self.answer = await self._context.__aenter__()
        self._lines = self.answer.aiter_lines()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._context.__aexit__(*error)

    async def next(self) -> tuple[str, Any]:
        line = orjson.loads(await asyncio.wait_for(anext(self._lines), 10))
        return line["type"], line["object"]


async def test_watch_tells_what_there_is_and_what_happens(cluster: Cluster, api: Api, namespace: str) -> None:
    await cluster.store.create(isvc_object("a", namespace))
    async with Watch(api, f"{isvcs(namespace)}?watch=true&resourceVersion=0") as watch:
        assert watch.answer.headers["content-type"] == "application/json"
        assert [(kind, obj["metadata"]["name"]) for kind, obj in [await watch.next()]] == [("ADDED", "a")]
        await cluster.store.create(isvc_object("b", namespace))
        assert (await watch.next())[0] == "ADDED"
        await cluster.store.delete(key_of(isvc_object("a", namespace)))
        kind, obj = await watch.next()
        assert (kind, obj["metadata"]["name"], obj["apiVersion"]) == ("DELETED", "a", "serving.kserve.io/v1beta1")


async def test_watch_from_a_version_begins_with_a_head(cluster: Cluster, api: Api, namespace: str) -> None:
    version = (await api("GET", isvcs(namespace))).json()["metadata"]["resourceVersion"]
    await cluster.store.create(isvc_object("a", namespace))
    async with Watch(api, f"{isvcs(namespace)}?watch=1&resourceVersion={version}", accept=TABLE) as watch:
        kind, table = await watch.next()
        assert (kind, table["kind"], table["rows"][0]["cells"][0]) == ("ADDED", "Table", "a")
        assert table["columnDefinitions"]
        await cluster.store.create(isvc_object("b", namespace))
        assert (await watch.next())[1]["columnDefinitions"] is None


async def test_selectors_turn_changes_into_comings_and_goings(cluster: Cluster, api: Api, namespace: str) -> None:
    obj = isvc_object("a", namespace)
    await cluster.store.create(obj)

    async def label(value: str) -> None:
        await modify(cluster.store, key_of(obj), lambda stored: stored["metadata"].update(labels={"stage": value}))

    async with Watch(api, f"{isvcs(namespace)}?watch=1&labelSelector=stage%3Dprod") as watch:
        await watched(cluster)
        for value in ("test", "prod", "prod", "test"):
            await label(value)
        await label("prod")
        await cluster.store.delete(key_of(obj))
        assert [(await watch.next())[0] for _ in range(4)] == ["ADDED", "DELETED", "ADDED", "DELETED"]


async def test_watch_ends_at_its_time_with_a_bookmark(cluster: Cluster, api: Api, namespace: str) -> None:
    path = f"{isvcs(namespace)}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"
    async with Watch(api, path) as watch:
        kind, obj = await watch.next()
        assert (kind, obj["kind"]) == ("BOOKMARK", "InferenceService")
        assert obj["metadata"]["resourceVersion"]
        with pytest.raises(StopAsyncIteration):
            await watch.next()


async def test_bookmarks_come_now_and_then_and_never_before_a_change(
    cluster: Cluster, api: Api, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flambeau.control.apiserver.watch.BOOKMARK_SECONDS", 0.05)
    async with Watch(api, f"{isvcs(namespace)}?watch=1&allowWatchBookmarks=true") as watch:
        assert (await watch.next())[0] == "BOOKMARK"
        created = int((await cluster.store.create(isvc_object("a", namespace)))["metadata"]["resourceVersion"])
        elsewhere = int((await cluster.store.create(pod_object("a", namespace)))["metadata"]["resourceVersion"])
        told: list[tuple[str, int]] = []
        while not told or told[-1][1] < elsewhere:
            kind, obj = await watch.next()
            told.append((kind, int(obj["metadata"]["resourceVersion"])))
        assert [version for kind, version in told if kind == "ADDED"] == [created]
        assert all(version < created for kind, version in told[: told.index(("ADDED", created))]), "who goes on there would miss it"


async def test_watch_can_say_where_the_beginning_ends(cluster: Cluster, api: Api, namespace: str) -> None:
    await cluster.store.create(isvc_object("a", namespace))
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with Watch(api, f"{isvcs(namespace)}?{query}") as watch:
        assert (await watch.next())[0] == "ADDED"
        kind, obj = await watch.next()
        assert (kind, obj["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})


async def test_watch_from_the_future_is_told_to_list_again(cluster: Cluster, api: Api, namespace: str) -> None:
    async with Watch(api, f"{isvcs(namespace)}?watch=1&resourceVersion=999999999") as watch:
        kind, obj = await watch.next()
        assert (kind, obj["code"], obj["reason"]) == ("ERROR", 410, "Expired")


async def test_a_client_that_goes_ends_its_watch(cluster: Cluster, api: Api, namespace: str) -> None:
    async with Watch(api, f"{isvcs(namespace)}?watch=1"):
        await watched(cluster)
    async with asyncio.timeout(10):
        while cluster.server.open_streams:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
