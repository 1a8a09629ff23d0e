"""Every Python example of docs/handlers.md, run as a worker runs it."""

from __future__ import annotations

import asyncio
import importlib
import io
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from flambeau.serving.handlers.service import Outcome, Service, load_service
from flambeau.serving.model import Job, Method, ModelConfig, ModelSpec, Protocol, Tensors
from flambeau.serving.workers.continuous import Continuous
from flambeau.serving.workers.link import ChildLink

GUIDE = Path(__file__).parents[2].joinpath("docs", "handlers.md").read_text(encoding="utf-8")
EXAMPLES = {name: f"# {name}\n{text}" for name, text in re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE, flags=re.DOTALL)}
"""By the file name in their first line."""
NET = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the examples are files; what they imported is forgotten."""
    path, modules = list(sys.path), set(sys.modules)
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "net.py").write_text(NET)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def load(folder: Path, handler: str) -> Service:
    return load_service(ModelSpec("guide", "1.0", folder, "guide.mar", handler, manifest={"model": {"modelFile": "net.py"}}))


def ask(service: Service, *rows: Any, **headers: str) -> list[Outcome]:
    return service.predict(list(rows), [list(headers.items())] * len(rows), ["id"] * len(rows))


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "white").save(buffer, "PNG")
    return buffer.getvalue()


def test_every_example_is_tested_here() -> None:
    assert GUIDE.count("```python") == len(EXAMPLES) == 11
    assert sorted(EXAMPLES) == [
        "about.py",
        "add.py",
        "countdown.py",
        "digits.py",
        "length.py",
        "meeting.py",
        "roots.py",
        "scores.py",
        "test_scores.py",
        "weighed.py",
        "words.py",
    ]


@pytest.mark.parametrize(
    ("handler", "row", "value"),
    [
        ("length.py", {"body": bytearray(b"four")}, 4),
        ("scores.py", {"body": [0.0]}, {"score": 0.5}),
        ("digits.py", {"body": picture()}, 0),
        ("roots.py", {"body": 9}, 3.0),
        ("add.py", Tensors({"a": 1, "b": 2}), {"sum": 3}),
        ("weighed.py", {"body": "good, good not bad"}, 0.0),
    ],
)
def test_an_example_answers(folder: Path, handler: str, row: Any, value: Any) -> None:
    assert [outcome.value for outcome in ask(load(folder, handler), row)] == [value]


def test_rows_fail_alone(folder: Path) -> None:
    outcomes = ask(load(folder, "roots.py"), {"body": 4}, {"body": "four"})
    assert [(outcome.status, outcome.value, outcome.error) for outcome in outcomes] == [
        (200, 2.0, None),
        (400, None, "send a number as JSON"),
    ]


def test_the_context_sets_answers_and_measures(folder: Path) -> None:
    service = load(folder, "about.py")
    (outcome,) = ask(service, {}, **{"x-user": "me"})
    assert outcome == Outcome("id asked by me", 200, "", "text/plain", (("X-Model", "guide"),))
    assert [(update.name, update.value) for update in service.take_updates()] == [("Questions", 1.0)]


def test_words_stream(folder: Path) -> None:
    sent: list[object] = []
    outcomes = load(folder, "words.py").predict([{}], [[]], ["id"], lambda _, part: sent.append(part.value))
    assert [*sent, outcomes[0].value] == ["one ", "two ", "three"]


def test_an_explanation(folder: Path) -> None:
    (outcome,) = ask(load(folder, "weighed.py"), {"body": "so good"}, explain="True")
    assert outcome.value == {"so": 0.0, "good": 1.0}


def test_the_guides_test_passes(folder: Path) -> None:
    load(folder, "scores.py")  # shows the folder and ``ts`` to the import system
    importlib.import_module("test_scores").test_a_row_gets_its_score()
    assert torch.is_inference_mode_enabled() is False


def test_a_request_is_counted_down_step_by_step(folder: Path) -> None:
    spec = ModelSpec("guide", "1.0", folder, "guide.mar", "countdown.py", config=ModelConfig(continuous_batching=True))
    near, far = socket.socketpair()
    with near, far:
        mode = Continuous(ChildLink(near), load_service(spec), spec)
        answer = mode.answer(Job("id", Protocol.V1, Method.PREDICT, "", (), b'{"instances": [{"body": 3}]}'))
    assert answer.body == b'{"predictions":["2 1 0 "]}'


async def test_coroutines_meet(folder: Path) -> None:
    service = load(folder, "meeting.py")
    asked = (service.predict_concurrently([{"body": name}], [[]], [name]) for name in ("a", "b"))
    assert [outcome.value for outcomes in await asyncio.gather(*asked) for outcome in outcomes] == ["met", "met"]
