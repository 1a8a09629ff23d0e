"""From an InferenceService to a confirmed route, and on to the next revision."""

from __future__ import annotations

import orjson
import pytest

from flambeau.control.controllers.inference_service.desired import REVISIONS_MAX
from flambeau.control.controllers.names import REVISIONS, SERVICES, SPEC_ANNOTATION
from flambeau.control.resources.kind import Key, Object
from flambeau.foundation.errors import NotFound
from tests.control.controllers.world import NAMESPACE, World, is_ready, told, traffic

FIRST, SECOND, THIRD = (f"mnist-predictor-0000{number}" for number in (1, 2, 3))
HOSTS = [f"{name}.ns{suffix}" for name in ("mnist", "mnist-predictor") for suffix in (".localhost", ".svc.cluster.local", ".svc", "")]


def env(value: str) -> Object:
    """Return a model that differs from another only by one variable: a new revision."""
    model = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist"}
    return {**model, "env": [{"name": "VALUE", "value": value}]}


async def serve(world: World, revision: str = FIRST, **predictor: object) -> Object:
    """Apply, let the agent make the pod ready, wait for Ready."""
    await world.apply("mnist", **predictor)
    await world.make_ready(revision)
    return await world.until("mnist", lambda service: is_ready(service) and traffic(service) == {revision: 100})


async def test_a_service_becomes_ready_when_the_gateway_has_confirmed_its_pod(world: World) -> None:
    await world.apply("mnist")
    world.gateway.open.clear()
    (pod,) = await world.make_ready(FIRST)
    await world.until("mnist", lambda service: told(service, "PredictorReady")[0] == "True")
    assert not is_ready(await world.service("mnist"))
    world.gateway.open.set()
    service = await world.until("mnist", is_ready)
    for host in HOSTS:
        assert world.gateway.endpoints(host) == {f"ns/{pod['metadata']['name']}": 100}, host
    assert service["status"]["url"] == "http://mnist.ns.localhost:8000"
    assert service["status"]["address"] == {"url": "http://mnist.ns.svc.cluster.local"}
    assert service["status"]["clusterServingRuntimeName"] == "kserve-torchserve"
    assert service["status"]["modelStatus"]["transitionStatus"] == "UpToDate"
    assert service["status"]["components"]["predictor"] == {
        "latestCreatedRevision": FIRST,
        "latestReadyRevision": FIRST,
        "latestRolledoutRevision": FIRST,
        "traffic": [{"latestRevision": True, "percent": 100, "revisionName": FIRST}],
        "url": "http://mnist-predictor.ns.localhost:8000",
        "address": {"url": "http://mnist-predictor.ns.svc.cluster.local"},
    }


async def test_a_ready_services_status_has_the_shape_of_kserves(world: World) -> None:
    status = (await serve(world))["status"]
    assert sorted(status) == [
        *("address", "clusterServingRuntimeName", "components", "conditions", "deploymentMode", "modelStatus", "observedGeneration", "url")
    ]
    assert (status["observedGeneration"], status["deploymentMode"]) == (1, "Knative")
    told_of = [(each["type"], each["status"], each.get("severity")) for each in status["conditions"]]
    assert told_of == [
        ("IngressReady", "True", None),
        ("LatestDeploymentReady", "True", "Info"),
        ("PredictorConfigurationReady", "True", "Info"),
        ("PredictorReady", "True", None),
        ("PredictorRouteReady", "True", "Info"),
        ("Ready", "True", None),
        ("RoutesReady", "True", "Info"),
        ("Stopped", "False", "Info"),
    ]
    assert all(set(each) - {"severity"} == {"type", "status", "lastTransitionTime"} for each in status["conditions"])
    assert status["modelStatus"] == {
        "copies": {"failedCopies": 0, "totalCopies": 1},
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "transitionStatus": "UpToDate",
    }


async def test_the_administrators_names_are_shown_as_soon_as_they_are_said(world: World) -> None:
    await serve(world)
    ingress = {
        "ingressDomain": "models.example",
        "domainTemplate": "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
        "urlScheme": "https",
    }
    config = {"metadata": {"name": "inferenceservice-config", "namespace": "kserve"}, "data": {"ingress": orjson.dumps(ingress).decode()}}
    stored = await world.store.create({"apiVersion": "v1", "kind": "ConfigMap", **config})
    service = await world.until("mnist", lambda service: service["status"]["url"] == "https://mnist-ns.models.example")
    assert service["status"]["components"]["predictor"]["url"] == "https://mnist-predictor-ns.models.example"
    by_path = {"ingressDomain": "models.example", "pathTemplate": "/serving/{{ .Namespace }}/{{ .Name }}"}
    await world.store.update({**stored, "data": {"ingress": orjson.dumps(by_path).decode()}})
    service = await world.until("mnist", lambda service: service["status"]["url"] == "http://models.example/serving/ns/mnist")
    assert service["status"]["components"]["predictor"]["url"] == "http://mnist-predictor.ns.localhost:8000"


