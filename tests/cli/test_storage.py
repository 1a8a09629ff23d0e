"""``flambeau storage test`` against the real S3 server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flambeau.cli import storage
from flambeau.cli.api import Api
from flambeau.cli.target import Target
from flambeau.foundation.errors import Denied, NotFound
from tests.fixtures.s3 import S3Server
from tests.fixtures.web_stores import GoogleStore


@pytest.fixture
def uri(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "mnist/a", b"1234")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    return f"s3://{bucket}/mnist"


def test_a_readable_model(uri: str, s3_server: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert storage.check(uri) == 0
    printed = capsys.readouterr().out
    assert f"{uri} can be read: 1 files, 4 bytes" in printed
    assert f"AWS_ENDPOINT_URL: {s3_server.endpoint}  (environment variable AWS_ENDPOINT_URL)" in printed
    assert "AWS_ACCESS_KEY_ID: demo…" in printed
    assert s3_server.secret_key not in printed


def test_a_wrong_secret(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Denied, match="SignatureDoesNotMatch"):
        storage.check(uri)


def encoded(**values: str) -> dict[str, str]:
    return {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}


class Cluster(Target):
    """A server that has a few objects, by path."""

    def __init__(self, objects: dict[str, Any]) -> None:
        super().__init__(namespace="ns")
        object.__setattr__(self, "objects", objects)

    @contextmanager
    def open(self) -> Iterator[Api]:
        def get(path: str) -> Any:
            if path not in self.objects:  # type: ignore[attr-defined]
                raise NotFound(f"{path} is not there")
            return self.objects[path]  # type: ignore[attr-defined]

        yield SimpleNamespace(namespace="ns", get=get)  # type: ignore[misc]  # all that the command asks


@pytest.fixture
def cluster(s3_server: S3Server) -> Cluster:
    annotations = {"serving.kserve.io/s3-region": s3_server.region}
    keys = encoded(AWS_ACCESS_KEY_ID=s3_server.access_key, AWS_SECRET_ACCESS_KEY=s3_server.secret_key)
    settings = {"s3": {"s3Endpoint": s3_server.endpoint}}
    return Cluster(
        {
            "/api/v1/namespaces/kserve/configmaps/inferenceservice-config": {"data": {"credentials": json.dumps(settings)}},
            "/api/v1/namespaces/ns/serviceaccounts/sa": {"secrets": [{"name": "creds"}]},
            "/api/v1/namespaces/ns/secrets/creds": {
                "metadata": {"name": "creds", "namespace": "ns", "annotations": annotations},
                "data": keys,
            },
        }
    )


def test_as_a_service_account_and_for_scripts(uri: str, cluster: Cluster, s3_server: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert storage.check(uri, service_account="sa", output="json", target=cluster) == 0
    printed = capsys.readouterr().out
    told = json.loads(printed)
    assert (told["readable"], told["files"], told["bytes"], told["error"]) == (True, 1, 4, None)
    assert told["facts"]["identity"] == "secret ns/creds, key id demo…"
    assert told["facts"]["tls"] == "none, plain HTTP"
    assert told["facts"]["addressing"] == "path"
    sources = {setting["name"]: setting["source"] for setting in told["settings"]}
    assert sources["AWS_ENDPOINT_URL"] == "config map kserve/inferenceservice-config credentials.s3.s3Endpoint"
    assert sources["AWS_DEFAULT_REGION"] == "secret ns/creds annotation serving.kserve.io/s3-region"
    assert s3_server.secret_key not in printed


def test_a_failure_for_scripts(uri: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert storage.check(f"{uri}-absent", service_account="sa", output="json", target=cluster) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["readable"], told["error"]["reason"]) == (False, "NoObjects")


def test_an_account_that_is_not_there(uri: str, cluster: Cluster) -> None:
    with pytest.raises(NotFound, match='ServiceAccount "other" is not there in namespace ns'):
        storage.check(uri, service_account="other", target=cluster)


def test_a_failure_still_shows_where_it_went(uri: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFound):
        storage.check(f"{uri}-absent", service_account="sa", target=cluster)
    assert "endpoint: http://127.0.0.1" in capsys.readouterr().out


def test_a_key_file_of_google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with GoogleStore() as store:
        store.files["mnist/weights"] = b"12"
        (tmp_path / "key.json").write_text(store.key_file())
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.url)
        assert storage.check("gs://models/mnist") == 0
    printed = capsys.readouterr().out
    assert store.email in printed
    assert "PRIVATE KEY" not in printed
