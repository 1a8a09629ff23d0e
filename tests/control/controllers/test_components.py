"""Transformers, explainers and canaries: each has revisions of its own, and requests find their way between them."""

from __future__ import annotations

import re
from typing import Any

from flambeau.control.controllers.names import MIN_SCALE_ANNOTATION, REVISIONS
from flambeau.control.resources.kind import Key, Object
from tests.control.controllers.world import NAMESPACE, World, is_ready, told

PREDICTOR, TRANSFORMER, EXPLAINER = (f"mnist-{part}-00001" for part in ("predictor", "transformer", "explainer"))
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}


def part(*args: str, **fields: Any) -> Object:
    return {"containers": [{"name": "kserve-container", "command": ["serve"], "args": list(args), **fields}]}


def canary(name: str, percent: int) -> Object:
    model = {"name": "kserve-container", "modelFormat": {"name": "pytorch"}, "storageUri": f"s3://models/{name}"}
    return {"predictor": {"name": name, "model": model}, "trafficPercent": percent}


async def server(world: World, revision: str) -> Object:
    (pod,) = await world.pods_of(revision)
    found: Object = pod["spec"]["containers"][0]
    return found


def pods_at(world: World, host: str) -> set[str]:
    """Return whose pods answer: revisions, in mode Standard Deployments."""
    return {re.sub(r"^ns/(.*?)(-deployment)?-[0-9a-f]{10}-\w{5}$", r"\1", name) for name in world.gateway.endpoints(host)}


async def test_a_transformer_stands_in_front_and_is_told_where_the_predictor_is(world: World) -> None:
    await world.apply_spec("mnist", transformer={**part("--model_name=mine"), "containerConcurrency": 3})
    await world.make_ready(PREDICTOR)
    service = await world.until("mnist", lambda service: told(service, "PredictorReady")[0] == "True")
    assert not is_ready(service)
    assert "url" not in service["status"]
    words = ["--model_name=mine", "--predictor_host", "mnist-predictor.ns", "--http_port", "8080", "--workers", "3"]
    assert (await server(world, TRANSFORMER))["args"] == words
    await world.make_ready(TRANSFORMER)
    service = await world.until("mnist", is_ready)
    assert pods_at(world, "mnist.ns") == pods_at(world, "mnist-transformer.ns.localhost") == {TRANSFORMER}
    assert pods_at(world, "mnist-predictor.ns") == {PREDICTOR}
    assert told(service, "TransformerReady")[0] == told(service, "TransformerRouteReady")[0] == "True"
    assert service["status"]["components"]["transformer"]["latestReadyRevision"] == TRANSFORMER


async def test_a_transformer_that_fails_is_what_ready_says(world: World) -> None:
    await world.apply_spec("mnist", transformer=part())
    await world.make_ready(PREDICTOR)
    (pod,) = await world.pods_of(TRANSFORMER)
    await world.say(pod, ready=False, reason="CrashLoopBackOff", message="No module named kserve")
    service = await world.until("mnist", lambda service: told(service, "Ready")[0] == "False")
    assert told(service, "TransformerReady") == ("False", "CrashLoopBackOff", "No module named kserve")
    assert told(service, "Ready") == ("False", "CrashLoopBackOff", "transformer: No module named kserve")


async def test_a_transformer_comes_and_goes_without_a_gap(world: World) -> None:
    await world.apply_spec("mnist")
    await world.make_ready(PREDICTOR)
    await world.until("mnist", is_ready)
    await world.apply_spec("mnist", transformer=part())
    await world.pods_of(TRANSFORMER)
    await world.until("mnist", lambda service: not is_ready(service))
    assert pods_at(world, "mnist.ns") == {PREDICTOR}
    await world.make_ready(TRANSFORMER)
    await world.eventually(lambda: _lead_to(world, {TRANSFORMER}))
    await world.apply_spec("mnist", transformer=None)
    await world.until("mnist", lambda service: "TransformerReady" not in {each["type"] for each in service["status"]["conditions"]})
    await world.finish(TRANSFORMER)
    assert pods_at(world, "mnist.ns") == {PREDICTOR}
    assert "transformer" not in (await world.service("mnist"))["status"]["components"]


