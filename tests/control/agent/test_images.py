"""Which command stands for a container."""

from __future__ import annotations

import pytest

from flambeau.control.agent.images import Command, command_for
from flambeau.foundation.errors import InvalidInput

SERVE = ("/py", "-m", "flambeau", "serve")


def run(image: str = "", command: list[str] | None = None, args: list[str] | None = None) -> Command:
    container = {"name": "kserve-container", "image": image, "command": command, "args": args}
    return command_for(container, python="/py", find=lambda name: f"/bin/{name}" if name == "server" else None)


@pytest.mark.parametrize(
    "image", ["pytorch/torchserve-kfs:0.9.0", "docker.io/pytorch/torchserve:latest", "localhost:5000/pytorch/torchserve@sha256:1"]
)
@pytest.mark.parametrize(
    ("args", "flags"),
    [
        (["torchserve", "--start", "--model-store=/mnt/models/model-store"], ("--model-store=/mnt/models/model-store",)),
        (["torchserve", "--start", "--foreground", "--ncs", "--ts-config", "c"], ("--ts-config", "c")),
        (["serve"], ()),
        ([], ()),
    ],
)
def test_torchserve_is_our_server(image: str, args: list[str], flags: tuple[str, ...]) -> None:
    assert run(image, args=args) == Command((*SERVE, *flags), ours=True)


def test_our_own_image_takes_our_own_words() -> None:
    assert run("flambeau/server", args=["serve", "--models", "all"]).argv == (*SERVE, "--models", "all")
    assert run("flambeau/server").argv == SERVE


@pytest.mark.parametrize(
    ("image", "args", "words"),
    [
        ("kserve/sklearnserver:v0.20.0", ["--model_name=iris", "--http_port=8080"], ("sklearn", "--model_name=iris", "--http_port=8080")),
        ("docker.io/kserve/xgbserver", [], ("xgboost",)),
        ("kserve/lgbserver:latest-gpu", ["--nthread=1"], ("lightgbm", "--nthread=1")),
        ("kserve/huggingfaceserver", ["--model_name=bert"], ("huggingface", "--model_name=bert")),
        ("seldonio/mlserver:1.7.1", [], ("mlserver",)),
        ("nvcr.io/nvidia/tritonserver:23.05-py3", ["tritonserver", "--model-store=/m"], ("triton", "--model-store=/m")),
    ],
)
def test_kserves_runtimes_are_our_server(image: str, args: list[str], words: tuple[str, ...]) -> None:
    assert run(image, args=args) == Command(("/py", "-m", "flambeau", "runtime", *words), ours=True)


def test_a_runtimes_image_with_a_command_of_its_own_runs_that() -> None:
    assert run("kserve/sklearnserver", command=["server"], args=["a"]) == Command(("/bin/server", "a"), ours=False)


def test_torchserve_named_as_the_command_is_our_server_whatever_the_image() -> None:
    assert run("mine/image", command=["/usr/local/bin/torchserve"], args=["--start"]) == Command(SERVE, ours=True)


def test_a_command_that_is_here_runs_as_it_is() -> None:
    assert run("mine/image", command=["server", "a"], args=["b"]) == Command(("/bin/server", "a", "b"), ours=False)


@pytest.mark.parametrize(("command", "words"), [(None, "it names no command"), (["absent"], '"absent" does not exist on this machine')])
def test_another_image_says_why_it_cannot_run(command: list[str] | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        run("mine/image:1", command=command)
    assert caught.value.reason == "ImageCannotRun"
    assert caught.value.hint
