"""The workflow of the README, with the real kubectl and a real S3, in order; then once more with our own commands."""

from __future__ import annotations

import json
import re
import subprocess

import httpx2

from tests.fixtures.s3 import S3Server
from tests.system.deploy import EXAMPLE, Model, manifest, secret
from tests.system.harness import Platform, host_of, until

REVISION = "mnist-torchserve-predictor-00001"


def test_deploy_and_wait(namespace: Platform) -> None:
    said = namespace.kubectl("apply", "-f", str(EXAMPLE / "kubernetes" / "inference-service.yaml"))
    assert said.stdout.strip() == "inferenceservice.serving.kserve.io/mnist-torchserve created"
    said = namespace.kubectl("wait", "--for=condition=Ready", "isvc/mnist-torchserve", "-n", "torchserve", "--timeout=90s")
    assert "condition met" in said.stdout


def test_get_shows_what_people_know(namespace: Platform) -> None:
    pods = namespace.kubectl("get", "pods", "-n", "torchserve").stdout.splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    name, ready, status, restarts, _ = pods[1].split()
    assert re.fullmatch(rf"{REVISION}-deployment-[a-z0-9]{{9,10}}-[a-z0-9]{{5}}", name)
    assert (ready, status, restarts) == ("2/2", "Running", "0")

    services = namespace.kubectl("get", "isvc", "-n", "torchserve").stdout.splitlines()
    head = ["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE"]
    assert services[0].split() == head
    row = dict(zip(head, _cells(services[0], services[1], head), strict=True))
    assert row["URL"] == f"http://mnist-torchserve.torchserve.localhost:{namespace.gateway_port}"
    assert (row["READY"], row["PREV"], row["LATEST"], row["PREVROLLEDOUTREVISION"]) == ("True", "", "100", "")
    assert row["LATESTREADYREVISION"] == REVISION

    both = namespace.kubectl("get", "secret,sa", "-n", "torchserve").stdout
    assert re.search(r"NAME +TYPE +DATA +AGE\nsecret/s3creds +Opaque +2 ", both)
    assert re.search(r"NAME +SECRETS +AGE\nserviceaccount/default +0 .*\nserviceaccount/sa +1 ", both)


