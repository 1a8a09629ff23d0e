"""Let the registry's torchvision import beside a CPU-only torch (development machines only; never shipped).

torchvision's compiled operators need CUDA libraries that a CPU torch doesn't have. torchvision tolerates that, and then its Python side
trips over two operators that nobody declared. Declaring their schemas lets transforms and models import; calling a compiled operator
still fails with torchvision's own error. ``install`` puts this file into the environment's site-packages with a ``.pth`` that loads it.

Every Python of the environment loads it at its start, so it imports nothing but ``sys`` until torchvision is wanted.

Run: ``.venv/bin/python tools/torchvision_on_cpu_torch.py install``
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OPERATORS = ("nms", "qnms")
_kept: list[Any] = []  # a torch Library undeclares its operators when it is collected


class _DeclareOperators:
    """Declare the operators at the first import of torchvision, then get out of the way (a finder of ``sys.meta_path``)."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Find nothing; act on torchvision's name."""
        if fullname != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch  # noqa: PLC0415 - only a process that imports torchvision pays for torch

        if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
            library = torch.library.Library("torchvision", "DEF")
            for operator in _OPERATORS:
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept.append(library)


def install() -> None:
    """Copy this file beside torchvision and load it at every start of this environment's Python."""
    import shutil  # noqa: PLC0415 - as above
    import sysconfig  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    site_packages = Path(sysconfig.get_paths()["purelib"])
    shutil.copyfile(__file__, site_packages / "torchvision_on_cpu_torch.py")
    (site_packages / "torchvision_on_cpu_torch.pth").write_text("import torchvision_on_cpu_torch\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit(f"usage: {sys.argv[0]} install")
    install()
else:
    sys.meta_path.insert(0, _DeclareOperators())
