"""The workflow, with the real kubectl."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import modify
from tests.control.apiserver.cluster import Cluster, Kubectl, finish, isvc_object, key_of, lines, pod_object, watched, yaml_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

S3_SECRET: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "s3creds",
        "annotations": {"serving.kserve.io/s3-endpoint": "127.0.0.1:9000", "serving.kserve.io/s3-usehttps": "0"},
    },
    "stringData": {"AWS_ACCESS_KEY_ID": "minio", "AWS_SECRET_ACCESS_KEY": "minio123"},
}
ACCOUNT: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}, "secrets": [{"name": "s3creds"}]}


async def set_ready(cluster: Cluster, key: Key, value: str = "True") -> None:
    def change(obj: Object) -> None:
        traffic = [{"latestRevision": True, "percent": 100, "revisionName": f"{key.name}-predictor-00001"}]
        obj["status"] = {
            "url": f"http://{key.name}.{key.namespace}.localhost:8000",
            "conditions": [{"type": "Ready", "status": value, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "components": {"predictor": {"traffic": traffic}},
        }

    await modify(cluster.store, key, change, status=True)


async def test_discovery(kubectl: Kubectl) -> None:
    table = lines(await kubectl.ok("api-resources"))
    assert ["inferenceservices", "isvc", "serving.kserve.io/v1beta1", "true", "InferenceService"] in table
    assert ["namespaces", "ns", "v1", "false", "Namespace"] in table
    assert "networking.istio.io/v1alpha3" in await kubectl.ok("api-versions")
    assert "Server Version: v1.32.4+flambeau" in await kubectl.ok("version")
    unknown = await kubectl("get", "nothings")
    assert 'the server doesn\'t have a resource type "nothings"' in unknown.err


async def test_workflow_client_side(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace, serviceAccountName="sa")
    documents = yaml_of(S3_SECRET, ACCOUNT, service)
    applied = await kubectl.ok("apply", "-n", namespace, "-f", "-", stdin=documents)
    assert applied.splitlines() == [
        "secret/s3creds created",
        "serviceaccount/sa created",
        "inferenceservice.serving.kserve.io/mnist created",
    ]
    again = await kubectl.ok("apply", "-n", namespace, "-f", "-", stdin=documents)
    # A Secret with stringData is never "unchanged": kubectl sends it again because the server keeps it as data. So it is in Kubernetes.
    assert [line.split()[-1] for line in again.splitlines()] == ["configured", "unchanged", "unchanged"]

    service["spec"]["predictor"]["minReplicas"] = 2
    changed = await kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml_of(S3_SECRET | {"stringData": {"A": "b"}}, ACCOUNT, service))
    assert [line.split()[-1] for line in changed.out.splitlines()] == ["configured", "unchanged", "configured"], changed
    assert lines(await kubectl.ok("get", "secret", "-n", namespace))[1][:3] == ["s3creds", "Opaque", "3"]
    assert lines(await kubectl.ok("get", "sa", "sa", "-n", namespace))[0] == ["NAME", "SECRETS", "AGE"]
    assert lines(await kubectl.ok("get", "sa", "sa", "-n", namespace))[1][:2] == ["sa", "1"]

    await set_ready(cluster, key_of(service))
    header, row = lines(await kubectl.ok("get", "isvc", "-n", namespace))
    assert header == ["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE"]
    assert row[:5] == ["mnist", f"http://mnist.{namespace}.localhost:8000", "True", "100", "mnist-predictor-00001"]
    assert await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "name") == "inferenceservice.serving.kserve.io/mnist\n"
    assert await kubectl.ok("get", "isvc/mnist", "-n", namespace, "-o", "jsonpath={.spec.predictor.minReplicas}") == "2"
    assert "storageUri: s3://models/mnist" in await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "yaml")
    whole = orjson.loads(await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "json"))
    assert whole["metadata"]["generation"] == 2
    everywhere = lines(await kubectl.ok("get", "isvc", "-A", "-o", "wide"))
    assert [namespace, "mnist"] in [row[:2] for row in everywhere]

    assert await kubectl.ok("delete", "isvc", "mnist", "-n", namespace) == 'inferenceservice.serving.kserve.io "mnist" deleted\n'
    gone = await kubectl("get", "isvc", "mnist", "-n", namespace)
    assert gone.err == 'Error from server (NotFound): inferenceservices.serving.kserve.io "mnist" not found\n'
    assert (await kubectl("get", "isvc", "-n", namespace)).err == f"No resources found in {namespace} namespace.\n"


async def test_workflow_server_side(kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace)
    one = ("apply", "--server-side", "-n", namespace, "-f", "-")
    assert "serverside-applied" in await kubectl.ok(*one, stdin=yaml_of(S3_SECRET, ACCOUNT, service))
    version = ("get", "isvc", "mnist", "-n", namespace, "-o", "jsonpath={.metadata.resourceVersion}")
    before = await kubectl.ok(*version)
    assert "serverside-applied" in await kubectl.ok(*one, stdin=yaml_of(service))
    assert await kubectl.ok(*version) == before  # nothing changed, nothing written
    service["spec"]["predictor"] |= {"minReplicas": 1, "serviceAccountName": "sa"}
    await kubectl.ok(*one, stdin=yaml_of(service))

    merge = '{"spec":{"predictor":{"minReplicas":3}}}'
    await kubectl.ok("patch", "isvc", "mnist", "-n", namespace, "--type", "merge", "-p", merge, "--field-manager", "somebody")
    refused = await kubectl(*one, stdin=yaml_of(service))
    assert 'conflict with "somebody": .spec.predictor.minReplicas' in refused.err
    await kubectl.ok(*one, "--force-conflicts", stdin=yaml_of(service))
    del service["spec"]["predictor"]["minReplicas"]
    del service["spec"]["predictor"]["serviceAccountName"]
    await kubectl.ok(*one, stdin=yaml_of(service))
    predictor = await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "jsonpath={.spec.predictor}")
    assert list(orjson.loads(predictor)) == ["model"]  # what it doesn't say any more is gone


async def test_from_client_side_to_server_side(kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace, minReplicas=1)
    await kubectl.ok("apply", "-f", "-", stdin=yaml_of(service))
    service["spec"]["predictor"]["minReplicas"] = 2
    await kubectl.ok("apply", "--server-side", "-f", "-", stdin=yaml_of(service))
    managers = await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "jsonpath={.metadata.managedFields[*].manager}")
    assert "kubectl" in managers.split()
    assert await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "jsonpath={.spec.predictor.minReplicas}") == "2"


async def test_misspelt_field_is_refused_with_the_likely_one(kubectl: Kubectl, namespace: str) -> None:
    wrong = isvc_object("mnist", namespace)
    wrong["metadata"]["namespacea"] = "x"
    wrong["spec"]["predictor"]["minReplica"] = 1
    refused = await kubectl("apply", "-f", "-", stdin=yaml_of(wrong))
    assert refused.code == 1
    assert 'strict decoding error: unknown field "metadata.namespacea", did you mean "namespace"?' in refused.err
    assert 'unknown field "spec.predictor.minReplica", did you mean "minReplicas"?' in refused.err
    warned = await kubectl("apply", "--validate=warn", "-f", "-", stdin=yaml_of(wrong))
    assert warned.code == 0
    assert 'Warning: unknown field "spec.predictor.minReplica"' in warned.err


async def test_wrong_values_are_refused_with_their_fields(kubectl: Kubectl, namespace: str) -> None:
    refused = await kubectl("apply", "-f", "-", stdin=yaml_of(isvc_object("mnist", namespace, minReplicas="two", containerConcurrency=-1)))
    assert 'The InferenceService "mnist" is invalid' in refused.err
    assert "spec.predictor.minReplicas" in refused.err
    taken = await kubectl("create", "ns", "default")
    assert taken.err == 'Error from server (AlreadyExists): namespaces "default" already exists\n'
    nowhere = await kubectl("create", "-n", "no-such", "-f", "-", stdin=yaml_of({**ACCOUNT}))
    assert 'namespaces "no-such" not found' in nowhere.err


async def test_protobuf_creates(kubectl: Kubectl, namespace: str) -> None:
    """These verbs send Kubernetes' protobuf, whatever the server says it takes."""
    name = f"{namespace}-made"
    assert await kubectl.ok("create", "ns", name) == f"namespace/{name} created\n"
    in_ns = ("-n", name)
    await kubectl.ok("create", "secret", "generic", "keys", "--from-literal=a=b", *in_ns)
    assert await kubectl.ok("get", "secret", "keys", *in_ns, "-o", "jsonpath={.data.a}") == "Yg=="
    await kubectl.ok("create", "configmap", "settings", "--from-literal=a=b", *in_ns)
    assert await kubectl.ok("get", "cm", "settings", *in_ns, "-o", "jsonpath={.data.a}") == "b"
    await kubectl.ok("create", "sa", "robot", *in_ns)
    assert await kubectl.ok("delete", "ns", name) == f'namespace "{name}" deleted\n'
    assert "NotFound" in (await kubectl("get", "ns", name)).err


