"""Weights of every kind, small and random, behind the base handler."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
import torch

from flambeau.serving.handlers import compilation
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
]

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

DOUBLE = """
import torch

class Double(torch.nn.Module):
    def forward(self, x):
        return x * 2
"""


class Double(torch.nn.Module):  # type: ignore[misc]  # torch is Any to mypy here
    def forward(self, x: Any) -> Any:
        return x * 2


def exported() -> Any:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(Double(), (torch.zeros(2, 2),), dynamic_shapes=({0: batch},))


def scripted_file(path: Path) -> None:
    torch.jit.trace(Double(), torch.zeros(1, 2)).save(str(path))


def exported_file(path: Path) -> None:
    torch.export.save(exported(), path)


def onnx_file(path: Path) -> None:
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")]
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    graph = onnx.helper.make_graph([node], "double", tensors[:1], tensors[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.mark.parametrize(("name", "write"), [("w.pt", scripted_file), ("w.pt2", exported_file), ("w.onnx", onnx_file)])
def test_a_file_alone_is_a_model(load: Load, ask: Ask, tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    service = load({}, "base_handler", model={"serializedFile": name})
    assert [outcome.value for outcome in ask(service, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])] == [[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]]


def test_a_class_needs_no_weights(load: Load, ask: Ask) -> None:
    service = load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py"})
    assert ask(service, [[1.0]])[0].value == [2.0]


def test_a_package_that_aotinductor_compiled_is_told_from_an_exported_program(
    load: Load, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Making a real one takes g++ a minute.
    with zipfile.ZipFile(tmp_path / "w.pt2", "w") as archive:
        archive.writestr("w/data/aotinductor/model/model.wrapper.so", b"")
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: Double())
    service = load({}, "base_handler", model={"serializedFile": "w.pt2"})
    assert ask(service, [[1.0, 2.0]])[0].value == [2.0, 4.0]


def test_a_library_needs_the_word_that_it_is_a_model(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.so").write_bytes(b"\x7fELF")
    with pytest.raises(LoadError, match="AOTInductor's"):
        load({}, "base_handler", model={"serializedFile": "w.so"})
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(torch._export, "aot_load", lambda path, device: asked.append((path, device)))
    load({}, "base_handler", model={"serializedFile": "w.so"}, yaml={"pt2": {"export": {"aot_compile": True}}})
    assert asked == [(str(tmp_path / "w.so"), "cpu")]


def test_onnx_sessions_keep_their_own_methods(load: Load, tmp_path: Path) -> None:
    onnx_file(tmp_path / "w.onnx")
    handler = (
        "from ts.torch_handler.base_handler import BaseHandler\n"
        "class H(BaseHandler):\n"
        "    def handle(self, data, context):\n"
        "        return [self.model.get_inputs()[0].name for row in data]\n"
    )
    service = load({"h.py": handler}, "h.py", model={"serializedFile": "w.onnx"})
    assert service.predict([{}], [[]], ["a"])[0].value == "x"


@pytest.mark.parametrize(
    ("pt2", "options"),
    [
        (None, None),
        ({}, None),
        ({"compile": {"enable": True}}, {}),
        ({"compile": {"enable": True, "backend": "eager", "mode": "default"}}, {"backend": "eager", "mode": "default"}),
        ({"compile": {"enable": False, "backend": "eager"}}, None),
        ({"compile": {"backend": "eager"}}, None),
        ({"export": {"aot_compile": True}}, None),
        ("inductor", {"backend": "inductor"}),
        ({"backend": "eager", "mode": "reduce-overhead"}, {"backend": "eager", "mode": "reduce-overhead"}),
    ],
)
def test_every_form_of_pt2(pt2: Any, options: dict[str, Any] | None) -> None:
    assert compilation.options_of(pt2) == options


def test_a_model_is_compiled_where_its_configuration_says_so(load: Load, ask: Ask) -> None:
    yaml = {"pt2": {"compile": {"enable": True, "backend": "eager"}}}
    handler = (
        "from ts.torch_handler.base_handler import BaseHandler\n"
        "class H(BaseHandler):\n"
        "    def describe_handle(self):\n"
        "        return type(self.model).__name__\n"
    )
    service = load({"net.py": DOUBLE, "h.py": handler}, "h.py", model={"modelFile": "net.py"}, yaml=yaml)
    assert ask(service, [{}], {"describe": "True"})[0].value == "OptimizedModule"
    assert ask(service, [[1.0]])[0].value == [2.0]


@pytest.mark.parametrize(
    ("pt2", "warning"),
    [("no_such_backend", "is not one of eager"), ({"mode": "no such mode"}, "is not compiled"), ("openvino", "needs openvino.torch")],
)
def test_what_cannot_be_compiled_serves_all_the_same(
    load: Load, ask: Ask, caplog: pytest.LogCaptureFixture, pt2: Any, warning: str
) -> None:
    service = load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py"}, yaml={"pt2": pt2})
    assert ask(service, [[1.0]])[0].value == [2.0]
    assert warning in caplog.text


def test_intels_extension_optimizes_a_model(load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    optimized: list[Any] = []
    extension = ModuleType("intel_extension_for_pytorch")
    extension.optimize = lambda model: [optimized.append(model), model][1]  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, extension.__name__, extension)
    load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py"})
    assert optimized == []
    monkeypatch.setenv("TS_IPEX_ENABLE", "true")
    service = load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py"})
    assert len(optimized) == 1
    assert ask(service, [[1.0]])[0].value == [2.0]


def test_a_missing_extension_is_told_and_the_model_serves(
    load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TS_IPEX_ENABLE", "true")
    service = load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py"})
    assert ask(service, [[1.0]])[0].value == [2.0]
    assert "ipex_enable needs intel-extension-for-pytorch" in caplog.text


def test_the_profiler_writes_a_trace_and_a_table(
    load: Load, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("ENABLE_TORCH_PROFILER", "1")
    service = load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py", "modelName": "../m"})
    assert ask(service, [[1.0]])[0].value == [2.0]
    assert list((tmp_path / "pytorch_profiler" / "m").iterdir())
    assert "aten::mul" in caplog.text


def test_a_device_is_chosen_by_what_there_is(load: Load, ask: Ask) -> None:
    service = load({"net.py": DOUBLE}, "base_handler", model={"modelFile": "net.py"}, device="cuda:0")
    assert ask(service, [[1.0]])[0].value == [2.0]
