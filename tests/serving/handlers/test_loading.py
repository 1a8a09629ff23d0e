from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau.serving.handlers.discovery import import_class
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Outcome, Service

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]


def refused(load: Load, text: str, **fields: object) -> LoadError:
    """Load a handler file with this text and return why it failed."""
    with pytest.raises(LoadError) as caught:
        load({"h.py": text}, "h.py", **fields)
    return caught.value


def test_a_missing_package_says_how_to_get_it(load: Load) -> None:
    error = refused(load, "import surely_not_installed.part\n")
    assert error.message == (
        "cannot load model m 1.0: handler h.py failed to import: ModuleNotFoundError: No module named 'surely_not_installed' at h.py:1"
    )
    assert error.hint is not None
    assert "pip install surely_not_installed" in error.hint
    assert "requirements.txt" in error.hint
    assert "import surely_not_installed.part" in error.traceback_text


@pytest.mark.parametrize(
    ("module", "command"), [("torch", 'pip install "flambeau[torch]"'), ("torchvision", 'pip install "flambeau[vision]"')]
)
def test_a_missing_torch_says_the_command(load: Load, monkeypatch: pytest.MonkeyPatch, module: str, command: str) -> None:
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    error = refused(load, f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')\n")
    assert command in (error.hint or "")


def test_a_part_of_ts_that_is_not_there_is_told(load: Load) -> None:
    error = refused(load, "from ts.torch_handler.nothing_like_it import X\n")
    assert "flambeau's ts.* does not offer" in (error.hint or "")


@pytest.mark.parametrize("statement", ["raise ValueError('two\\nlines')", "import sys; sys.exit(3)", "raise MemoryError", "1 +"])
def test_import_failures_name_phase_and_cause(load: Load, statement: str) -> None:
    error = refused(load, f"x = 1\n{statement}\n")
    assert "handler h.py failed to import: " in error.message
    assert "\n" not in error.message


def test_initialize_failures_name_phase_cause_and_place(load: Load) -> None:
    error = refused(
        load, "class H:\n    def initialize(self, context):\n        raise OSError('no weights')\n    def handle(self, d, c): return d\n"
    )
    assert error.message == "cannot load model m 1.0: handler h.py failed to initialize: OSError: no weights at h.py:3"
    assert error.reason == "HandlerLoadFailed"


def test_a_function_may_fail_to_initialize_too(load: Load) -> None:
    assert "failed to initialize: TypeError" in refused(load, "def handle(data, context):\n    return [len(data)]\n").message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "class A:\n    def handle(self, d, c): ...\nclass B:\n    def handle(self, d, c): ...\n",
            "exactly one handler class; it defines A, B",
        ),
        ("class A: ...\n", r"defines A, but no class with a handle\(data, context\) method"),
        ("x = 1\n", r"neither a handler class nor a function handle\(data, context\)"),
        ("from ts.torch_handler.base_handler import BaseHandler\n", "neither a handler class"),
    ],
)
def test_a_module_has_one_way_in(load: Load, text: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load({"h.py": text}, "h.py")


def test_no_such_handler_lists_the_built_in_ones(load: Load) -> None:
    with pytest.raises(LoadError, match=r"no gone\.py in the archive, and the built-in handlers are base_deepspeed_handler, base_handler"):
        load({}, "gone")


def test_a_handler_imports_its_neighbours(load: Load, ask: Ask) -> None:
    files = {"h.py": "from neighbour import answer\ndef handle(d, c): return d and [answer]\n", "neighbour.py": "answer = 42\n"}
    assert ask(load(files, "h.py"), [{}])[0].value == 42


def test_a_name_of_the_standard_library_takes_nothing_away(load: Load, ask: Ask) -> None:
    import token  # noqa: PLC0415 - the module under threat

    service = load({"token.py": "def handle(d, c): return d and ['mine']\n"}, "token.py")
    assert ask(service, [{}])[0].value == "mine"
    assert sys.modules["token"] is token


def test_a_file_of_a_name_seen_before_is_loaded_anew(load: Load, ask: Ask, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    load({"h.py": "def handle(d, c): return d and [1]\n"}, "h.py")
    sys.modules["h"].__file__ = str(other / "h.py")
    assert ask(load({"h.py": "def handle(d, c): return d and [2]\n"}, "h.py"), [{}])[0].value == 2


def test_the_import_surface_is_light(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415 - a fresh interpreter, as a worker is

    (tmp_path / "h.py").write_text("def handle(d, c): return d\n")
    code = """
import sys
from pathlib import Path
from flambeau.serving.handlers.service import load_service
from flambeau.serving.model import ModelSpec
load_service(ModelSpec("m", "1.0", Path(sys.argv[1]), "m.mar", "h.py"))
import ts.context, ts.utils.util, ts.service
heavy = {"torch", "numpy", "PIL", "httptools", "uvicorn", "starlette", "grpc"} & set(sys.modules)
assert not heavy, heavy
import ts.torch_handler.image_classifier
heavy = {"torchvision", "captum", "matplotlib", "transformers"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_classes_are_imported_by_name() -> None:
    assert import_class("pathlib.Path") is Path
    assert import_class("Path", "pathlib") is Path
    for wrong in ("Path", "pathlib.Nothing", "pathlib.os", "no_such_module_at_all.X"):
        with pytest.raises(ImportError):
            import_class(wrong)
