"""What admission can tell from a URI alone."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.storage.uri import FileUri, S3Uri, parse_uri, validate_uri


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("s3://models/kserve/mnist", S3Uri("models", "kserve/mnist")),
        ("s3://models/kserve/mnist/", S3Uri("models", "kserve/mnist/")),
        ("s3://models", S3Uri("models", "")),
        ("s3://models/", S3Uri("models", "")),
        ("s3://models//mnist", S3Uri("models", "mnist")),
        ("s3://models/a%20b?c#d e", S3Uri("models", "a%20b?c#d e")),
        ("file:///srv/models", FileUri(PurePosixPath("/srv/models"))),
        ("/srv/models", FileUri(PurePosixPath("/srv/models"))),
    ],
)
def test_what_a_uri_names(uri: str, parsed: S3Uri | FileUri) -> None:
    assert parse_uri(uri) == parsed


@pytest.mark.parametrize("uri", ["ftp://b/m", "abfs://claim/m", "S3://b/m", "models/mnist", "", "s3:/b/m"])
def test_an_unknown_scheme_lists_the_known_ones(uri: str) -> None:
    with pytest.raises(InvalidInput, match=r"use one of s3://, gs://, .*, file:// or an absolute path") as caught:
        validate_uri(uri)
    assert caught.value.reason == "UnsupportedScheme"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://",
        "s3:///key",
        "s3://-b/k",
        "s3://a b/k",
        "s3://b/../k",
        "s3://b/a//k",
        "s3://b/a\\b",
        "file://models/mnist",
        "/a/../b",
        "s3://b/k\n",
    ],
)
def test_a_wrong_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="cannot read the storage URI") as caught:
        validate_uri(uri)
    assert caught.value.reason == "InvalidStorageUri"
