"""Files are written into buckets and folders, by who may; an error says what could not be written, where and why."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import Denied, FlambeauError, InvalidInput, NotFound, Unavailable
from flambeau.storage import credential_files
from flambeau.storage.credentials import from_secrets
from flambeau.storage.deposit import deposit_at
from flambeau.storage.deposit_uri import is_deposit, parse_deposit, prefix_of
from flambeau.storage.model import Credentials, Setting
from flambeau.storage.uri import AzureUri, FileUri, GcsUri, S3Uri
from tests.fixtures.s3 import S3Server
from tests.fixtures.web_stores import AzureStore, GoogleStore

MakeSecret = Callable[..., dict[str, Any]]
BIG = b"x" * 9_000_000


@pytest.mark.parametrize(
    ("url", "kind", "prefix"),
    [
        ("s3://logs", S3Uri, ""),
        ("s3a://logs/a/b/", S3Uri, "a/b"),
        ("gs://logs/a", GcsUri, "a"),
        ("gcs://logs/a", GcsUri, "a"),
        ("abfs://logs@account.dfs.core.windows.net", AzureUri, ""),
        ("abfss://logs@account.dfs.core.windows.net/a/b", AzureUri, "a/b"),
        ("file:///var/logs/", FileUri, "var/logs"),
    ],
)
def test_places_are_named_as_the_original_names_them(url: str, kind: type, prefix: str) -> None:
    where = parse_deposit(url)
    assert isinstance(where, kind)
    assert (prefix_of(where), is_deposit(url)) == (prefix, True)


@pytest.mark.parametrize(
    "url", ["http://logs", "s3:logs", "s3://", "abfs://logs", "abfss://a@b.example/c", "file://here", "/logs", "pvc://a/b", ""]
)
def test_what_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        parse_deposit(url)


async def test_objects_go_into_a_bucket(s3_server: S3Server, login: Callable[..., Credentials]) -> None:
    bucket = s3_server.create_bucket()
    place = deposit_at(S3Uri(bucket, ""), login())
    for content in (b"first", BIG):
        await place.put("a/b c/1.json", content)
        assert s3_server.client.get_object(Bucket=bucket, Key="a/b c/1.json")["Body"].read() == content


async def refusal(where: S3Uri, credentials: Credentials) -> FlambeauError:
    with pytest.raises(FlambeauError) as raised:
        await deposit_at(where, credentials).put("a/1.json", b"{}")
    return raised.value


async def test_why_an_object_can_not_be_written_is_told(s3_server: S3Server, login: Callable[..., Credentials]) -> None:
    bucket = s3_server.create_bucket()
    denied = await refusal(S3Uri(bucket, ""), login(secret_key="wrong"))
    assert isinstance(denied, Denied)
    assert denied.message.startswith(f"cannot write s3://{bucket}/a/1.json: the access key or the secret key is wrong")
    missing = await refusal(S3Uri("no-such-bucket", ""), login())
    assert isinstance(missing, NotFound)
    assert missing.message.startswith("cannot write s3://no-such-bucket/a/1.json: there is no bucket no-such-bucket")
    assert isinstance(await refusal(S3Uri(bucket, ""), login(port=1)), Unavailable)
    assert isinstance(await refusal(S3Uri(bucket, ""), Credentials()), Denied)


async def test_objects_go_to_google(make_secret: MakeSecret) -> None:
    with GoogleStore() as store:
        secret = make_secret({"gcloud-application-credentials.json": store.key_file(), "STORAGE_EMULATOR_HOST": store.url})
        await deposit_at(GcsUri("models", ""), from_secrets([secret])).put("logs/1.json", b"{}")
        assert store.files == {"logs/1.json": b"{}"}


async def test_objects_go_to_azure(make_secret: MakeSecret) -> None:
    with AzureStore() as store:
        secret = make_secret({"AZURE_STORAGE_ACCESS_KEY": store.key, "AZURE_SERVICE_URL": store.endpoint})
        await deposit_at(AzureUri(store.account, "models", ""), from_secrets([secret])).put("logs/1.json", b"{}")
        assert store.files == {"logs/1.json": b"{}"}


async def test_files_go_into_a_folder(tmp_path: Path) -> None:
    where = parse_deposit(f"file://{tmp_path}/logs")
    place = deposit_at(where, Credentials())
    await place.put(f"{prefix_of(where)}/a/1.json", b"{}")
    path = tmp_path / "logs/a/1.json"
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"{}", 0o600)
    with pytest.raises(Unavailable, match="cannot write"):
        await place.put(f"{prefix_of(where)}/a/1.json/2.json", b"{}")
    with pytest.raises(InvalidInput):
        await place.put(f"{prefix_of(where)}/../1.json", b"{}")


def test_credentials_are_left_for_this_user_alone_and_cleaned(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    given = Credentials({"AWS_SECRET_ACCESS_KEY": Setting("hush", "secret a/b")}, ("a warning",))
    path = credential_files.leave(given, folder)
    assert credential_files.leave(given, folder) == path
    other = credential_files.leave(Credentials(), folder)
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)
    assert "hush" not in path.name
    assert credential_files.find(path) == given
    credential_files.clean(folder, frozenset((path,)))
    assert (path.exists(), other.exists()) == (True, False)
    path.write_bytes(b"[]")
    for broken in (path, other):
        with pytest.raises(Unavailable):
            credential_files.find(broken)
