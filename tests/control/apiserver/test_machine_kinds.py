"""Nodes, scales and horizontal autoscalers, with the real kubectl."""

from __future__ import annotations

import json

import pytest

from flambeau.control.agent.node import register
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.scaler_class import REPLICAS_ANNOTATION
from flambeau.foundation.clock import SystemClock
from tests.control.apiserver.cluster import Cluster, Kubectl, isvc_object, lines, pod_object

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEPLOYMENT = "mnist-predictor-00001-deployment"


def deployment_object(namespace: str) -> Object:
    """The Deployment that an InferenceService ``mnist`` would have."""
    labels = {"serving.kserve.io/inferenceservice": "mnist"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "mnist"}}},
    }


async def deployment(cluster: Cluster, namespace: str, **annotations: str) -> Key:
    """Create an InferenceService and the Deployment that it would have; return the latter's key."""
    service = isvc_object("mnist", namespace)
    service["metadata"]["annotations"] = {f"serving.kserve.io/{name}": value for name, value in annotations.items()}
    await cluster.store.create(service)
    stored = await cluster.store.create(deployment_object(namespace))
    await cluster.store.update({**stored, "status": {"replicas": 1}}, status=True)
    return Key("deployments.apps", namespace, DEPLOYMENT)


async def test_the_machine_is_a_node(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    pod = pod_object("worker", namespace)
    pod["spec"]["nodeName"] = "flambeau"
    await cluster.store.create(pod)
    await register(cluster.store, SystemClock())
    await register(cluster.store, SystemClock())
    [head, row] = lines(await kubectl.ok("get", "nodes"))
    assert head == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert row[:3] == ["flambeau", "Ready", "control-plane"]
    described = await kubectl.ok("describe", "node", "flambeau")
    assert "AgentReady" in described
    assert "InternalIP:  127.0.0.1" in described
    assert "worker" in described
    [head, row] = lines(await kubectl.ok("top", "node"))
    assert (head[0], row[0], row[2].endswith("%")) == ("NAME", "flambeau", True)
    assert "read-only" in (await kubectl("delete", "node", "flambeau")).err


async def test_a_scale_is_read_and_a_write_that_would_be_undone_is_refused(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await deployment(cluster, namespace)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{DEPLOYMENT}/scale"
    scale = json.loads(await kubectl.ok("get", "--raw", path))
    assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 1}, {"replicas": 1, "selector": "app=mnist"})
    refused = (await kubectl("scale", f"deploy/{DEPLOYMENT}", "--replicas=3", "-n", namespace)).err
    assert "3 would be taken back at once" in refused
    assert f'kubectl patch isvc mnist -n {namespace} --type=merge -p \'{{"spec":{{"predictor":{{"minReplicas":3}}}}}}\'' in refused


async def test_a_scale_counts_where_somebody_else_is_to_say_it(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    key = await deployment(cluster, namespace, deploymentMode="Standard", autoscalerClass="external")
    scaled = await kubectl.ok("scale", f"deploy/{DEPLOYMENT}", "--replicas=3", "-n", namespace)
    assert scaled == f"deployment.apps/{DEPLOYMENT} scaled\n"
    stored = await cluster.store.get(key)
    assert stored["metadata"]["annotations"][REPLICAS_ANNOTATION] == "3"
    wrong = await cluster.api("PUT", f"/apis/apps/v1/namespaces/{namespace}/deployments/{DEPLOYMENT}/scale", {"spec": {"replicas": -1}})
    assert (wrong.status_code, "must be from 0" in wrong.text) == (400, True)


async def test_a_horizontal_autoscaler_is_made_shown_and_checked(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    await deployment(cluster, namespace)
    made = await kubectl.ok("autoscale", "deployment", DEPLOYMENT, "--min=1", "--max=4", "--cpu-percent=60", "-n", namespace)
    assert made == f"horizontalpodautoscaler.autoscaling/{DEPLOYMENT} autoscaled\n"
    [head, row] = lines(await kubectl.ok("get", "hpa", "-n", namespace))
    assert head == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
    assert row[1:7] == [f"Deployment/{DEPLOYMENT}", "cpu:", "<unknown>/60%", "1", "4", "0"]
    assert "resource cpu on pods" in await kubectl.ok("describe", "hpa", DEPLOYMENT, "-n", namespace)
    old = json.loads(await kubectl.ok("get", "--raw", f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers/{DEPLOYMENT}"))
    assert (old["apiVersion"], old["spec"]["targetCPUUtilizationPercentage"], "metrics" in old["spec"]) == ("autoscaling/v1", 60, False)
    metrics = [{"type": "Pods", "pods": {}}]
    spec = {"scaleTargetRef": {"kind": "StatefulSet", "name": "x"}, "minReplicas": 3, "maxReplicas": 2, "metrics": metrics}
    path = f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers"
    obj = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}, "spec": spec}
    refused = await cluster.api("POST", path, obj)
    causes = {cause["field"] for cause in refused.json()["details"]["causes"]}
    assert causes >= {"spec.maxReplicas", "spec.scaleTargetRef.kind", "spec.metrics[0].type"}
