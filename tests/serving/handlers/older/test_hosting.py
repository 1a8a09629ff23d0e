from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.errors import PredictionException
from flambeau.serving.handlers.older.hosting import ModelLoaderFactory, Service, create_load_model_response, create_predict_response

ASKED = {
    "requestId": b"id-0",
    "headers": [{"name": b"X-Mine", "value": b"1"}],
    "parameters": [{"name": "body", "contentType": "application/json", "value": {"a": 1}}],
}


class Reader:
    """Reads TorchServe's worker format."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def number(self) -> int:
        (value,) = struct.unpack_from("!i", self.content, self.at)
        self.at += 4
        return int(value)

    def text(self) -> str:
        size = self.number()
        self.at += size
        return self.content[self.at - size : self.at].decode()

    def answer(self) -> dict[str, Any]:
        identifier, content_type, status, phrase = self.text(), self.text(), self.number(), self.text()
        headers = {self.text(): self.text() for _ in range(self.number())}
        return {"id": identifier, "type": content_type, "status": status, "phrase": phrase, "headers": headers, "body": self.text()}


def service(entry: Any) -> Service:
    return Service("m", "/nowhere", {}, entry, None, 1)


def read(content: bytes | None) -> tuple[int, str, dict[str, Any]]:
    assert content is not None
    reader = Reader(content)
    code, message, answer = reader.number(), reader.text(), reader.answer()
    assert reader.number() == -1
    assert reader.at == len(content)
    return code, message, answer


def test_a_batch_is_answered_in_torchserves_format() -> None:
    def entry(data: Any, context: Context) -> Any:
        context.set_response_status(201, "Made")
        context.set_response_header(0, "X-Asked", context.get_request_header(0, "X-Mine"))
        context.set_response_content_type(0, "application/json")
        return [{**data[0]["body"], "type": context.get_request_header(0, "body")["content-type"]}]

    code, message, answer = read(service(entry).predict([ASKED]))
    assert (code, message) == (200, "Prediction success")
    assert answer["headers"] == {"X-Asked": "1", "content-type": "application/json"}
    assert (answer["id"], answer["status"], answer["phrase"], answer["type"]) == ("id-0", 201, "Made", "application/json")
    assert json.loads(answer["body"]) == {"a": 1, "type": "application/json"}


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (PredictionException("no", 404), 404, "no"),
        (ValueError("x"), 503, "Prediction failed"),
        (RuntimeError("CUDA error"), 507, "Out of resources"),
        ("no list", 503, "Invalid model predict output"),
        ([1, 2], 503, "number of batch response mismatched"),
        ([object()], 503, "Unsupported model output data type."),
    ],
)
def test_failures_have_torchserves_words(outcome: Any, code: int, message: str) -> None:
    def entry(data: Any, context: Context) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    found = read(service(entry).predict([ASKED]))
    assert found[:2] == (code, message)
    assert found[2]["body"] == "error"


def test_only_a_groups_first_process_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert create_predict_response(["a"], {0: "id"}, "", 200) is None


def test_a_handler_is_loaded_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(
        "class Echo:\n    def initialize(self, context): self.name = context.model_name\n"
        "    def handle(self, data, context): return [f'{self.name} {value}' for value in data]\n"
    )
    loaded = ModelLoaderFactory.get_model_loader().load("m", str(tmp_path), "echo.py", None, 1, "body")
    assert read(loaded.predict([ASKED]))[2]["body"] == "m {'a': 1}"
    (tmp_path / "function.py").write_text("def handle(data, context):\n    return data and [b'x' for _ in data]\n")
    loaded = ModelLoaderFactory.get_model_loader().load("m", str(tmp_path), "function", None, 1)
    assert read(loaded.predict([ASKED]))[2]["body"] == "x"
    assert create_load_model_response(200, "ok") == b"\x00\x00\x00\xc8\x00\x00\x00\x02ok\xff\xff\xff\xff"