async def test_auth(kubectl: Kubectl, namespace: str) -> None:
    assert await kubectl.ok("auth", "can-i", "create", "isvc") == "yes\n"
    assert (await kubectl("auth", "can-i", "create", "revisions.serving.knative.dev")).out.startswith("no")
    assert "flambeau-admin" in await kubectl.ok("auth", "whoami")
    assert "*.*" in await kubectl.ok("auth", "can-i", "--list")


async def test_watching(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace)
    await cluster.store.create(service)
    process = await kubectl.start("get", "isvc", "-n", namespace, "-w")
    assert process.stdout is not None
    assert b"NAME" in await process.stdout.readline()
    assert b"mnist" in await process.stdout.readline()
    await set_ready(cluster, key_of(service))
    line = await asyncio.wait_for(process.stdout.readline(), 10)
    assert line.split()[2] == b"True"
    process.terminate()
    await finish(process)


async def test_watching_one(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace)
    await cluster.store.create(service)
    process = await kubectl.start("get", "isvc", "mnist", "-n", namespace, "-w")
    assert process.stdout is not None
    await process.stdout.readline()
    await process.stdout.readline()
    await watched(cluster)  # kubectl throws the first event of its watch away: it has printed that state already
    await set_ready(cluster, key_of(service), "False")
    await set_ready(cluster, key_of(service), "True")
    seen: list[bytes] = []
    while b"True" not in seen:
        seen += (await asyncio.wait_for(process.stdout.readline(), 10)).split()
    process.terminate()
    await finish(process)


