"""A URI becomes a directory, against the real S3 server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau.foundation.errors import Conflict, Denied, InvalidInput, NotFound, Unavailable
from flambeau.storage import objects
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_secrets
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials, Progress, Setting
from flambeau.storage.s3 import s3_source
from flambeau.storage.uri import S3Uri
from tests.fixtures.s3 import S3Server

Login = Callable[..., Credentials]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    """A bucket with a model, its sibling, and what browsers leave behind."""
    name = s3_server.create_bucket()
    s3_server.put(name, "kserve/mnist/config/config.properties", b"a=b\n")
    s3_server.put(name, "kserve/mnist/model-store/mnist.mar", b"PK-not-really" * 1000)
    s3_server.put(name, "kserve/mnist/pkg/__init__.py", b"")
    s3_server.put(name, "kserve/mnist/pkg/odd näme+%20&#?.txt", b"odd")
    s3_server.put(name, "kserve/mnist/", b"")
    s3_server.put(name, "kserve/mnist/pkg/", b"")
    s3_server.put(name, "kserve/mnist/hollow/", b"")
    s3_server.put(name, "kserve/mnist2/secret.txt", b"sibling")
    return name


MODEL = {
    "config/config.properties": b"a=b\n",
    "model-store/mnist.mar": b"PK-not-really" * 1000,
    "pkg/__init__.py": b"",
    "pkg/odd näme+%20&#?.txt": b"odd",
}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_directory_is_fetched_without_its_sibling(bucket: str, cache: Cache, login: Login, slash: str) -> None:
    seen: list[Progress] = []
    fetched = await fetch(f"s3://{bucket}/kserve/mnist{slash}", cache=cache, credentials=login(), on_progress=seen.append)
    assert contents(fetched.path) == MODEL
    assert (fetched.files, fetched.bytes, fetched.from_cache) == (4, sum(map(len, MODEL.values())), False)
    assert seen[-1] == Progress(fetched.bytes, fetched.bytes, 4, 4)
    assert [one.bytes_done for one in seen] == sorted(one.bytes_done for one in seen)


async def test_the_tree_is_read_only(bucket: str, cache: Cache, login: Login) -> None:
    fetched = await fetch(f"s3://{bucket}/kserve/mnist", cache=cache, credentials=login())
    assert {path.stat().st_mode & 0o222 for path in (fetched.path, *fetched.path.rglob("*"))} == {0}


async def test_one_object_stands_under_its_base_name(bucket: str, cache: Cache, login: Login) -> None:
    fetched = await fetch(f"s3://{bucket}/kserve/mnist/model-store/mnist.mar", cache=cache, credentials=login())
    assert contents(fetched.path) == {"mnist.mar": MODEL["model-store/mnist.mar"]}


async def test_a_whole_bucket_is_a_directory(s3_server: S3Server, cache: Cache, login: Login) -> None:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "a/b", b"1")
    s3_server.put(bucket, "c", b"2")
    fetched = await fetch(f"s3://{bucket}", cache=cache, credentials=login())
    assert contents(fetched.path) == {"a/b": b"1", "c": b"2"}


async def test_equal_contents_are_one_model(s3_server: S3Server, bucket: str, cache: Cache, login: Login) -> None:
    first = await fetch(f"s3://{bucket}/kserve/mnist", cache=cache, credentials=login())
    copy = s3_server.create_bucket()
    s3_server.upload_dir(first.path, copy, "elsewhere")
    second = await fetch(f"s3://{copy}/elsewhere", cache=cache, credentials=login())
    assert (second.digest, second.path) == (first.digest, first.path)


async def test_a_wrong_secret_is_refused_even_when_the_model_is_cached(
    bucket: str, cache: Cache, login: Login, s3_server: S3Server
) -> None:
    uri = f"s3://{bucket}/kserve/mnist"
    await fetch(uri, cache=cache, credentials=login())
    with pytest.raises(Denied) as caught:
        await fetch(uri, cache=cache, credentials=login(secret_key="wrong"))
    assert caught.value.reason == "StorageAccessDenied"
    text = str(caught.value)
    assert "secret torchserve/s3creds, key id demo…" in text
    assert s3_server.endpoint in text
    assert "us-east-1" in text
    assert "SignatureDoesNotMatch" in text
    assert "wrong;" not in text
    assert "Debug source" not in text
    assert "\n" not in text


async def test_no_credentials_say_what_the_secret_lacked(bucket: str, cache: Cache, make_secret: Callable[..., dict[str, object]]) -> None:
    credentials = from_secrets([make_secret({"accesskey": "x"}, {"s3-endpoint": "127.0.0.1:1"})])
    with pytest.raises(Denied, match="found: data keys accesskey, annotations s3-endpoint") as caught:
        await fetch(f"s3://{bucket}/kserve/mnist", cache=cache, credentials=credentials)
    assert caught.value.reason == "StorageAccessDenied"


async def test_anonymous_requests_are_not_signed(bucket: str, cache: Cache, login: Login) -> None:
    credentials = Credentials({**login().settings, "awsAnonymousCredential": Setting("true", "test")})
    # Swift takes an unsigned request for one of its own API and refuses it; signed with these keys it would have answered.
    with pytest.raises(Unavailable, match=r"HTTP 412.*asked as anonymous \(test\)"):
        await fetch(f"s3://{bucket}/kserve/mnist", cache=cache, credentials=credentials)


async def test_a_missing_bucket_is_named(cache: Cache, login: Login, s3_server: S3Server) -> None:
    with pytest.raises(NotFound, match=f"no bucket not-there at {s3_server.endpoint}") as caught:
        await fetch("s3://not-there/mnist", cache=cache, credentials=login())
    assert caught.value.reason == "BucketNotFound"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("kserve/mnis", "mnist/, mnist2/"),
        ("kserve/mnits", "mnist/"),
        ("kserve/mnist2/x", "check the storage URI"),
        ("kserve/mnist2/secret.txt/", "similar names there: secret.txt"),
    ],
)
async def test_an_empty_prefix_names_its_neighbours(bucket: str, cache: Cache, login: Login, asked: str, hint: str) -> None:
    with pytest.raises(NotFound, match=f"no objects under s3://{bucket}/{asked} at") as caught:
        await fetch(f"s3://{bucket}/{asked}", cache=cache, credentials=login())
    assert caught.value.reason == "NoObjects"
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("key", ["bad/../x", "bad/./x", "bad//x", "bad/a\\b", "bad/" + "n" * 256])
async def test_unsafe_keys_are_refused(s3_server: S3Server, cache: Cache, login: Login, key: str) -> None:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, key, b"x")
    with pytest.raises(InvalidInput) as caught:
        await fetch(f"s3://{bucket}/bad", cache=cache, credentials=login())
    assert caught.value.reason == "UnsafeObjectKey"
    assert not (cache.root / "trees").exists()


async def test_a_wrong_region_is_said(bucket: str, cache: Cache, login: Login) -> None:
    credentials = login()
    wrong = Credentials({**credentials.settings, "AWS_DEFAULT_REGION": Setting("eu-west-1", "test")})
    with pytest.raises(InvalidInput, match=r"region eu-west-1 is wrong.*us-east-1") as caught:
        await fetch(f"s3://{bucket}/kserve/mnist", cache=cache, credentials=wrong)
    assert caught.value.reason == "WrongRegion"


async def test_a_closed_port_is_an_unreachable_endpoint(cache: Cache, login: Login) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable, match=f"cannot reach the S3 endpoint 127.0.0.1:{port} for s3://models/m: Connection refused") as caught:
        await fetch("s3://models/m", cache=cache, credentials=login(port=port))
    assert caught.value.reason == "EndpointUnreachable"


async def test_an_endpoint_that_does_not_answer_is_reported_in_time(cache: Cache, login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    assert objects.ANSWER_SECONDS_MAX <= 8
    monkeypatch.setattr(objects, "ANSWER_SECONDS_MAX", 1.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable, match="no answer in time") as caught:
                await fetch("s3://models/m", cache=cache, credentials=login(port=listener.getsockname()[1]))
    assert caught.value.reason == "EndpointUnreachable"


async def test_plain_http_behind_https_says_how_to_switch(cache: Cache, login: Login, s3_server: S3Server) -> None:
    settings = login().settings
    settings["AWS_ENDPOINT_URL"] = Setting(f"https://127.0.0.1:{s3_server.port}", "test")
    with pytest.raises(Unavailable, match=r"does not speak TLS.*s3-usehttps") as caught:
        await fetch("s3://models/m", cache=cache, credentials=Credentials(settings))
    assert caught.value.reason == "TlsFailure"


async def test_the_platforms_own_environment_is_not_used(bucket: str, cache: Cache, login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_SESSION_TOKEN": "foreign",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_REGION": "eu-west-1",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fetched = await fetch(f"s3://{bucket}/kserve/mnist", cache=cache, credentials=login())
    assert contents(fetched.path) == MODEL


async def test_an_object_that_changes_meanwhile_is_a_conflict(s3_server: S3Server, bucket: str, login: Login) -> None:
    source = s3_source(S3Uri(bucket, "kserve/mnist/config/config.properties"), login())
    (file,) = await source.list_files()
    s3_server.put(bucket, file.key, b"changed")
    with pytest.raises(Conflict, match="changed while the model was fetched"):
        await anext(source.read(file, 0))
