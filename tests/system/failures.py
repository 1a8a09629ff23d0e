"""What goes wrong with an InferenceService, each with how it comes about, where it is told in which words, and what to do.

One table, read by ``test_failures.py``, which makes every row happen, and by ``tools/troubleshooting.py``, which writes it into
docs/troubleshooting.md.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.system.deploy import BUCKET, PREFIX

NAMESPACE = "failures"
MODEL_URI = f"s3://{BUCKET}/{PREFIX}"


class Told(StrEnum):
    """Where a person reads it."""

    REFUSED = "refused at apply"
    READY = "condition Ready"
    CANARY = "condition CanaryPredictorReady"
    ANSWER = "answer at the gateway"


@dataclass(frozen=True)
class Failure:
    """One row."""

    name: str
    """Of the object that is applied, and of the test."""
    topic: str
    cause: str
    words: tuple[str, ...]
    """What must be read, in one message."""
    remedy: str
    told: Told = Told.READY
    reason: str = ""
    """The condition's reason, where it is one to search for."""
    predictor: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    """What the spec has beside the predictor."""
    good: Mapping[str, Any] = field(default_factory=dict)
    """The spec that is applied first and goes on answering."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None
    """What is applied, where it isn't an InferenceService with this predictor."""
    archive: str = ""
    """Which archive lies at the model's URI, one of ``test_failures.ARCHIVES``; the storageUri is filled in by the test."""
    account: str = ""
    """Which ServiceAccount, one of ``test_failures.ACCOUNTS``."""
    answer: tuple[str, int] = ("", 0)
    """Host and status, for what is told by an answer."""

    def first(self) -> dict[str, Any]:
        """Return what is applied before, and serves."""
        return self._isvc(copy.deepcopy(dict(self.good)))

    def manifest(self) -> dict[str, Any]:
        """Return what is applied."""
        if self.document is not None:
            return copy.deepcopy(dict(self.document))
        predictor = copy.deepcopy(dict(self.predictor))
        if self.account:
            predictor["serviceAccountName"] = self.account
        return self._isvc({"predictor": predictor, **copy.deepcopy(dict(self.beside))})

    def _isvc(self, spec: dict[str, Any]) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": self.name, "namespace": NAMESPACE}
        if self.annotations:
            metadata["annotations"] = dict(self.annotations)
        return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": spec}


def model(uri: str = MODEL_URI, format: str = "pytorch", **fields: Any) -> dict[str, Any]:
    """Return a predictor with a model."""
    return {"model": {"modelFormat": {"name": format}, "storageUri": uri, **fields}}


def program(code: str, **fields: Any) -> dict[str, Any]:
    """Return a predictor with a container that runs a line of Python."""
    return {"containers": [{"name": "kserve-container", "image": "example.com/own", "command": [sys.executable, "-c", code], **fields}]}


_LISTEN = (
    "import http.server, os; h = http.server.BaseHTTPRequestHandler; "
    "h.do_GET = lambda s: (s.send_response({status}), s.send_header('content-length', '0'), s.end_headers()); "
    "http.server.HTTPServer((os.environ['FLAMBEAU_POD_IP'], int(os.environ['PORT'])), h).serve_forever()"
)
WELL = _LISTEN.format(status=200)
UNWELL = _LISTEN.format(status=500)


def _document(kind: str, api: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **fields}


