"""Files and archives from web servers, Hugging Face's hub, HDFS and git."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from flambeau.foundation.errors import Conflict, Denied, InvalidInput, NotFound, TooLarge, Unavailable
from flambeau.storage import download, git, web_client
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_environment, from_secrets
from flambeau.storage.fetch import fetch
from flambeau.storage.git import commit_of
from flambeau.storage.model import Credentials
from flambeau.storage.uri import GitUri
from tests.fixtures.certificates import make_certificate
from tests.fixtures.faulty_proxy import FaultyProxy
from tests.fixtures.web_stores import Answer, Asked, GitStore, HdfsStore, HubStore, WebStore

MakeSecret = Callable[..., dict[str, Any]]
NOBODY = Credentials()
FILES = {"config/config.properties": b"a=b", "model-store/m.mar": b"m" * 3000, "empty": b""}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def web() -> Iterator[WebStore]:
    with WebStore() as store:
        yield store


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def tarred(files: dict[str, bytes], mode: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


# One file


async def test_a_plain_file_keeps_its_name(web: WebStore, cache: Cache) -> None:
    web.files["/models/my net.pt"] = b"weights"
    fetched = await fetch(f"{web.url}/models/my%20net.pt?version=3", cache=cache, credentials=NOBODY)
    assert contents(fetched.path) == {"my net.pt": b"weights"}
    assert (await fetch(f"{web.url}/models/my%20net.pt?version=3", cache=cache, credentials=NOBODY)).from_cache


async def test_a_new_version_is_noticed(web: WebStore, cache: Cache) -> None:
    for content in (b"one", b"two"):
        web.files["/m.pt"] = content
        assert contents((await fetch(f"{web.url}/m.pt", cache=cache, credentials=NOBODY)).path) == {"m.pt": content}


async def test_a_file_whose_length_nobody_tells(web: WebStore, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "answer", lambda asked: Answer(200, b"w" * 300_000, no_length=True))
    assert contents((await fetch(f"{web.url}/m.pt", cache=cache, credentials=NOBODY)).path) == {"m.pt": b"w" * 300_000}


async def test_a_page_instead_of_a_file_is_refused(web: WebStore, cache: Cache) -> None:
    web.files["/m.pt"], web.content_type = b"<html>log in</html>", "text/html; charset=utf-8"
    with pytest.raises(Unavailable, match="a web page came") as caught:
        await fetch(f"{web.url}/m.pt", cache=cache, credentials=NOBODY)
    assert caught.value.reason == "EndpointRefused"


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (401, Denied, "StorageAccessDenied"),
        (403, Denied, "StorageAccessDenied"),
        (404, NotFound, "NoObjects"),
        (503, Unavailable, "EndpointUnavailable"),
        (418, Unavailable, "EndpointRefused"),
    ],
)
async def test_each_status_has_its_error(
    web: WebStore, cache: Cache, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception], reason: str
) -> None:
    monkeypatch.setattr(web, "answer", lambda asked: Answer(status, b"no"))
    with pytest.raises(kind) as caught:
        await fetch(f"{web.url}/m.pt?signature=hush", cache=cache, credentials=NOBODY)
    assert caught.value.reason == reason  # type: ignore[attr-defined]
    assert "hush" not in str(caught.value)


async def test_headers_of_a_secret_go_to_their_host_alone(cache: Cache, make_secret: MakeSecret) -> None:
    with WebStore() as first, WebStore() as second:
        second.files["/m.pt"] = b"weights"
        elsewhere = second.url.replace("127.0.0.1", "localhost") + "/m.pt"
        first.answer = lambda asked: Answer(302, b"", {"Location": elsewhere})  # type: ignore[method-assign]
        credentials = from_secrets([make_secret({"https-host": "127.0.0.1", "headers": "Authorization: Bearer hush\nX-Team: a"})])
        await fetch(f"{first.url}/m.pt", cache=cache, credentials=credentials)
        assert first.asked[0].headers["authorization"] == "Bearer hush"
        assert first.asked[0].headers["x-team"] == "a"
        assert "authorization" not in second.asked[0].headers
        assert "x-team" not in second.asked[0].headers


async def test_endless_redirects_end(web: WebStore, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "answer", lambda asked: Answer(301, b"", {"Location": "/m.pt"}))
    with pytest.raises(Unavailable, match="redirects more than 5 times"):
        await fetch(f"{web.url}/m.pt", cache=cache, credentials=NOBODY)


async def test_a_file_that_changes_meanwhile_is_a_conflict(web: WebStore, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([b"one", b"two"])
    monkeypatch.setattr(web, "answer", lambda asked: web.file(asked, next(answers)))
    with pytest.raises(Conflict, match="it changed while") as caught:
        await fetch(f"{web.url}/m.pt", cache=cache, credentials=NOBODY)
    assert caught.value.reason == "ObjectChanged"


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("fault", ["cut", "stall"])
async def test_a_broken_download_goes_on(web: WebStore, cache: Cache, monkeypatch: pytest.MonkeyPatch, fault: Any, ranges: bool) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS_MIN", 0.01)
    monkeypatch.setattr(web_client, "SILENCE_SECONDS_MAX", 1.0)
    big = bytes(range(256)) * 30_000
    web.files["/big.pt"] = big
    if not ranges:
        plain = web.file
        monkeypatch.setattr(web, "file", lambda asked, content: plain(Asked(asked.method, asked.path, {}, {}), content))
    async with FaultyProxy(web.port) as proxy:
        # The first answer is only looked at and may carry a part, so the fault waits for the second.
        await fetch(f"http://127.0.0.1:{proxy.port}/big.pt", cache=Cache(cache.root / "other", 1 << 30), credentials=NOBODY)
        proxy.requests.clear()
        proxy.fail(fault, after_bytes=5_000_000, times=1)
        fetched = await fetch(f"http://127.0.0.1:{proxy.port}/big.pt", cache=cache, credentials=NOBODY)
        assert contents(fetched.path) == {"big.pt": big}
        assert any(start is not None and start > 1_000_000 for start in proxy.gets("big.pt"))


async def test_a_closed_port_is_said(cache: Cache) -> None:
    with pytest.raises(Unavailable, match=r"cannot reach the web server 127\.0\.0\.1:1 for") as caught:
        await fetch("http://127.0.0.1:1/m.pt", cache=cache, credentials=NOBODY)
    assert caught.value.reason == "EndpointUnreachable"


# Archives


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("m.zip", zipped),
        ("m.tar", lambda files: tarred(files, "w")),
        ("m.tgz", lambda files: tarred(files, "w:gz")),
        ("m.tar.gz", lambda files: tarred(files, "w:gz")),
    ],
)
async def test_an_archive_is_unpacked_once(web: WebStore, cache: Cache, name: str, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    web.files[f"/{name}"] = pack(FILES)
    fetched = await fetch(f"{web.url}/{name}", cache=cache, credentials=NOBODY)
    assert contents(fetched.path) == FILES
    asked = len(web.asked)
    again = await fetch(f"{web.url}/{name}", cache=cache, credentials=NOBODY)
    assert (again.path, again.from_cache) == (fetched.path, True)
    assert len(web.asked) == asked + 1


async def test_an_archive_of_this_machine_is_unpacked(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "m.tar.gz").write_bytes(tarred(FILES, "w:gz"))
    assert contents((await fetch(f"file://{tmp_path}/m.tar.gz", cache=cache, credentials=NOBODY)).path) == FILES


async def test_a_model_archive_stays_whole(web: WebStore, cache: Cache) -> None:
    web.files["/m.mar"] = zipped(FILES)
    assert list(contents((await fetch(f"{web.url}/m.mar", cache=cache, credentials=NOBODY)).path)) == ["m.mar"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped({"../evil": b"x"}), "unsafe path"),
        (tarred({"/etc/evil": b"x"}, "w:gz"), "unsafe path"),
        (zipped(FILES)[:-30], "truncated or damaged"),
        (b"<html>", "neither a zip nor a tar"),
    ],
)
async def test_a_bad_archive_is_refused_and_leaves_nothing(web: WebStore, cache: Cache, content: bytes, said: str) -> None:
    web.files["/m.zip"] = content
    with pytest.raises(InvalidInput, match=said) as caught:
        await fetch(f"{web.url}/m.zip", cache=cache, credentials=NOBODY)
    assert caught.value.reason == "BadArchive"
    assert not list(cache.folder("staging").iterdir())
    web.files["/m.zip"] = zipped(FILES)
    assert contents((await fetch(f"{web.url}/m.zip", cache=cache, credentials=NOBODY)).path) == FILES


async def test_an_archive_may_not_outgrow_the_cache(web: WebStore, tmp_path: Path) -> None:
    web.files["/m.tgz"] = tarred({"weights": b"0" * 3_000_000}, "w:gz")
    small = Cache(tmp_path / "small", bytes_max=1_000_000)
    with pytest.raises(InvalidInput, match="expands to more than 1000000 bytes"):
        await fetch(f"{web.url}/m.tgz", cache=small, credentials=NOBODY)
    assert not list(small.folder("staging").iterdir())


# Hugging Face


@pytest.fixture
def hub(web: WebStore) -> Iterator[HubStore]:
    with HubStore(web, private=True) as store:
        store.files.update({"config.json": b"{}", "onnx/model.onnx": b"o" * 9000})
        store.large.add("onnx/model.onnx")
        yield store


async def test_a_repository_is_fetched_at_one_commit(hub: HubStore, web: WebStore, cache: Cache, make_secret: MakeSecret) -> None:
    credentials = from_secrets([make_secret({"HF_TOKEN": hub.token, "HF_ENDPOINT": hub.url})])
    fetched = await fetch("hf://owner/model", cache=cache, credentials=credentials)
    assert contents(fetched.path) == hub.files
    assert f"/owner/model/resolve/{hub.commit}/config.json" in hub.paths()
    assert all("authorization" not in asked.headers for asked in web.asked), "the token is for the hub alone"
    assert (await fetch("hf://owner/model:v1", cache=cache, credentials=credentials)).from_cache


async def test_a_repository_that_is_not_there_or_private(hub: HubStore, cache: Cache) -> None:
    with pytest.raises(Denied, match="anonymous, no HF_TOKEN is given") as caught:
        await fetch("hf://owner/model", cache=cache, credentials=from_environment({"HF_ENDPOINT": hub.url}))
    assert "accept its terms" in (caught.value.hint or "")
    login = from_environment({"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token})
    with pytest.raises(NotFound):
        await fetch("hf://owner/model:v9", cache=cache, credentials=login)


async def test_what_is_no_hub_is_said(web: WebStore, cache: Cache) -> None:
    web.files["/api/models/owner/model/revision/main"] = b"<html>"
    with pytest.raises(Unavailable, match="its answer is no JSON"):
        await fetch("hf://owner/model", cache=cache, credentials=from_environment({"HF_ENDPOINT": web.url}))


# HDFS


async def test_a_directory_of_hdfs(cache: Cache, make_secret: MakeSecret) -> None:
    with HdfsStore() as store:
        store.files.update({"/root/user/m/weights": b"w" * 4000, "/root/user/m/deep/er/x": b"x", "/root/user/mm": b"no"})
        credentials = from_secrets([make_secret({"HDFS_NAMENODE": store.url, "HDFS_ROOTPATH": "/root", "USER_PROXY": "me"})])
        fetched = await fetch("hdfs://user/m", cache=cache, credentials=credentials)
        assert contents(fetched.path) == {"weights": b"w" * 4000, "deep/er/x": b"x"}
        assert store.asked[0].query["user.name"] == "me"
        one = await fetch("webhdfs://user/mm", cache=cache, credentials=credentials)
        assert contents(one.path) == {"mm": b"no"}
        with pytest.raises(NotFound):
            await fetch("hdfs://user/absent", cache=cache, credentials=credentials)


async def test_hdfs_behind_certificates_of_both_sides(cache: Cache, make_secret: MakeSecret, tmp_path: Path) -> None:
    sides = {}
    for side in ("server", "client"):
        (tmp_path / side).mkdir()
        sides[side] = make_certificate(tmp_path / side)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(sides["client"].certificate))
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(sides["server"].certificate, sides["server"].key)
    with HdfsStore(tls=tls) as store:
        store.files["/user/m/weights"] = b"1"
        keys = {"HDFS_NAMENODE": store.url, "TLS_CA": sides["server"].certificate.read_text()}
        own = {"TLS_CERT": sides["client"].certificate.read_text(), "TLS_KEY": sides["client"].key.read_text()}
        fetched = await fetch("hdfs://user/m", cache=cache, credentials=from_secrets([make_secret({**keys, **own})]))
        assert (fetched.path / "weights").read_bytes() == b"1"
        with pytest.raises(InvalidInput, match="cannot use TLS_CERT without TLS_KEY"):
            await fetch("hdfs://user/m", cache=cache, credentials=from_secrets([make_secret({**keys, "TLS_CERT": own["TLS_CERT"]})]))
        with pytest.raises(InvalidInput, match="cannot use the client certificate"):
            await fetch("hdfs://user/m", cache=cache, credentials=from_secrets([make_secret({**keys, **own, "TLS_KEY": "x"})]))


async def test_hdfs_without_a_name_node_is_said(cache: Cache) -> None:
    with pytest.raises(InvalidInput, match="HDFS_NAMENODE is not set"):
        await fetch("hdfs://user/m", cache=cache, credentials=NOBODY)


# git


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """A folder with one bare repository of two tags."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    work, folder = tmp_path / "work", tmp_path / "repositories"

    def run(*words: str) -> None:
        identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
        quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", *words], check=True, capture_output=True, cwd=tmp_path, env={**os.environ, **identity, **quiet})

    run("init", "-q", "-b", "main", str(work))
    for tag in ("v1", "v2"):
        (work / "weights").write_text(tag)
        run("-C", str(work), "add", ".")
        run("-C", str(work), "commit", "-q", "-m", tag)
        run("-C", str(work), "tag", "-a", tag, "-m", tag)
    run("clone", "-q", "--bare", str(work), str(folder / "model.git"))
    return folder


