"""What a cluster would have for an InferenceService, written beside what acts."""

from __future__ import annotations

from typing import Any

from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.knative_serving import CONFIGURATION, KNATIVE_SERVICE, ROUTE
from flambeau.foundation.errors import NotFound
from tests.control.controllers.world import NAMESPACE, World

FIRST = "mnist-predictor-00001"


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
    await world.store.delete(Key("inferencegraphs.serving.kserve.io", NAMESPACE, "g"))
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
