"""A predictor's pod template: a runtime overlaid by a service."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.controllers.inference_service.parts import parts
from flambeau.control.controllers.inference_service.template import template_for, template_hash
from flambeau.control.controllers.names import revision_name, revision_number
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput


def runtime(container: Object | None = None, **spec: Any) -> Object:
    server = {"name": "kserve-container", "image": "pytorch/torchserve-kfs:0.9.0", **(container or {})}
    return {
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "kserve-torchserve", "annotations": {"serving.kserve.io/server-type": "torchserve"}},
        "spec": {"containers": [server], **spec},
    }


def service(model: Object | None = None, metadata: Object | None = None, **predictor: Any) -> Object:
    own = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://b/m", **(model or {})}
    return {"metadata": {"name": "mnist", "namespace": "ns", **(metadata or {})}, "spec": {"predictor": {"model": own, **predictor}}}


def made(obj: Object, runtime: Object | None) -> Object:
    """Return the predictor's template."""
    return template_for(obj, parts(obj)[0], runtime)


def custom(*containers: Object, **predictor: Any) -> Object:
    return {"metadata": {"name": "mnist", "namespace": "ns"}, "spec": {"predictor": {"containers": list(containers), **predictor}}}


def server_of(template: Object) -> Object:
    found: Object = template["spec"]["containers"][0]
    return found


def env_of(template: Object) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in server_of(template)["env"]}


def test_arguments_are_appended_and_a_command_replaces() -> None:
    found = server_of(made(service({"args": ["b"], "command": ["mine"]}), runtime({"args": ["a"], "command": ["theirs"]})))
    assert (found["command"], found["args"]) == (["mine"], ["a", "b"])


def test_variables_merge_by_name_and_the_service_wins_as_a_whole() -> None:
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    base = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    found = env_of(made(service({"env": [{"name": "B", "valueFrom": reference}, {"name": "C", "value": "3"}]}), runtime(base)))
    assert found == {"A": "1", "B": reference, "C": "3", "PROTOCOL_VERSION": "v1", "INFERENCE_SERVICE_NAME": "mnist"}


def test_mlserver_is_told_its_model_by_variables() -> None:
    container = {"image": "seldonio/mlserver:1.7.1", "env": [{"name": "MLSERVER_MODEL_IMPLEMENTATION", "value": "{{.Labels.modelClass}}"}]}
    server = runtime(container)
    server["metadata"] = {"name": "kserve-mlserver", "annotations": {"serving.kserve.io/server-type": "mlserver"}}
    found = made(service({"modelFormat": {"name": "xgboost"}}), server)
    assert env_of(found) == {
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_xgboost.XGBoostModel",
        "MLSERVER_MODEL_NAME": "mnist",
        "MLSERVER_MODEL_URI": "/mnt/models",
        "INFERENCE_SERVICE_NAME": "mnist",
    }
    assert found["metadata"]["labels"]["modelClass"] == "mlserver_xgboost.XGBoostModel"


def test_maps_and_keyed_lists_merge() -> None:
    base = {"resources": {"limits": {"cpu": "1", "memory": "2Gi"}}, "ports": [{"containerPort": 1, "name": "a"}]}
    own = {"resources": {"limits": {"memory": "4Gi"}}, "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2}]}
    found = server_of(made(service(own), runtime(base)))
    assert found["resources"] == {"limits": {"cpu": "1", "memory": "4Gi"}}
    assert found["ports"] == [{"containerPort": 1, "name": "a", "protocol": "TCP"}, {"containerPort": 2}]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{{.Name}}.{{ .Namespace }}", "mnist.ns"),
        ("{{.Labels.team}}/{{.Annotations.note}}", "vision/hello"),
        ("{{.Labels.serviceEnvelope}}", "kserve"),
        ("{{.Labels.absent}}", "<no value>"),
        ("{{.Other}} $(HOME)", "{{.Other}} $(HOME)"),
    ],
)
def test_placeholders(text: str, wanted: str) -> None:
    metadata = {"labels": {"team": "vision"}, "annotations": {"note": "hello"}}
    assert server_of(made(service(metadata=metadata), runtime({"args": [text]})))["args"] == [wanted]


@pytest.mark.parametrize(("protocol", "envelope"), [(None, "kserve"), ("v1", "kserve"), ("v2", "kservev2"), ("grpc-v2", "kservev2")])
def test_torchserves_envelope_goes_by_the_protocol(protocol: str | None, envelope: str) -> None:
    found = made(service({"protocolVersion": protocol} if protocol else {}), runtime())
    assert found["metadata"]["labels"]["serviceEnvelope"] == envelope
    assert env_of(found)["PROTOCOL_VERSION"] == protocol or "v1"