async def test_waiting(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace)
    service["metadata"]["finalizers"] = ["flambeau.dev/test"]
    await cluster.store.create(service)
    key, on = key_of(service), ("isvc/mnist", "-n", namespace, "--timeout=10s")
    ready = await kubectl.start("wait", "--for=condition=Ready", *on)
    await watched(cluster)
    await set_ready(cluster, key)
    assert (await finish(ready)).out == "inferenceservice.serving.kserve.io/mnist condition met\n"
    url = "{.status.url}"
    assert "condition met" in await kubectl.ok("wait", f"--for=jsonpath={url}", *on)

    deletion = await kubectl.start("delete", "isvc", "mnist", "-n", namespace)
    gone = await kubectl.start("wait", "--for=delete", *on)
    await watched(cluster, 2)
    await modify(cluster.store, key, lambda obj: obj["metadata"].pop("finalizers"))
    assert (await finish(deletion)).out == 'inferenceservice.serving.kserve.io "mnist" deleted\n'
    assert (await finish(gone)).code == 0


async def test_patching(kubectl: Kubectl, namespace: str) -> None:
    await kubectl.ok("apply", "-f", "-", stdin=yaml_of(isvc_object("mnist", namespace)))
    on = ("isvc", "mnist", "-n", namespace)
    await kubectl.ok("patch", *on, "--type", "merge", "-p", '{"spec":{"predictor":{"minReplicas":2}}}')
    await kubectl.ok("patch", *on, "--type", "json", "-p", '[{"op":"replace","path":"/spec/predictor/minReplicas","value":3}]')
    assert await kubectl.ok("get", *on, "-o", "jsonpath={.spec.predictor.minReplicas}") == "3"
    failed = await kubectl("patch", *on, "--type", "json", "-p", '[{"op":"remove","path":"/spec/nothing"}]')
    assert "/spec/nothing" in failed.err
    await kubectl.ok("label", *on, "team=vision")
    await kubectl.ok("annotate", *on, "note=hello")
    assert "mnist" in await kubectl.ok("get", "isvc", "-n", namespace, "-l", "team in (vision)")
    assert "No resources" in (await kubectl("get", "isvc", "-n", namespace, "-l", "team!=vision")).err
    await kubectl.ok("label", *on, "team-")
    assert "No resources" in (await kubectl("get", "isvc", "-n", namespace, "-l", "team")).err


