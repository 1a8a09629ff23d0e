"""What a cluster would have for an InferenceService, written beside what acts."""

from __future__ import annotations

import re
from typing import Any

from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.knative_serving import CONFIGURATION, KNATIVE_SERVICE, ROUTE
from flambeau.control.resources.scaler_class import REPLICAS_ANNOTATION
from flambeau.control.store.interface import modify
from flambeau.foundation.errors import NotFound
from tests.control.controllers.world import NAMESPACE, World, is_ready

FIRST, SECOND = "mnist-predictor-00001", "mnist-predictor-00002"


async def look(world: World, kind: str, name: str) -> Object | None:
    try:
        return await world.store.get(Key(kind, NAMESPACE, name))
    except NotFound:
        return None


async def settled(world: World, kind: str, name: str, **status: Any) -> Object:
    """Wait until a view is there and says so."""

    async def there() -> bool:
        obj = await look(world, kind, name)
        return obj is not None and all(obj.get("status", {}).get(field) == value for field, value in status.items())

    await world.eventually(there)
    return await world.store.get(Key(kind, NAMESPACE, name))


async def test_a_revision_shows_as_a_deployment(world: World) -> None:
    await world.apply("mnist")
    await world.make_ready(FIRST)
    deployment = await settled(world, DEPLOYMENT.id, f"{FIRST}-deployment", replicas=1, readyReplicas=1, updatedReplicas=1)
    assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
    [pod] = (await world.store.list("pods", NAMESPACE)).items
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Revision"
    [replica_set] = (await world.store.list(REPLICA_SET.id, NAMESPACE)).items
    assert replica_set["metadata"]["ownerReferences"][0]["name"] == deployment["metadata"]["name"]


async def test_a_service_shows_as_knatives_objects(world: World) -> None:
    await world.apply("mnist")
    await world.make_ready(FIRST)
    shown = await settled(world, KNATIVE_SERVICE.id, "mnist-predictor", latestReadyRevisionName=FIRST)
    assert {each["type"] for each in shown["status"]["conditions"]} == {"Ready", "ConfigurationsReady", "RoutesReady"}
    await settled(world, CONFIGURATION.id, "mnist-predictor", latestCreatedRevisionName=FIRST)
    route = await settled(world, ROUTE.id, "mnist-predictor", url=shown["status"]["url"])
    assert [target["revisionName"] for target in route["status"]["traffic"]] == [FIRST]
    predictor = await settled(world, "services", "mnist-predictor")
    assert predictor["spec"]["selector"] == {"serving.kserve.io/inferenceservice": "mnist", "component": "predictor"}
    assert (await settled(world, "services", "mnist"))["spec"]["type"] == "ExternalName"


async def test_in_mode_standard_a_component_shows_as_one_deployment(world: World) -> None:
    await world.apply_spec("mnist", {"serving.kserve.io/deploymentMode": "Standard"})
    await world.make_ready(FIRST)
    service = await world.until("mnist", is_ready)
    assert [each["type"] for each in service["status"]["conditions"]] == ["IngressReady", "PredictorReady", "Ready", "Stopped"]
    assert service["status"]["address"] == {"url": "http://mnist-predictor.ns.svc.cluster.local"}
    deployment = await settled(
        world, DEPLOYMENT.id, "mnist-predictor", replicas=1, readyReplicas=1, updatedReplicas=1, unavailableReplicas=0
    )
    assert deployment["metadata"]["ownerReferences"][0]["kind"] == "InferenceService"
    assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert not [label for label in deployment["metadata"]["labels"] if "knative" in label]
    [pod] = await world.pods(FIRST)
    assert re.fullmatch(r"mnist-predictor-[0-9a-f]{10}-\w{5}", pod["metadata"]["name"])
    assert deployment["spec"]["selector"]["matchLabels"] == {"app": "isvc.mnist-predictor"}
    assert pod["metadata"]["labels"]["app"] == "isvc.mnist-predictor"
    assert {each["metadata"]["name"] for each in (await world.store.list("services", NAMESPACE)).items} == {"mnist", "mnist-predictor"}
    assert (await settled(world, "services", "mnist"))["spec"]["type"] == "ClusterIP"
    for kind in (KNATIVE_SERVICE, CONFIGURATION, ROUTE):
        assert (await world.store.list(kind.id, NAMESPACE)).items == ()
    assert len((await world.store.list(DEPLOYMENT.id, NAMESPACE)).items) == 1


