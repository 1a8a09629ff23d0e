from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound, NotReady, TooLarge
from flambeau.serving.archive import model_config as module
from flambeau.serving.archive.manifest import Manifest, name_of_archive
from flambeau.serving.archive.model_config import read_model_config
from flambeau.serving.archive.unpack import Unpacked
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Phase, Registration, Repository, spec_of
from flambeau.serving.workers.starter import FreshStarter
from tests.fixtures.archives import BROKEN, ECHO, write_mar
from tests.fixtures.waiting import until
from tests.fixtures.wheels import write_wheel


def no_workers(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
    return ModelConfig(min_workers=0, max_workers=1), []


@pytest_asyncio.fixture
async def repository(tmp_path: Path) -> AsyncIterator[Repository]:
    found = Repository(tmp_path / "unpacked", FreshStarter(), alias="service")
    yield found
    await found.stop(1)


async def loaded(repository: Repository, *archives: Path, default: str = "") -> None:
    for archive in archives:
        repository.register(Registration(archive, archive.name, no_workers, is_default=archive.name == default))
    await until(lambda: all(standing.ready or standing.failed for standing in repository.standings()))


async def test_the_first_version_is_the_default(repository: Repository, tmp_path: Path) -> None:
    await loaded(repository, write_mar(tmp_path, "m", ECHO), write_mar(tmp_path, "m", ECHO, file="m2.mar", version="2"))
    assert repository.find("m", None).version == "1.0"
    assert repository.find("m", "2").version == "2"


async def test_the_marked_version_is_the_default(repository: Repository, tmp_path: Path) -> None:
    first, second = write_mar(tmp_path, "m", ECHO), write_mar(tmp_path, "m", ECHO, file="m2.mar", version="2")
    await loaded(repository, first, second, default="m2.mar")
    assert repository.find("m", None).version == "2"
    assert {model.version for model in repository.versions("m")} == {"1.0", "2"}


async def test_a_single_model_answers_under_the_services_name(repository: Repository, tmp_path: Path) -> None:
    await loaded(repository, write_mar(tmp_path, "m", ECHO))
    assert repository.find("service", None) is repository.find("m", None)
    assert repository.find("service", "1.0") is repository.find("m", "1.0")
    assert repository.standing("service", None).ready
    await loaded(repository, write_mar(tmp_path, "n", ECHO))
    with pytest.raises(NotFound):
        repository.find("service", None)


async def test_the_services_name_is_known_before_the_archive_is_read(repository: Repository, tmp_path: Path) -> None:
    repository.register(Registration(write_mar(tmp_path, "m", ECHO), "m.mar", no_workers))
    for name in ("m", "service"):
        with pytest.raises(NotReady, match="model m is not loaded yet: unpacking"):
            repository.find(name, None)
        assert repository.standing(name, None).phase is Phase.UNPACKING
    await until(repository.models)


async def test_what_is_not_there_is_told_with_what_is(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model is loaded"):
        repository.find("x", None)
    await loaded(repository, write_mar(tmp_path, "a", ECHO), write_mar(tmp_path, "b", ECHO))
    with pytest.raises(NotFound, match=r"Model not found: x \(the models here: a, b\)"):
        repository.find("x", None)
    with pytest.raises(NotFound, match="Model version: 7 does not exist for model: a"):
        repository.find("a", "7")


async def test_what_fails_is_kept_with_its_cause(repository: Repository, tmp_path: Path) -> None:
    torn, missing = tmp_path / "torn.mar", tmp_path / "missing.mar"
    torn.write_bytes(b"nothing")
    await loaded(repository, torn, missing, write_mar(tmp_path, "good", ECHO))
    standings = {standing.label: standing for standing in repository.standings()}
    assert standings["good 1.0"].ready
    assert standings["torn"].failed
    assert "neither a zip nor a tar.gz" in standings["torn"].message
    assert "does not exist" in standings["missing"].message
    with pytest.raises(NotReady, match="cannot load model torn"):
        repository.find("torn", None)


async def test_a_version_is_loaded_once(repository: Repository, tmp_path: Path) -> None:
    await loaded(repository, write_mar(tmp_path, "m", ECHO))
    await loaded(repository, write_mar(tmp_path, "m", ECHO, file="again.mar"))
    assert "already registered" in repository.standings()[1].message


async def test_requirements_are_installed_where_that_is_allowed(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "needy"
    write_needy_folder(folder)
    cache = tmp_path / "cache"

    def one_worker(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
        return ModelConfig(), []

    repository.register(Registration(folder, "needy", one_worker, name="with", packages_cache=cache))
    repository.register(Registration(folder, "needy", one_worker, name="without"))
    await until(lambda: all(standing.ready or standing.failed for standing in repository.standings()), 60)
    having, lacking = repository.standings()
    assert having.ready, having.message
    assert lacking.failed
    assert "flambeau_tiny" in lacking.message


async def test_use_venv_makes_the_requirements_an_environment_of_the_models_own(repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "needy"
    write_needy_folder(folder, config="useVenv: true\n")

    def one_worker(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
        return ModelConfig(use_venv=yaml["useVenv"] is True), []

    repository.register(Registration(folder, "needy", one_worker, packages_cache=tmp_path / "cache"))
    await until(lambda: all(standing.ready or standing.failed for standing in repository.standings()), 60)
    [standing] = repository.standings()
    assert standing.ready, standing.message
    [model] = repository.models()
    assert model.spec.packages is None
    assert model.spec.interpreter is not None
    [worker] = model.pool.workers()
    assert psutil.Process(worker.pid).cmdline()[0] == str(model.spec.interpreter)


def write_needy_folder(folder: Path, *, config: str | None = None) -> None:
    """Write a model folder whose handler imports a package that its requirements bring, as a wheel in the folder."""
    (folder / "MAR-INF").mkdir(parents=True)
    handler = "import flambeau_tiny\n\n\ndef handle(data, context):\n    return data and [flambeau_tiny.WORD] * len(data)\n"
    (folder / "needy.py").write_text(handler)
    write_wheel(folder)
    (folder / "requirements.txt").write_text("--no-index\n./flambeau_tiny-1.0-py3-none-any.whl\n")
    model = {"modelName": "needy", "handler": "needy.py", "requirementsFile": "requirements.txt"}
    if config is not None:
        (folder / "model-config.yaml").write_text(config)
        model["configFile"] = "model-config.yaml"
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": model}))


def unpacked(directory: Path, **manifest: str) -> Unpacked:
    return Unpacked(directory, Manifest(**manifest))  # type: ignore[arg-type]  # names all


def registered(**given: str) -> Registration:
    return Registration(Path("/store/my-model.v1.mar"), "my-model.v1.mar", no_workers, **given)  # type: ignore[arg-type]  # names all


@pytest.mark.parametrize(
    ("given", "manifest", "name", "handler"),
    [
        ({}, {"model_name": "m", "handler": "h.py"}, "m", "h.py"),
        ({"name": "other"}, {"model_name": "m", "handler": "h.py"}, "other", "h.py"),
        ({"default_handler": "d.py"}, {}, "my_model_v1", "d.py"),
        ({"default_handler": "d.py"}, {"handler": "h.py"}, "my_model_v1", "h.py"),
    ],
)
def test_names_and_handlers(tmp_path: Path, given: dict[str, str], manifest: dict[str, str], name: str, handler: str) -> None:
    spec = spec_of(registered(**given), unpacked(tmp_path, **manifest), None)
    assert (spec.name, spec.handler, spec.url) == (name, handler, "my-model.v1.mar")


def test_an_archive_without_a_handler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="names no handler"):
        spec_of(registered(), unpacked(tmp_path), None)


@pytest.mark.parametrize(
    ("file", "name"), [("a.mar", "a"), ("a-b.c.tar", "a_b_c_tar"), ("nested.tar.gz", "nested_tar_gz"), ("folder", "folder")]
)
def test_names_of_archives(file: str, name: str) -> None:
    assert name_of_archive(Path("/x") / file) == name


def test_a_model_config(tmp_path: Path) -> None:
    manifest = Manifest(config_file="c.yaml")
    (tmp_path / "c.yaml").write_text("batchSize: 4\nhandler:\n  a: 1\n")
    assert read_model_config(tmp_path, manifest) == {"batchSize": 4, "handler": {"a": 1}}
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert read_model_config(tmp_path, manifest) == {}
    assert read_model_config(tmp_path, Manifest()) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [("a: [", "is not YAML: .*line 1"), ("- 1", "must hold keys and values"), ("a: !!python/name:os.system", "is not YAML")],
)
def test_a_bad_model_config(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=why):
        read_model_config(tmp_path, Manifest(config_file="c.yaml"))


def test_a_model_config_that_is_missing_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="does not hold it"):
        read_model_config(tmp_path, Manifest(config_file="c.yaml"))
    monkeypatch.setattr(module, "YAML_BYTES_MAX", 3)
    (tmp_path / "c.yaml").write_text("abcd")
    with pytest.raises(TooLarge):
        read_model_config(tmp_path, Manifest(config_file="c.yaml"))


async def test_a_model_is_replaced_by_what_can_run(repository: Repository, tmp_path: Path) -> None:
    old = Registration(write_mar(tmp_path, "m", ECHO), "m.mar", no_workers)
    repository.register(old)
    repository.register(Registration(write_mar(tmp_path, "m", ECHO, file="m2.mar", version="2"), "m2.mar", no_workers))
    await until(lambda: len(repository.models()) == 2)
    before = repository.find("m", None)
    new = replace(old, handler="m_handler.py:handle")
    after = await repository.replace(old, new, 1)
    assert repository.find("m", None) is repository.find("m", "1.0") is after
    assert after is not before
    with pytest.raises(NotFound, match="removed meanwhile"):
        await repository.replace(old, new, 1)
    renamed = await repository.replace(new, replace(new, name="n"), 1)
    assert (repository.find("n", None), repository.find("m", None).version) == (renamed, "2")


async def test_what_cannot_run_replaces_nothing(repository: Repository, tmp_path: Path) -> None:
    def one_worker(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
        return ModelConfig(), []

    old = Registration(write_mar(tmp_path, "m", ECHO), "m.mar", no_workers)
    repository.register(old)
    repository.register(Registration(write_mar(tmp_path, "m", ECHO, file="m2.mar", version="2"), "m2.mar", no_workers))
    await until(lambda: len(repository.models()) == 2)
    serving, folders = repository.find("m", "1.0"), set((tmp_path / "unpacked").iterdir())
    with pytest.raises(NotReady, match="the weights have gone missing"):
        await repository.replace(old, replace(old, archive=write_mar(tmp_path / "new", "m", BROKEN), configure=one_worker), 1)
    with pytest.raises(NotFound):
        await repository.replace(old, replace(old, archive=tmp_path / "absent.mar"), 1)
    with pytest.raises(Conflict):
        await repository.replace(old, replace(old, archive=tmp_path / "m2.mar"), 1)
    assert repository.find("m", "1.0") is serving
    assert set((tmp_path / "unpacked").iterdir()) == folders


def test_a_folder_without_manifest_is_run_by_its_model_files_format(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    registration = Registration(tmp_path, "iris", no_workers)
    spec = spec_of(registration, unpacked(tmp_path), None)
    assert (spec.name, spec.handler) == (name_of_archive(tmp_path), "onnx_model")
    model = spec.manifest["model"]
    assert isinstance(model, dict)
    assert model["serializedFile"] == "model.onnx"
    assert spec_of(replace(registration, handler="mine.py"), unpacked(tmp_path), None).handler == "mine.py"
    (tmp_path / "model.joblib").write_bytes(b"x")
    with pytest.raises(InvalidInput, match=r"more than one file could be it: model\.joblib, model\.onnx"):
        spec_of(registration, unpacked(tmp_path), None)