def _isvc(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": dict(metadata), "spec": dict(spec)}


def _routes(name: str, **rule: Any) -> dict[str, Any]:
    spec = {"hosts": [f"{name}.example.com"], "gateways": ["knative-serving/knative-ingress-gateway"], "http": [rule]}
    return _document("VirtualService", "networking.istio.io/v1", name, spec=spec)


_YAML = (
    Failure(
        "misspelt-metadata",
        "YAML",
        "a misspelt field",
        ("namespacea", '"namespace"'),
        "the message names the likely field",
        Told.REFUSED,
        document=_isvc({"name": "misspelt-metadata", "namespacea": NAMESPACE}, {"predictor": model()}),
    ),
    Failure(
        "misspelt-deep",
        "YAML",
        "a misspelt field deep down",
        ("spec.predictor.model.storageURI", "storageUri"),
        "the message names path and likely field",
        Told.REFUSED,
        predictor={"model": {"modelFormat": {"name": "pytorch"}, "storageURI": MODEL_URI}},
    ),
    Failure(
        "wrong-type",
        "YAML",
        "a word where a number belongs",
        ("spec.predictor.minReplicas", "integer"),
        "write the number without quotes",
        Told.REFUSED,
        predictor={**model(), "minReplicas": "one"},
    ),
    Failure(
        "two-models",
        "YAML",
        "two implementations in one predictor",
        ("spec.predictor", "exactly one of"),
        "keep `model`; a second one belongs to an InferenceService of its own",
        Told.REFUSED,
        predictor={"pytorch": {"storageUri": MODEL_URI}, "sklearn": {"storageUri": MODEL_URI}},
    ),
    Failure(
        "no-model",
        "YAML",
        "a predictor without a model or container",
        ("spec.predictor", "exactly one of"),
        "give it `model` or `containers`",
        Told.REFUSED,
        predictor={"minReplicas": 1},
    ),
    Failure(
        "no-format-name",
        "YAML",
        "a model without its format",
        ("spec.predictor.model.modelFormat",),
        "`modelFormat: {name: pytorch}`",
        Told.REFUSED,
        predictor={"model": {"storageUri": MODEL_URI}},
    ),
    Failure(
        "m" * 60,
        "YAML",
        "a name that becomes too long for a host",
        ("metadata.name", "63"),
        "a shorter name: with `-predictor` it must fit into 63 characters",
        Told.REFUSED,
        predictor=model(),
    ),
    Failure(
        "no-namespace",
        "YAML",
        "a namespace that is not there",
        ('namespaces "nowhere" not found', "kubectl create namespace nowhere"),
        "create it first",
        Told.REFUSED,
        document=_isvc({"name": "no-namespace", "namespace": "nowhere"}, {"predictor": model()}),
    ),
    Failure(
        "unknown-mode",
        "YAML",
        "an unknown deployment mode",
        ("serving.kserve.io/deploymentMode", "must be one of"),
        "`Knative` or `Standard`",
        Told.REFUSED,
        predictor=model(),
        annotations={"serving.kserve.io/deploymentMode": "Serverles"},
    ),
    Failure(
        "long-timeout",
        "YAML",
        "a timeout over ten minutes",
        ("spec.predictor.timeout", "600"),
        "at most 600; longer work belongs into a queue of your own",
        Told.REFUSED,
        predictor={**model(), "timeout": 601},
    ),
)
_SCALING = (
    Failure(
        "min-over-max",
        "scaling",
        "minReplicas over maxReplicas",
        ("spec.predictor.maxReplicas", "less than minReplicas"),
        "raise maxReplicas",
        Told.REFUSED,
        predictor={**model(), "minReplicas": 3, "maxReplicas": 2},
    ),
    Failure(
        "cpu-in-knative",
        "scaling",
        "a metric that this mode does not scale by",
        ("spec.predictor.scaleMetric", "concurrency or rps"),
        "one of those, or `autoscaling.knative.dev/class: hpa.autoscaling.knative.dev`",
        Told.REFUSED,
        predictor={**model(), "scaleMetric": "cpu"},
    ),
    Failure(
        "negative-concurrency",
        "scaling",
        "a negative containerConcurrency",
        ("spec.predictor.containerConcurrency", "must not be negative"),
        "0 is no limit",
        Told.REFUSED,
        predictor={**model(), "containerConcurrency": -1},
    ),
    Failure(
        "asleep-and-broken",
        "scaling",
        "a service that sleeps and whose process ends when it is woken",
        ("asleep-and-broken", "no weights to wake up with"),
        "as the message says; `kubectl logs` has the rest",
        Told.ANSWER,
        predictor={**program("raise SystemExit('no weights to wake up with')"), "minReplicas": 0, "timeout": 5},
        annotations={"autoscaling.knative.dev/initial-scale": "0"},
        answer=(f"asleep-and-broken.{NAMESPACE}.svc.cluster.local", 503),
    ),
)
_STABLE = {**model(), "name": "v1", "serviceAccountName": "right"}
_CANARY = (
    Failure(
        "much-canary",
        "canary",
        "a share over 100 %",
        ("spec.predictor.canaryTrafficPercent", "from 0 to 100"),
        "a percentage",
        Told.REFUSED,
        predictor={**model(), "canaryTrafficPercent": 120},
    ),
    Failure(
        "canary-ends",
        "canary",
        "a new revision (`canaryTrafficPercent`) whose process ends, while the last good one serves",
        ("canary-ends-predictor-00002", "the new weights are missing", "canary-ends-predictor-00001 keeps serving"),
        "it gets no requests; correct it, or go back with `flambeau rollout undo NAME`",
        predictor={**program("raise SystemExit('the new weights are missing')"), "canaryTrafficPercent": 20},
        good={"predictor": program(WELL)},
    ),
    Failure(
        "update-ends",
        "canary",
        "an update without a share whose process ends, while the last good revision serves",
        ("update-ends-predictor-00002", "the new code is broken", "update-ends-predictor-00001 keeps serving"),
        "the same",
        predictor=program("raise SystemExit('the new code is broken')"),
        good={"predictor": program(WELL)},
    ),
    Failure(
        "variant-ends",
        "canary",
        "a canary of `spec.canary` whose process ends",
        ("the stable predictor answers instead of v2", "the second weights are missing"),
        "it gets no requests, and Ready stays True; correct it, or take it out of `spec.canary`",
        Told.CANARY,
        reason="CanariesNotReady",
        predictor=_STABLE,
        beside={
            "canary": [{"predictor": {**program("raise SystemExit('the second weights are missing')"), "name": "v2"}, "trafficPercent": 20}]
        },
        good={"predictor": _STABLE},
        annotations={"serving.kserve.io/deploymentMode": "Standard"},
    ),
)
_COMPONENTS = (
    Failure(
        "transformer-ends",
        "components",
        "a transformer whose process ends; its predictor is well",
        ("transformer: kserve-container exited with status 1", "cannot import the features"),
        "correct it: requests come in through it, so nothing is answered without it",
        predictor=program(WELL),
        beside={"transformer": program("raise SystemExit('cannot import the features')")},
    ),
    Failure(
        "explainer-ends",
        "components",
        "an explainer whose process ends; its predictor is well",
        ("explainer: kserve-container exited with status 1", "no background data"),
        "correct it, or take `explainer` out of the spec",
        predictor=program(WELL),
        beside={"explainer": program("raise SystemExit('no background data')")},
    ),
    Failure(
        "new-transformer-ends",
        "components",
        "an update of a transformer whose process ends, while the last good one serves",
        ("new-transformer-ends-transformer-00002", "the new features are missing", "new-transformer-ends-transformer-00001 keeps serving"),
        "correct it, or apply the old one",
        predictor=program(WELL),
        beside={"transformer": program("raise SystemExit('the new features are missing')")},
        good={"predictor": program(WELL), "transformer": program(WELL)},
    ),
)
_STORAGE = (
    Failure(
        "unknown-scheme",
        "storage",
        "a scheme that nothing fetches",
        ("ftp", "s3://"),
        "the message lists the schemes there are",
        Told.REFUSED,
        predictor=model("ftp://host/model"),
    ),
    Failure(
        "no-bucket",
        "storage",
        "a bucket that is not there",
        ("bucket", "absent"),
        "check name and endpoint: `flambeau storage test URI`",
        reason="BucketNotFound",
        predictor=model("s3://absent/model"),
        account="right",
    ),
    Failure(
        "no-objects",
        "storage",
        "nothing lies under the URI",
        ("kserve/torchserve/mnis",),
        "the URI names a folder or an object, never the beginning of a name",
        reason="NoObjects",
        predictor=model(f"s3://{BUCKET}/kserve/torchserve/mnis"),
        account="right",
    ),
    Failure(
        "no-file",
        "storage",
        "a directory of this machine that is not there",
        ("/nowhere/at/all",),
        "check the path; it is read on the machine that runs `flambeau up`",
        predictor=model("file:///nowhere/at/all"),
    ),
    Failure(
        "no-claim",
        "storage",
        "a claim that is not there",
        ("no claim absent in namespace failures",),
        "create the PersistentVolumeClaim, or the folder that the message names",
        reason="ClaimNotFound",
        predictor=model("pvc://absent/m"),
    ),
    Failure(
        "no-storage-key",
        "storage",
        "a key that `storage-config` does not have",
        ("storage key absent", "failures/storage-config"),
        "correct `storage.key`, or add the key to the Secret; the message says which there are",
        reason="StorageKeyNotFound",
        predictor={"model": {"modelFormat": {"name": "pytorch"}, "storage": {"key": "absent", "path": "m"}}},
    ),
    Failure(
        "registry",
        "storage",
        "a model in an image registry",
        ("oci://", "file://"),
        "unpack the image's `/models` and name the folder",
        told=Told.REFUSED,
        predictor=model("oci://registry.example.com/model:1"),
    ),
    Failure(
        "refusing",
        "network",
        "an S3 endpoint that refuses",
        ("127.0.0.1:9",),
        "start the server, or correct `serving.kserve.io/s3-endpoint` of the Secret",
        reason="EndpointUnreachable",
        predictor=model(),
        account="refusing",
    ),
    Failure(
        "silent",
        "network",
        "an S3 endpoint that takes the connection and says nothing",
        ("127.0.0.1:",),
        "a firewall or the wrong port: check the endpoint",
        predictor=model(),
        account="silent",
    ),
)
_SECRETS = (
    Failure(
        "wrong-key",
        "secrets",
        "a wrong secret key",
        ("wrong",),
        "correct the Secret: the message says which one was used, and at which endpoint",
        reason="StorageAccessDenied",
        predictor=model(),
        account="wrong",
    ),
    Failure(
        "no-account",
        "secrets",
        "a ServiceAccount that is not there",
        ("nobody",),
        "create it, in the service's namespace",
        predictor={**model(), "serviceAccountName": "nobody"},
    ),
    Failure(
        "no-secret",
        "secrets",
        "a ServiceAccount that names a Secret that is not there",
        ("absent-secret",),
        "create the Secret, or take its name out of the ServiceAccount",
        predictor=model(),
        account="no-secret",
    ),
    Failure(
        "no-secret-variable",
        "secrets",
        "a variable from a Secret that is not there",
        ("TOKEN", "absent-secret"),
        "create the Secret, or mark it `optional`",
        reason="CreateContainerConfigError",
        predictor=program("0", env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "absent-secret", "key": "token"}}}]),
    ),
    Failure(
        "no-base64",
        "secrets",
        "plain text under a Secret's `data`",
        ("data[key]", "stringData"),
        "write it under `stringData`",
        Told.REFUSED,
        document=_document("Secret", "v1", "no-base64", data={"key": "not base64!"}),
    ),
)
_RUNTIME = (
    Failure(
        "unknown-format",
        "runtime",
        "a format that no runtime serves",
        ("pytorhc", "pytorch"),
        "the message lists the formats there are",
        reason="NoSupportingRuntime",
        predictor=model(format="pytorhc"),
    ),
    Failure(
        "unknown-runtime",
        "runtime",
        "a runtime that is not there",
        ("kserve-nothing",),
        "leave `runtime` out, or name one of `kubectl get clusterservingruntimes`",
        predictor=model(runtime="kserve-nothing"),
    ),
    Failure(
        "runtime-of-others",
        "runtime",
        "a runtime that does not serve the format",
        ("kserve-torchserve", "cannot serve this model"),
        "leave `runtime` out: the right one is found",
        reason="NoSupportingRuntime",
        predictor=model(format="sklearn", runtime="kserve-torchserve"),
    ),
    Failure(
        "no-server-container",
        "runtime",
        "a runtime without the container that serves",
        ("spec.containers", "kserve-container"),
        "name the serving container `kserve-container`",
        Told.REFUSED,
        document=_document(
            "ServingRuntime",
            "serving.kserve.io/v1alpha1",
            "no-server-container",
            spec={"containers": [{"name": "server", "image": "x"}], "supportedModelFormats": [{"name": "own"}]},
        ),
    ),
    Failure(
        "image-alone",
        "runtime",
        "an image of others, without a command",
        ("example.com/model:1", "cannot run on this machine"),
        "give the container a `command` that exists here",
        reason="ImageCannotRun",
        predictor={"containers": [{"name": "kserve-container", "image": "example.com/model:1"}]},
    ),
    Failure(
        "no-such-program",
        "runtime",
        "a command that does not exist here",
        ("/opt/nowhere/serve", "does not exist on this machine"),
        "install it, or name another by its absolute path",
        reason="ImageCannotRun",
        predictor={"containers": [{"name": "kserve-container", "image": "x", "command": ["/opt/nowhere/serve"]}]},
    ),
    Failure(
        "ends-at-once",
        "runtime",
        "a process that ends while it starts",
        ("exited with status 3", "cannot open the vocabulary"),
        "the message has its last words; `kubectl logs POD` has all of them, `-p` those of the time before",
        predictor=program("import sys; print('cannot open the vocabulary', file=sys.stderr); sys.exit(3)"),
    ),
)
_HANDLER = (
    Failure(
        "no-archive",
        "handler",
        "the folder lacks the archive that the configuration names",
        ("mnist.mar",),
        "upload it to model-store/, or correct `load_models` and `model_snapshot`",
        archive="absent",
        account="right",
    ),
    Failure(
        "no-zip",
        "handler",
        "the archive is no archive: a web page, a git-lfs pointer",
        ("mnist.mar", "zip"),
        "upload the file itself",
        archive="web page",
        account="right",
    ),
    Failure(
        "escape",
        "handler",
        "an archive with paths that lead out of it",
        ("../x",),
        "make it anew with `flambeau archive`",
        archive="escaping",
        account="right",
    ),
    Failure(
        "raises",
        "handler",
        "the handler raises in `initialize`",
        ("mnist", "initialize", "the moon is wrong"),
        "the message names file and line; `flambeau test-handler` shows the whole traceback",
        archive="raising",
        account="right",
    ),
    Failure(
        "no-package",
        "handler",
        "the handler imports a package that is not installed",
        ("nowhere_to_be_found", "pip install"),
        "install it where `flambeau up` runs, or archive a requirements.txt",
        archive="importing",
        account="right",
    ),
)
_PROBES = (
    Failure(
        "unwell",
        "probes",
        "the readiness probe is answered with 500",
        ("/health", "500"),
        "the server says that it isn't ready: see its log",
        predictor=program(UNWELL, readinessProbe={"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1}),
    ),
    Failure(
        "dead",
        "probes",
        "the liveness probe fails, and the process is started again and again",
        ("liveness",),
        "raise `initialDelaySeconds` and `failureThreshold`, or see in the log why it hangs",
        predictor=program(UNWELL, livenessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}),
    ),
)
_MEMORY = (
    Failure(
        "greedy",
        "memory",
        "a process over its memory limit",
        ("OOMKilled",),
        "raise `resources.limits.memory`, or load less",
        predictor=program("import time; x = b'x' * 300_000_000; time.sleep(60)", resources={"limits": {"memory": "100Mi"}}),
    ),
)
_PORTS = (
    Failure(
        "port-taken",
        "ports",
        "a process whose port is taken",
        ("Address already in use",),
        "listen on $PORT of $FLAMBEAU_POD_IP: each pod has an address of its own",
        predictor=program(
            "import socket; a = socket.create_server(('127.0.0.1', 0)); b = socket.socket(); b.bind(('127.0.0.1', a.getsockname()[1]))"
        ),
    ),
    Failure(
        "other-port",
        "ports",
        "a process that listens elsewhere than where it is asked",
        ("8080",),
        "listen on $PORT, or name the port under `ports`",
        predictor=program("import time; time.sleep(120)", readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
    ),
)
_NETWORK = (
    Failure(
        "unknown-host",
        "network",
        "a request for a host that nobody has",
        ("nobody.example.com", "hosts"),
        "the answer lists the hosts there are; send one of them as Host",
        Told.ANSWER,
        document=_document("ConfigMap", "v1", "unknown-host"),
        answer=("nobody.example.com", 404),
    ),
    Failure(
        "request-too-early",
        "network",
        "a request for a service that is not ready",
        ("no-such-image", "cannot run on this machine"),
        "wait until it is Ready; the answer says what is missing",
        Told.ANSWER,
        predictor={"containers": [{"name": "kserve-container", "image": "no-such-image"}]},
        answer=(f"request-too-early.{NAMESPACE}.svc.cluster.local", 503),
    ),
    Failure(
        "route-to-nobody",
        "network",
        "a VirtualService that leads to a host that nobody has",
        ("nobody.failures.svc.cluster.local",),
        "correct the destination, or apply the service",
        Told.ANSWER,
        document=_routes("route-to-nobody", route=[{"destination": {"host": "nobody.failures.svc.cluster.local"}}]),
        answer=("route-to-nobody.example.com", 503),
    ),
    Failure(
        "no-weights",
        "network",
        "a VirtualService with several destinations and no weights",
        ("spec.http[0].route", "weights"),
        "give each a `weight`",
        Told.REFUSED,
        document=_routes("no-weights", route=[{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]),
    ),
)

FAILURES = (
    *_YAML,
    *_SCALING,
    *_CANARY,
    *_COMPONENTS,
    *_STORAGE,
    *_SECRETS,
    *_RUNTIME,
    *_HANDLER,
    *_PROBES,
    *_MEMORY,
    *_PORTS,
    *_NETWORK,
)