async def test_a_transformer_has_canaries_of_its_own(world: World) -> None:
    await world.apply_spec("mnist", transformer=part("--model_name=one"))
    for revision in (PREDICTOR, TRANSFORMER):
        await world.make_ready(revision)
    await world.until("mnist", is_ready)
    await world.apply_spec("mnist", transformer={**part("--model_name=two"), "canaryTrafficPercent": 30})
    await world.make_ready("mnist-transformer-00002")
    await world.eventually(lambda: _shares(world, {"mnist-transformer-00001": 70, "mnist-transformer-00002": 30}))
    assert (await world.service("mnist"))["status"]["components"]["predictor"]["latestCreatedRevision"] == PREDICTOR


async def _shares(world: World, wanted: dict[str, int]) -> bool:
    found = world.gateway.endpoints("mnist.ns")
    return {pod.removeprefix("ns/").partition("-deployment-")[0]: weight for pod, weight in found.items()} == wanted


async def test_explanations_go_to_the_explainer(world: World) -> None:
    await world.apply_spec("mnist", explainer=part(), transformer=part())
    for revision in (PREDICTOR, TRANSFORMER, EXPLAINER):
        await world.make_ready(revision)
    service = await world.until("mnist", is_ready)
    assert told(service, "ExplainerRoutesReady")[0] == "True"
    for host in ("mnist.ns", "mnist.ns.svc.cluster.local"):
        explain, everything = next(each["rules"] for each in world.gateway.served["hosts"] if each["name"] == host)
        assert explain["matches"][0]["uri"] == {"type": "regex", "value": r"/v1/models/[\w.-]+:explain", "ignore_case": False}
        assert [each["backend"] for each in explain["destinations"]] == [f"ns/{EXPLAINER}"]
        assert [each["backend"] for each in everything["destinations"]] == [f"ns/{TRANSFORMER}"]


async def test_names_have_addresses_of_their_own(world: World) -> None:
    await world.apply_spec("mnist", transformer=part())
    for revision in (PREDICTOR, TRANSFORMER):
        await world.make_ready(revision)
    await world.until("mnist", is_ready)
    addresses = {}
    for each in (await world.store.list("services", NAMESPACE)).items:
        addresses[each["metadata"]["name"]] = each["spec"]["clusterIP"]
        assert each["spec"]["ports"][0]["nodePort"] == 8000
    assert set(addresses) == {"mnist", "mnist-predictor", "mnist-transformer"}
    assert len(set(addresses.values())) == 3
    assert set(world.gateway.served["addresses"]) == set(addresses.values())
    assert pods_at(world, addresses["mnist-predictor"]) == {PREDICTOR}
    assert pods_at(world, addresses["mnist"]) == {TRANSFORMER}


async def test_canaries_get_their_share_when_they_are_ready(world: World) -> None:
    await world.apply_spec("mnist", STANDARD, canary=[canary("v2", 20), canary("v3", 10)])
    await world.make_ready(PREDICTOR)
    service = await world.until("mnist", is_ready)
    assert told(service, "CanaryPredictorReady")[:2] == ("False", "CanariesNotReady")
    assert pods_at(world, "mnist.ns") == {"mnist-predictor"}
    await world.make_ready("mnist-v2-predictor-00001")
    await world.until("mnist", lambda service: service["status"]["canaryStatuses"][0]["ready"])

    async def shared() -> bool:
        return sorted(world.gateway.endpoints("mnist.ns").values()) == [20 * 100, 80 * 100]

    await world.eventually(shared)
    await world.make_ready("mnist-v3-predictor-00001")
    service = await world.until("mnist", lambda service: told(service, "CanaryPredictorReady")[0] == "True")
    assert [each["trafficPercent"] for each in service["status"]["canaryStatuses"]] == [20, 10]
    await world.eventually(lambda: _weights(world, [1000, 2000, 7000]))
    assert pods_at(world, "mnist-v2-predictor.ns") == {"mnist-v2-predictor"}


