"""Every row of the table of failures, made to happen: told where it says, in the words it says, in time. One platform for all of them."""

from __future__ import annotations

import io
import json
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.s3 import S3Server
from tests.system.deploy import BUCKET, EXAMPLE, Model, manifest, pack, secret
from tests.system.failures import FAILURES, NAMESPACE, Failure, Told
from tests.system.harness import Platform, host_of, until
from tools.troubleshooting import DOCUMENT, reference

TOLD_SECONDS_MAX = 60.0
"""All are applied at once, and a handful of them start a model server: the last waits for the others' imports."""


def rows(told: Told) -> pytest.MarkDecorator:
    """Parametrize a test with the rows that are told in one place."""
    chosen = [failure for failure in FAILURES if failure.told is told]
    return pytest.mark.parametrize("failure", chosen, ids=[failure.name for failure in chosen])


# Archives


def handler_with(model: Model, folder: Path, line: str) -> bytes:
    """Return the example's archive with a handler whose initialize begins with a line."""
    code = (EXAMPLE / "mnist_handler.py").read_text()
    code += f"\n    def initialize(self, context):\n        {line}\n        super().initialize(context)\n"
    (folder / "mnist_handler.py").write_text(code)
    return pack(folder, handler=folder / "mnist_handler.py", weights=model.weights).read_bytes()


def escaping(model: Model, folder: Path) -> bytes:
    hostile = io.BytesIO((model.folder / "model-store" / "mnist.mar").read_bytes())
    with zipfile.ZipFile(hostile, "a") as archive:
        archive.writestr("../x", b"escaped")
    return hostile.getvalue()


ARCHIVES: dict[str, Callable[[Model, Path], bytes | None]] = {
    "absent": lambda model, folder: None,
    "web page": lambda model, folder: b"<html>404</html>",
    "escaping": escaping,
    "raising": lambda model, folder: handler_with(model, folder, "raise ValueError('the moon is wrong')"),
    "importing": lambda model, folder: handler_with(model, folder, "import nowhere_to_be_found"),
}


def upload(server: S3Server, model: Model, folder: Path, failure: Failure) -> str:
    """Upload the model with the row's archive, or none; return its URI."""
    copy = folder / "upload"
    shutil.copytree(model.folder, copy)
    path = copy / "model-store" / "mnist.mar"
    archive = ARCHIVES[failure.archive](model, folder)
    if archive is None:
        path.rename(path.with_name("other.mar"))
    else:
        path.write_bytes(archive)
    server.upload_dir(copy, BUCKET, f"failures/{failure.name}")
    return f"s3://{BUCKET}/failures/{failure.name}"


# Accounts


def accounts(server: S3Server, silent_port: int) -> Iterator[str]:
    """Yield the manifests of the Secrets and ServiceAccounts that rows name, each wrong in one place."""
    endpoint = server.endpoint.removeprefix("http://")
    changes = {
        "right": ("", ""),
        "wrong": (server.secret_key, "not-the-secret"),
        "refusing": (endpoint, "127.0.0.1:9"),
        "silent": (endpoint, f"127.0.0.1:{silent_port}"),
    }
    for name, (old, new) in changes.items():
        text = secret(server).replace("name: s3creds", f"name: {name}").replace("namespace: torchserve", f"namespace: {NAMESPACE}")
        yield text.replace(old, new) if old else text
        yield account(name, name)
    yield account("no-secret", "absent-secret")


def account(name: str, secret_name: str) -> str:
    text = manifest("service-account").replace("name: sa", f"name: {name}").replace("s3creds", secret_name)
    return text.replace("namespace: torchserve", f"namespace: {NAMESPACE}")


@pytest.fixture(scope="module")
def failing(platform: Platform, bucket: S3Server, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Have everything applied that is not refused."""
    platform.kubectl("create", "ns", NAMESPACE)
    with socket.socket() as silent:  # takes connections into its backlog and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        first = [*accounts(bucket, silent.getsockname()[1]), *(json.dumps(failure.first()) for failure in FAILURES if failure.good)]
        platform.flambeau("apply", "-f", "-", stdin="\n---\n".join(first))
        documents = []
        for failure in FAILURES:
            if failure.told is not Told.REFUSED:
                document = failure.manifest()
                if failure.archive:
                    uri = upload(bucket, model, tmp_path_factory.mktemp(failure.name), failure)
                    document["spec"]["predictor"]["model"] = {"modelFormat": {"name": "pytorch"}, "storageUri": uri}
                documents.append(json.dumps(document))
        good = [failure.name for failure in FAILURES if failure.good]
        until(lambda: all(is_ready(platform, name) for name in good), seconds=TOLD_SECONDS_MAX, what="those that are good at first")
        platform.flambeau("apply", "-f", "-", stdin="\n---\n".join(documents))
        yield platform


def is_ready(platform: Platform, name: str) -> bool:
    return platform.condition(name, NAMESPACE).get("status") == "True"


@rows(Told.CANARY)
def test_a_failing_canary_is_told_in_a_condition_of_its_own(failing: Platform, failure: Failure) -> None:
    check_condition(failing, failure, "CanaryPredictorReady")
    assert is_ready(failing, failure.name)


@rows(Told.READY)
def test_it_is_told_in_the_ready_condition(failing: Platform, failure: Failure) -> None:
    check_condition(failing, failure, "Ready")


def check_condition(failing: Platform, failure: Failure, type: str) -> None:
    seen: list[str] = []

    def told() -> bool:
        condition = failing.condition(failure.name, NAMESPACE, type)
        seen[:] = [f"{condition.get('status')} {condition.get('reason')}: {condition.get('message')}"]
        return condition.get("status") in ("False", "Unknown") and all(word in seen[0] for word in (*failure.words, failure.reason))

    try:
        until(told, seconds=TOLD_SECONDS_MAX, what=f"{type} condition with {failure.words}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {seen}") from None
    assert "not-the-secret" not in seen[0]
    if failure.good:
        answer = failing.ask("/", host=host_of(failure.name, NAMESPACE))
        assert answer.status_code == 200, answer.text


@rows(Told.REFUSED)
def test_it_is_refused_at_apply(failing: Platform, failure: Failure) -> None:
    command = failing.kubectl if len(failure.name) % 2 else failing.flambeau  # both say the same; to ask both takes twice the time
    done = command("apply", "-f", "-", stdin=json.dumps(failure.manifest()), check=False)
    assert done.returncode != 0
    for word in failure.words:
        assert word in done.stderr, done.stderr


@rows(Told.ANSWER)
def test_it_is_told_in_the_answer(failing: Platform, failure: Failure) -> None:
    host, status = failure.answer

    def told() -> bool:
        answer = failing.post("/v1/models/m:predict", {"instances": []}, host=host)
        seen[:] = [answer.status_code, answer.text]
        return answer.status_code == status and all(word in answer.text for word in failure.words)

    seen: list[object] = []
    try:
        until(told, seconds=20, what=f"{status} with {failure.words}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {seen}") from None


def test_nothing_escaped(failing: Platform) -> None:
    assert not [path for path in failing.home.rglob("x") if path.is_file()]


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == reference(), "run `make docs`"


def test_the_table_is_large_enough() -> None:
    assert len(FAILURES) >= 30
    assert len({failure.name for failure in FAILURES}) == len(FAILURES)