async def test_a_roll_out_in_mode_standard_shows_in_the_deployment_and_its_replica_sets(world: World) -> None:
    await world.apply_spec("mnist", {"serving.kserve.io/deploymentMode": "Standard"})
    await world.make_ready(FIRST)
    await world.until("mnist", is_ready)

    async def sets() -> dict[str, tuple[int, int]]:
        """Return (wanted, ready) of each, by its number."""
        listed = (await world.store.list(REPLICA_SET.id, NAMESPACE)).items
        numbers = [each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in listed]
        counts = [(each["spec"]["replicas"], each["status"]["readyReplicas"]) for each in listed]
        return dict(zip(numbers, counts, strict=True))

    async def are(wanted: dict[str, tuple[int, int]]) -> bool:
        return await sets() == wanted

    await world.apply("mnist", model={**(await world.service("mnist"))["spec"]["predictor"]["model"], "storageUri": "s3://models/two"})
    await world.pods_of(SECOND)
    rolling = await settled(world, DEPLOYMENT.id, "mnist-predictor", replicas=2, updatedReplicas=1, readyReplicas=1)
    conditions = {each["type"]: (each["status"], each["reason"]) for each in rolling["status"]["conditions"]}
    assert conditions == {"Available": ("True", "MinimumReplicasAvailable"), "Progressing": ("True", "ReplicaSetUpdated")}
    await world.eventually(lambda: are({"1": (1, 1), "2": (1, 0)}))
    await world.make_ready(SECOND)
    await world.finish(FIRST)
    await world.eventually(lambda: are({"1": (0, 0), "2": (1, 1)}))
    done = await settled(world, DEPLOYMENT.id, "mnist-predictor", replicas=1, updatedReplicas=1, readyReplicas=1, unavailableReplicas=0)
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    await world.apply("mnist", model={"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist", "name": ""})
    await world.make_ready("mnist-predictor-00003")
    await world.finish(SECOND)
    await world.eventually(lambda: are({"2": (0, 0), "3": (1, 1)}))  # the first template again: its ReplicaSet, with a new number


async def test_what_somebody_wrote_beside_a_view_stays(world: World) -> None:
    annotations = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "external"}
    await world.apply_spec("mnist", annotations)
    await settled(world, DEPLOYMENT.id, "mnist-predictor")
    key = Key(DEPLOYMENT.id, NAMESPACE, "mnist-predictor")
    await modify(world.store, key, lambda obj: obj["metadata"]["annotations"].update({REPLICAS_ANNOTATION: "3"}))
    await world.make_ready(FIRST)
    deployment = await settled(world, DEPLOYMENT.id, "mnist-predictor", readyReplicas=1)
    assert deployment["metadata"]["annotations"] == {REPLICAS_ANNOTATION: "3", "deployment.kubernetes.io/revision": "1"}


async def test_a_graph_shows_as_knatives_objects(world: World) -> None:
    steps = [{"serviceUrl": "http://elsewhere.example"}]
    spec = {"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}
    metadata = {"name": "g", "namespace": NAMESPACE}
    await world.store.create({"apiVersion": "serving.kserve.io/v1alpha1", "kind": "InferenceGraph", "metadata": metadata, "spec": spec})
    await world.make_ready("g-00001")
    shown = await settled(world, KNATIVE_SERVICE.id, "g", latestCreatedRevisionName="g-00001", latestReadyRevisionName="g-00001")
    assert shown["metadata"]["ownerReferences"][0]["kind"] == "InferenceGraph"
    assert shown["status"]["url"] == "http://g.ns.localhost:8000"
    await settled(world, CONFIGURATION.id, "g", latestReadyRevisionName="g-00001")
    await settled(world, ROUTE.id, "g", url=shown["status"]["url"])
    graph = Key("inferencegraphs.serving.kserve.io", NAMESPACE, "g")
    await world.store.create(await world.store.delete(graph, orphan=True))

    async def belongs_to_the_new_one() -> bool:
        uid = (await world.store.get(graph))["metadata"]["uid"]
        owned = [*(await world.store.list("revisions.serving.knative.dev", NAMESPACE, owner=uid)).items]
        shown = await world.store.list(KNATIVE_SERVICE.id, NAMESPACE, owner=uid)
        return [each["metadata"]["name"] for each in (*owned, *shown.items)] == ["g-00001", "g"]

    await world.eventually(belongs_to_the_new_one)
    await world.store.delete(graph)
    assert await look(world, ROUTE.id, "g") is None


async def test_views_go_with_their_owner_and_leave_what_is_a_users(world: World) -> None:
    users = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "mnist", "namespace": NAMESPACE}, "spec": {"ports": []}}
    await world.store.create(users)
    await world.apply("mnist")
    await settled(world, ROUTE.id, "mnist-predictor")
    await settled(world, DEPLOYMENT.id, f"{FIRST}-deployment")
    await world.store.delete(Key("inferenceservices.serving.kserve.io", NAMESPACE, "mnist"))
    assert await look(world, ROUTE.id, "mnist-predictor") is None
    assert await look(world, "services", "mnist-predictor") is None
    assert await look(world, REPLICA_SET.id, f"{FIRST}-deployment") is None
    kept = await look(world, "services", "mnist")
    assert kept is not None
    assert kept["spec"] == {"ports": []}