async def test_strategic_merge_of_built_in_kinds(kubectl: Kubectl, namespace: str) -> None:
    await kubectl.ok("apply", "-n", namespace, "-f", "-", stdin=yaml_of(ACCOUNT))
    await kubectl.ok("patch", "sa", "sa", "-n", namespace, "-p", '{"secrets":[{"name":"more"}]}')
    names = ("get", "sa", "sa", "-n", namespace, "-o", "jsonpath={.secrets[*].name}")
    assert set((await kubectl.ok(*names)).split()) == {"s3creds", "more"}
    await kubectl.ok("apply", "-n", namespace, "-f", "-", stdin=yaml_of({**ACCOUNT, "secrets": [{"name": "other"}]}))
    assert set((await kubectl.ok(*names)).split()) == {"other", "more"}


async def test_edit(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    await kubectl.ok("apply", "-f", "-", stdin=yaml_of(isvc_object("mnist", namespace, minReplicas=1)))
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i "s/minReplicas: 1/minReplicas: 4/" "$1"\n')
    editor.chmod(0o755)
    assert "edited" in await kubectl.ok("edit", "isvc", "mnist", "-n", namespace, env={"EDITOR": str(editor)})
    assert await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "jsonpath={.spec.predictor.minReplicas}") == "4"


async def test_dry_run_and_diff(kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace, minReplicas=1)
    assert "created (server dry run)" in await kubectl.ok("apply", "--dry-run=server", "-f", "-", stdin=yaml_of(service))
    assert "NotFound" in (await kubectl("get", "isvc", "mnist", "-n", namespace)).err
    await kubectl.ok("apply", "-f", "-", stdin=yaml_of(service))
    assert (await kubectl("diff", "-f", "-", stdin=yaml_of(service))).code == 0
    service["spec"]["predictor"]["minReplicas"] = 5
    differs = await kubectl("diff", "-f", "-", stdin=yaml_of(service))
    assert differs.code == 1
    assert "+    minReplicas: 5" in differs.out
    assert await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "jsonpath={.spec.predictor.minReplicas}") == "1"


async def test_replace_and_conflict(kubectl: Kubectl, namespace: str) -> None:
    service = isvc_object("mnist", namespace, minReplicas=1)
    await kubectl.ok("create", "-f", "-", stdin=yaml_of(service))
    stored = orjson.loads(await kubectl.ok("get", "isvc", "mnist", "-n", namespace, "-o", "json"))
    stored["spec"]["predictor"]["minReplicas"] = 2
    assert "replaced" in await kubectl.ok("replace", "-f", "-", stdin=yaml_of(stored))
    stored["spec"]["predictor"]["minReplicas"] = 3
    late = await kubectl("replace", "-f", "-", stdin=yaml_of(stored))
    assert "Error from server (Conflict)" in late.err


