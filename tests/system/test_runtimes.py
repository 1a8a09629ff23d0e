"""Models without an archive, deployed by their format with the YAML that a cluster would take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import joblib
import numpy
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from flambeau.serving.frontends.grpc_messages import message
from tests.fixtures.s3 import S3Server
from tests.system.deploy import BUCKET
from tests.system.harness import Platform, host_of
from tests.system.test_components import FIXTURES, NEEDS_SDK, SDK_PYTHON

ROWS = [[6.8, 2.8, 4.8, 1.4], [5.1, 3.5, 1.4, 0.2]]
"""Of the classes 1 and 0."""

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: {name}, namespace: torchserve}}
spec:
  predictor:
    serviceAccountName: sa
    model:
      modelFormat: {{name: sklearn}}
      {protocol}
      storageUri: s3://{bucket}/sklearn/iris
"""


@pytest.fixture(scope="module")
def iris(bucket: S3Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("iris")
    features, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(features, classes), folder / "model.joblib")
    bucket.upload_dir(folder, BUCKET, "sklearn/iris")


def deploy(platform: Platform, name: str, protocol: str = "") -> None:
    platform.kubectl("apply", "-f", "-", stdin=SERVICE.format(name=name, protocol=protocol, bucket=BUCKET))
    platform.kubectl("wait", "--for=condition=Ready", f"isvc/{name}", "-n", "torchserve", "--timeout=90s")


def v2(name: str) -> dict[str, Any]:
    return {"inputs": [{"name": name, "shape": [2, 4], "datatype": "FP64", "data": ROWS}]}


@pytest.mark.usefixtures("iris")
def test_sklearn_from_s3_answers_v1_v2_and_grpc_through_the_gateway(namespace: Platform) -> None:
    deploy(namespace, "iris")
    shown = namespace.kubectl("get", "isvc", "iris", "-n", "torchserve", "-o", "jsonpath={.status.clusterServingRuntimeName}").stdout
    assert shown == "kserve-sklearnserver"
    host = host_of("iris")
    said = namespace.post("/v1/models/iris:predict", {"instances": ROWS}, host=host)
    assert (said.status_code, said.json()) == (200, {"predictions": [1, 0]})
    said = namespace.post("/v2/models/iris/infer", v2("input-0"), host=host)
    assert said.json()["outputs"] == [{"name": "output-0", "shape": [2], "datatype": "INT64", "data": [1, 0]}]
    request = message("inference.ModelInferRequest")(model_name="iris")
    request.inputs.add(name="input-0", datatype="FP64", shape=[2, 4])
    request.raw_input_contents.append(numpy.array(ROWS).tobytes())
    with grpc.insecure_channel(f"127.0.0.1:{namespace.gateway_port}", options=[("grpc.default_authority", host)]) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=message("inference.ModelInferResponse").FromString,
        )
        answer = infer(request, timeout=60)
    assert numpy.frombuffer(answer.raw_output_contents[0], "int64").tolist() == [1, 0]


@NEEDS_SDK
@pytest.mark.usefixtures("iris")
def test_a_transformer_of_the_sdk_asks_its_predictor_over_grpc(namespace: Platform) -> None:
    command = [str(SDK_PYTHON), str(FIXTURES / "kserve_grpc_transformer.py"), "--predictor_protocol", "grpc-v2"]
    container = {"name": "kserve-container", "image": "mine", "command": command}
    model = {"modelFormat": {"name": "sklearn"}, "protocolVersion": "v2", "storageUri": f"s3://{BUCKET}/sklearn/iris"}
    spec = {"predictor": {"serviceAccountName": "sa", "model": model}, "transformer": {"containers": [container]}}
    metadata = {"name": "measured", "namespace": "torchserve"}
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": spec}
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(service))
    namespace.kubectl("wait", "--for=condition=Ready", "isvc/measured", "-n", "torchserve", "--timeout=90s")
    flowers = [[10 * each for each in row] for row in ROWS]
    body = {"inputs": [{"name": "flowers", "shape": [2, 4], "datatype": "FP64", "data": flowers}]}
    said = namespace.post("/v2/models/measured/infer", body, host=host_of("measured"))
    assert said.status_code == 200, said.text
    [output] = said.json()["outputs"]
    assert (output["name"], output["data"]) == ("species", [1, 0])


TRAINED = f"""\
apiVersion: serving.kserve.io/v1alpha1
kind: TrainedModel
metadata: {{name: second, namespace: torchserve}}
spec:
  inferenceService: iris
  model: {{framework: sklearn, storageUri: s3://{BUCKET}/sklearn/iris, memory: 100Mi}}
"""


@pytest.mark.usefixtures("iris")
def test_a_trained_model_joins_a_running_server(namespace: Platform) -> None:
    deploy(namespace, "iris")
    namespace.kubectl("apply", "-f", "-", stdin=TRAINED)
    namespace.kubectl("wait", "--for=condition=Ready", "tm/second", "-n", "torchserve", "--timeout=60s")
    said = namespace.post("/v1/models/second:predict", {"instances": ROWS}, host=host_of("iris"))
    assert (said.status_code, said.json()) == (200, {"predictions": [1, 0]})


@pytest.mark.usefixtures("iris")
def test_v2_is_mlservers_as_on_a_cluster(namespace: Platform) -> None:
    deploy(namespace, "iris-v2", "protocolVersion: v2")
    shown = namespace.kubectl("get", "isvc", "iris-v2", "-n", "torchserve", "-o", "jsonpath={.status.clusterServingRuntimeName}").stdout
    assert shown == "kserve-mlserver"
    said = namespace.post("/v2/models/iris-v2/infer", v2("x"), host=host_of("iris-v2"))
    assert said.json()["outputs"] == [{"name": "predict", "shape": [2, 1], "datatype": "INT64", "data": [1, 0]}]


@pytest.mark.usefixtures("iris")
def test_two_model_files_are_named_in_the_services_condition(namespace: Platform, bucket: S3Server) -> None:
    for name in ("model.joblib", "old.pkl"):
        bucket.put(BUCKET, f"sklearn/two/{name}", b"x")
    manifest = SERVICE.format(name="two", protocol="", bucket=BUCKET).replace("sklearn/iris", "sklearn/two")
    namespace.kubectl("apply", "-f", "-", stdin=manifest)
    namespace.ready_message("two", "more than one file could be it", "model.joblib, old.pkl", seconds=60)
    namespace.kubectl("delete", "isvc", "two", "-n", "torchserve")
