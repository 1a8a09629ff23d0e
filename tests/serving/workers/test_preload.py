from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flambeau.serving.model import ModelSpec
from flambeau.serving.workers.preload import preload, uses_compiler

_SOURCES = Path(__file__).parents[3] / "src"
_LAZY_TORCH = """
def __getattr__(name):
    if name != "_dynamo":
        raise AttributeError(name)
    import importlib
    return importlib.import_module("torch._dynamo")
"""


def _says(script: str, folder: Path, *options: str) -> list[str]:
    """Return the lines that a fresh interpreter prints; with -S it sees nothing that is installed."""
    command = [sys.executable, *options, "-c", "from flambeau.serving.workers.preload import PRELOADED, preload\nimport sys\n" + script]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, cwd=folder, env={"PYTHONPATH": str(_SOURCES)}
    ).stdout.splitlines()


def test_what_cannot_be_imported_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_extension_of_test.py").write_text("raise OSError('libfoo.so: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    assert preload(["json", "no_such_module_at_all", "broken_extension_of_test"]) == ["json"]
    assert "cannot import broken_extension_of_test" in capfd.readouterr().err


def test_torchvision_comes_without_the_compiler_which_comes_when_it_is_used(tmp_path: Path) -> None:
    said = _says(
        """
print(preload(PRELOADED) == list(PRELOADED))
print([name for name in ("torchvision.models", "torch._dynamo", "sympy") if name in sys.modules])
import torch
print(sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu"), "torch._dynamo" in sys.modules)
print(torch.compile(lambda number: number + 1, backend="eager")(torch.ones(1)).item())
""",
        tmp_path,
    )
    assert said == ["True", "['torchvision.models']", "True True", "2.0"]


@pytest.mark.parametrize(
    "more",
    ["from torch._dynamo.utils import something_else", "import torch._dynamo.config", "import torch._dynamo as d; print(d.thing)"],
)
def test_a_release_that_takes_more_of_the_compiler_gets_it(tmp_path: Path, more: str) -> None:
    _write_packages(tmp_path, f"import torchvision.ops\n{more}")
    assert _says("print(preload(['torchvision.transforms']), 'ops' in dir(sys.modules['torchvision']))", tmp_path, "-S")[-1] == (
        "['torchvision.transforms'] True"
    )


def test_a_module_that_was_taken_as_a_whole_becomes_the_true_one(tmp_path: Path) -> None:
    _write_packages(tmp_path, "import torch._dynamo as compiler")
    script = "preload(['torchvision.transforms'])\nprint('torch._dynamo' in sys.modules, sys.modules['torchvision'].compiler.thing)"
    assert _says(script, tmp_path, "-S") == ["False 1"]


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("import torch", False),
        ("import torchvision.transforms as compile", False),
        ("self.model = torch.compile(self.model)", True),
        ("from transformers import AutoModel", True),
        ("import captum.attr", True),
    ],
)
def test_what_uses_the_compiler_is_seen_in_its_code(tmp_path: Path, code: str, uses: bool) -> None:
    (tmp_path / "model.py").write_text("")
    (tmp_path / "handler.py").write_text(code)
    assert uses_compiler(ModelSpec("m", "1.0", tmp_path, "m.mar", "handler.py")) is uses


def test_what_uses_the_compiler_is_seen_in_its_configuration(tmp_path: Path) -> None:
    spec = ModelSpec("m", "1.0", tmp_path, "m.mar", "image_classifier")
    assert not uses_compiler(spec)
    assert uses_compiler(replace(spec, yaml={"pt2": {"compile": {"enable": True}}}))
    assert uses_compiler(replace(spec, handler="huggingface_model"))


def _write_packages(folder: Path, torchvision: str) -> None:
    """Write a torch and a torchvision that are nothing but what imports what."""
    for name, content in {
        "torch/__init__.py": _LAZY_TORCH,
        "torch/_dynamo/__init__.py": "thing = 1",
        "torch/_dynamo/config.py": "",
        "torch/_dynamo/utils.py": "something_else = 1",
        "torchvision/__init__.py": torchvision,
        "torchvision/ops.py": "",
        "torchvision/transforms.py": "",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
