"""The example as a user deploys it: model, archive, manifests."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fixtures.s3 import S3Server
from tests.system.harness import BIN, ROOT

EXAMPLE = ROOT / "examples" / "mnist"
BUCKET = "models"
PREFIX = "kserve/torchserve/mnist"


@dataclass(frozen=True)
class Model:
    """The trained example."""

    folder: Path
    """config/ and model-store/, as they are uploaded."""
    request: dict[str, Any]
    """A V1 request with a picture of a 0."""
    weights: Path


def make_model(made: Path) -> Model:
    """Train and archive the example for real."""
    subprocess.run([sys.executable, str(EXAMPLE / "train.py"), "--output", str(made)], check=True, capture_output=True, timeout=300)
    folder = made / "upload"
    (folder / "config").mkdir(parents=True)
    (folder / "model-store").mkdir()
    (folder / "config" / "config.properties").write_bytes((EXAMPLE / "config" / "config.properties").read_bytes())
    pack(folder / "model-store", handler=EXAMPLE / "mnist_handler.py", weights=made / "mnist_cnn.pt")
    return Model(folder=folder, request=json.loads((made / "mnist.json").read_text()), weights=made / "mnist_cnn.pt")


def pack(store: Path, *, handler: Path, weights: Path) -> Path:
    """Make an archive with the real command; return it."""
    command = [str(BIN / "torch-model-archiver"), "--model-name", "mnist", "--version", "1.0", "--model-file", str(EXAMPLE / "mnist.py")]
    command += ["--serialized-file", str(weights), "--handler", str(handler), "--export-path", str(store), "--force"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return store / "mnist.mar"


def manifest(name: str) -> str:
    """Return a manifest of the example."""
    return (EXAMPLE / "kubernetes" / f"{name}.yaml").read_text()


def secret(server: S3Server) -> str:
    """Return the example's Secret for the server at hand."""
    text = manifest("s3-secret").replace("127.0.0.1:9000", server.endpoint.removeprefix("http://"))
    return text.replace("demo:demo", server.access_key).replace("demo-secret", server.secret_key)
