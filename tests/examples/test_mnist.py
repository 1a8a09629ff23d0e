"""The MNIST example as a user walks it: train, archive, unpack, load, predict."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from flambeau.cli.torchserve.archiver import main as archive
from flambeau.serving.archive.unpack import unpack
from flambeau.serving.handlers.service import Service, load_service
from flambeau.serving.model import ModelSpec

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a real training wrote, about 7 s."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, str(EXAMPLE / "train.py"), "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[2].rstrip("%")) > 97
    return folder


@pytest.fixture(scope="module")
def service(trained: Path) -> Iterator[Service]:
    """The trained model, through an archive, in this process."""
    arguments = ["--model-name", "mnist", "--version", "1.0", "--model-file", str(EXAMPLE / "mnist.py")]
    arguments += ["--serialized-file", str(trained / "mnist_cnn.pt"), "--handler", str(EXAMPLE / "mnist_handler.py")]
    assert archive([*arguments, "--export-path", str(trained)]) == 0
    unpacked = unpack(trained / "mnist.mar", trained / "unpacked")
    manifest = unpacked.manifest
    assert manifest.handler == "mnist_handler.py"
    path, threads = list(sys.path), torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_service(ModelSpec("mnist", "1.0", unpacked.directory, "mnist.mar", manifest.handler, manifest.document))
    torch.set_num_threads(threads)
    sys.path[:] = path
    for name in ("mnist", "mnist_handler"):
        del sys.modules[name]


def answers(service: Service, rows: list[Any]) -> list[object]:
    outcomes = service.predict(rows, [[]] * len(rows), [str(index) for index in range(len(rows))])
    assert [outcome.error for outcome in outcomes] == [None] * len(rows)
    return [outcome.value for outcome in outcomes]


def test_every_sample_is_recognised_in_one_batch(service: Service, trained: Path) -> None:
    rows = [{"body": bytearray((trained / "samples" / f"{digit}.png").read_bytes())} for digit in range(10)]
    assert answers(service, rows) == list(range(10))


def test_the_request_that_comes_with_the_example_is_a_zero(service: Service) -> None:
    instances = json.loads((EXAMPLE / "mnist.json").read_text())["instances"]
    assert answers(service, instances) == [0]
    assert base64.b64decode(instances[0]["data"]) == (EXAMPLE / "zero.png").read_bytes()
    assert answers(service, [{"body": (EXAMPLE / "zero.png").read_bytes()}]) == [0]


def test_the_written_request_holds_the_written_picture(trained: Path) -> None:
    request = json.loads((trained / "mnist.json").read_text())
    assert base64.b64decode(request["instances"][0]["data"]) == (trained / "zero.png").read_bytes()


def test_the_weights_have_the_original_names_and_shapes(trained: Path) -> None:
    weights = torch.load(trained / "mnist_cnn.pt", weights_only=True)
    assert {name: tuple(value.shape) for name, value in weights.items() if name.endswith("weight")} == {
        "conv1.weight": (32, 1, 3, 3),
        "conv2.weight": (64, 32, 3, 3),
        "fc1.weight": (128, 9216),
        "fc2.weight": (10, 128),
    }
