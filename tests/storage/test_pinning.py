"""Fetches connect to the address that was checked, whatever a resolver says afterwards."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from flambeau.foundation.errors import NotFound, Unavailable
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_environment
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials
from tests.fixtures.certificates import make_certificate
from tests.fixtures.web_stores import Answer, Asked, WebStore

NOBODY = Credentials()
METADATA = "169.254.169.254"


class Names:
    """A resolver for made-up names: each asking gets the next answer, the last one again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *more: Any, **named: Any) -> list[Any]:
        if host not in self.answers:
            return list(self._real(host, port, *more, **named))
        self.asked.append(host)
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [info for address in addresses for info in self._real(address, port, type=socket.SOCK_STREAM)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    resolver = Names()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.fixture
def web() -> Iterator[WebStore]:
    with WebStore() as store:
        store.files["/m.pt"] = b"weights"
        yield store


async def test_a_name_is_resolved_once_for_the_check_and_the_connection(web: WebStore, names: Names, cache: Cache) -> None:
    names.answers["models.example"] = [["127.0.0.1"], ["127.0.0.1"], [METADATA]]
    fetched = await fetch(f"http://models.example:{web.port}/m.pt", cache=cache, credentials=NOBODY)
    assert (fetched.path / "m.pt").read_bytes() == b"weights"
    assert names.asked == ["models.example"] * 2  # for the question and for the bytes
    assert {asked.headers["host"] for asked in web.asked} == {f"models.example:{web.port}"}


async def test_a_resolver_that_changes_its_answer_is_noticed(web: WebStore, names: Names, cache: Cache) -> None:
    names.answers["models.example"] = [["127.0.0.1"], [METADATA]]
    with pytest.raises(Unavailable, match=f"cannot fetch from models.example: its address {METADATA} is where") as caught:
        await fetch(f"http://models.example:{web.port}/m.pt", cache=cache, credentials=NOBODY)
    assert caught.value.reason == "EndpointRefused"
    assert caught.value.hint == "name the server's own address"


@pytest.mark.parametrize("addresses", [[METADATA], ["127.0.0.1", METADATA], ["::ffff:169.254.169.254"], ["fe80::1"]])
async def test_one_forbidden_address_is_enough(web: WebStore, names: Names, cache: Cache, addresses: list[str]) -> None:
    names.answers["models.example"] = [addresses]
    with pytest.raises(Unavailable, match="link-local or metadata"):
        await fetch(f"http://models.example:{web.port}/m.pt", cache=cache, credentials=NOBODY)
    assert web.asked == []


async def test_the_next_address_is_tried_where_one_refuses(web: WebStore, names: Names, cache: Cache) -> None:
    names.answers["models.example"] = [["127.0.0.99", "127.0.0.1"]]  # nobody listens at the first
    await fetch(f"http://models.example:{web.port}/m.pt", cache=cache, credentials=NOBODY)
    assert web.paths() == ["/m.pt", "/m.pt"]


async def test_a_redirect_is_checked_as_well(web: WebStore, names: Names, cache: Cache) -> None:
    names.answers["inner.example"] = [[METADATA]]
    for where in (
        "http://inner.example/iam",
        "http://[::ffff:169.254.169.254]/iam",
        "http://2852039166/iam",
        "http://0xa9.0xfe.0xa9.0xfe/iam",
    ):
        web.answer = lambda asked, where=where: Answer(302, b"", {"Location": where})  # type: ignore[method-assign, misc]
        with pytest.raises(Unavailable, match="link-local or metadata"):
            await fetch(f"{web.url}/m.pt", cache=cache, credentials=NOBODY)


async def test_tls_is_spoken_with_the_name(tmp_path: Path, names: Names, cache: Cache) -> None:
    own = make_certificate(tmp_path, "models.example")
    asked_for: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own.certificate, own.key)
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    names.answers["models.example"] = names.answers["other.example"] = [["127.0.0.1"]]
    credentials = from_environment({"AWS_CA_BUNDLE": str(own.certificate)})
    with WebStore(tls=context) as store:
        store.files["/m.pt"] = b"weights"
        await fetch(f"https://models.example:{store.port}/m.pt", cache=cache, credentials=credentials)
        assert set(asked_for) == {"models.example"}
        with pytest.raises(Unavailable, match=r"other\.example") as caught:
            await fetch(f"https://other.example:{store.port}/m.pt", cache=cache, credentials=credentials)
    assert caught.value.reason == "TlsFailure"