async def test_the_pod_looks_like_knatives(world: World) -> None:
    await world.apply("mnist")
    (pod,) = await world.pods_of(FIRST)
    name, spec = pod["metadata"]["name"], pod["spec"]
    assert name.startswith(f"{FIRST}-deployment-")
    assert [len(part) for part in name.removeprefix(f"{FIRST}-deployment-").split("-")] == [10, 5]
    assert [container["name"] for container in spec["containers"]] == ["kserve-container", "queue-proxy"]
    assert spec["initContainers"][0]["args"] == ["s3://models/mnist", "/mnt/models"]
    assert {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]} == {
        "TS_SERVICE_ENVELOPE": "kserve",
        "PROTOCOL_VERSION": "v1",
        "INFERENCE_SERVICE_NAME": "mnist",
        "PORT": "8080",
        "K_REVISION": FIRST,
        "K_CONFIGURATION": "mnist-predictor",
        "K_SERVICE": "mnist-predictor",
    }
    assert pod["metadata"]["labels"].items() >= {"serving.kserve.io/inferenceservice": "mnist", "component": "predictor"}.items()
    assert pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "kserve-container"


async def test_the_old_revision_serves_until_the_new_one_can_and_its_pod_goes_last(world: World) -> None:
    await serve(world)
    await world.apply("mnist", model=env("two"))
    await world.pods_of(SECOND)
    service = await world.until("mnist", lambda service: told(service, "Ready")[0] == "Unknown")
    assert f"{FIRST} keeps serving" in told(service, "Ready")[2]
    assert traffic(service) == {FIRST: 100}
    world.gateway.open.clear()
    await world.make_ready(SECOND)
    await world.until("mnist", lambda service: traffic(service) == {SECOND: 100})
    (old,) = await world.pods_of(FIRST)
    # The gateway has not confirmed the move: the old pod is still held, whatever else has happened to it.
    assert "flambeau.dev/gateway" in old["metadata"]["finalizers"]
    world.gateway.open.set()
    await world.finish(FIRST)
    service = await world.until("mnist", is_ready)
    predictor = service["status"]["components"]["predictor"]
    assert (predictor["latestRolledoutRevision"], predictor["previousRolledoutRevision"]) == (SECOND, FIRST)
    assert list(world.gateway.endpoints("mnist.ns")) == [f"ns/{(await world.pods(SECOND))[0]['metadata']['name']}"]


@pytest.mark.parametrize("mode", ["Knative", "Standard"])
async def test_what_was_left_runs_on_and_belongs_to_the_next_service_of_that_name(world: World, mode: str) -> None:
    annotations = {"serving.kserve.io/deploymentMode": mode}
    await world.apply_spec("mnist", annotations)
    (pod,) = await world.make_ready(FIRST)
    first = await world.until("mnist", is_ready)
    shown = Key("deployments.apps" if mode == "Standard" else "services.serving.knative.dev", NAMESPACE, "mnist-predictor")
    await world.eventually(lambda: _owner_is(world, shown, first["metadata"]["uid"]))
    await world.store.delete(Key(SERVICES, NAMESPACE, "mnist"), orphan=True)

    async def is_gone_at_the_gateway() -> bool:
        return not world.gateway.served["hosts"]

    await world.eventually(is_gone_at_the_gateway)
    assert "ownerReferences" not in (await world.revision(FIRST))["metadata"]
    await world.apply_spec("mnist", annotations)
    second = await world.until("mnist", is_ready)
    await world.eventually(lambda: _owner_is(world, shown, second["metadata"]["uid"]))
    await world.eventually(lambda: _owner_is(world, Key("services", NAMESPACE, "mnist"), second["metadata"]["uid"]))
    assert traffic(second) == {FIRST: 100}
    assert [each["metadata"]["uid"] for each in await world.pods(FIRST)] == [pod["metadata"]["uid"]]
    await world.store.delete(Key(SERVICES, NAMESPACE, "mnist"))
    await world.finish(FIRST)
    for kind in ("revisions.serving.knative.dev", shown.kind, "services"):
        assert (await world.store.list(kind, NAMESPACE)).items == ()


