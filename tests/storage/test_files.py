"""Models on this machine are used where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage.cache import Cache
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials, Fetched


async def get(uri: str, cache: Cache) -> Fetched:
    return await fetch(uri, cache=cache, credentials=Credentials())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my model"
    (folder / "model-store").mkdir(parents=True)
    (folder / "model-store" / "mnist.mar").write_bytes(b"mar")
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.mark.parametrize("scheme", ["file://", ""])
async def test_a_directory_is_used_in_place(model: Path, cache: Cache, scheme: str) -> None:
    fetched = await get(f"{scheme}{model}", cache)
    assert (fetched.path, fetched.files, fetched.bytes, fetched.from_cache) == (model, 2, 3, True)


async def test_a_changed_directory_has_another_digest(model: Path, cache: Cache) -> None:
    first = await get(str(model), cache)
    assert (await get(str(model), cache)).digest == first.digest
    os.utime(model / "empty", ns=(1, 1))
    assert (await get(str(model), cache)).digest != first.digest


async def test_a_single_file_stands_alone_in_a_directory(model: Path, cache: Cache) -> None:
    for _ in range(2):
        fetched = await get(f"file://{model}/model-store/mnist.mar", cache)
        assert [path.name for path in fetched.path.iterdir()] == ["mnist.mar"]
        assert (fetched.path / "mnist.mar").read_bytes() == b"mar"
        assert (fetched.files, fetched.bytes) == (1, 3)


async def test_a_missing_path_names_what_there_is(model: Path, cache: Cache) -> None:
    with pytest.raises(NotFound, match=f"nearest directory that exists is {model}") as caught:
        await get(f"file://{model}/nope/deeper", cache)
    assert caught.value.reason == "PathNotFound"


async def test_a_missing_path_of_a_claim_names_the_claim_and_where_it_was_looked_for(tmp_path: Path, cache: Cache) -> None:
    volumes = tmp_path / "volumes" / "home"
    (volumes / "weights" / "empty").mkdir(parents=True)

    async def why(uri: str) -> NotFound:
        with pytest.raises(NotFound) as caught:
            await fetch(uri, cache=cache, credentials=Credentials(), volumes=volumes)
        return caught.value

    absent = await why("pvc://weights/m")
    assert (absent.reason, absent.hint) == ("PathNotFound", f"the nearest directory that exists is {volumes}/weights")
    assert f"cannot read pvc://weights/m ({volumes}/weights/m): there is no such file or directory" in str(absent)
    assert f"cannot read pvc://weights/empty ({volumes}/weights/empty): the directory has no files" in str(await why("pvc://weights/empty"))
    assert f"cannot read pvc://weights ({volumes}/weights): the directory has no files" in str(await why("pvc://weights"))
    assert "there is no claim other in namespace home" in str(await why("pvc://other/m"))


async def test_a_path_below_a_file_is_not_there(model: Path, cache: Cache) -> None:
    with pytest.raises(NotFound, match="no such file or directory"):
        await get(f"file://{model}/empty/deeper", cache)


async def test_an_empty_directory_is_no_model(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "void" / "inner").mkdir(parents=True)
    with pytest.raises(NotFound, match="has no files") as caught:
        await get(f"file://{tmp_path}/void", cache)
    assert caught.value.reason == "NoObjects"


async def test_a_pipe_is_no_model(tmp_path: Path, cache: Cache) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="neither a file nor a directory"):
        await get(f"file://{tmp_path}/pipe", cache)