async def test_an_unknown_name_is_said(names: Names, cache: Cache) -> None:
    for host in ("nowhere.invalid", f"{'a' * 64}.invalid"):
        with pytest.raises(Unavailable, match=r"no name of a host|not known") as caught:
            await fetch(f"http://{host}/m.pt", cache=cache, credentials=NOBODY)
        assert caught.value.reason == "EndpointUnreachable"


async def test_an_object_store_s_endpoint_is_checked_before(names: Names, cache: Cache) -> None:
    names.answers["minio.example"] = [[METADATA]]
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
    for endpoint in ("http://minio.example", f"http://{METADATA}", "http://2852039166"):
        with pytest.raises(Unavailable, match="link-local or metadata"):
            await fetch("s3://models/m", cache=cache, credentials=from_environment({**keys, "AWS_ENDPOINT_URL": endpoint}))


async def test_azure_s_authority_is_checked_before(names: Names, cache: Cache) -> None:
    names.answers["blobs.example"], names.answers["login.example"] = [["127.0.0.1"]], [[METADATA]]
    principal = {"AZURE_CLIENT_ID": "id", "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_SECRET": "hush"}
    places = {"AZURE_SERVICE_URL": "http://blobs.example", "AZURE_AUTHORITY_HOST": "http://login.example"}
    with pytest.raises(Unavailable, match=r"cannot fetch from login\.example"):
        await fetch("https://acc.blob.core.windows.net/models/m", cache=cache, credentials=from_environment({**principal, **places}))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
async def test_git_is_led_to_the_checked_address_and_follows_no_redirect(names: Names, cache: Cache) -> None:
    names.answers["git.example"] = [["127.0.0.1"]]

    class Elsewhere(WebStore):
        def answer(self, asked: Asked) -> Answer:
            return Answer(302, b"", {"Location": f"http://git.example:{home.port}{asked.path}?{urlencode(asked.query)}"})

    with WebStore() as home, Elsewhere() as first:
        with pytest.raises(NotFound, match=f"git.example:{home.port}/model.git/' not found"):
            await fetch(f"{first.url}/model.git", cache=cache, credentials=NOBODY)
        # This machine knows no git.example: git itself came there by the address it was given.
        assert any(asked.headers["user-agent"].startswith("git/") for asked in home.asked)
        assert not any(asked.headers["user-agent"].startswith("git/") for asked in first.asked)
        first.asked.clear()
        names.answers["git.example"] = [["127.0.0.1"], [METADATA]]
        with pytest.raises(Unavailable, match="link-local or metadata"):
            await fetch(f"{first.url}/model.git", cache=cache, credentials=NOBODY)


async def test_a_proxy_of_the_environment_is_used_and_the_address_checked(
    web: WebStore, names: Names, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    names.answers["inner.example"] = [[METADATA]]
    fetched = await fetch("http://only-the-proxy-knows.invalid/m.pt", cache=cache, credentials=NOBODY)
    assert (fetched.path / "m.pt").read_bytes() == b"weights"
    assert web.asked[0].headers["host"] == "only-the-proxy-knows.invalid"
    with pytest.raises(Unavailable, match="link-local or metadata"):
        await fetch("http://inner.example/m.pt", cache=cache, credentials=NOBODY)
    names.answers["elsewhere.example"] = [["127.0.0.99"]]
    with pytest.raises(Unavailable, match=r"elsewhere\.example"):
        await fetch(f"http://elsewhere.example:{web.port}/m.pt", cache=cache, credentials=NOBODY)