async def test_a_revision_of_git_is_cloned_once(repositories: Path, cache: Cache, make_secret: MakeSecret) -> None:
    with GitStore(repositories, login="me:hush") as store:
        credentials = from_secrets([make_secret({"GIT_USERNAME": "me", "GIT_PASSWORD": "hush"})])
        uri = f"{store.url}/model.git"
        newest = await fetch(uri, cache=cache, credentials=credentials)
        assert contents(newest.path) == {"weights": b"v2"}
        assert contents((await fetch(f"{uri}@v1", cache=cache, credentials=credentials)).path) == {"weights": b"v1"}
        store.asked.clear()
        again = await fetch(f"{uri}@v2", cache=cache, credentials=credentials)
        assert (again.path, again.from_cache) == (newest.path, True)
        assert not any(
            asked.headers.get("content-type") == "application/x-git-upload-pack-request" and b"want" in asked.body for asked in store.asked
        )
        with pytest.raises(NotFound, match="no branch or tag v9"):
            await fetch(f"{uri}@v9", cache=cache, credentials=credentials)
        with pytest.raises(NotFound, match="not found"):
            await fetch(f"{store.url}/other.git", cache=cache, credentials=credentials)
        with pytest.raises(Denied, match="no GIT_PASSWORD is given") as caught:
            await fetch(uri, cache=cache, credentials=NOBODY)
    assert "hush" not in str(caught.value)
    assert not list(cache.folder("staging").iterdir())


