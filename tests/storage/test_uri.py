"""What admission can tell from a URI alone."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.storage.uri import AzureUri, ClaimUri, FileUri, GcsUri, GitUri, HdfsUri, HubUri, S3Uri, Uri, WebUri, parse_uri, validate_uri


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("s3://models/kserve/mnist", S3Uri("models", "kserve/mnist")),
        ("s3://models/kserve/mnist/", S3Uri("models", "kserve/mnist/")),
        ("s3://models", S3Uri("models", "")),
        ("s3://models/", S3Uri("models", "")),
        ("s3://models//mnist", S3Uri("models", "mnist")),
        ("s3://models/a%20b?c#d e", S3Uri("models", "a%20b?c#d e")),
        ("gs://models/mnist", GcsUri("models", "mnist")),
        ("https://acc.blob.core.windows.net/models/a%20b/c/", AzureUri("acc", "models", "a b/c/")),
        ("https://example.com/m.tar.gz?sig=1#part", WebUri("https://example.com/m.tar.gz?sig=1")),
        ("https://example.com/team/m.git", GitUri("https://example.com/team/m.git", "")),
        ("https://example.com/team/m.git@v1.0", GitUri("https://example.com/team/m.git", "v1.0")),
        ("hf://owner/model", HubUri("owner/model", "main")),
        ("hf://owner/model:refs/pr/1", HubUri("owner/model", "refs/pr/1")),
        ("hdfs://user/me/m", HdfsUri("/user/me/m")),
        ("webhdfs://user/me/m/", HdfsUri("/user/me/m")),
        ("pvc://claim", ClaimUri("claim", PurePosixPath("."))),
        ("pvc://claim/a/b/", ClaimUri("claim", PurePosixPath("a/b"))),
        ("file:///srv/models", FileUri(PurePosixPath("/srv/models"))),
        ("/srv/models", FileUri(PurePosixPath("/srv/models"))),
    ],
)
def test_what_a_uri_names(uri: str, parsed: Uri) -> None:
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
        "gs://bucket/../k",
        "https://example.com/",
        "https://user:hush@example.com/m.pt",
        "https://example.com/a b",
        "https://example.com:port/m.pt",
        "https://acc.blob.core.windows.net/",
        "http://169.254.169.254/latest/meta-data/m.pt",
        "https://[fe80::1]/m.pt",
        "https://[::ffff:169.254.169.254]/repository.git",
        "https://example.com/m.git@-x",
        "hf://model",
        "hf://owner/model:../x",
        "hdfs://",
        "hdfs://a/../b",
        "pvc://Claim/m",
        "pvc://claim/../other",
    ],
)
def test_a_wrong_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="cannot read the storage URI") as caught:
        validate_uri(uri)
    assert caught.value.reason == "InvalidStorageUri"


@pytest.mark.parametrize("uri", ["oci://registry/model:1", "modelscope://a/b", "https://acc.file.core.windows.net/share/m"])
def test_what_is_not_fetched_here_says_what_to_do(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_uri(uri)
    assert caught.value.reason == "UnsupportedScheme"
    assert "file://" in (caught.value.hint or "")


def test_a_signature_is_not_printed() -> None:
    assert "hush" not in str(parse_uri("https://example.com/m.pt?sig=hush"))
