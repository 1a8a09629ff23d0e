"""HorizontalPodAutoscalers on a real store, in virtual time; a double of the agent tells what pods use."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import httpx2
import pytest

from flambeau.control.autoscaler.elsewhere import Elsewhere, decided_elsewhere
from flambeau.control.autoscaler.horizontal_loop import TICK_SECONDS, HorizontalScaler
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.horizontal_pod_autoscaler import HORIZONTAL_POD_AUTOSCALER
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.interface import modify
from flambeau.control.store.sqlite import SqliteStore
from tests.control.controllers.world import VirtualClock
from tests.fixtures.prometheus import prometheus
from tests.fixtures.waiting import until_told

NAME = "m-predictor-00001"
REVISION = Key("revisions.serving.knative.dev", "default", NAME)
SERVICE = Key("inferenceservices.serving.kserve.io", "default", "m")
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}

KEDA = {**STANDARD, "serving.kserve.io/autoscalerClass": "keda"}


class World:
    """A store with an InferenceService, its revision and its pods, whose use a test says."""

    def __init__(self, home: Path) -> None:
        self.clock = VirtualClock()
        self.store = SqliteStore.open(home / "store.db", kinds=KINDS)
        self.cores, self.seconds, self.memory = 0.0, 0.0, 0
        self.scaler = HorizontalScaler(self.store, self, self.clock)

    async def read(self, pods: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[float, int]]:
        return dict.fromkeys(pods, (self.seconds, self.memory))

    async def start(self, annotations: dict[str, str], **predictor: Any) -> None:
        for obj in builtin_objects(gateway_port=8000):
            await self.store.create(obj)
        model = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://b/m"}
        service = {"name": "m", "namespace": "default", "annotations": annotations}
        spec = {"predictor": {"model": model, **predictor}}
        await self.store.create({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": service, "spec": spec})
        labels = {"serving.kserve.io/inferenceservice": "m", "component": "predictor", "serving.knative.dev/routingState": "active"}
        labels |= {"serving.knative.dev/configuration": "m-predictor", "serving.knative.dev/configurationGeneration": "1"}
        container = {"name": "kserve-container", "image": "x", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
        self.revision: Object = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Revision",
            "metadata": {"name": NAME, "namespace": "default", "labels": labels, "annotations": annotations},
            "spec": {"containers": [container]},
        }
        stored = await self.store.create(self.revision)
        await self.replicas(2)
        for name in ("one", "two"):
            metadata = {"name": name, "namespace": "default", "labels": {"serving.knative.dev/revisionUID": stored["metadata"]["uid"]}}
            pod = await self.store.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
            await self.store.update({**pod, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, status=True)

    async def replicas(self, count: int) -> None:
        await modify(self.store, REVISION, lambda revision: revision.update(status={"desiredReplicas": count}), status=True)

    async def ticks(self, count: int, cores: float = 0.0) -> Object:
        """Let time pass while each pod uses so many cores; return the autoscaler."""
        for _ in range(count):
            await self.scaler.tick()
            self.clock.advance(TICK_SECONDS)
            self.seconds += cores * TICK_SECONDS
        await self.scaler.tick()
        return await self.autoscaler()

    async def autoscaler(self) -> Object:
        """Return the only one there is."""
        [found] = (await self.store.list(HORIZONTAL_POD_AUTOSCALER.id)).items
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    here = World(tmp_path)
    yield here
    here.store.close()


def cell(autoscaler: Object, name: str) -> Any:
    return next(column.cell(autoscaler, 0.0) for column in HORIZONTAL_POD_AUTOSCALER.columns if column.name == name)


def condition(autoscaler: Object, type: str) -> Object:
    found: Object = next(each for each in autoscaler["status"]["conditions"] if each["type"] == type)
    return found


async def test_a_standard_service_is_scaled_by_its_cpu(world: World) -> None:
    await world.start(STANDARD, minReplicas=1, maxReplicas=5)
    autoscaler = await world.ticks(1, cores=0.6)  # 120 % of the request, on two pods: 240 / 80
    assert (autoscaler["status"]["desiredReplicas"], autoscaler["status"]["currentReplicas"]) == (3, 2)
    assert (cell(autoscaler, "Targets"), cell(autoscaler, "Reference")) == ("cpu: 120%/80%", "Deployment/m-predictor")
    events = {event["reason"]: event["message"] for event in (await world.store.list("events", "default")).items}
    assert events["SuccessfulRescale"] == "New size: 3; was 2; reason: cpu 120 % of the request / target 80 % on 2 replicas = 3"
    revisions, services = (
        (await world.store.list(REVISION.kind)).items,
        (await world.store.list("inferenceservices.serving.kserve.io")).items,
    )
    told = decided_elsewhere(revisions, services, [autoscaler], [])
    assert told == {("default", NAME): Elsewhere(3, "HorizontalPodAutoscaler m-predictor")}


async def test_memory_and_pace_are_as_the_service_says(world: World) -> None:
    target = {"type": "AverageValue", "averageValue": "100Mi"}
    scaling = {
        "metrics": [{"type": "Resource", "resource": {"name": "memory", "target": target}}],
        "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
    }
    await world.start(STANDARD, maxReplicas=9, autoScaling=scaling)
    world.memory = 400 * 1024**2
    autoscaler = await world.ticks(1)
    assert autoscaler["status"]["desiredReplicas"] == 3
    assert condition(autoscaler, "ScalingLimited")["reason"] == "ScaleUpLimit"
    assert cell(autoscaler, "Targets") == "memory: 409600Ki/100Mi"


async def test_what_is_not_measured_yet_is_said(world: World) -> None:
    await world.start({"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}, maxReplicas=3)
    await world.scaler.tick()
    autoscaler = await world.autoscaler()
    assert (condition(autoscaler, "ScalingActive")["status"], cell(autoscaler, "Targets")) == ("False", "cpu: <unknown>/80%")
    assert autoscaler["status"]["desiredReplicas"] == 2


async def test_a_service_scaled_by_requests_has_none_and_one_that_changes_loses_it(world: World) -> None:
    await world.start(STANDARD, maxReplicas=3)
    await world.scaler.tick()
    assert len((await world.store.list(HORIZONTAL_POD_AUTOSCALER.id)).items) == 1

    def be_fixed(service: Object) -> None:
        service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] = "none"

    await modify(world.store, Key("inferenceservices.serving.kserve.io", "default", "m"), be_fixed)
    await world.scaler.tick()
    assert (await world.store.list(HORIZONTAL_POD_AUTOSCALER.id)).items == ()


async def test_a_standard_components_revisions_share_an_autoscaler_that_goes_with_the_component(world: World) -> None:
    await world.start(STANDARD, maxReplicas=5)
    before = await world.ticks(1, cores=0.6)
    assert (before["metadata"]["name"], before["metadata"]["ownerReferences"][0]["kind"]) == ("m-predictor", "InferenceService")
    labels = {**world.revision["metadata"]["labels"], "serving.knative.dev/configurationGeneration": "2"}
    await world.store.create({**world.revision, "metadata": {**world.revision["metadata"], "name": "m-predictor-00002", "labels": labels}})
    autoscaler = await world.ticks(1)
    assert autoscaler["metadata"]["uid"] == before["metadata"]["uid"]
    revisions, services = [(await world.store.list(each.kind)).items for each in (REVISION, SERVICE)]
    told = decided_elsewhere(revisions, services, [autoscaler], [])
    assert {(name, each.reason) for (_, name), each in told.items()} == {
        (NAME, "HorizontalPodAutoscaler m-predictor"),
        ("m-predictor-00002", "HorizontalPodAutoscaler m-predictor"),
    }
    for revision in revisions:
        await world.store.delete(Key(REVISION.kind, "default", revision["metadata"]["name"]))
    await world.scaler.tick()
    assert (await world.store.list(HORIZONTAL_POD_AUTOSCALER.id)).items == ()


async def test_an_autoscaler_that_was_left_belongs_to_the_next_service_of_that_name(world: World) -> None:
    await world.start(STANDARD, maxReplicas=5)
    before = await world.ticks(1)
    service = await world.store.delete(SERVICE, orphan=True)
    left = await world.ticks(1)
    assert (left["metadata"]["uid"], left["metadata"].get("ownerReferences")) == (before["metadata"]["uid"], None)
    service["spec"]["predictor"]["maxReplicas"] = 7
    created = await world.store.create(service)
    after = await world.ticks(1)
    assert after["metadata"]["ownerReferences"][0]["uid"] == created["metadata"]["uid"]
    assert (after["metadata"]["uid"], after["spec"]["maxReplicas"]) == (before["metadata"]["uid"], 7)


async def test_an_autoscaler_that_a_person_wrote_counts(world: World) -> None:
    await world.start({}, maxReplicas=3)
    spec: Object = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{NAME}-deployment"},
        "minReplicas": 3,
        "maxReplicas": 8,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
    }
    metadata = {"name": NAME, "namespace": "default"}
    await world.store.create({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec})
    autoscaler = await world.ticks(1, cores=0.25)
    assert autoscaler["status"]["desiredReplicas"] == 3
    assert autoscaler["spec"] == spec


def triggered(address: str, query: str, **target: str) -> Object:
    metric = {"backend": "prometheus", "serverAddress": address, "query": query}
    return {"metrics": [{"type": "External", "external": {"metric": metric, "target": target}}]}


async def test_kedas_trigger_asks_prometheus_and_scales_to_none(world: World, tmp_path: Path) -> None:
    async with prometheus(tmp_path) as database:
        address = str(database.base_url)

        async def answers() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return (await database.get("/-/ready")).status_code == 200
            return False

        await until_told(answers, 30)
        await world.start(KEDA, minReplicas=0, maxReplicas=9, autoScaling=triggered(address, "vector(25)", type="AverageValue", value="5"))
        autoscaler = await world.ticks(1)
        assert (autoscaler["spec"]["minReplicas"], autoscaler["status"]["desiredReplicas"]) == (0, 5)
        assert cell(autoscaler, "Targets") == "s0-prometheus: 25/5"

        async def be_asked(query: str, replicas: int, value: str = "5") -> Object:
            change = {"autoScaling": triggered(address, query, type="AverageValue", value=value)}
            await modify(world.store, SERVICE, lambda service: service["spec"]["predictor"].update(change))
            await world.replicas(replicas)
            world.clock.advance(1000.0)  # past the window in which fewer wait
            return await world.ticks(0)

        assert (await be_asked("vector(0)", 5))["status"]["desiredReplicas"] == 0
        assert (await be_asked("no_such_metric", 0))["status"]["desiredReplicas"] == 0
        assert (await be_asked("vector(0.1)", 0))["status"]["desiredReplicas"] == 1
        autoscaler = await be_asked("sum(", 2)
        assert autoscaler["status"]["desiredReplicas"] == 2
        assert condition(autoscaler, "ScalingActive")["reason"] == "FailedGetExternalMetric"
        assert "refuses the query" in condition(autoscaler, "ScalingActive")["message"]


async def test_a_prometheus_that_is_not_there_changes_nothing_and_is_told(world: World) -> None:
    scaling = triggered("http://127.0.0.1:1", "vector(1)", value="5")
    await world.start(KEDA, minReplicas=0, maxReplicas=9, autoScaling=scaling)
    autoscaler = await world.ticks(1)
    assert autoscaler["status"]["desiredReplicas"] == 2
    assert "127.0.0.1:1" in condition(autoscaler, "ScalingActive")["message"]
    events = {event["reason"] for event in (await world.store.list("events", "default")).items}
    assert "FailedGetExternalMetric" in events