async def test_describe_shows_events(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    created = await cluster.store.create(isvc_object("mnist", namespace))
    event: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "mnist.1", "namespace": namespace},
        "involvedObject": {
            "kind": "InferenceService",
            "apiVersion": "serving.kserve.io/v1beta1",
            "name": "mnist",
            "namespace": namespace,
            "uid": created["metadata"]["uid"],
        },
        "type": "Warning",
        "reason": "ModelLoadFailed",
        "message": "the archive has no manifest",
        "source": {"component": "agent"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    await cluster.store.create(event)
    other = {**event, "metadata": {"name": "other.1", "namespace": namespace}, "message": "of another object"}
    other["involvedObject"] = {**event["involvedObject"], "name": "other", "uid": "x"}
    await cluster.store.create(other)
    described = await kubectl.ok("describe", "isvc", "mnist", "-n", namespace)
    assert "ModelLoadFailed" in described
    assert "of another object" not in described
    assert "ModelLoadFailed" in await kubectl.ok("get", "events", "-n", namespace)
    assert "ModelLoadFailed" in await kubectl.ok("events", "-n", namespace, "--for", "isvc/mnist")
    assert "Status:       Active" in await kubectl.ok("describe", "ns", namespace)


async def test_explain(kubectl: Kubectl) -> None:
    explained = await kubectl.ok("explain", "isvc.spec.predictor.model")
    assert "storageUri" in explained
    assert "KIND:       InferenceService" in explained
    assert "secrets" in await kubectl.ok("explain", "sa")
    assert "A model that is served" in await kubectl.ok("explain", "isvc")


async def test_pods_and_logs(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await cluster.store.create(pod_object("mnist-1", namespace))
    header, row = lines(await kubectl.ok("get", "pods", "-n", namespace))
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row[:4] == ["mnist-1", "2/2", "Running", "0"]
    assert "IP" in (await kubectl.ok("get", "pods", "-n", namespace, "-o", "wide")).split()
    assert "kserve-container" in await kubectl.ok("describe", "pod", "mnist-1", "-n", namespace)
    assert "pod/mnist-1" in await kubectl.ok("get", "all", "-n", namespace)

    missing = await kubectl("logs", "mnist-1", "-n", namespace)
    assert missing.err == "Error from server (NotFound): pod mnist-1 has written nothing\n"
    cluster.logs.lines["mnist-1"] = [b"one\n", b"two\n"]
    assert await kubectl.ok("logs", "mnist-1", "-n", namespace) == "one\ntwo\n"
    assert cluster.logs.asked[-1]["container"] == "kserve-container"
    assert await kubectl.ok("logs", "mnist-1", "-n", namespace, "--tail", "1", "-c", "queue-proxy") == "two\n"
    following = await kubectl.start("logs", "-f", "mnist-1", "-n", namespace)
    assert following.stdout is not None
    assert await asyncio.wait_for(following.stdout.readline(), 10) == b"one\n"
    cluster.logs.ended.set()
    assert (await finish(following)).out == "two\nthe last line\n"
    wrong = await kubectl("logs", "mnist-1", "-n", namespace, "-c", "nope")
    assert "container nope is not valid for pod mnist-1" in wrong.err


async def test_what_comes_later_says_so(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await cluster.store.create(pod_object("mnist-1", namespace))
    await modify(cluster.store, Key("pods", namespace, "mnist-1"), lambda pod: pod["status"].update(phase="Running"), status=True)
    attached = await kubectl("attach", "mnist-1", "-n", namespace)
    assert "pods/attach is not implemented by this API server (kubectl logs -f shows what it writes" in attached.err


async def test_a_list_in_chunks_is_whole(kubectl: Kubectl, namespace: str) -> None:
    await kubectl.ok("apply", "-f", "-", stdin=yaml_of(*(isvc_object(name, namespace) for name in ("a", "b", "c"))))
    table = lines(await kubectl.ok("get", "isvc", "-n", namespace, "--chunk-size=1", "--no-headers"))
    assert [row[0] for row in table] == ["a", "b", "c"]


async def test_deleting_many(kubectl: Kubectl, namespace: str) -> None:
    for name in ("a", "b", "c"):
        await kubectl.ok("apply", "-f", "-", stdin=yaml_of(isvc_object(name, namespace)))
    await kubectl.ok("label", "isvc", "a", "b", "-n", namespace, "gone=soon")
    await kubectl.ok("delete", "isvc", "-n", namespace, "-l", "gone")
    assert (await kubectl.ok("get", "isvc", "-n", namespace, "-o", "name")).split() == ["inferenceservice.serving.kserve.io/c"]
    await kubectl.ok("delete", "isvc", "--all", "-n", namespace)
    refused = await kubectl("delete", "ns", "default")
    assert "Forbidden" in refused.err


async def test_raw_and_cluster_info(kubectl: Kubectl, namespace: str) -> None:
    assert orjson.loads(await kubectl.ok("get", "--raw", "/version"))["major"] == "1"
    assert await kubectl.ok("get", "--raw", "/readyz") == "ok"
    assert "control plane" in await kubectl.ok("cluster-info")
    raw = await kubectl.ok("create", "--raw", f"/api/v1/namespaces/{namespace}/serviceaccounts", "-f", "-", stdin=yaml_of(ACCOUNT))
    assert orjson.loads(raw)["metadata"]["uid"]
