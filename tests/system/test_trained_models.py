"""A TrainedModel's life in a running server, with the real kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.archives import BROKEN, write_mar
from tests.system.harness import Platform, host_of, until
from tests.system.tagger import TAGGER, apply, make_model, service

NAMESPACE = "trained"


def trained(name: str, folder: Path, *, memory: str = "100Mi", framework: str = "pytorch", on: str = "base") -> dict[str, Any]:
    model = {"storageUri": f"file://{folder}", "framework": framework, "memory": memory}
    metadata = {"name": name, "namespace": NAMESPACE}
    spec = {"inferenceService": on, "model": model}
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "TrainedModel", "metadata": metadata, "spec": spec}


def ask(platform: Platform, model: str) -> tuple[int, Any]:
    answer = platform.post(f"/v1/models/{model}:predict", {"instances": ["x"]}, host=host_of("base", NAMESPACE))
    return answer.status_code, answer.json()


def ready(platform: Platform, name: str, status: str, *words: str) -> str:
    def look() -> str:
        conditions = platform.get("tm", name, "-n", NAMESPACE).get("status", {}).get("conditions", [])
        told: dict[str, Any] = next((each for each in conditions if each["type"] == "Ready"), {})
        text = f"{told.get('reason')} {told.get('message')}"
        return text if told.get("status") == status and all(word in text for word in words) else ""

    return until(look, seconds=60, what=f"condition Ready {status} {words} of {name}")


@pytest.fixture(scope="module")
def base(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Have a service."""
    platform.kubectl("create", "ns", NAMESPACE)
    apply(platform, service("base", make_model(tmp_path_factory.mktemp("base") / "base", "base"), NAMESPACE))
    platform.kubectl("wait", "--for=condition=Ready", "isvc/base", "-n", NAMESPACE, "--timeout=90s")
    return platform


def test_a_model_is_loaded_asked_loaded_again_after_a_crash_and_unloaded(base: Platform, tmp_path: Path) -> None:
    write_mar(tmp_path, "added", TAGGER)
    apply(base, trained("added", tmp_path))
    base.kubectl("wait", "--for=condition=Ready", "tm/added", "-n", NAMESPACE, "--timeout=60s")
    assert ask(base, "added") == (200, {"predictions": ["added(x)"]})
    lines = base.kubectl("get", "tm", "-n", NAMESPACE).stdout.splitlines()
    assert [lines[0].split(), lines[1].split()[0], lines[1].split()[2]] == [["NAME", "URL", "READY", "AGE"], "added", "True"]
    assert "added" in base.get("cm", "modelconfig-base-0", "-n", NAMESPACE)["data"]["models.json"]

    (server,) = [each for each in base.processes() if each.environ().get("POD_NAMESPACE") == NAMESPACE and "serve" in each.cmdline()]
    server.kill()
    until(lambda: base.pods("base", NAMESPACE)[0]["status"]["containerStatuses"][0]["restartCount"], seconds=40, what="restart")
    base.kubectl("wait", "--for=condition=Ready", "isvc/base", "-n", NAMESPACE, "--timeout=60s")
    assert ask(base, "added") == (200, {"predictions": ["added(x)"]}), "a pod is ready when it has what its service is to have"

    base.kubectl("delete", "tm", "added", "-n", NAMESPACE)
    until(lambda: ask(base, "added")[0] == 404, seconds=30, what="404 of the deleted model")
    assert ask(base, "base")[0] == 200


def test_what_cannot_be_says_why(base: Platform, tmp_path: Path) -> None:
    write_mar(tmp_path / "broken", "broken", BROKEN)
    apply(
        base,
        trained("broken", tmp_path / "broken"),
        trained("elsewhere", tmp_path / "nothing"),
        trained("stranger", tmp_path / "broken", framework="cobol"),
        trained("orphan", tmp_path / "broken", on="nobody"),
        trained("large", tmp_path / "broken", memory="900Gi"),
    )
    ready(base, "broken", "False", "ModelLoadFailed", "weights have gone missing")
    ready(base, "elsewhere", "False", "ModelLoadFailed", "nothing")
    ready(base, "stranger", "False", "FrameworkNotSupported", "does not support cobol", "pytorch")
    ready(base, "orphan", "False", "InferenceServiceNotFound", "no InferenceService nobody")
    ready(base, "large", "False", "MemoryNotAvailable", "2Gi")
    refused = base.kubectl(
        "patch", "tm", "large", "-n", NAMESPACE, "--type=merge", "-p", '{"spec":{"model":{"memory":"1Gi"}}}', check=False
    )
    assert "cannot change from 900Gi to 1Gi" in refused.stderr
    assert ask(base, "base")[0] == 200