async def test_a_branch_is_not_taken_for_one_whose_name_ends_alike(repositories: Path, cache: Cache) -> None:
    bare = repositories / "model.git"
    first = git_says(bare, "rev-parse", "v1^{commit}")
    for name in ("refs/heads/x/main", "refs/heads/v2", "refs/remotes/origin/HEAD"):
        git_says(bare, "update-ref", name, first)
    with GitStore(repositories) as store:
        for revision, weights in (("", b"v2"), ("@main", b"v2"), ("@v2", b"v1"), ("@x/main", b"v1")):
            fetched = await fetch(f"{store.url}/model.git{revision}", cache=cache, credentials=NOBODY)
            assert contents(fetched.path) == {"weights": weights}, revision
            assert await commit_of(GitUri(f"{store.url}/model.git", revision.removeprefix("@")), NOBODY) == git_says(
                bare, "rev-parse", "v1^{commit}" if weights == b"v1" else "main"
            )


async def test_a_password_for_git_follows_no_redirect(cache: Cache, make_secret: MakeSecret) -> None:
    class Elsewhere(WebStore):
        def answer(self, asked: Asked) -> Answer:
            return Answer(302, b"", {"Location": f"{thief.url}{asked.path}?{urlencode(asked.query)}"})

    with WebStore() as thief, Elsewhere() as store:
        credentials = from_secrets([make_secret({"GIT_USERNAME": "me", "GIT_PASSWORD": "hush"})])
        with pytest.raises(Unavailable):
            await fetch(f"{store.url}/model.git", cache=cache, credentials=credentials)
        assert thief.asked == []