async def test_pods_of_ready_canaries_count_for_the_stable_predictor(world: World) -> None:
    model = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist", "name": ""}
    await world.apply_spec("mnist", STANDARD, predictor={"model": model, "minReplicas": 4}, canary=[canary("v2", 30)])
    await world.make_ready(PREDICTOR, 4)
    assert (await world.revision("mnist-v2-predictor-00001"))["metadata"]["annotations"][MIN_SCALE_ANNOTATION] == "2"
    await world.make_ready("mnist-v2-predictor-00001", 2)
    await world.eventually(lambda: _least(world, "2"))
    await world.apply_spec("mnist", canary=None)
    await world.eventually(lambda: _least(world, "4"))
    assert len((await world.store.list(REVISIONS, NAMESPACE)).items) == 1


async def _least(world: World, count: str) -> bool:
    return bool((await world.revision(PREDICTOR))["metadata"]["annotations"][MIN_SCALE_ANNOTATION] == count)


async def _weights(world: World, wanted: list[int]) -> bool:
    return sorted(world.gateway.endpoints("mnist-predictor.ns").values()) == wanted


async def test_a_canary_that_is_taken_away_is_cleaned_up_and_one_that_is_promoted_goes_on(world: World) -> None:
    await world.apply_spec("mnist", STANDARD, canary=[canary("v2", 20), canary("v3", 10)])
    for revision in (PREDICTOR, "mnist-v2-predictor-00001", "mnist-v3-predictor-00001"):
        await world.make_ready(revision)
    await world.until("mnist", lambda service: told(service, "CanaryPredictorReady")[0] == "True")
    await world.apply_spec("mnist", predictor=canary("v2", 0)["predictor"], canary=None)
    await world.finish("mnist-v3-predictor-00001")
    await world.until("mnist", is_ready)
    await world.eventually(lambda: _lead_to(world, {"mnist-v2-predictor"}))
    assert "canaryStatuses" not in (await world.service("mnist"))["status"]
    names = {each["metadata"]["name"] for each in (await world.store.list(REVISIONS, NAMESPACE)).items}
    assert names == {PREDICTOR, "mnist-v2-predictor-00001"}
    await world.finish(PREDICTOR)


async def _lead_to(world: World, revisions: set[str]) -> bool:
    return pods_at(world, "mnist.ns") == revisions


def runtime(name: str, priority: int, *args: str) -> Object:
    formats = [{"name": "pytorch", "version": "1", "autoSelect": True, "priority": priority}]
    container = {"name": "kserve-container", "image": "pytorch/torchserve-kfs:0.9.0", "args": list(args)}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"supportedModelFormats": formats, "containers": [container]},
    }


async def test_a_runtime_that_comes_later_changes_no_service_and_is_told(world: World) -> None:
    await world.apply_spec("mnist")
    await world.make_ready(PREDICTOR)
    await world.until("mnist", is_ready)
    await world.store.create(runtime("newer", 9))
    service = await world.until("mnist", lambda service: told(service, "RuntimeKept")[0] == "True")
    assert "newer would be chosen now: set spec.predictor.model.runtime" in told(service, "RuntimeKept")[2]
    assert service["status"]["clusterServingRuntimeName"] == "kserve-torchserve"
    assert is_ready(service)
    await world.apply("mnist", model={"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist", "runtime": "newer"})
    service = await world.until("mnist", lambda service: "servingRuntimeName" in service["status"])
    assert service["status"]["servingRuntimeName"] == "newer"
    assert "clusterServingRuntimeName" not in service["status"]


async def test_a_runtime_that_is_changed_makes_new_revisions_unless_the_service_refuses(world: World) -> None:
    await world.store.create(runtime("mine", 9, "one"))
    keep = {"serving.kserve.io/disable-auto-update": "true"}
    await world.apply_spec("follows")
    await world.apply_spec("keeps", keep)
    for name in ("follows", "keeps"):
        await world.make_ready(f"{name}-predictor-00001")
        await world.until(name, is_ready)
    stored = await world.store.get(Key("servingruntimes.serving.kserve.io", NAMESPACE, "mine"))
    await world.store.update({**stored, "spec": runtime("mine", 9, "two")["spec"]})
    await world.pods_of("follows-predictor-00002")
    await world.apply("keeps", timeout=20)
    await world.pods_of("keeps-predictor-00002")
    created = [each["metadata"]["name"] for each in (await world.store.list(REVISIONS, NAMESPACE)).items]
    assert sorted(created) == [f"{name}-predictor-0000{number}" for name in ("follows", "keeps") for number in (1, 2)]
