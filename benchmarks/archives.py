"""The archives of the workloads, their weights and their requests.

Weights are random with a fixed seed: a benchmark asks how fast, not how right, but every answer is compared with the raw loop's.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image
from torchvision.models import resnet18

from benchmarks.work import tensor
from examples.mnist.mnist import Net
from flambeau.serving.archive.pack import ArchiveRequest, pack

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "benchmarks" / "work"
EXAMPLE = ROOT / "examples" / "mnist"
STREAM_ITEMS = 10_000
BODIES = {"noop": lambda: b"x" * 100, "stream": lambda: str(STREAM_ITEMS).encode(), "tensor": tensor.raw}


@dataclass(frozen=True)
class Workload:
    """One model with one request."""

    name: str
    body: bytes
    """The request's body, raw."""
    handler: Path
    model_file: Path | None = None
    weights: Path | None = None

    @property
    def v1(self) -> bytes:
        """The same request in KServe's V1 form."""
        return json.dumps({"instances": [{"data": base64.b64encode(self.body).decode()}]}).encode()

    def archive(self, store: Path) -> Path:
        """Write the workload's archive into a model store, without a configuration of its own; return it."""
        request = ArchiveRequest(
            model_name=self.name,
            version="1.0",
            handler=str(self.handler),
            model_file=self.model_file,
            serialized_file=self.weights,
            export_path=store,
            force=True,
        )
        return pack(request)


def workload(name: str, folder: Path) -> Workload:
    """Return a workload; its weights are written below the folder.

    Args:
        name: ``mnist``, ``noop``, ``resnet``, ``tensor`` or ``stream``.
        folder: where its weights go.
    """
    if name == "mnist":
        body = (EXAMPLE / "zero.png").read_bytes()
        return Workload(name, body, EXAMPLE / "mnist_handler.py", EXAMPLE / "mnist.py", _weights(Net(), folder, name))
    if name == "resnet":
        return Workload(name, _picture(), WORK / "resnet_handler.py", WORK / "resnet.py", _weights(resnet18(), folder, name))
    return Workload(name, BODIES[name](), WORK / f"{name}_handler.py")


def _weights(model: torch.nn.Module, folder: Path, name: str) -> Path:
    torch.manual_seed(1)
    state = {}
    for key, value in model.state_dict().items():
        state[key] = torch.randn_like(value) * 0.05 if value.is_floating_point() else value
        if key.endswith("running_var"):
            state[key] = state[key].abs() + 1  # a variance
    path = folder / f"{name}.pt"
    torch.save(state, path)
    return path


def _picture() -> bytes:
    """A 224x224 JPEG of coloured squares, about 20 KB."""
    pixels = numpy.random.default_rng(1).integers(0, 255, (28, 28, 3), dtype=numpy.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).resize((224, 224)).save(written, "JPEG")
    return written.getvalue()
