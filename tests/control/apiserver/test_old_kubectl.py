"""The workflow's verbs with Debian's kubectl 1.20: discovery in the old form, OpenAPI v2, SPDY. ``make test`` brings it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flambeau.control.store.interface import modify
from tests.control.apiserver.cluster import Cluster, Kubectl, isvc_object, key_of, lines, pod_object, yaml_of
from tests.control.apiserver.test_kubectl import ACCOUNT, S3_SECRET, set_ready
from tests.control.apiserver.test_machine_kinds import DEPLOYMENT, deployment_object

PROGRAM = Path(sys.prefix) / "kubectl-1.20" / "kubectl"
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not PROGRAM.exists(), reason="no kubectl 1.20: tools/need_old_kubectl takes it from apt"),
]


@pytest.fixture
def old(cluster: Cluster, tmp_path: Path) -> Kubectl:
    return Kubectl(cluster.server.kubeconfig, tmp_path, str(PROGRAM))


async def test_discovery(old: Kubectl, namespace: str) -> None:
    table = lines(await old.ok("api-resources"))
    assert ["inferenceservices", "isvc", "serving.kserve.io/v1beta1", "true", "InferenceService"] in table
    assert "v1.32.4+flambeau" in await old.ok("version")
    assert (await old.ok("auth", "can-i", "create", "isvc", "-n", namespace)).strip() == "yes"


async def test_workflow(cluster: Cluster, old: Kubectl, namespace: str) -> None:
    await old.ok("create", "secret", "generic", "token", "--from-literal=a=b", "-n", namespace)
    service = isvc_object("mnist", namespace, serviceAccountName="sa")
    for said in ("created", "unchanged"):
        applied = await old.ok("apply", "-n", namespace, "-f", "-", stdin=yaml_of(S3_SECRET, ACCOUNT, service))
        assert [line.split()[-1] for line in applied.splitlines()][1:] == [said] * 2  # stringData is told as a change each time
    service["spec"]["predictor"]["minReplicas"] = 2
    manifest = yaml_of(service)
    assert "server dry run" in await old.ok("apply", "--dry-run=server", "-f", "-", stdin=manifest)
    assert "configured" in await old.ok("apply", "-f", "-", stdin=manifest)
    assert "applied" in await old.ok("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    assert "labeled" in await old.ok("label", "isvc", "mnist", "team=vision", "-n", namespace)
    patched = await old.ok("patch", "isvc", "mnist", "-n", namespace, "--type=merge", "-p", '{"spec":{"predictor":{"minReplicas":1}}}')
    assert "patched" in patched
    await set_ready(cluster, key_of(service))
    await old.ok("wait", "--for=condition=Ready", "isvc/mnist", "-n", namespace, "--timeout=20s")
    assert lines(await old.ok("get", "isvc", "-n", namespace, "-l", "team=vision"))[1][0] == "mnist"
    assert "Name:         mnist" in await old.ok("describe", "isvc", "mnist", "-n", namespace)
    await old.ok("delete", "isvc", "mnist", "-n", namespace)
    assert "NotFound" in (await old("get", "isvc", "mnist", "-n", namespace)).err


async def test_logs(cluster: Cluster, old: Kubectl, namespace: str) -> None:
    stored = await cluster.store.create(pod_object("mnist-1", namespace))
    await modify(cluster.store, key_of(stored), lambda pod: pod["status"].update(phase="Running"), status=True)
    cluster.logs.lines["mnist-1"] = [b"one\n", b"two\n"]
    assert await old.ok("logs", "mnist-1", "-c", "kserve-container", "-n", namespace, "--tail=1") == "two\n"


async def test_other_verbs(cluster: Cluster, old: Kubectl, namespace: str, tmp_path: Path) -> None:
    on = ("-n", namespace)
    service = isvc_object("mnist", namespace, minReplicas=1)
    (tmp_path / "isvc.yaml").write_text(yaml_of(service))
    (tmp_path / "kustomization.yaml").write_text("resources: [isvc.yaml]\ncommonLabels: {team: vision}\n")
    assert "created" in await old.ok("apply", "-k", str(tmp_path))
    service["spec"]["predictor"]["minReplicas"] = 3
    differs = await old("diff", "-f", "-", stdin=yaml_of(service))
    assert (differs.code, "+    minReplicas: 3" in differs.out) == (1, True)
    editor = tmp_path / "editor.sh"
    editor.write_text('#!/bin/sh\nsed -i "s/minReplicas: 1/minReplicas: 2/" "$1"\n')
    editor.chmod(0o755)
    assert "edited" in await old.ok("edit", "isvc", "mnist", *on, env={"EDITOR": str(editor)})
    operations = '[{"op": "test", "path": "/spec/predictor/minReplicas", "value": 2}]'
    await old.ok("patch", "isvc", "mnist", *on, "--type=json", "-p", operations)
    await old.ok("create", "service", "clusterip", "shown", "--tcp=80", *on)
    await old.ok("patch", "svc", "shown", *on, "-p", '{"metadata": {"labels": {"a": "b"}}}')
    assert lines(await old.ok("get", "svc", *on, "-l", "a=b", "--no-headers"))[0][0] == "shown"
    await cluster.store.create(deployment_object(namespace))
    await old.ok("autoscale", "deployment", DEPLOYMENT, "--max=2", *on)
    assert lines(await old.ok("get", "hpa", *on, "--no-headers"))[0][0] == DEPLOYMENT
    for kind in ("isvc", "svc", "deploy", "hpa", "ns"):
        assert "Name:" in await old.ok("describe", kind, *on), kind
    assert "deleted" in await old.ok("delete", "hpa,svc,isvc", "--all", *on)
