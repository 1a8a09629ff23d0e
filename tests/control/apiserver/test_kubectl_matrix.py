"""What else people type into kubectl: output forms, rollouts, pruning, server-side protobuf, clear refusals. Source: kserve-spec 9.2."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flambeau.control.agent.node import register
from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import KINDS
from flambeau.foundation.clock import SystemClock
from tests.control.apiserver.cluster import Cluster, Kubectl, finish, isvc_object, lines, pod_object, watched, yaml_of
from tests.control.apiserver.test_machine_kinds import DEPLOYMENT, deployment

pytestmark = pytest.mark.asyncio(loop_scope="session")


def config_map(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


async def test_output_forms(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    for name, replicas in (("one", 2), ("two", 1)):
        await cluster.store.create(isvc_object(name, namespace, minReplicas=replicas))
    get = ("get", "isvc", "-n", namespace)
    columns = lines(await kubectl.ok(*get, "-o", "custom-columns=N:.metadata.name,R:.spec.predictor.minReplicas"))
    assert columns == [["N", "R"], ["one", "2"], ["two", "1"]]
    template = "{{range .items}}{{.metadata.name}} {{end}}"
    assert await kubectl.ok(*get, "-o", f"go-template={template}") == "one two "
    sorted_rows = lines(await kubectl.ok(*get, "--sort-by=.spec.predictor.minReplicas", "--no-headers"))
    assert [row[0] for row in sorted_rows] == ["two", "one"]
    assert json.loads(await kubectl.ok(*get, "-o", "jsonpath-as-json={.items[*].metadata.name}")) == ["one", "two"]
    assert lines(await kubectl.ok(*get, "--field-selector", "metadata.name=two", "--no-headers"))[0][0] == "two"
    assert "TEAM" in await kubectl.ok(*get, "-L", "team")
    assert await kubectl.ok(*get, "one", "--subresource=status", "-o", "name") == "inferenceservice.serving.kserve.io/one\n"
    both = await kubectl(*get, "one", "nobody")
    assert "one" in both.out
    assert 'inferenceservices.serving.kserve.io "nobody" not found' in both.err


async def test_watching_only_what_comes(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await cluster.store.create(isvc_object("there", namespace))
    process = await kubectl.start("get", "isvc", "-n", namespace, "--watch-only", "-o", "name")
    await watched(cluster)
    await cluster.store.create(isvc_object("new", namespace))
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 10) == b"inferenceservice.serving.kserve.io/new\n"
    process.terminate()
    await finish(process)


async def test_every_kind_is_described_and_what_users_write_is_explained(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await deployment(cluster, namespace)
    await cluster.store.create(pod_object("worker", namespace))
    plurals = [f"{kind.plural}.{kind.group}" if kind.group else kind.plural for kind in KINDS.all()]
    described = await kubectl.ok("describe", ",".join(plurals), "-n", namespace)
    assert {f"Name:         {name}" for name in ("mnist", "worker")} <= {line.strip() for line in described.splitlines()}
    for kind in (each for each in KINDS.all() if not each.read_only):
        explained = await kubectl.ok("explain", kind.plural, f"--api-version={kind.api_version}", "--recursive")
        assert f"KIND:       {kind.kind}" in explained


async def test_pruning_finds_every_kind_it_asks_for(kubectl: Kubectl, namespace: str) -> None:
    apply = ("apply", "-n", namespace, "-f", "-", "--prune", "-l", "team=a")
    await kubectl.ok(*apply, stdin=yaml_of(config_map("one", team="a"), config_map("two", team="a")))
    pruned = await kubectl.ok(*apply, stdin=yaml_of(config_map("one", team="a")))
    assert "configmap/two pruned" in pruned.splitlines()
    assert (await kubectl.ok("get", "cm", "-n", namespace, "-o", "name")).split() == ["configmap/one"]
    env = {"KUBECTL_APPLYSET": "true"}
    members = ("apply", "-n", namespace, "-f", "-", "--prune", "--applyset=secrets/set")
    await kubectl.ok(*members, stdin=yaml_of(config_map("three"), config_map("four")), env=env)
    assert "configmap/four pruned" in await kubectl.ok(*members, stdin=yaml_of(config_map("three")), env=env)


async def test_kustomize(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "isvc.yaml").write_text(yaml_of(isvc_object("mnist", namespace)))
    generator = "secretGenerator: [{name: keys, literals: [a=b]}]"
    (tmp_path / "kustomization.yaml").write_text(f"resources: [isvc.yaml]\nnamePrefix: my-\nnamespace: {namespace}\n{generator}\n")
    applied = await kubectl.ok("apply", "-k", str(tmp_path))
    assert "inferenceservice.serving.kserve.io/my-mnist created" in applied
    assert (await kubectl("diff", "-k", str(tmp_path))).code == 0
    assert "my-mnist" in await kubectl.ok("delete", "-k", str(tmp_path))


async def test_deletion_in_every_manner(kubectl: Kubectl, namespace: str) -> None:
    on = ("-n", namespace)
    for manner in (("--cascade=foreground",), ("--cascade=background",), ("--grace-period=0", "--force"), ("--now",), ("--wait=false",)):
        await kubectl.ok("create", "cm", "gone", *on)
        assert "deleted" in await kubectl.ok("delete", "cm", "gone", *on, *manner)
    await kubectl.ok("create", "cm", "stays", *on)
    assert "server dry run" in await kubectl.ok("delete", "cm", "stays", *on, "--dry-run=server")
    uid = await kubectl.ok("get", "cm", "stays", *on, "-o", "jsonpath={.metadata.uid}")
    owned = config_map("owned")
    owned["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "stays", "uid": uid}]
    await kubectl.ok("create", "-f", "-", *on, stdin=yaml_of(owned))
    assert "deleted" in await kubectl.ok("delete", "cm", "stays", *on, "--cascade=orphan")
    assert await kubectl.ok("get", "cm", "owned", *on, "-o", "jsonpath={.metadata.ownerReferences}") == ""
    await kubectl.ok("create", "cm", "stays", *on)
    replaced = await kubectl.ok("replace", "--force", "-f", "-", *on, stdin=yaml_of(config_map("stays")))
    assert replaced.splitlines() == ['configmap "stays" deleted', "configmap/stays replaced"]


async def test_the_last_applied_configuration(kubectl: Kubectl, namespace: str) -> None:
    on, manifest = ("-n", namespace), yaml_of(config_map("one"))
    await kubectl.ok("create", "-f", "-", *on, stdin=manifest)
    await kubectl.ok("apply", "set-last-applied", "--create-annotation", "-f", "-", *on, stdin=manifest)
    assert "a: b" in await kubectl.ok("apply", "view-last-applied", "cm/one", *on)


async def test_a_rollout_is_watched_and_its_writes_say_who_can(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await deployment(cluster, namespace)
    for verb in ("restart", "pause"):
        refused = (await kubectl("rollout", verb, f"deploy/{DEPLOYMENT}", "-n", namespace)).err
        assert "deployments.apps is read-only" in refused
        assert "flambeau rollout restart|undo|status NAME" in refused
    made = (await kubectl("create", "job", "x", "--image=a", "-n", namespace)).err
    assert "jobs.batch is read-only (apply an InferenceService, or a Pod" in made
    await register(cluster.store, SystemClock())
    assert "this machine is the only node" in (await kubectl("cordon", "flambeau")).err


async def test_services_come_in_protobuf(kubectl: Kubectl, namespace: str) -> None:
    await kubectl.ok("create", "service", "clusterip", "shown", "--tcp=80:8080", "-n", namespace)
    ports = json.loads(await kubectl.ok("get", "svc", "shown", "-n", namespace, "-o", "jsonpath={.spec.ports}"))
    assert ports == [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    await kubectl.ok("create", "service", "externalname", "away", "--external-name=example.com", "-n", namespace)
    assert await kubectl.ok("get", "svc", "away", "-n", namespace, "-o", "jsonpath={.spec.externalName}") == "example.com"


async def test_a_pod_is_made_without_words_about_what_is_so_anyway(kubectl: Kubectl, namespace: str) -> None:
    pod = pod_object("plain", namespace)
    pod["spec"] |= {"dnsPolicy": "ClusterFirst", "nodeName": "flambeau", "securityContext": {}, "schedulerName": "default-scheduler"}
    applied = await kubectl("apply", "-f", "-", stdin=yaml_of(pod))
    assert (applied.code, applied.err) == (0, "")
    pod["spec"]["dnsPolicy"] = "None"
    assert "dnsPolicy has no effect" in (await kubectl("apply", "-f", "-", stdin=yaml_of(pod))).err


async def test_debugging_containers_are_refused_with_what_does_the_same(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await cluster.store.create(pod_object("worker", namespace))
    on = ("-n", namespace, "--image=busybox", "--profile=general")
    inside = (await kubectl("debug", "worker", *on)).err
    assert "pods/ephemeralcontainers is not implemented by this API server (kubectl exec runs a command" in inside
    copied = (await kubectl("debug", "worker", *on, "--copy-to=copy")).err
    assert "kubectl exec runs a command beside" in copied
