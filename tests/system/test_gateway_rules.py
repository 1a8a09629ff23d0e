"""Routes, logger, batcher and shadow as a user asks for them with kubectl, on running pods."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fixtures.s3 import S3Server
from tests.system.harness import Platform, until

NAMESPACE = "rules"
HOST = f"real.{NAMESPACE}.svc.cluster.local"
BODY = {"instances": [1]}


class Collector(BaseHTTPRequestHandler):
    """Remember the events that come."""

    events: list[tuple[str, bytes]] = []  # noqa: RUF012  # one server, one list

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.events.append((self.headers["ce-type"].rpartition(".")[2] + " " + self.headers["ce-inferenceservicename"], body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def collector() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/events"
    server.shutdown()
    server.server_close()
    thread.join()


def service(name: str, word: str, annotations: dict[str, str] | None = None, **predictor: Any) -> Any:
    container = {
        "name": "kserve-container",
        "image": "example.com/answering",
        "command": [sys.executable, str(Path(__file__).with_name("answering.py"))],
        "env": [{"name": "WORD", "value": word}],
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}},
        "spec": {"predictor": {"containers": [container], **predictor}},
    }


def apply(platform: Platform, *objects: Any) -> str:
    return platform.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})).stderr


@pytest.fixture(scope="module")
def served(platform: Platform, collector: str) -> Platform:
    platform.kubectl("create", "ns", NAMESPACE)
    aside = {"logger": {"url": collector, "mode": "all"}, "batcher": {"maxBatchSize": 4, "maxLatency": 100}}
    told = apply(platform, service("other", "b"), service("real", "a", {"flambeau.dev/shadow": "other"}, **aside))
    assert told == ""
    for name in ("other", "real"):
        platform.kubectl("wait", "isvc", name, "-n", NAMESPACE, "--for=condition=Ready", "--timeout=90s")
    return platform


def answered(platform: Platform, path: str, host: str) -> httpx2.Response:
    """Return the first good answer."""

    def look() -> httpx2.Response | None:
        answer = platform.post(path, BODY, host=host)
        return answer if answer.status_code == 200 else None

    found = until(look, seconds=30, what=f"answer of {host}")
    assert found is not None
    return found


def test_requests_are_logged_batched_and_compared(served: Platform) -> None:
    told = answered(served, "/v1/models/real:predict", HOST).json()
    assert (told["predictions"], told["message"], len(told["batchId"])) == (["a"], "", 36)
    until(lambda: {kind for kind, _ in Collector.events} == {"request real", "response real"}, seconds=30, what="events")
    assert json.loads(next(body for kind, body in Collector.events if kind == "request real")) == BODY

    def differs() -> bool:
        served.post("/v1/models/real:predict", BODY, host=HOST)
        return "answers of shadow other differ" in served.kubectl("describe", "isvc", "real", "-n", NAMESPACE).stdout

    until(differs, seconds=60, what="event about the shadow")


def test_copies_are_kept_in_a_bucket(served: Platform, s3_server: S3Server) -> None:
    bucket = s3_server.create_bucket()
    endpoint = s3_server.endpoint.removeprefix("http://")
    annotations = {f"serving.kserve.io/{name}": value for name, value in (("s3-endpoint", endpoint), ("s3-usehttps", "0"))}
    keys = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": keys, "metadata": {"name": "log-keys", "annotations": annotations}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "logger-sa"}, "secrets": [{"name": "log-keys"}]}
    for obj in (secret, account):
        obj["metadata"]["namespace"] = NAMESPACE  # type: ignore[index]
    storage = {"path": "/logs", "key": "none", "parameters": {"type": "s3", "format": "json"}, "serviceAccountName": "logger-sa"}
    logger = {"url": f"s3://{bucket}/pre", "mode": "all", "storage": storage, "batchSize": 2, "batchInterval": "30s"}
    assert apply(served, secret, account, service("kept", "c", logger=logger)) == ""
    served.kubectl("wait", "isvc", "kept", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=90s")
    host = f"kept.{NAMESPACE}.svc.cluster.local"
    answer = served.post("/v1/models/kept:predict", BODY, host=host, headers={"Ce-Id": "mine"})
    assert (answer.status_code, answer.json()["predictions"]) == (200, ["c"])
    found = until(lambda: s3_server.client.list_objects_v2(Bucket=bucket).get("Contents"), seconds=30, what="file in the bucket")
    assert [each["Key"] for each in found] == [f"pre/{NAMESPACE}/kept/predictor/logs/mine-response.json"]
    records = json.loads(s3_server.client.get_object(Bucket=bucket, Key=found[0]["Key"])["Body"].read())
    assert [(each["Id"], each["ReqType"].rpartition(".")[2]) for each in records] == [("mine", "request"), ("mine", "response")]
    assert json.loads(base64.b64decode(records[0]["Bytes"])) == BODY
    routes = (served.home / "gateway" / "routes.json").read_text()
    assert s3_server.secret_key not in routes

    s3_server.client.delete_object(Bucket=bucket, Key=found[0]["Key"])
    s3_server.client.delete_bucket(Bucket=bucket)
    served.post("/v1/models/kept:predict", BODY, host=host)
    told = f"cannot write s3://{bucket}/pre/{NAMESPACE}/kept"
    until(
        lambda: told in served.kubectl("describe", "isvc", "kept", "-n", NAMESPACE).stdout, seconds=60, what="event about the lost copies"
    )


def test_a_virtual_service_with_everything(served: Platform) -> None:
    redirect = {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new", "redirectCode": 308}}
    direct = {"match": [{"uri": {"exact": "/down"}}], "directResponse": {"status": 418, "body": {"string": "tea"}}}
    route = {
        "route": [{"destination": {"host": f"other.{NAMESPACE}.svc.cluster.local"}}],
        "headers": {"response": {"set": {"x-route": "mine"}}},
        "corsPolicy": {"allowOrigins": [{"exact": "https://a.example"}]},
        "fault": {"abort": {"httpStatus": 503, "percentage": {"value": 0}}},
        "timeout": "20s",
    }
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "all", "namespace": NAMESPACE},
        "spec": {
            "hosts": ["all.example"],
            "gateways": ["knative-serving/knative-ingress-gateway"],
            "http": [redirect, direct, route],
        },
    }
    assert apply(served, virtual_service) == ""
    answer = answered(served, "/x", "all.example")
    assert (answer.json()["predictions"], answer.headers["x-route"]) == (["b"], "mine")
    allowed = served.post("/x", BODY, host="all.example", headers={"Origin": "https://a.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://a.example"
    assert served.post("/old", BODY, host="all.example").headers["location"] == "http://all.example/new"
    down = served.post("/down", BODY, host="all.example")
    assert (down.status_code, down.text) == (418, "tea")


def test_an_http_route(served: Platform) -> None:
    rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}}}
    http_route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "mine", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "kserve-ingress-gateway", "namespace": "kserve"}],
            "hostnames": ["route.example"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
                    "filters": [rewrite],
                    "backendRefs": [{"name": "other", "port": 80}],
                }
            ],
        },
    }
    assert apply(served, http_route) == ""
    served.kubectl(
        *("wait", "httproute", "mine", "-n", NAMESPACE, "--timeout=30s"),
        "--for=jsonpath={.status.parents[0].conditions[?(@.type=='Accepted')].status}=True",
    )
    answer = served.post("/api/models/other:predict", BODY, host="route.example")
    assert (answer.status_code, answer.json()["predictions"]) == (200, ["b"])
    assert served.post("/apis", BODY, host="route.example").status_code == 404
