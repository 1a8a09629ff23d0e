"""Google's and Azure's object stores, on servers that check signatures as the real ones do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import Denied, InvalidInput, NotFound
from flambeau.storage import download
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_environment, from_secrets
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials
from tests.fixtures.faulty_proxy import FaultyProxy
from tests.fixtures.web_stores import Answer, AzureStore, GoogleStore, WebStore

MakeSecret = Callable[..., dict[str, Any]]
MODEL = {"mnist/config/a.properties": b"a=b", "mnist/weights": b"w" * 5000, "mnist/empty.py": b"", "mnist2/sibling": b"s"}
CLEAN = {"config/a.properties": b"a=b", "weights": b"w" * 5000, "empty.py": b""}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def google() -> Iterator[GoogleStore]:
    with GoogleStore() as store:
        store.files.update(MODEL)
        yield store


@pytest.fixture
def azure() -> Iterator[AzureStore]:
    with AzureStore() as store:
        store.files.update(MODEL)
        yield store


def google_login(store: GoogleStore, make_secret: MakeSecret, **more: str) -> Credentials:
    return from_secrets(
        [make_secret({"gcloud-application-credentials.json": store.key_file(), "STORAGE_EMULATOR_HOST": store.url, **more})]
    )


AZURE_URI = f"https://{AzureStore.account}.blob.core.windows.net/models/mnist"


async def test_a_service_account_reads_a_directory(google: GoogleStore, cache: Cache, make_secret: MakeSecret) -> None:
    fetched = await fetch("gs://models/mnist", cache=cache, credentials=google_login(google, make_secret))
    assert contents(fetched.path) == CLEAN
    assert (await fetch("gs://models/mnist", cache=cache, credentials=google_login(google, make_secret))).from_cache


async def test_anybody_reads_a_public_bucket(cache: Cache) -> None:
    with GoogleStore(public=True) as store:
        store.files.update(MODEL)
        credentials = from_environment({"STORAGE_EMULATOR_HOST": store.url})
        fetched = await fetch("gs://models/mnist/weights", cache=cache, credentials=credentials)
        assert contents(fetched.path) == {"weights": MODEL["mnist/weights"]}
        assert all("authorization" not in asked.headers for asked in store.asked)


async def test_another_service_account_is_refused(google: GoogleStore, cache: Cache, make_secret: MakeSecret) -> None:
    with GoogleStore() as stranger:
        credentials = google_login(google, make_secret, **{"gcloud-application-credentials.json": stranger.key_file()})
    with pytest.raises(Denied, match=f"secret torchserve/s3creds data key gcloud.*{GoogleStore.email}") as caught:
        await fetch("gs://models/mnist", cache=cache, credentials=credentials)
    assert caught.value.reason == "StorageAccessDenied"
    assert "PRIVATE KEY" not in str(caught.value)


async def test_a_missing_google_bucket_and_directory_are_said(google: GoogleStore, cache: Cache, make_secret: MakeSecret) -> None:
    credentials = google_login(google, make_secret)
    with pytest.raises(NotFound, match="there is no bucket other") as caught:
        await fetch("gs://other/mnist", cache=cache, credentials=credentials)
    assert caught.value.reason == "BucketNotFound"
    with pytest.raises(NotFound, match="no objects under gs://models/mnits") as caught:
        await fetch("gs://models/mnits", cache=cache, credentials=credentials)
    assert "mnist/" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("key", "said"),
    [("no json", "it is no JSON"), ('{"type":"authorized_user"}', "only keys of service accounts"), ("{}", "no client_email")],
)
async def test_a_key_that_is_none_is_said(cache: Cache, make_secret: MakeSecret, key: str, said: str) -> None:
    credentials = from_secrets([make_secret({"gcloud-application-credentials.json": key})])
    with pytest.raises(InvalidInput, match=said) as caught:
        await fetch("gs://models/mnist", cache=cache, credentials=credentials)
    assert caught.value.reason == "InvalidStorageConfig"


async def test_a_shared_key_reads_a_container(azure: AzureStore, cache: Cache, make_secret: MakeSecret) -> None:
    secret = make_secret({"AZURE_STORAGE_ACCESS_KEY": azure.key, "AZURE_SERVICE_URL": azure.endpoint})
    fetched = await fetch(AZURE_URI, cache=cache, credentials=from_secrets([secret]))
    assert contents(fetched.path) == CLEAN


async def test_a_token_reads_a_container(azure: AzureStore, cache: Cache, make_secret: MakeSecret) -> None:
    secret = make_secret({"AZURE_ACCESS_TOKEN": azure.token, "AZURE_SERVICE_URL": azure.endpoint})
    assert (await fetch(AZURE_URI, cache=cache, credentials=from_secrets([secret]))).files == 3


async def test_a_wrong_azure_key_is_refused(azure: AzureStore, cache: Cache, make_secret: MakeSecret) -> None:
    secret = make_secret({"AZURE_STORAGE_ACCESS_KEY": "d3Jvbmc=", "AZURE_SERVICE_URL": azure.endpoint})
    with pytest.raises(Denied, match="a shared key") as caught:
        await fetch(AZURE_URI, cache=cache, credentials=from_secrets([secret]))
    assert "d3Jvbmc=" not in str(caught.value)


async def test_anybody_reads_a_public_container(cache: Cache) -> None:
    with AzureStore(public=True) as store:
        store.files.update(MODEL)
        fetched = await fetch(AZURE_URI, cache=cache, credentials=from_environment({"AZURE_SERVICE_URL": store.endpoint}))
        assert contents(fetched.path) == CLEAN


async def test_a_missing_container_is_said(azure: AzureStore, cache: Cache) -> None:
    credentials = from_environment({"AZURE_STORAGE_ACCESS_KEY": azure.key, "AZURE_SERVICE_URL": azure.endpoint})
    with pytest.raises(NotFound) as caught:
        await fetch(AZURE_URI.replace("/models/", "/other/"), cache=cache, credentials=credentials)
    assert caught.value.reason == "BucketNotFound"


async def test_half_a_service_principal_is_said(cache: Cache, make_secret: MakeSecret) -> None:
    credentials = from_secrets([make_secret({"AZ_CLIENT_ID": "id"})])
    with pytest.raises(InvalidInput, match="AZURE_TENANT_ID and AZURE_CLIENT_SECRET not set"):
        await fetch(AZURE_URI, cache=cache, credentials=credentials)


@pytest.mark.parametrize("kind", ["google", "azure"])
async def test_a_cut_download_goes_on(
    kind: str, google: GoogleStore, azure: AzureStore, cache: Cache, make_secret: MakeSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS_MIN", 0.01)
    big = bytes(range(256)) * 30_000
    store = google if kind == "google" else azure
    store.files["big/model"] = big
    async with FaultyProxy(store.port) as proxy:
        proxy.fail("cut", after_bytes=4_000_000, times=1)
        url = f"http://127.0.0.1:{proxy.port}"
        if kind == "google":
            credentials = google_login(google, make_secret, STORAGE_EMULATOR_HOST=url)
            uri = "gs://models/big"
        else:
            secret = make_secret({"AZURE_ACCESS_TOKEN": azure.token, "AZURE_SERVICE_URL": f"{url}/{azure.account}"})
            credentials, uri = from_secrets([secret]), AZURE_URI.replace("mnist", "big")
        fetched = await fetch(uri, cache=cache, credentials=credentials)
        assert contents(fetched.path) == {"model": big}
        first, second = proxy.gets("big%2Fmodel" if kind == "google" else "big/model")
        assert first is None
        assert second is not None
        assert second > 1_000_000


async def test_the_platforms_own_environment_is_not_used(
    google: GoogleStore, azure: AzureStore, cache: Cache, make_secret: MakeSecret, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APPLICATION_CREDENTIALS", "SERVICE_ACCOUNT_KEY", "BUCKET", "BASE_URL"):
        monkeypatch.setenv(f"GOOGLE_{name}", "{}")
    for name in ("STORAGE_ACCOUNT_KEY", "STORAGE_ACCOUNT_NAME", "STORAGE_ENDPOINT", "STORAGE_TOKEN", "STORAGE_SAS_KEY", "CLIENT_ID"):
        monkeypatch.setenv(f"AZURE_{name}", "foreign")
    assert (await fetch("gs://models/mnist", cache=cache, credentials=google_login(google, make_secret))).files == 3
    secret = make_secret({"AZURE_STORAGE_ACCESS_KEY": azure.key, "AZURE_SERVICE_URL": azure.endpoint})
    assert (await fetch(AZURE_URI, cache=cache, credentials=from_secrets([secret]))).files == 3
    google.public = azure.public = True
    await fetch("gs://models/mnist", cache=cache, credentials=from_environment({"STORAGE_EMULATOR_HOST": google.url}))
    await fetch(AZURE_URI, cache=cache, credentials=from_environment({"AZURE_SERVICE_URL": azure.endpoint}))
    assert "authorization" not in google.asked[-1].headers
    assert "authorization" not in azure.asked[-1].headers
    assert "sig" not in azure.asked[-1].query


async def test_a_service_principal_signs_in(azure: AzureStore, cache: Cache, make_secret: MakeSecret) -> None:
    with WebStore() as authority:
        granted = json.dumps({"access_token": azure.token, "expires_in": 3600, "token_type": "Bearer"}).encode()
        authority.answer = lambda asked: Answer(200, granted, {"Content-Type": "application/json"})  # type: ignore[method-assign]
        principal = {"AZURE_CLIENT_ID": "app", "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_SECRET": "hush"}
        secret = make_secret({**principal, "AZURE_SERVICE_URL": azure.endpoint, "AZURE_AUTHORITY_HOST": authority.url})
        assert (await fetch(AZURE_URI, cache=cache, credentials=from_secrets([secret]))).files == 3
        assert authority.asked[0].path == "/tenant/oauth2/v2.0/token"
        assert b"client_id=app" in authority.asked[0].body
