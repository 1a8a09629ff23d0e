"""Runs in the kserve SDK's environment: deploys as its users do. Arguments: a kubeconfig, a namespace, a folder for credentials files.

The service's Ready condition is set by who started this script, when it has seen the service.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from kserve import (
    KServeClient,
    V1alpha1InferenceGraph,
    V1alpha1InferenceGraphSpec,
    V1alpha1InferenceRouter,
    V1alpha1InferenceStep,
    V1alpha1ModelSpec,
    V1alpha1TrainedModel,
    V1alpha1TrainedModelSpec,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
)
from kubernetes import client

KUBECONFIG, NAMESPACE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])


def service(storage: str) -> V1beta1InferenceService:
    model = V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="pytorch"), storage_uri=storage)
    return V1beta1InferenceService(
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=client.V1ObjectMeta(name="mnist", namespace=NAMESPACE),
        spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(model=model)),
    )


def uri(obj: dict[str, Any]) -> str:
    return str(obj["spec"]["predictor"]["model"]["storageUri"])


def secret_of(account: client.V1ServiceAccount) -> client.V1Secret:
    return client.CoreV1Api().read_namespaced_secret(account.secrets[-1].name, NAMESPACE)


kserve = KServeClient(config_file=KUBECONFIG)

# Credentials: a new ServiceAccount with a Secret, then one more Secret for it.
(FOLDER / "aws").write_text("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = not/base-64\n")
for region in ("eu-1", "eu-2"):
    kserve.set_credentials(
        storage_type="S3",
        namespace=NAMESPACE,
        credentials_file=str(FOLDER / "aws"),
        s3_endpoint="127.0.0.1:9000",
        s3_region=region,
        s3_use_https="0",
    )
    account = client.CoreV1Api().read_namespaced_service_account("kserve-service-credentials", NAMESPACE)
    secret = secret_of(account)
    assert secret.metadata.annotations["serving.kserve.io/s3-endpoint"] == "127.0.0.1:9000", secret.metadata.annotations
    plain = {name: base64.b64decode(value).decode() for name, value in secret.data.items()}
    assert plain == {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "not/base-64"}, plain
(FOLDER / "gcs.json").write_text("{}")
kserve.set_credentials(storage_type="GCS", namespace=NAMESPACE, credentials_file=str(FOLDER / "gcs.json"), service_account="google")
google = secret_of(client.CoreV1Api().read_namespaced_service_account("google", NAMESPACE))
assert google.data == {"gcloud-application-credentials.json": base64.b64encode(b"{}").decode()}, google.data
azure = {"clientId": "id", "clientSecret": "word", "subscriptionId": "sub", "tenantId": "tenant"}
(FOLDER / "azure.json").write_text(json.dumps(azure))
kserve.set_credentials(storage_type="Azure", namespace=NAMESPACE, credentials_file=str(FOLDER / "azure.json"), service_account="azure")
microsoft = secret_of(client.CoreV1Api().read_namespaced_service_account("azure", NAMESPACE))
assert base64.b64decode(microsoft.data["AZURE_CLIENT_SECRET"]) == b"word", microsoft.data

# A service's life.
made = kserve.create(service("s3://models/one"))
assert uri(made) == "s3://models/one"
assert not kserve.is_isvc_ready("mnist", namespace=NAMESPACE)
print("created", flush=True)
kserve.wait_isvc_ready("mnist", namespace=NAMESPACE, timeout_seconds=30, polling_interval=1)
assert kserve.is_isvc_ready("mnist", namespace=NAMESPACE)
assert uri(kserve.get("mnist", namespace=NAMESPACE)) == "s3://models/one"
assert [each["metadata"]["name"] for each in kserve.get(namespace=NAMESPACE)["items"]] == ["mnist"]
kserve.get("mnist", namespace=NAMESPACE, watch=True, timeout_seconds=2)
assert uri(kserve.patch("mnist", service("s3://models/two"), namespace=NAMESPACE)) == "s3://models/two"
assert uri(kserve.replace("mnist", service("s3://models/three"), namespace=NAMESPACE)) == "s3://models/three"
kserve.delete("mnist", namespace=NAMESPACE)
assert kserve.get(namespace=NAMESPACE)["items"] == []

# A graph's and a trained model's life.
ALPHA = "serving.kserve.io/v1alpha1"
step = {"service_url": "http://127.0.0.1:1/v1/models/a:predict"}
router = V1alpha1InferenceRouter(router_type="Sequence", steps=[V1alpha1InferenceStep(**step)])
graph = V1alpha1InferenceGraph(
    api_version=ALPHA,
    kind="InferenceGraph",
    metadata=client.V1ObjectMeta(name="graph", namespace=NAMESPACE),
    spec=V1alpha1InferenceGraphSpec(nodes={"root": router}),
)
kserve.create_inference_graph(graph, namespace=NAMESPACE)
assert kserve.get_inference_graph("graph", namespace=NAMESPACE)["spec"]["nodes"]["root"]["routerType"] == "Sequence"
assert not kserve.is_ig_ready("graph", namespace=NAMESPACE)
kserve.delete_inference_graph("graph", namespace=NAMESPACE)
trained = V1alpha1TrainedModel(
    api_version=ALPHA,
    kind="TrainedModel",
    metadata=client.V1ObjectMeta(name="trained", namespace=NAMESPACE),
    spec=V1alpha1TrainedModelSpec(
        inference_service="mnist", model=V1alpha1ModelSpec(framework="pytorch", memory="1Gi", storage_uri="s3://models/trained")
    ),
)
kserve.create_trained_model(trained, NAMESPACE)
kserve.delete_trained_model("trained", namespace=NAMESPACE)
print("kserve is content")
