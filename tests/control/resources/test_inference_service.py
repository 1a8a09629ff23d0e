from __future__ import annotations

import copy
from typing import Any

import pytest

from flambeau.control.resources.admission import review
from flambeau.control.resources.inference_service import INFERENCE_SERVICE
from flambeau.control.resources.kind import Object, Review

MODEL: Object = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/kserve/torchserve/mnist"}
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}
KEDA = {**STANDARD, "serving.kserve.io/autoscalerClass": "keda"}
NONE = {**STANDARD, "serving.kserve.io/autoscalerClass": "none"}


def service(predictor: Object | None = None, *, name: str = "mnist", annotations: Object | None = None, **spec: Any) -> Object:
    metadata: Object = {"name": name, "namespace": "home"}
    if annotations:
        metadata["annotations"] = dict(annotations)
    wanted = {"predictor": {"model": copy.deepcopy(MODEL)} if predictor is None else predictor, **spec}
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": wanted}


def with_model(**fields: Any) -> Object:
    return {"model": {**copy.deepcopy(MODEL), **fields}}


def log_files(path: str = "/logs", format: str = "json") -> Object:
    return {"url": "s3://logs/pre", "mode": "all", "storage": {"path": path, "key": "k", "parameters": {"type": "s3", "format": format}}}


def with_part(**fields: Any) -> Object:
    return {"model": copy.deepcopy(MODEL), **fields}


def custom(*containers: Object) -> Object:
    return {"containers": [{"image": "flambeau/mine", **container} for container in containers]}


def standard(**spec: Any) -> Object:
    return service(annotations=STANDARD, **spec)


def canary(name: str, percent: int = 5, **fields: Any) -> Object:
    return {"predictor": {**with_model(name="kserve-container"), "name": name, **fields}, "trafficPercent": percent}


def admit(obj: Object, old: Object | None = None) -> Review:
    return review(INFERENCE_SERVICE, obj, old)


def errors(found: Review) -> dict[str, str]:
    return {finding.path: finding.message for finding in found.errors}


def admitted(predictor: Object, **fields: Any) -> Object:
    obj = service(predictor, **fields)
    assert admit(obj).errors == ()
    return obj


