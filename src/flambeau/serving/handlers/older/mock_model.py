"""A small model and its files, for users' unit tests of their handlers. Importing this imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib import request

import torch


class ArgmaxModel(torch.nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """Answer with the place of each row's greatest number."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the places."""
        return torch.argmax(inputs[0], 1)


def save_pt_file(filepath: str = "base_model.pt") -> None:
    """Write the weights of an ``ArgmaxModel``."""
    torch.save(ArgmaxModel().state_dict(), filepath)


def download_model(model_url: str, model_dir: Path) -> None:
    """Fetch weights into a folder, as its ``model.pt``; a test calls it with the address that it names itself."""
    with request.urlopen(model_url) as source, open(model_dir / "model.pt", "wb") as target:  # noqa: S310 - the test's own
        shutil.copyfileobj(source, target)


def copy_files(src_dir: Path, dst_dir: Path, files: Mapping[str, str]) -> None:
    """Copy files from one folder to another, under other names.

    Args:
        src_dir: where they are.
        dst_dir: where they go.
        files: old name -> new name.
    """
    for old, new in files.items():
        shutil.copyfile(src_dir / old, dst_dir / new)