def test_a_version_replaces_the_tag_but_not_a_digest() -> None:
    assert server_of(made(service({"runtimeVersion": "1.0"}), runtime()))["image"] == "pytorch/torchserve-kfs:1.0"
    pinned = {"image": "host:5000/a/b@sha256:1"}
    assert server_of(made(service({"runtimeVersion": "1.0"}), runtime(pinned)))["image"] == "host:5000/a/b@sha256:1"


def test_the_model_is_fetched_by_an_init_container() -> None:
    found = made(service(), runtime())
    assert found["spec"]["initContainers"][0]["args"] == ["s3://b/m", "/mnt/models"]
    assert server_of(found)["volumeMounts"] == [{"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": True}]
    assert found["metadata"]["annotations"]["internal.serving.kserve.io/storage-initializer-sourceuri"] == "s3://b/m"


def test_a_custom_container_asks_for_its_model_by_a_variable() -> None:
    found = made(custom({"name": "kserve-container", "command": ["x"], "env": [{"name": "STORAGE_URI", "value": "s3://b/m"}]}), None)
    assert found["spec"]["initContainers"][0]["args"][0] == "s3://b/m"
    assert env_of(found)["STORAGE_URI"] == "/mnt/models"
    assert "initContainers" not in made(custom({"name": "kserve-container", "command": ["x"]}), None)["spec"]


def test_labels_and_annotations_come_down_but_not_all() -> None:
    metadata = {
        "labels": {"team": "isvc", "networking.knative.dev/visibility": "cluster-local"},
        "annotations": {
            "autoscaling.knative.dev/min-scale": "7",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "internal.serving.kserve.io/batcher": "true",
            "note": "isvc",
        },
    }
    found = made(service(metadata=metadata, labels={"team": "own"}, minReplicas=2, maxReplicas=3), runtime(labels={"team": "runtime"}))
    assert found["metadata"]["labels"] == {
        "serviceEnvelope": "kserve",
        "team": "own",
        "serving.kserve.io/inferenceservice": "mnist",
        "component": "predictor",
    }
    annotations = found["metadata"]["annotations"]
    assert "internal.serving.kserve.io/batcher" not in annotations
    assert (annotations["note"], annotations["autoscaling.knative.dev/min-scale"]) == ("isvc", "2")
    assert annotations["autoscaling.knative.dev/max-scale"] == "3"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in annotations


def test_the_pods_own_fields_come_from_both() -> None:
    volumes = [{"name": "a", "emptyDir": {}}]
    found = made(
        service(serviceAccountName="sa", volumes=[{"name": "b", "emptyDir": {}}], timeout=60, containerConcurrency=4),
        runtime(volumes=volumes),
    )["spec"]
    assert [volume["name"] for volume in found["volumes"]] == ["a", "b", "kserve-provision-location"]
    assert (found["serviceAccountName"], found["timeoutSeconds"], found["containerConcurrency"]) == ("sa", 60, 4)


def test_a_storage_key_reaches_the_initializer() -> None:
    storage = {"key": "k", "path": "a/b", "parameters": {"type": "s3", "bucket": "m"}}
    found = made(service({"storage": storage, "storageUri": None}), runtime())
    assert found["spec"]["initContainers"][0]["args"] == ["<scheme-placeholder>://a/b", "/mnt/models"]
    annotations = found["metadata"]["annotations"]
    assert annotations["internal.serving.kserve.io/storage-spec-key"] == "k"
    assert annotations["internal.serving.kserve.io/storage-spec-param"] == '{"bucket": "m", "type": "s3"}'


@pytest.mark.parametrize(
    ("places", "top"),
    [
        (("/mnt/models/a", "/mnt/models/b"), "/mnt/models"),
        (("/mnt/models", "/mnt/adapters/one"), "/mnt"),
        (("/opt/model",), "/opt/model"),
    ],
)
def test_several_sources_share_a_volume_at_their_common_parent(places: tuple[str, ...], top: str) -> None:
    uris = [{"uri": f"s3://b/{index}", "mountPath": place} for index, place in enumerate(places)]
    found = made(service({"storageUri": None}, storageUris=uris, storageContainerName="mine"), runtime())
    [initializer] = found["spec"]["initContainers"]
    assert initializer["args"] == [word for entry in uris for word in (entry["uri"], entry["mountPath"])]
    assert initializer["volumeMounts"] == [{"name": "kserve-provision-location", "mountPath": top}]
    assert server_of(found)["volumeMounts"] == [{"name": "kserve-provision-location", "mountPath": top, "readOnly": True}]
    assert found["metadata"]["annotations"]["internal.serving.kserve.io/storage-container-name"] == "mine"


def test_a_runtime_without_a_server_is_told() -> None:
    broken = runtime()
    broken["spec"]["containers"][0]["name"] = "other"
    with pytest.raises(InvalidInput, match="kserve-torchserve has no container named kserve-container"):
        made(service(), broken)


