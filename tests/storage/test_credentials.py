"""Secrets are read as KServe reads them, and say so where they give nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from flambeau.storage.credentials import from_environment, from_secrets
from flambeau.storage.model import Credentials

MakeSecret = Callable[..., dict[str, Any]]
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hush"}


def values(credentials: Credentials) -> dict[str, str]:
    return {name: setting.value for name, setting in credentials.settings.items()}


def test_the_tutorials_secret(make_secret: MakeSecret) -> None:
    annotations = {"s3-endpoint": "minio:9000", "s3-usehttps": "0", "s3-region": "eu-west-1", "s3-useanoncredential": "false"}
    credentials = from_secrets([make_secret(KEYS, annotations)])
    assert values(credentials) == {
        **KEYS,
        "S3_ENDPOINT": "minio:9000",
        "AWS_ENDPOINT_URL": "http://minio:9000",
        "S3_USE_HTTPS": "0",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "awsAnonymousCredential": "false",
    }
    assert credentials.warnings == ()
    assert credentials.settings["AWS_ENDPOINT_URL"].source == "secret torchserve/s3creds annotation serving.kserve.io/s3-endpoint"


@pytest.mark.parametrize(
    ("endpoint", "use_https", "url"),
    [
        ("minio:9000", None, "https://minio:9000"),
        ("minio:9000", "1", "https://minio:9000"),
        ("minio:9000", "false", "https://minio:9000"),
        ("minio:9000", "0", "http://minio:9000"),
        ("http://minio:9000", None, "http://minio:9000"),
        ("http://minio:9000", "0", "http://minio:9000"),
        ("https://minio:9000", "1", "https://minio:9000"),
    ],
)
def test_the_endpoints_scheme(make_secret: MakeSecret, endpoint: str, use_https: str | None, url: str) -> None:
    annotations = {"s3-endpoint": endpoint} | ({} if use_https is None else {"s3-usehttps": use_https})
    credentials = from_secrets([make_secret(KEYS, annotations)])
    assert credentials.get("AWS_ENDPOINT_URL") == url
    assert credentials.get("S3_ENDPOINT") == "minio:9000"
    assert credentials.warnings == ()


@pytest.mark.parametrize(("endpoint", "use_https"), [("http://minio:9000", "1"), ("https://minio:9000", "0")])
def test_usehttps_without_effect_is_said(make_secret: MakeSecret, endpoint: str, use_https: str) -> None:
    credentials = from_secrets([make_secret(KEYS, {"s3-endpoint": endpoint, "s3-usehttps": use_https})])
    assert credentials.get("AWS_ENDPOINT_URL") == endpoint
    assert "has no effect" in credentials.warnings[0]


def test_an_annotation_beats_the_data_key(make_secret: MakeSecret) -> None:
    data = {**KEYS, "S3_ENDPOINT": "data:1", "AWS_DEFAULT_REGION": "data", "S3_VERIFY_SSL": "0", "S3_USE_HTTPS": "0"}
    credentials = from_secrets([make_secret(data, {"s3-endpoint": "annotation:1", "s3-region": ""})])
    assert credentials.get("AWS_ENDPOINT_URL") == "http://annotation:1"
    assert credentials.get("AWS_DEFAULT_REGION") == "data"
    assert credentials.get("S3_VERIFY_SSL") == "0"


def test_a_later_secret_overrides_an_earlier_one(make_secret: MakeSecret) -> None:
    first = make_secret(KEYS, {"s3-endpoint": "one:1", "s3-region": "r1"}, name="first")
    second = make_secret({**KEYS, "AWS_ACCESS_KEY_ID": "other"}, {"s3-endpoint": "two:2"}, name="second")
    assert values(from_secrets([first, second])) == {
        **KEYS,
        "AWS_ACCESS_KEY_ID": "other",
        "S3_ENDPOINT": "two:2",
        "AWS_ENDPOINT_URL": "https://two:2",
        "AWS_DEFAULT_REGION": "r1",
    }


def test_an_anonymous_secret_counts_without_keys(make_secret: MakeSecret) -> None:
    credentials = from_secrets([make_secret({}, {"s3-endpoint": "minio:9000", "s3-useanoncredential": "true"})])
    assert credentials.get("AWS_ENDPOINT_URL") == "https://minio:9000"
    assert credentials.get("awsAnonymousCredential") == "true"
    assert credentials.warnings == ()


@pytest.mark.parametrize(
    ("data", "annotations", "said"),
    [
        ({}, {"s3-endpoint": "minio:9000"}, "found: data keys none, annotations s3-endpoint;"),
        (
            {"aws_access_key_id": "a", "awsSecretAccessKey": "b"},
            {},
            "awsSecretAccessKey must be spelt AWS_SECRET_ACCESS_KEY; aws_access_key_id must be spelt AWS_ACCESS_KEY_ID",
        ),
        ({"user": "a", "password": "b"}, {}, "found: data keys password, user;"),
        ({"MODELSCOPE_API_TOKEN": "t"}, {}, "holds credentials for ModelScope, which are not read"),
    ],
)
def test_a_secret_that_gives_nothing_says_why(
    make_secret: MakeSecret, data: dict[str, str], annotations: dict[str, str], said: str
) -> None:
    credentials = from_secrets([make_secret(data, annotations)])
    assert credentials.settings == {}
    (warning,) = credentials.warnings
    assert warning.startswith("secret torchserve/s3creds ")
    assert said in warning


def test_a_secret_key_alone_is_warned_of(make_secret: MakeSecret) -> None:
    credentials = from_secrets([make_secret({"AWS_SECRET_ACCESS_KEY": "hush"})])
    assert "it has AWS_SECRET_ACCESS_KEY but no AWS_ACCESS_KEY_ID" in credentials.warnings[0]


def test_a_line_break_that_echo_encoded_is_taken_off(make_secret: MakeSecret) -> None:
    credentials = from_secrets([make_secret({**KEYS, "AWS_SECRET_ACCESS_KEY": "hush\n"})])
    assert credentials.get("AWS_SECRET_ACCESS_KEY") == "hush"
    assert "line break" in credentials.warnings[0]


def test_plain_text_in_data_is_warned_of(make_secret: MakeSecret) -> None:
    secret = make_secret(KEYS)
    secret["data"]["AWS_SECRET_ACCESS_KEY"] = "not base64!"
    credentials = from_secrets([secret])
    assert credentials.settings == {}
    assert "data key AWS_SECRET_ACCESS_KEY is not base64" in credentials.warnings[0]


def test_tokens_and_registries_are_passed_over(make_secret: MakeSecret) -> None:
    secret = {**make_secret({"token": "t"}), "type": "kubernetes.io/service-account-token"}
    assert from_secrets([secret]) == Credentials()


def test_an_sdk_secret_without_data_or_annotations_is_no_crash() -> None:
    assert "data keys none" in from_secrets([{"metadata": {"name": "s"}, "data": None}]).warnings[0]


def test_the_environment_of_kserves_initializer() -> None:
    environment = {
        **KEYS,
        "S3_ENDPOINT": "minio:9000",
        "S3_USE_HTTPS": "0",
        "AWS_SESSION_TOKEN": "t",
        "HOME": "/root",
        "AWS_DEFAULT_REGION": "",
    }
    credentials = from_environment(environment)
    assert credentials.get("AWS_ENDPOINT_URL") == "http://minio:9000"
    assert credentials.get("AWS_SESSION_TOKEN") == "t"
    assert credentials.get("AWS_DEFAULT_REGION") is None
    assert credentials.settings["AWS_ACCESS_KEY_ID"].source == "environment variable AWS_ACCESS_KEY_ID"
    assert from_environment({**environment, "AWS_ENDPOINT_URL": "http://other:1"}).get("AWS_ENDPOINT_URL") == "http://other:1"


def test_secrets_never_print(make_secret: MakeSecret) -> None:
    secret = make_secret({**KEYS, "AWS_SECRET_ACCESS_KEY": "hush-hush"}, {"s3-endpoint": "minio:9000"})
    credentials = from_secrets([secret])
    printed = repr(credentials) + repr(credentials.settings) + str(credentials.warnings)
    assert "hush" not in printed
    assert base64.b64encode(b"hush-hush").decode() not in printed