async def test_a_repository_without_end_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"""#!{sys.executable}
import sys, pathlib
if sys.argv[1] == "ls-remote":
    print("a" * 40 + "\\tHEAD")
else:
    with (pathlib.Path(sys.argv[-1]) / "weights").open("wb", buffering=0) as file:
        while file.tell() < 1 << 30:
            file.write(b"w" * 65536)
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "LOOK_SECONDS", 0.01)
    cache = Cache(tmp_path / "cache", 10_000_000)
    with WebStore() as store, pytest.raises(TooLarge, match="larger than the model cache") as caught:
        await fetch(f"{store.url}/m.git", cache=cache, credentials=NOBODY)
    assert caught.value.reason == "ModelTooLarge"
    assert not list(cache.folder("staging").iterdir())


async def test_a_redirect_to_where_a_machine_keeps_credentials_is_not_followed(cache: Cache) -> None:
    class Elsewhere(WebStore):
        def answer(self, asked: Asked) -> Answer:
            return Answer(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/iam"})

    with Elsewhere() as store, pytest.raises(Unavailable, match="link-local"):
        await fetch(f"{store.url}/m.pt", cache=cache, credentials=NOBODY)


def git_says(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


def test_a_signed_address_is_not_logged(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from flambeau.foundation.logs import configure
from flambeau.storage.cache import Cache
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials
configure("INFO")
asyncio.run(fetch(sys.argv[1], cache=Cache(Path(sys.argv[2]), 10**9), credentials=Credentials()))
"""
    with WebStore() as store:
        store.files["/m.pt"] = b"weights"
        url = f"{store.url}/m.pt?X-Amz-Signature=hush"
        ran = subprocess.run([sys.executable, "-c", code, url, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True)
    assert "hush" not in ran.stdout + ran.stderr


def test_json_of_headers_is_checked() -> None:
    credentials = from_environment({"example.com-headers": json.dumps({"a": 1})})
    with pytest.raises(InvalidInput, match="no JSON object of texts"):
        asyncio.run(fetch("https://example.com/m.pt", cache=Cache(Path("/nonexistent"), 1), credentials=credentials))
