"""Lay fetched models out where a pod reads them, as links into the cache. Blocks, on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from flambeau.foundation.errors import InvalidInput, Unavailable

_HERE = PurePosixPath(".")


def lay_out(top: Path, trees: Sequence[tuple[PurePosixPath, Path]]) -> None:
    """Replace what is at a place by models.

    One model at the top is one link, so that nothing of it is copied. Several are folders of links, where one may lie inside another, or
    two in the same folder.

    Args:
        top: the place; its parent is there.
        trees: where each model goes below the top, and its directory.

    Raises:
        InvalidInput: a place lies outside the top, or two models have a file of the same name (ModelFilesCollide).
        Unavailable: the disk refused (DiskError).
    """
    try:
        if top.is_symlink():
            top.unlink()
        elif top.is_dir():
            shutil.rmtree(top)
        if [place for place, _ in trees] == [_HERE]:
            top.symlink_to(trees[0][1])
            return
        top.mkdir()
        for place, tree in trees:
            if place.is_absolute() or ".." in place.parts:
                raise InvalidInput(f"cannot put a model at {place}: it lies outside its volume", reason="InvalidMountPath")
            _link_files(tree, top / place)
    except OSError as error:
        raise Unavailable(f"cannot lay out the model below {top}: {error}", reason="DiskError") from error


def _link_files(tree: Path, target: Path) -> None:
    for folder, _, names in os.walk(tree):
        here = target / Path(folder).relative_to(tree)
        try:
            here.mkdir(parents=True, exist_ok=True)
            for name in names:
                (here / name).symlink_to(Path(folder) / name)
        except FileExistsError as error:
            raise InvalidInput(
                f"two of the models have a file {error.filename2 or error.filename}",
                hint="give each storageUri a mountPath of its own",
                reason="ModelFilesCollide",
            ) from error
