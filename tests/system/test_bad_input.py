"""Bad input, a test per row: a clear error in time, nothing lost, nothing left running."""

from __future__ import annotations

import io
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.s3 import S3Server
from tests.system.deploy import BUCKET, EXAMPLE, PREFIX, Model, manifest, pack, secret
from tests.system.harness import Platform, host_of, until

TOLD_SECONDS_MAX = 10.0
"""From the moment a thing is known to its words in the Ready message."""
FETCH_AND_START_SECONDS = 20.0
"""What passes before a model's own mistake can be known: fetch, start, import torch on a busy machine."""


Apply = Callable[..., None]


def service(name: str, *, uri: str = f"s3://{BUCKET}/{PREFIX}", account: str = "sa", model_format: str = "pytorch") -> str:
    text = manifest("inference-service").replace("name: mnist-torchserve", f"name: {name}")
    text = text.replace("s3://models/kserve/torchserve/mnist", uri).replace("serviceAccountName: sa", f"serviceAccountName: {account}")
    return text.replace("name: pytorch", f"name: {model_format}")


@pytest.fixture
def apply(namespace: Platform) -> Iterator[Apply]:
    """Apply services, and delete them at the end of the test."""
    names: list[str] = []

    def run(name: str, **changes: str) -> None:
        names.append(name)
        namespace.kubectl("apply", "-f", "-", stdin=service(name, **changes))

    yield run
    for name in names:
        namespace.kubectl("delete", "isvc", name, "-n", "torchserve", "--timeout=60s")
        until(lambda name=name: not namespace.pods(name), seconds=30, what="end of the pods")  # type: ignore[misc]


def variant(server: S3Server, model: Model, folder: Path, prefix: str, archive: bytes | None) -> str:
    """Upload the model with another archive, or none; return its URI."""
    copy = folder / "upload"
    shutil.copytree(model.folder, copy)
    path = copy / "model-store" / "mnist.mar"
    if archive is None:
        path.rename(path.with_name("other.mar"))
    else:
        path.write_bytes(archive)
    server.upload_dir(copy, BUCKET, prefix)
    return f"s3://{BUCKET}/{prefix}"


def account_with(platform: Platform, server: S3Server, name: str, change: tuple[str, str]) -> None:
    """Make a ServiceAccount whose Secret differs in one place."""
    old, new = change
    text = secret(server).replace("name: s3creds", f"name: {name}")
    assert old in text
    platform.kubectl("apply", "-f", "-", stdin=text.replace(old, new))
    account = manifest("service-account").replace("name: sa", f"name: {name}").replace("s3creds", name)
    platform.kubectl("apply", "-f", "-", stdin=account)


# Refused at apply


def refused(platform: Platform, text: str, *words: str) -> None:
    """Assert that kubectl and our own command are refused with these words, and that nothing was made."""
    for command in (platform.kubectl, platform.flambeau):
        done = command("apply", "-f", "-", stdin=text, check=False)
        assert done.returncode != 0
        for word in words:
            assert word in done.stderr, done.stderr


def test_an_unknown_field_names_the_likely_one(namespace: Platform) -> None:
    text = service("refused").replace("  namespace: torchserve", "  namespacea: torchserve")
    refused(namespace, text, "namespacea", '"namespace"')


def test_an_unknown_field_deep_down(namespace: Platform) -> None:
    refused(namespace, service("refused").replace("storageUri:", "storageURI:"), "spec.predictor.model.storageURI", "storageUri")


def test_an_unsupported_scheme(namespace: Platform) -> None:
    refused(namespace, service("refused", uri="ftp://host/model"), "ftp", "s3://")


def test_a_name_too_long_for_its_host(namespace: Platform) -> None:
    refused(namespace, service("m" * 60), "63")


# Told in the Ready message


def test_no_such_bucket(namespace: Platform, apply: Apply) -> None:
    apply("no-bucket", uri="s3://absent/model")
    namespace.ready_message("no-bucket", "absent", "bucket", seconds=TOLD_SECONDS_MAX)


def test_a_wrong_secret(namespace: Platform, bucket: S3Server, apply: Apply) -> None:
    account_with(namespace, bucket, "wrong", (bucket.secret_key, "not-the-secret"))
    apply("wrong-secret", account="wrong")
    message = namespace.ready_message("wrong-secret", "wrong", bucket.endpoint.removeprefix("http://"), seconds=TOLD_SECONDS_MAX)
    assert "not-the-secret" not in message


def test_an_endpoint_that_does_not_answer(namespace: Platform, bucket: S3Server, apply: Apply) -> None:
    with socket.socket() as silent:  # takes the connection into its backlog and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        account_with(namespace, bucket, "silent", (bucket.endpoint.removeprefix("http://"), endpoint))
        apply("silent", account="silent")
        # It is known to be silent once the fetch gave up on it; then it must be told within 10 s.
        namespace.ready_message("silent", endpoint, seconds=TOLD_SECONDS_MAX + 10)


def test_an_endpoint_that_refuses(namespace: Platform, bucket: S3Server, apply: Apply) -> None:
    account_with(namespace, bucket, "refusing", (bucket.endpoint.removeprefix("http://"), "127.0.0.1:9"))
    apply("refusing", account="refusing")
    namespace.ready_message("refusing", "127.0.0.1:9", seconds=TOLD_SECONDS_MAX)


