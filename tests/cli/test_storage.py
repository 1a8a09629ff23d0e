"""``flambeau storage test`` against the real S3 server."""

from __future__ import annotations

import pytest

from flambeau.cli import storage
from flambeau.foundation.errors import Denied
from tests.fixtures.s3 import S3Server


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