class TestDefaults:
    @pytest.mark.parametrize(
        ("framework", "protocol"),
        [("pytorch", None), ("sklearn", None), ("triton", "v2"), ("onnx", "v2"), ("huggingface", "v2")],
    )
    def test_framework_fields_become_a_model(self, framework: str, protocol: str | None) -> None:
        obj = admitted({framework: {"storageUri": "s3://bk/m", "args": ["-v"]}})
        expected = {"modelFormat": {"name": framework}, "storageUri": "s3://bk/m", "args": ["-v"]}
        assert obj["spec"]["predictor"] == {"model": {**expected, **({"protocolVersion": protocol} if protocol else {})}}

    def test_applying_the_same_file_again_updates_the_model(self) -> None:
        obj = admitted(
            {"pytorch": {"storageUri": "s3://bk/new"}, "model": {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://bk/old"}}
        )
        assert obj["spec"]["predictor"] == {"model": {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://bk/new"}}

    @pytest.mark.parametrize("name", ["triton", "vLLM"])
    def test_formats_that_mean_v2(self, name: str) -> None:
        obj = admitted(with_model(modelFormat={"name": name}))
        assert obj["spec"]["predictor"]["model"]["protocolVersion"] == "v2"
        obj = admitted(with_model(modelFormat={"name": name}, protocolVersion="grpc-v2"))
        assert obj["spec"]["predictor"]["model"]["protocolVersion"] == "grpc-v2"

    def test_the_first_container_is_the_server(self) -> None:
        obj = admitted(custom({}, {"name": "helper"}))
        assert [container["name"] for container in obj["spec"]["predictor"]["containers"]] == ["kserve-container", "helper"]
        assert [finding.path for finding in admit(service(custom({}, {}))).errors] == ["spec.predictor.containers[1].name"]

    @pytest.mark.parametrize(("old", "new"), [("RawDeployment", "Standard"), ("Serverless", "Knative"), ("Standard", "Standard")])
    def test_old_names_of_deployment_modes(self, old: str, new: str) -> None:
        obj = admitted(with_part(), annotations={"serving.kserve.io/deploymentMode": old})
        assert obj["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == new

    def test_a_logger_logs_everything_if_nothing_is_said(self) -> None:
        assert admitted(with_part(logger={"url": "http://x"}))["spec"]["predictor"]["logger"]["mode"] == "all"

    def test_what_the_schema_says(self) -> None:
        obj = admitted(with_model(ports=[{"containerPort": 8080}], env=None))
        assert obj["spec"]["predictor"]["model"]["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
        assert "env" not in obj["spec"]["predictor"]["model"]

    def test_defaulting_twice_is_defaulting_once(self) -> None:
        obj = admitted(
            {"triton": {"storageUri": "s3://bk/m"}, "logger": {}}, annotations={"serving.kserve.io/deploymentMode": "Serverless"}
        )
        again = copy.deepcopy(obj)
        assert admit(again).errors == ()
        assert again == obj


P = "spec.predictor"
REFUSED: list[tuple[str, Object, str, str]] = [
    # what, the object, the path complained about, part of the message
    ("upper case", service(name="Mnist"), "metadata.name", "lower case"),
    ("digit first", service(name="1mnist"), "metadata.name", "begin with a letter"),
    ("dot in name", service(name="a.b"), "metadata.name", "letters, digits and -"),
    ("name of 54", service(name="m" * 54), "metadata.name", "use at most 53"),
    ("name of 52 with transformer", service(name="m" * 52, transformer=custom({})), "metadata.name", "use at most 51"),
    ("name with variant", service(with_part(name="v" * 20), name="m" * 33), "metadata.name", "use at most 32"),
    ("no spec", {**service(), "spec": None}, "spec", "is required"),
    ("no predictor", {**service(), "spec": {}}, "spec.predictor", "is required"),
    ("nothing to serve", service({}), P, "it has none of them"),
    ("two implementations", service({"sklearn": {}, "pytorch": {}}), P, "it has sklearn and pytorch"),
    ("model and framework", service({**with_part(), "sklearn": {}}), P, "it has model and sklearn"),
    ("model and server", service(with_part(**custom({"name": "kserve-container"}))), P, "it has model and containers"),
    ("no format", service({"model": {"storageUri": "s3://bk/m"}}), f"{P}.model.modelFormat.name", "is required"),
    ("misspelt field", service(with_model(storageURI="x")), f"{P}.model.storageURI", 'did you mean "storageUri"?'),
    ("field in the wrong place", service(with_part(storageUri="s3://bk")), f"{P}.storageUri", 'it belongs under "model"'),
    ("wrong type", service(with_part(minReplicas="1")), f"{P}.minReplicas", "must be an integer"),
    ("wrong protocol type", service(with_model(protocolVersion=2)), f"{P}.model.protocolVersion", "must be a string"),
    (
        "autoscaler",
        service(annotations={"serving.kserve.io/autoscalerClass": "x"}),
        "metadata.annotations[serving.kserve.io/autoscalerClass]",
        "hpa",
    ),
    (
        "mode",
        service(annotations={"serving.kserve.io/deploymentMode": "x"}),
        "metadata.annotations[serving.kserve.io/deploymentMode]",
        "Knative",
    ),
    ("PYTHONPATH", service(with_model(env=[{"name": "PYTHONPATH", "value": "/x"}])), f"{P}.model.env[0]", "may not be set"),
    (
        "PYTHONPATH in init",
        service(with_part(initContainers=[{"name": "i", "env": [{"name": "PYTHONPATH"}]}])),
        f"{P}.initContainers[0].env[0]",
        "",
    ),
    (
        "collocated STORAGE_URI",
        service(with_part(**custom({"name": "transformer-container", "env": [{"name": "STORAGE_URI", "value": "s3://bk/m"}]}))),
        f"{P}.containers[0].env[0]",
        "may not be set",
    ),
    ("collocated name", service({**with_model(name="x"), **custom({"name": "transformer-container"})}), f"{P}.model.name", "transformer"),
    ("both storages", service(with_part(storageUris=[{"uri": "s3://bk/m"}])), f"{P}.storageUris", "together"),
    (
        "mount at /",
        service({"model": {"modelFormat": {"name": "a"}}, "storageUris": [{"uri": "s3://bk/m", "mountPath": "/"}]}),
        f"{P}.storageUris[0].mountPath",
        "not /",
    ),
    (
        "mount relative",
        service({"model": {"modelFormat": {"name": "a"}}, "storageUris": [{"uri": "s3://bk/m", "mountPath": "x"}]}),
        f"{P}.storageUris[0].mountPath",
        "",
    ),
    (
        "mounts apart",
        service(
            {
                "model": {"modelFormat": {"name": "a"}},
                "storageUris": [{"uri": "s3://bk/m", "mountPath": "/a/x"}, {"uri": "s3://bk/n", "mountPath": "/b/x"}],
            }
        ),
        f"{P}.storageUris",
        "common parent",
    ),
    (
        "confidential",
        service({"model": {"modelFormat": {"name": "a"}, "confidential": {"enabled": True}}}),
        f"{P}.model.storageUri",
        "required",
    ),
    ("PROTOCOL", service(custom({"env": [{"name": "PROTOCOL", "value": "v3"}]})), f"{P}.containers[0].env[PROTOCOL]", "v1 or v2"),
    ("unknown scheme", service(with_model(storageUri="ftp://x/y")), f"{P}.model.storageUri", "ftp://"),
    ("no scheme", service(with_model(storageUri="bucket/x")), f"{P}.model.storageUri", "scheme"),
    (
        "scheme of STORAGE_URI",
        service(custom({"env": [{"name": "STORAGE_URI", "value": "ftp://x"}]})),
        f"{P}.containers[0].env[STORAGE_URI]",
        "ftp://",
    ),
    ("negative min", service(with_part(minReplicas=-1)), f"{P}.minReplicas", "negative"),
    ("negative max", service(with_part(maxReplicas=-1)), f"{P}.maxReplicas", "negative"),
    ("min above max", service(with_part(minReplicas=3, maxReplicas=2)), f"{P}.maxReplicas", "minReplicas, which is 3"),
    ("concurrency", service(with_part(containerConcurrency=-1)), f"{P}.containerConcurrency", "negative"),
    ("timeout", service(with_part(timeout=601)), f"{P}.timeout", "600"),
    ("negative timeout", service(with_part(timeout=-1)), f"{P}.timeout", "600"),
    ("canary's host", standard(name="a" * 40, canary=[canary("v" * 20)]), "metadata.name", "use at most 32"),
    ("canary mode", service(canary=[canary("v")]), "spec.canary", "deployment mode Standard"),
    ("canary name", standard(canary=[canary("v"), canary("v")]), "spec.canary[1].predictor.name", "must differ"),
    ("no canary name", standard(canary=[canary("")]), "spec.canary[0].predictor.name", ""),
    ("canary shares", standard(canary=[canary("v", 60), canary("w", 50)]), "spec.canary", "sum to 110"),
    ("canary maximum", standard(canary=[canary("v", maxReplicas=3)]), "spec.canary[0].predictor.maxReplicas", "stable predictor alone"),
    ("canary minimum", standard(canary=[canary("v", minReplicas=3)]), "spec.canary[0].predictor.minReplicas", "which is 1"),
    ("canary share", service(with_part(canaryTrafficPercent=101)), f"{P}.canaryTrafficPercent", "100"),
    ("logger mode", service(with_part(logger={"mode": "some"})), f"{P}.logger.mode", '"all"'),
    ("logger storage", service(with_part(logger={"storage": {"path": "x", "key": "k"}})), f"{P}.logger.storage.parameters", "required"),
    ("logger url", service(with_part(logger={"url": "ftp://x"})), f"{P}.logger.url", "s3://"),
    ("logger azure", service(with_part(logger={"url": "abfs://logs"})), f"{P}.logger.url", "bucket or folder"),
    ("logger batch", service(with_part(logger={"batchSize": -1})), f"{P}.logger.batchSize", "negative"),
    ("logger interval", service(with_part(logger={"batchInterval": "soon"})), f"{P}.logger.batchInterval", "30s"),
    ("logger path", service(with_part(logger=log_files(path="a/../b"))), f"{P}.logger.storage.path", "upwards"),
    ("logger marshaller", service(with_part(logger={**log_files(), "marshallerUrl": "x"})), f"{P}.logger.marshallerUrl", "http"),
    ("logger format", service(with_part(logger=log_files(format="parquet"))), f"{P}.logger.storage.parameters.format", "json or csv"),
    ("kpa metric", service(with_part(scaleMetric="cpu")), f"{P}.scaleMetric", "concurrency or rps"),
    ("kpa rps target", service(with_part(scaleMetric="rps", scaleTarget=0)), f"{P}.scaleTarget", "at least 1"),
    ("kpa strategy", service(with_part(deploymentStrategy={"type": "Recreate"})), f"{P}.deploymentStrategy", "Standard only"),
    ("hpa metric", service(with_part(scaleMetric="rps"), annotations=STANDARD), f"{P}.scaleMetric", "cpu or memory"),
    ("hpa target", service(with_part(scaleTarget=101), annotations=STANDARD), f"{P}.scaleTarget", "1 to 100"),
    (
        "hpa external",
        service(with_part(autoScaling={"metrics": [{"type": "External"}]}), annotations=STANDARD),
        f"{P}.autoScaling.metrics[0].type",
        "Resource",
    ),
    (
        "knative hpa",
        service(with_part(scaleMetric="rps"), annotations={"autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"}),
        f"{P}.scaleMetric",
        "cpu",
    ),
    ("keda scaleMetric", service(with_part(scaleMetric="cpu"), annotations=KEDA), f"{P}.scaleMetric", "keda"),
    (
        "keda cpu",
        service(
            with_part(autoScaling={"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Value"}}}]}),
            annotations=KEDA,
        ),
        f"{P}.autoScaling.metrics[0].resource.target.type",
        "Utilization",
    ),
    (
        "keda memory",
        service(
            with_part(
                autoScaling={
                    "metrics": [
                        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Ki"}}}
                    ]
                }
            ),
            annotations=KEDA,
        ),
        f"{P}.autoScaling.metrics[0].resource.target.averageValue",
        "1Mi",
    ),
    (
        "keda query",
        service(with_part(autoScaling={"metrics": [{"type": "External", "external": {"target": {"value": "1"}}}]}), annotations=KEDA),
        f"{P}.autoScaling.metrics[0].external.metric.query",
        "required",
    ),
    (
        "keda address",
        service(with_part(autoScaling={"metrics": [{"type": "External", "external": {"target": {"value": "1"}}}]}), annotations=KEDA),
        f"{P}.autoScaling.metrics[0].external.metric.serverAddress",
        "required",
    ),
    (
        "keda pod metric",
        service(with_part(autoScaling={"metrics": [{"type": "PodMetric", "podmetric": {}}]}), annotations=KEDA),
        f"{P}.autoScaling.metrics[0].type",
        "use type External",
    ),
    ("unquoted cpu", service(with_model(resources={"limits": {"cpu": 0.5}})), f"{P}.model.resources.limits.cpu", '"0.5"'),
    ("env twice", service(with_model(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])), f"{P}.model.env[1]", "twice"),
]


@pytest.mark.parametrize(("obj", "path", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(obj: Object, path: str, message: str) -> None:
    found = errors(admit(copy.deepcopy(obj)))
    assert path in found, found
    assert message in found[path]


ACCEPTED: list[tuple[str, Object]] = [
    ("the main job", service(with_part(serviceAccountName="sa"), name="mnist-torchserve")),
    ("name of 53", service(name="m" * 53)),
    ("no limit", service(with_part(minReplicas=5, maxReplicas=0))),
    ("scale to zero", service(with_part(minReplicas=0, maxReplicas=1))),
    ("longest timeout", service(with_part(timeout=600))),
    ("memory target above 100", service(with_part(scaleMetric="memory", scaleTarget=500), annotations=STANDARD)),
    ("external autoscaler", service(with_part(scaleMetric="rps"), annotations=NONE)),
    (
        "several artefacts",
        service(
            {"model": {"modelFormat": {"name": "a"}}, "storageUris": [{"uri": "s3://bk/m"}, {"uri": "s3://bk/n", "mountPath": "/mnt/x"}]}
        ),
    ),
    ("local files", service(with_model(storageUri="file:///models/mnist"))),
    ("sidecar", service(with_part(**custom({"name": "sidecar", "command": ["x"]})))),
    ("collocated transformer", service(with_part(**custom({"name": "transformer-container"})))),
    ("logger's marshaller", service(with_part(logger={**log_files(format="parquet"), "marshallerUrl": "http://x"}))),
    ("logger's files", service(with_part(logger={**log_files(format="csv"), "batchSize": 10, "batchInterval": "1m30s"}))),
    ("protocol v2", service(custom({"env": [{"name": "PROTOCOL", "value": "v2"}]}))),
    ("unknown annotations", service(annotations={"serving.kserve.io/disable-localmodel": "true", "my/own": "x"})),
    ("resources", service(with_model(resources={"limits": {"cpu": 1, "memory": "2Gi"}, "requests": {"cpu": "100m"}}))),
]


@pytest.mark.parametrize("obj", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(obj: Object) -> None:
    assert admit(copy.deepcopy(obj)) == Review()


@pytest.mark.parametrize(
    ("obj", "warning"),
    [
        (
            service(with_part(nodeSelector={"a": "b"}, affinity={"podAffinity": {}})),
            "spec.predictor: nodeSelector, affinity have no effect on one machine",
        ),
        (
            service(with_part(securityContext={"runAsUser": 1000, "fsGroup": 1, "seccompProfile": {"type": "RuntimeDefault"}})),
            "spec.predictor: securityContext.seccompProfile has no effect on one machine",
        ),
        (
            service(with_part(canaryTrafficPercent=10), annotations=STANDARD),
            "canaryTrafficPercent: has no effect in deployment mode Standard",
        ),
        (
            service(with_part(logger={**log_files(), "url": "http://sink", "batchSize": 2})),
            "spec.predictor.logger: storage, batchSize have no effect: each copy goes to url by itself",
        ),
        (service(with_part(workerSpec={"tensorParallelSize": 2})), "spec.predictor.workerSpec: has no effect on one machine"),
        (service(with_model(image="nvcr.io/triton:1")), "nvcr.io/triton:1 cannot be run here"),
        (service({"containers": [{"image": "me/mine"}]}), "me/mine cannot be run here"),
    ],
)
def test_what_has_no_effect_is_said(obj: Object, warning: str) -> None:
    found = admit(copy.deepcopy(obj))
    assert found.errors == ()
    assert any(warning in text for text in found.warnings)


def test_the_deployment_mode_stays() -> None:
    old = {**service(), "status": {"deploymentMode": "Knative"}}
    assert admit(service(), old) == Review()
    assert "cannot change from Knative to Standard" in next(iter(errors(admit(service(annotations=STANDARD), old)).values()))


def test_everything_wrong_is_said_at_once() -> None:
    found = errors(admit(service({**with_model(storageURI="x", storageUri="ftp://x"), "minReplicas": 3, "maxReplicas": 1}, name="M")))
    assert set(found) == {"metadata.name", f"{P}.model.storageURI", f"{P}.model.storageUri", f"{P}.maxReplicas"}


def test_a_wrong_type_anywhere_makes_no_check_fail() -> None:
    for wrong in (None, 5, "x", [], [1], {"x": 1}, [{"x": 1}], True):
        for field in ("model", "containers", "logger", "storageUris", "minReplicas", "autoScaling", "pytorch", "timeout", "name"):
            admit(service({field: copy.deepcopy(wrong)}))
        for field in ("modelFormat", "storageUri", "env", "image", "confidential"):
            admit(service(with_model(**{field: copy.deepcopy(wrong)})))
        admit(service(copy.deepcopy(wrong)) if isinstance(wrong, dict) else {**service(), "spec": {"predictor": wrong}})
        admit({**service(), "spec": wrong})
        admit({**service(), "metadata": {"name": wrong, "annotations": wrong, "labels": wrong}})