def test_no_object_under_the_prefix(namespace: Platform, apply: Apply) -> None:
    apply("no-objects", uri=f"s3://{BUCKET}/kserve/torchserve/mnis")
    namespace.ready_message("no-objects", "kserve/torchserve/mnis", seconds=TOLD_SECONDS_MAX)


def test_a_missing_service_account(namespace: Platform, apply: Apply) -> None:
    apply("no-account", account="nobody")
    namespace.ready_message("no-account", "nobody", seconds=TOLD_SECONDS_MAX)


def test_an_unknown_model_format(namespace: Platform, apply: Apply) -> None:
    apply("no-format", model_format="pytorhc")
    namespace.ready_message("no-format", "pytorhc", "pytorch", seconds=TOLD_SECONDS_MAX)


def test_a_missing_archive(namespace: Platform, bucket: S3Server, model: Model, tmp_path: Path, apply: Apply) -> None:
    apply("no-mar", uri=variant(bucket, model, tmp_path, "bad/no-mar", None))
    namespace.ready_message("no-mar", "mnist.mar", seconds=FETCH_AND_START_SECONDS)


def test_an_archive_that_is_no_zip(namespace: Platform, bucket: S3Server, model: Model, tmp_path: Path, apply: Apply) -> None:
    apply("no-zip", uri=variant(bucket, model, tmp_path, "bad/no-zip", b"<html>404</html>"))
    namespace.ready_message("no-zip", "mnist.mar", "zip", seconds=FETCH_AND_START_SECONDS)


def test_a_path_outside_the_archive(namespace: Platform, bucket: S3Server, model: Model, tmp_path: Path, apply: Apply) -> None:
    hostile = io.BytesIO((model.folder / "model-store" / "mnist.mar").read_bytes())
    with zipfile.ZipFile(hostile, "a") as archive:
        archive.writestr("../x", b"escaped")
    apply("escape", uri=variant(bucket, model, tmp_path, "bad/escape", hostile.getvalue()))
    namespace.ready_message("escape", "../x", seconds=FETCH_AND_START_SECONDS)
    assert not [path for path in namespace.home.rglob("x") if path.is_file()]


def handler_variant(model: Model, folder: Path, line: str) -> bytes:
    """Return the example's archive with a handler whose initialize begins with a line."""
    code = (EXAMPLE / "mnist_handler.py").read_text()
    code += f"\n    def initialize(self, context):\n        {line}\n        super().initialize(context)\n"
    (folder / "mnist_handler.py").write_text(code)
    return pack(folder, handler=folder / "mnist_handler.py", weights=model.weights).read_bytes()


def test_a_handler_that_raises(namespace: Platform, bucket: S3Server, model: Model, tmp_path: Path, apply: Apply) -> None:
    archive = handler_variant(model, tmp_path, "raise ValueError('the moon is wrong')")
    apply("raises", uri=variant(bucket, model, tmp_path, "bad/raises", archive))
    namespace.ready_message("raises", "mnist", "initialize", "the moon is wrong", seconds=FETCH_AND_START_SECONDS)


def test_a_missing_package(namespace: Platform, bucket: S3Server, model: Model, tmp_path: Path, apply: Apply) -> None:
    archive = handler_variant(model, tmp_path, "import nowhere_to_be_found")
    apply("no-package", uri=variant(bucket, model, tmp_path, "bad/no-package", archive))
    namespace.ready_message("no-package", "nowhere_to_be_found", "pip install", seconds=FETCH_AND_START_SECONDS)


# Refused by the model server, and the worker lives


PNG = "iVBORw0KGgoAAAANSUhEUg=="  # a picture that ends too early


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/mnist:predict", b"{not json", 400, ["JSON"]),
        ("/v1/models/mnist:predict", b'{"inputz": []}', 400, ["instances"]),
        ("/v1/models/mnist:predict", b'{"instances": [{"date": "x"}]}', 400, ["instance 0", "data"]),
        ("/v1/models/mnist:predict", b'{"instances": [{"data": "%s"}]}' % PNG.encode(), 400, ["picture"]),
        ("/v1/models/mnist:predict", b'{"instances": [{"data": "bm8gcGljdHVyZQ=="}]}', 400, ["picture"]),
        ("/v1/models/absent:predict", b'{"instances": []}', 404, ["absent", "mnist"]),
        ("/v1/models/mnist:predict", b'{"instances": ["' + b"x" * 6_600_000 + b'"]}', 413, ["6553500"]),
    ],
    ids=["not-json", "no-instances", "no-data", "cut-picture", "no-picture", "no-model", "too-large"],
)
def test_a_bad_request_is_told_why_and_the_worker_lives(
    ready: Platform, model: Model, path: str, body: bytes, status: int, words: list[str]
) -> None:
    before = worker_pids(ready)
    answer = ready.post(path, body, host=host_of("mnist-torchserve"))
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.json()["error"], answer.text
    after = ready.post("/v1/models/mnist:predict", model.request, host=host_of("mnist-torchserve"))
    assert after.text == '{"predictions":[0]}'
    assert worker_pids(ready) == before


def worker_pids(platform: Platform) -> list[int]:
    pod = platform.pods("mnist-torchserve")[0]
    models = httpx2.get(f"http://{pod['status']['podIP']}:8085/models/mnist", timeout=10, trust_env=False).json()
    return sorted(worker["pid"] for worker in models[0]["workers"])