async def _owner_is(world: World, key: Key, uid: str) -> bool:
    try:
        owners = (await world.store.get(key))["metadata"].get("ownerReferences") or ()
    except NotFound:
        return False
    return [each["uid"] for each in owners] == [uid]


async def test_a_revision_that_fails_is_told_and_the_next_one_replaces_it(world: World) -> None:
    await serve(world)
    await world.apply("mnist", model=env("broken"))
    (broken,) = await world.pods_of(SECOND)
    await world.say(broken, ready=False, reason="StorageAccessDenied", message="cannot read s3://models/mnist: wrong key")
    service = await world.until("mnist", lambda service: told(service, "Ready")[0] == "False")
    message = f"{SECOND}: cannot read s3://models/mnist: wrong key; {FIRST} keeps serving"
    assert told(service, "Ready") == ("False", "StorageAccessDenied", message)
    assert told(service, "IngressReady")[0] == "True"
    await world.apply("mnist", model=env("mended"))
    await world.make_ready(THIRD)
    await world.until("mnist", lambda service: is_ready(service) and traffic(service) == {THIRD: 100})
    await world.finish(SECOND)
    await world.finish(FIRST)


async def test_numbers_go_on_and_old_revisions_go(world: World) -> None:
    await serve(world)
    count = REVISIONS_MAX + 4
    for number in range(2, count + 1):
        await serve(world, f"mnist-predictor-{number:05d}", model=env(str(number)))
        await world.finish(f"mnist-predictor-{number - 1:05d}")
    names = [each["metadata"]["name"] for each in (await world.store.list(REVISIONS)).items]
    assert names == [f"mnist-predictor-{number:05d}" for number in range(3, count + 1)]


async def test_a_canary_gets_its_share_and_is_promoted(world: World) -> None:
    await serve(world)
    await world.apply("mnist", model=env("two"), canaryTrafficPercent=20)
    await world.make_ready(SECOND)
    service = await world.until("mnist", lambda service: is_ready(service) and traffic(service) == {SECOND: 20, FIRST: 80})
    shares = service["status"]["components"]["predictor"]["traffic"]
    assert [(entry["latestRevision"], entry.get("tag")) for entry in shares] == [(True, None), (False, "prev")]
    await world.eventually(lambda: _shares(world, [20, 80]))
    await world.apply("mnist", canaryTrafficPercent=None)
    await world.until("mnist", lambda service: traffic(service) == {SECOND: 100})
    await world.finish(FIRST)


async def test_a_roll_back_waits_for_the_old_revision_to_come_up(world: World) -> None:
    await serve(world)
    await serve(world, SECOND, model=env("two"))
    await world.finish(FIRST)
    await world.apply("mnist", canaryTrafficPercent=0)
    await world.pods_of(FIRST)
    assert traffic(await world.service("mnist")) == {SECOND: 100}
    await world.make_ready(FIRST)
    service = await world.until("mnist", lambda service: traffic(service) == {SECOND: 0, FIRST: 100})
    assert service["status"]["components"]["predictor"]["latestRolledoutRevision"] == FIRST


async def _shares(world: World, wanted: list[int]) -> bool:
    return sorted(world.gateway.endpoints("mnist.ns").values()) == wanted


async def test_a_crash_takes_ready_away_and_it_comes_back_only_with_the_route(world: World) -> None:
    await serve(world)
    (pod,) = await world.pods(FIRST)
    await world.say(pod, ready=False, reason="ExitCode1", message="kserve-container exited with status 1: no memory")
    service = await world.until("mnist", lambda service: told(service, "IngressReady")[0] == "False")
    await world.until("mnist", lambda service: told(service, "Ready")[0] == "False")
    assert "no memory" in told(service, "IngressReady")[2] or "no memory" in told(await world.service("mnist"), "Ready")[2]
    await world.eventually(lambda: _shares(world, []))
    world.gateway.open.clear()
    await world.say(pod, ready=True)
    await world.until("mnist", lambda service: told(service, "PredictorReady")[0] == "True")
    assert not is_ready(await world.service("mnist"))
    world.gateway.open.set()
    await world.until("mnist", is_ready)


async def test_a_pod_that_is_deleted_is_replaced(world: World) -> None:
    await serve(world)
    (pod,) = await world.pods(FIRST)
    await world.store.delete(Key("pods", NAMESPACE, pod["metadata"]["name"]))
    await world.pods_of(FIRST, 2)
    await world.eventually(lambda: _released(world, pod["metadata"]["name"]))


