"""Transformers, explainers, custom containers and canaries, with real programs, through the gateway."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.system.deploy import BUCKET, PREFIX, Model
from tests.system.harness import ROOT, Platform, host_of, until

FIXTURES = ROOT / "tests" / "fixtures"
SDK_PYTHON = ROOT / ".peers" / "kserve" / "bin" / "python"
NEEDS_SDK = pytest.mark.skipif(not SDK_PYTHON.exists(), reason="no environment with the kserve SDK: make peers-clients")
PATH = "/v1/models/mnist:predict"
MODEL = {"modelFormat": {"name": "pytorch"}, "storageUri": f"s3://{BUCKET}/{PREFIX}"}


def word(text: str, **fields: Any) -> dict[str, Any]:
    """Return a custom container that answers with a word."""
    return {"name": "kserve-container", "command": [sys.executable, str(FIXTURES / "word_service.py"), text], "image": "none", **fields}


def deploy(platform: Platform, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    """Apply an InferenceService and wait until it is Ready."""
    apply(platform, name, annotations, **spec)
    platform.kubectl("wait", "--for=condition=Ready", f"isvc/{name}", "-n", "torchserve", "--timeout=90s")


def apply(platform: Platform, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    metadata = {"name": name, "namespace": "torchserve", "annotations": annotations or {}}
    obj = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": spec}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(obj))


def answers(platform: Platform, name: str, path: str = PATH) -> Any:
    answer = platform.post(path, {"instances": []}, host=host_of(name))
    assert answer.status_code == 200, answer.text
    return answer.json()


def words(platform: Platform, name: str, count: int) -> set[str]:
    """Return the words that so many requests are answered with."""
    return {answers(platform, name)["predictions"][0] for _ in range(count)}


def test_a_custom_container_is_a_local_command(namespace: Platform) -> None:
    env = [{"name": "STORAGE_URI", "value": f"s3://{BUCKET}/{PREFIX}"}]
    deploy(
        namespace, "mine", predictor={"serviceAccountName": "sa", "containers": [word("mine", env=env, args=["--place", "/mnt/models"])]}
    )
    answer = answers(namespace, "mine")
    assert (answer["predictions"], answer["path"]) == (["mine"], PATH)
    assert answer["place"] == answer["arguments"][1]
    assert answer["place"].startswith(str(namespace.home))
    assert "mine-predictor" in namespace.kubectl("get", "svc", "-n", "torchserve").stdout


def test_explanations_go_to_the_explainer(namespace: Platform) -> None:
    deploy(namespace, "plain", predictor={"containers": [word("predicted")]}, explainer={"containers": [word("explained")]})
    assert answers(namespace, "plain")["predictions"] == ["predicted"]
    explained = answers(namespace, "plain", "/v1/models/plain:explain")
    assert explained["predictions"] == ["explained"]
    flags = explained["arguments"]
    assert flags[:2] == ["--model_name", "plain"]
    address = namespace.get("svc", "plain-predictor", "-n", "torchserve")["spec"]["clusterIP"]
    assert flags[flags.index("--predictor_host") + 1] == f"{address}:{namespace.gateway_port}"
    assert namespace.condition("plain", type="ExplainerReady")["status"] == "True"


@NEEDS_SDK
def test_a_transformer_of_the_sdk_stands_before_an_archive(namespace: Platform, model: Model) -> None:
    container = {"name": "kserve-container", "image": "mine", "command": [str(SDK_PYTHON), str(FIXTURES / "kserve_transformer.py")]}
    deploy(
        namespace,
        "seen",
        predictor={"serviceAccountName": "sa", "minReplicas": 0, "model": MODEL, "annotations": {"autoscaling.knative.dev/window": "6s"}},
        transformer={"containers": [container]},
    )
    [instance] = model.request["instances"]
    body = {"instances": [{"picture": instance["data"]}]}
    answer = namespace.post("/v1/models/seen:predict", body, host=host_of("seen"))
    assert (answer.status_code, answer.text) == (200, '{"predictions":["zero"]}'), answer.text
    plain = namespace.post("/v1/models/seen:predict", model.request, host=host_of("seen-predictor"))
    assert (plain.status_code, plain.text) == (200, '{"predictions":[0]}'), plain.text
    columns = namespace.kubectl("get", "isvc", "seen", "-n", "torchserve").stdout
    assert "seen-predictor-00001" in columns

    def asleep() -> bool:
        return {pod["metadata"]["labels"]["component"] for pod in namespace.pods("seen")} == {"transformer"}

    until(asleep, seconds=40, what="sleeping predictor behind a transformer that is awake")
    answer = namespace.post("/v1/models/seen:predict", body, host=host_of("seen"))
    assert (answer.status_code, answer.text) == (200, '{"predictions":["zero"]}'), answer.text


@NEEDS_SDK
def test_a_transformer_beside_its_predictor(namespace: Platform, model: Model) -> None:
    flags = ["--model_name=beside", "--predictor_host=localhost:8080", "--http_port=9000", "--grpc_port=9001"]
    command = [str(SDK_PYTHON), str(FIXTURES / "kserve_transformer.py")]
    beside = {"name": "transformer-container", "image": "mine", "command": command, "args": flags, "ports": [{"containerPort": 9000}]}
    deploy(namespace, "beside", predictor={"serviceAccountName": "sa", "model": MODEL, "containers": [beside]})
    [instance] = model.request["instances"]
    body = {"instances": [{"picture": instance["data"]}]}
    answer = namespace.post("/v1/models/beside:predict", body, host=host_of("beside"))
    assert (answer.status_code, answer.text) == (200, '{"predictions":["zero"]}'), answer.text


def test_pods_run_on_without_their_service_until_the_next_of_its_name(namespace: Platform) -> None:
    on = ("-n", "torchserve")
    deploy(namespace, "kept", predictor={"serviceAccountName": "sa", "model": {**MODEL, **word("kept")}})
    [before] = namespace.pods("kept")
    namespace.kubectl("delete", "isvc", "kept", *on, "--cascade=orphan", "--timeout=30s")
    until(lambda: namespace.ask("/", host=host_of("kept")).status_code == 404, seconds=30, what="no route")
    [alone] = namespace.pods("kept")
    assert alone["metadata"]["uid"] == before["metadata"]["uid"]
    assert alone["metadata"]["ownerReferences"][0]["name"] == "kept-predictor-00001"
    assert namespace.get("rev", "kept-predictor-00001", *on)["metadata"].get("ownerReferences") is None
    deploy(namespace, "kept", predictor={"serviceAccountName": "sa", "model": {**MODEL, **word("kept")}})
    assert answers(namespace, "kept")["predictions"] == ["kept"]
    [again] = namespace.pods("kept")
    assert (again["metadata"]["uid"], again["status"]["startTime"]) == (before["metadata"]["uid"], before["status"]["startTime"])
    namespace.kubectl("delete", "isvc", "kept", *on, "--cascade=orphan")
    namespace.kubectl("delete", "rev", "kept-predictor-00001", *on)
    until(lambda: not namespace.pods("kept"), seconds=60, what="no pods")
    namespace.kubectl("delete", "ksvc,svc", "-l", "serving.kserve.io/inferenceservice=kept", *on)


def test_canaries_share_the_requests(namespace: Platform) -> None:
    standard = {"serving.kserve.io/deploymentMode": "Standard"}
    own = {"serviceAccountName": "sa", "model": {**MODEL, **word("stable")}}
    canary = {"predictor": {"name": "next", "model": {**MODEL, **word("canary")}}, "trafficPercent": 50}
    deploy(namespace, "shared", standard, predictor=own, canary=[canary])
    until(lambda: namespace.condition("shared", type="CanaryPredictorReady").get("status") == "True", seconds=60, what="ready canary")
    until(lambda: words(namespace, "shared", 20) == {"stable", "canary"}, seconds=30, what="both answers")
    assert answers(namespace, "shared-next-predictor")["predictions"] == ["canary"]
    for name in ("shared-predictor", "shared-next-predictor"):  # as Deployments, and as nothing of Knative's
        namespace.kubectl("rollout", "status", f"deploy/{name}", "-n", "torchserve", "--timeout=30s")
        assert "fetched s3://" in namespace.kubectl("logs", f"deploy/{name}", "-n", "torchserve", "--all-containers").stdout
    assert "shared" not in namespace.kubectl("get", "ksvc,configurations,routes", "-n", "torchserve", "-o", "name").stdout
    apply(namespace, "shared", standard, predictor={**own, "name": "next", "model": canary["predictor"]["model"]})  # type: ignore[index]
    until(lambda: "canaryStatuses" not in namespace.get("isvc", "shared", "-n", "torchserve")["status"], seconds=30, what="promotion")
    namespace.kubectl("wait", "--for=condition=Ready", "isvc/shared", "-n", "torchserve", "--timeout=60s")
    until(lambda: words(namespace, "shared", 20) == {"canary"}, seconds=30, what="answers of the canary alone")
