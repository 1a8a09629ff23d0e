"""How a bucket is reached, from credentials alone."""

from __future__ import annotations

import pytest

from flambeau.foundation.errors import Denied, InvalidInput
from flambeau.storage.connection import connection
from flambeau.storage.credentials import from_environment

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hush"}


@pytest.mark.parametrize(
    ("environment", "bucket", "base_url"),
    [
        ({}, "models", "https://models.s3.us-east-1.amazonaws.com"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, "models", "https://models.s3.eu-west-1.amazonaws.com"),
        ({}, "my.models", "https://s3.us-east-1.amazonaws.com"),
        ({"S3_USE_ACCELERATE": "true"}, "models", "https://models.s3-accelerate.amazonaws.com"),
        (
            {"AWS_ENDPOINT_URL": "https://s3.amazonaws.com", "AWS_DEFAULT_REGION": "eu-west-1"},
            "models",
            "https://models.s3.eu-west-1.amazonaws.com",
        ),
        ({"AWS_ENDPOINT_URL": "http://minio:9000/"}, "models", "http://minio:9000"),
        ({"AWS_ENDPOINT_URL": "http://minio:9000", "S3_USER_VIRTUAL_BUCKET": "true"}, "models", "http://models.minio:9000"),
    ],
)
def test_addressing(environment: dict[str, str], bucket: str, base_url: str) -> None:
    assert connection(bucket, from_environment({**KEYS, **environment})).base_url == base_url


@pytest.mark.parametrize(
    ("endpoint", "address"), [("http://minio:9000", "minio:9000"), ("http://minio", "minio:80"), ("https://minio", "minio:443")]
)
def test_the_address_that_errors_name(endpoint: str, address: str) -> None:
    assert connection("models", from_environment({**KEYS, "AWS_ENDPOINT_URL": endpoint})).address == address


@pytest.mark.parametrize(("value", "verify"), [("0", False), ("False", False), ("1", True), ("true", True), ("", True)])
def test_verification_of_tls(value: str, verify: bool) -> None:
    assert connection("models", from_environment({**KEYS, "S3_VERIFY_SSL": value})).verify_tls is verify


def test_anonymous_requests_ignore_the_keys() -> None:
    found = connection("models", from_environment({**KEYS, "awsAnonymousCredential": "True"}))
    assert found.access_key_id is None
    assert found.identity == "anonymous (environment variable awsAnonymousCredential)"


def test_no_keys_are_no_credentials() -> None:
    with pytest.raises(Denied, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set") as caught:
        connection("models", from_environment({}))
    assert caught.value.reason == "StorageAccessDenied"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL", "not a url"),
        ("AWS_ENDPOINT_URL", "ftp://minio"),
        ("AWS_ENDPOINT_URL", "http://minio:notaport"),
        ("AWS_ENDPOINT_URL", "http://user:pass@minio"),
        ("AWS_DEFAULT_REGION", "eu west"),
        ("AWS_SECRET_ACCESS_KEY", "two words"),
    ],
)
def test_values_that_cannot_work_name_their_source(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"it comes from environment variable {name}") as caught:
        connection("models", from_environment({**KEYS, name: value}))
    assert caught.value.reason == "InvalidStorageConfig"
    assert "two words" not in str(caught.value)


def test_secrets_never_print() -> None:
    assert "hush" not in repr(connection("models", from_environment({**KEYS, "AWS_SESSION_TOKEN": "hush-too"})))