async def _released(world: World, name: str) -> bool:
    pod = await world.store.get(Key("pods", NAMESPACE, name))
    return bool(pod["metadata"]["finalizers"] == ["flambeau.dev/agent"])


@pytest.mark.parametrize(
    ("model", "reason", "words"),
    [
        ({"modelFormat": {"name": "pytorhc"}, "storageUri": "s3://b/m"}, "NoSupportingRuntime", ["pytorhc", "kserve-torchserve"]),
        ({"modelFormat": {"name": "pytorch"}, "runtime": "mine", "storageUri": "s3://b/m"}, "RuntimeNotRecognized", ["mine"]),
    ],
)
async def test_a_service_without_a_runtime_says_why(world: World, model: Object, reason: str, words: list[str]) -> None:
    await world.apply("mnist", model=model)
    service = await world.until("mnist", lambda service: told(service, "Ready")[0] == "False")
    assert told(service, "Ready")[1] == reason
    assert all(word in told(service, "Ready")[2] for word in words)
    assert service["status"]["modelStatus"]["transitionStatus"] == "InvalidSpec"


async def test_a_runtime_that_comes_later_is_used(world: World) -> None:
    await world.apply("mnist", model={"modelFormat": {"name": "mine"}, "storageUri": "s3://b/m"})
    await world.until("mnist", lambda service: told(service, "Ready")[0] == "False")
    container = {"name": "kserve-container", "image": "flambeau/server:1"}
    formats = [{"name": "mine", "autoSelect": True}]
    await world.store.create(
        {
            "apiVersion": "serving.kserve.io/v1alpha1",
            "kind": "ServingRuntime",
            "metadata": {"name": "own", "namespace": NAMESPACE},
            "spec": {"supportedModelFormats": formats, "containers": [container]},
        }
    )
    await world.pods_of(FIRST)
    assert (await world.service("mnist"))["status"]["servingRuntimeName"] == "own"


async def test_a_gateway_that_is_away_is_told_and_rung_until_it_answers(world: World) -> None:
    await world.gateway.stop()
    await world.apply("mnist")
    await world.make_ready(FIRST)
    service = await world.until("mnist", lambda service: told(service, "IngressReady")[1] == "GatewayNotReady")
    assert not is_ready(service)
    await world.gateway.start()
    await world.until("mnist", is_ready)


async def test_every_namespace_has_its_account(world: World) -> None:
    async def there() -> bool:
        return any(each["metadata"]["name"] == "default" for each in (await world.store.list("serviceaccounts", NAMESPACE)).items)

    await world.eventually(there)


async def test_events_tell_the_story(world: World) -> None:
    await serve(world)
    reasons = {event["reason"] for event in (await world.store.list("events", NAMESPACE)).items}
    assert reasons >= {"RevisionCreated", "RevisionReady", "InferenceServiceReady"}
    assert "InternalError" not in reasons


async def test_deleting_a_service_takes_everything_along(world: World) -> None:
    await serve(world)
    await world.store.delete(Key("inferenceservices.serving.kserve.io", NAMESPACE, "mnist"))
    await world.finish(FIRST)
    assert (await world.store.list(REVISIONS)).items == ()
    await world.eventually(lambda: _shares(world, []))


async def test_a_revision_remembers_what_it_was_made_from_and_its_pods_do_not(world: World) -> None:
    await serve(world, model=env("1"), canaryTrafficPercent=100)
    kept = (await world.revision(FIRST))["metadata"]["annotations"]
    assert orjson.loads(kept[SPEC_ANNOTATION])["model"]["env"] == [{"name": "VALUE", "value": "1"}]
    [pod] = await world.pods(FIRST)
    assert SPEC_ANNOTATION not in pod["metadata"]["annotations"]


async def test_a_service_that_begins_at_zero_is_ready_without_a_pod(world: World) -> None:
    annotations = {"autoscaling.knative.dev/initial-scale": "0"}
    await world.apply("mnist", minReplicas=0, annotations=annotations)
    await world.until("mnist", lambda service: is_ready(service) and traffic(service) == {FIRST: 100})
    assert await world.pods(FIRST) == []
    await world.apply("mnist", minReplicas=1, annotations=annotations)  # a minimum wins over where it begins
    await world.make_ready(SECOND)
    await world.until("mnist", lambda service: is_ready(service) and traffic(service) == {SECOND: 100})