def _cells(head: str, row: str, names: list[str]) -> list[str]:
    starts = [head.index(name) for name in names]
    return [row[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]


def test_predict_through_the_gateway(namespace: Platform, model: Model) -> None:
    answer = namespace.post("/v1/models/mnist:predict", model.request, host=host_of("mnist-torchserve"))
    assert (answer.status_code, answer.text) == (200, '{"predictions":[0]}')
    port = namespace.gateway_port
    url = f"http://mnist-torchserve.torchserve.localhost:{port}/v1/models/mnist:predict"
    command = ["curl", "-s", "--max-time", "20", "-H", "Content-Type: application/json", "-d", "@-", url]
    done = subprocess.run(command, input=json.dumps(model.request).encode(), capture_output=True, timeout=30, check=True)
    assert done.stdout == b'{"predictions":[0]}'
    by_service_name = namespace.post("/v1/models/mnist-torchserve:predict", model.request, host=host_of("mnist-torchserve"))
    assert by_service_name.text == '{"predictions":[0]}'


def test_an_unknown_host_is_told_which_there_are(namespace: Platform, model: Model) -> None:
    answer = namespace.post("/v1/models/mnist:predict", model.request, host="nobody.example.com")
    assert answer.status_code == 404
    assert "nobody.example.com" in answer.json()["error"]
    assert host_of("mnist-torchserve") in answer.json()["hosts"]


def test_the_pods_own_ports_answer(namespace: Platform, model: Model) -> None:
    pod = namespace.pods("mnist-torchserve")[0]
    address = pod["status"]["podIP"]
    with httpx2.Client(timeout=20, trust_env=False) as client:
        for port in (8080, 8085):
            answer = client.post(f"http://{address}:{port}/v1/models/mnist:predict", json=model.request)
            assert answer.text == '{"predictions":[0]}', port
        assert client.get(f"http://{address}:8085/ping").json() == {"status": "Healthy"}
        described = client.get(f"http://{address}:8085/models/mnist").json()[0]
        assert (described["minWorkers"], described["maxWorkers"], described["batchSize"]) == (1, 5, 1)
        assert "ts_inference_requests_total" in client.get(f"http://{address}:8082/metrics").text


def test_v2_answers_beside_v1(namespace: Platform, model: Model) -> None:
    host = host_of("mnist-torchserve")
    picture = model.request["instances"][0]["data"]
    body = {"id": "42", "inputs": [{"name": "input", "shape": [1], "datatype": "BYTES", "data": [picture]}]}
    answer = namespace.post("/v2/models/mnist/infer", body, host=host).json()
    assert (answer["id"], answer["outputs"][0]["data"]) == ("42", [0])


def test_a_virtual_service_works_until_it_is_deleted(namespace: Platform, model: Model) -> None:
    namespace.kubectl("apply", "-f", str(EXAMPLE / "kubernetes" / "virtual-service.yaml"))

    def status(wanted: int) -> bool:
        return namespace.post("/digits", model.request, host="mnist.example.com").status_code == wanted

    until(lambda: status(200), seconds=5, what="answer by the VirtualService")
    assert namespace.post("/digits", model.request, host="mnist.example.com").text == '{"predictions":[0]}'
    namespace.kubectl("delete", "-f", str(EXAMPLE / "kubernetes" / "virtual-service.yaml"))
    until(lambda: status(404), seconds=5, what="404 after the VirtualService was deleted")


def test_logs_and_describe(namespace: Platform) -> None:
    pod = namespace.pods("mnist-torchserve")[0]["metadata"]["name"]
    assert "Model server started" in namespace.kubectl("logs", pod, "-n", "torchserve").stdout
    fetched = namespace.kubectl("logs", pod, "-c", "storage-initializer", "-n", "torchserve").stdout
    assert "s3://models/kserve/torchserve/mnist" in fetched
    described = namespace.kubectl("describe", "isvc", "mnist-torchserve", "-n", "torchserve").stdout
    assert "InferenceServiceReady" in described
    assert "Started" in namespace.kubectl("describe", "pod", pod, "-n", "torchserve").stdout


def test_the_objects_that_people_look_for_lead_to_the_pods(namespace: Platform, model: Model) -> None:
    deployment, there = f"deploy/{REVISION}-deployment", ("-n", "torchserve")
    assert "successfully rolled out" in namespace.kubectl("rollout", "status", deployment, *there).stdout
    assert "Model server started" in namespace.kubectl("logs", deployment, *there).stdout
    by_label = ("-l", "serving.kserve.io/inferenceservice=mnist-torchserve")
    assert "Model server started" in namespace.kubectl("logs", *by_label, "-c", "kserve-container", "--tail=-1", *there).stdout
    assert namespace.kubectl("exec", deployment, *there, "--", "printenv", "K_REVISION").stdout.strip() == REVISION
    assert "Mi" in namespace.kubectl("top", "pods", *there).stdout
    refused = namespace.kubectl("scale", deployment, "--replicas=2", *there, check=False).stderr
    assert "2 would be taken back at once" in refused
    assert "kubectl patch isvc mnist-torchserve" in refused
    assert "flambeau" in namespace.kubectl("get", "nodes").stdout
    with namespace.port_forward("svc/mnist-torchserve-predictor", 80, namespace="torchserve") as address:
        answer = httpx2.post(f"{address}/v1/models/mnist:predict", json=model.request, timeout=30, trust_env=False)
    assert answer.text == '{"predictions":[0]}'


def test_a_change_makes_a_revision_and_loses_nothing(namespace: Platform, model: Model) -> None:
    changed = manifest("inference-service").replace("    model:\n", "    minReplicas: 1\n    model:\n      env: [{name: A, value: b}]\n")
    namespace.kubectl("apply", "-f", "-", stdin=changed)
    host = host_of("mnist-torchserve")

    def rolled_out() -> bool:
        answer = namespace.post("/v1/models/mnist:predict", model.request, host=host)
        assert (answer.status_code, answer.text) == (200, '{"predictions":[0]}')
        status = namespace.get("isvc", "mnist-torchserve", "-n", "torchserve")["status"]["components"]["predictor"]
        traffic = status["traffic"][0]
        return bool(traffic["revisionName"].endswith("-00002") and traffic["percent"] == 100)

    until(rolled_out, seconds=60, what="traffic to the second revision")


def test_delete_leaves_nothing(namespace: Platform) -> None:
    namespace.kubectl("delete", "isvc", "mnist-torchserve", "-n", "torchserve", "--timeout=60s")
    until(lambda: not namespace.pods("mnist-torchserve"), seconds=40, what="end of the pods")
    listing = until(lambda: namespace.kubectl("get", "pods", "-n", "torchserve", check=False).stderr, seconds=40, what="empty list of pods")
    assert "No resources found" in listing
    assert "No resources found" in namespace.kubectl("get", "all", "-n", "torchserve").stderr


def test_the_same_with_our_own_commands(namespace: Platform, bucket: S3Server, model: Model) -> None:
    flambeau = namespace.flambeau
    assert flambeau("create", "ns", "own").stdout.strip() == "namespace/own created"
    for name in ("s3-secret", "service-account", "inference-service"):
        text = secret(bucket) if name == "s3-secret" else manifest(name)
        text = text.replace("namespace: torchserve", "namespace: own")
        applied = flambeau("apply", "-f", "-", stdin=text).stdout
        assert applied.endswith(" created\n")
        assert flambeau("apply", "-f", "-", stdin=text).stdout.endswith(" unchanged\n")
    assert "condition met" in flambeau("wait", "isvc/mnist-torchserve", "-n", "own", "--timeout", "90s").stdout
    assert "2/2" in flambeau("get", "pods", "-n", "own").stdout
    url = flambeau("get", "isvc", "mnist-torchserve", "-n", "own", "-o", "jsonpath={.status.url}").stdout
    assert url == f"http://mnist-torchserve.own.localhost:{namespace.gateway_port}"
    described = flambeau("describe", "isvc/mnist-torchserve", "-n", "own").stdout
    assert "InferenceServiceReady" in described
    assert "Model server started" in flambeau("logs", "isvc/mnist-torchserve", "-n", "own").stdout
    answer = namespace.post("/v1/models/mnist:predict", model.request, host=host_of("mnist-torchserve", "own"))
    assert answer.text == '{"predictions":[0]}'
    assert "storageUri" in flambeau("explain", "isvc.spec.predictor.model").stdout
    assert "isvc" in flambeau("api-resources").stdout
    assert "deleted" in flambeau("delete", "isvc", "mnist-torchserve", "-n", "own").stdout
    assert "deleted" in flambeau("delete", "ns", "own").stdout
