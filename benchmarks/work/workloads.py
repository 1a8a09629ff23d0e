"""The workloads as plain functions of request bodies, for the peers that take Python code instead of an archive."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

Run = Callable[[Sequence[bytes]], list[Any]]
"""Answers a batch: one JSON value for each body."""


def load(name: str, weights: str) -> Run:
    """Return a workload, ready to run, on one torch thread.

    Args:
        name: ``mnist``, ``noop`` or ``resnet``.
        weights: the file of its state dict; not read for ``noop``.
    """
    if name == "noop":
        return lambda bodies: ["ok"] * len(bodies)
    import torch  # noqa: PLC0415  # what a no-op would not pay for
    from PIL import Image  # noqa: PLC0415
    from torchvision import models, transforms  # noqa: PLC0415

    from examples.mnist.mnist import Net  # noqa: PLC0415

    torch.set_num_threads(1)
    if name == "mnist":
        model: Any = Net()
        prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
        mode = "L"
    else:
        model = models.resnet18()
        prepare = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )
        mode = "RGB"
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()

    def run(bodies: Sequence[bytes]) -> list[Any]:
        with torch.inference_mode():
            pictures = [prepare(Image.open(io.BytesIO(body)).convert(mode)) for body in bodies]
            return list(model(torch.stack(pictures)).argmax(1).tolist())

    return run