def test_models_are_writable_where_asked() -> None:
    found = made(service(metadata={"annotations": {"storage.kserve.io/readonly": "false"}}), runtime())
    assert server_of(found)["volumeMounts"][0]["readOnly"] is False


def test_a_transformer_beside_the_predictor_sees_the_model_and_comes_second() -> None:
    own = [{"name": "sidecar"}, {"name": "transformer-container", "args": ["mine"]}]
    theirs = {"name": "transformer-container", "image": "i", "args": ["theirs"]}
    base = runtime()
    base["spec"]["containers"].append(theirs)
    found = made(service(containers=own), base)["spec"]["containers"]
    assert [each["name"] for each in found] == ["kserve-container", "transformer-container", "sidecar"]
    assert found[1]["args"] == ["theirs", "mine"]
    assert found[1]["volumeMounts"] == found[0]["volumeMounts"]
    assert found[1]["env"] == [{"name": "INFERENCE_SERVICE_NAME", "value": "mnist"}]


def test_a_canary_is_the_stable_predictor_with_its_own_fields_laid_over_it() -> None:
    obj = service({"env": [{"name": "A", "value": "1"}]}, minReplicas=3, timeout=9, containers=[{"name": "sidecar"}])
    model = {"name": "kserve-container", "storageUri": "s3://b/next", "env": [{"name": "B", "value": "2"}]}
    own = {"name": "next", "model": model}
    alone = {"name": "alone", "containers": [{"name": "kserve-container", "command": ["x"]}], "minReplicas": 1}
    obj["spec"]["canary"] = [{"predictor": each, "trafficPercent": 40} for each in (own, alone)]
    _, first, second = parts(obj)
    assert (first.base, first.canary, first.percent) == ("mnist-next-predictor", "next", 40)
    made_of = template_for(obj, first, runtime())
    assert made_of["spec"]["initContainers"][0]["args"][0] == "s3://b/next"
    assert [each["name"] for each in made_of["spec"]["containers"]] == ["kserve-container", "sidecar"]
    assert {"A", "B"} <= {entry["name"] for entry in server_of(made_of)["env"]}
    assert made_of["spec"]["timeoutSeconds"] == 9
    assert made_of["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "2"
    assert (second.spec.get("model"), second.spec["minReplicas"]) == (None, 1)


@pytest.mark.parametrize(
    ("args", "fields", "wanted"),
    [
        ([], {}, ["--model_name", "mnist", "--predictor_host", "mnist-predictor.ns", "--http_port", "8080"]),
        (["--model_name=m", "--predictor_host", "p"], {}, ["--model_name=m", "--predictor_host", "p", "--http_port", "8080"]),
        (["--model_name=m", "--predictor_host=p", "--http_port=1"], {"containerConcurrency": 2}, ["--workers", "2"]),
    ],
)
def test_a_transformer_is_told_what_its_author_did_not_say(args: list[str], fields: Object, wanted: list[str]) -> None:
    container = {"name": "kserve-container", "command": ["x"], "args": args}
    obj = service({"protocolVersion": "v2"})
    obj["spec"]["transformer"] = {"containers": [container], **fields}
    found = template_for(obj, parts(obj)[1], None)
    assert server_of(found)["args"][-len(wanted) :] == wanted
    assert found["metadata"]["labels"]["component"] == "transformer"
    assert found["metadata"]["annotations"]["internal.serving.kserve.io/predictor-protocol"] == "v2"


def test_an_art_explainer_is_told_its_attack() -> None:
    obj = service()
    art = {"type": "SquareAttack", "config": {"nb_classes": "10"}, "storageUri": "s3://b/e", "command": ["explain"], "name": ""}
    obj["spec"]["explainer"] = {"art": {name: value for name, value in art.items() if value}}
    found = template_for(obj, parts(obj)[1], None)
    assert server_of(found)["args"][-6:] == ["--storage_uri", "/mnt/models", "--adversary_type", "SquareAttack", "--nb_classes", "10"]
    assert server_of(found)["command"] == ["explain"]
    assert found["spec"]["initContainers"][0]["args"] == ["s3://b/e", "/mnt/models"]


def test_traffic_alone_changes_no_template() -> None:
    assert template_hash(made(service(canaryTrafficPercent=5), runtime())) == template_hash(made(service(), runtime()))
    assert template_hash(made(service(minReplicas=2), runtime())) != template_hash(made(service(), runtime()))


@pytest.mark.parametrize("predictor", ["mnist-predictor", "m" * 57, "m" * 63])
def test_revision_names_fit_a_label_and_stay_apart(predictor: str) -> None:
    names = [revision_name(predictor, number) for number in (1, 2, 99999)]
    assert len(set(names)) == 3
    assert all(len(name) <= 63 for name in names)
    assert [revision_number(name) for name in names] == [1, 2, 99999]
