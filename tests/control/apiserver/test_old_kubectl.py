"""The workflow's verbs with Debian's kubectl 1.20: discovery in the old form, OpenAPI v2, SPDY. ``make test`` brings it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flambeau.control.store.interface import modify
from tests.control.apiserver.cluster import Cluster, Kubectl, isvc_object, key_of, lines, pod_object, yaml_of
from tests.control.apiserver.test_kubectl import ACCOUNT, S3_SECRET, set_ready

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
