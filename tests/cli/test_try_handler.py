"""``flambeau test-handler``: a handler in this process, with its times, its tracebacks and an honest exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.cli.try_handler import try_handler
from flambeau.foundation.errors import NotFound
from flambeau.serving.handlers.errors import LoadError
from tests.fixtures.archives import BROKEN, write_mar

STEPS = """\
class Doubling:
    def initialize(self, context):
        print("loading")

    def preprocess(self, rows):
        return [row["body"]["x"] if isinstance(row, dict) else row for row in rows]

    def inference(self, numbers):
        return [number * 2 for number in numbers]

    def handle(self, rows, context):
        context.metrics.add_counter("Calls", 1)
        context.set_response_header(0, "x-doubled", "yes")
        return self.inference(self.preprocess(rows))
"""


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    (tmp_path / "request.json").write_text('{"x": 21}')
    return str(tmp_path / "request.json")


def test_an_archive_answers(tmp_path: Path, request_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = (Path.cwd(), list(sys.path))
    assert try_handler(write_mar(tmp_path, "doubling", STEPS), request_file) == 0
    printed = capsys.readouterr().out
    assert "model doubling 1.0, handler doubling_handler.py" in printed
    assert "status 200 application/json\nx-doubled: yes\nmetric Calls: 1.0 Count\n\n42\n" in printed
    assert all(step in printed for step in ("load ", "handler ", "preprocess ", "inference ", "codec "))
    assert (Path.cwd(), list(sys.path)) == before


def test_a_plain_folder_answers_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "handler.py").write_text(STEPS)
    (tmp_path / "v1.json").write_text('{"instances": [1, 2]}')
    assert try_handler(folder, str(tmp_path / "v1.json"), protocol="v1", output="json") == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["model"], told["status"], told["body"]) == ("plain", 200, {"predictions": [2, 4]})
    assert set(told["milliseconds"]) == {"load", "handler", "preprocess", "inference", "codec"}
    assert "loading" in printed.err
    assert not (folder / "__pycache__").exists()


SHARED = """\
class Shared:
    def initialize(self, context):
        self.context = context

    {kind} handle(self, rows, context):
        if "part" in rows[0]["body"]:
            context.send_part(0, rows[0]["body"]["part"])
        context.stopping_criteria = [lambda answer: True for _ in rows]
        return [row["body"]["x"] for row in rows]
"""


@pytest.mark.parametrize(("kind", "config"), [("async def", "asyncCommunication: true"), ("def", "continuousBatching: true")])
def test_handlers_of_shared_workers_answer(
    tmp_path: Path, request_file: str, capsys: pytest.CaptureFixture[str], kind: str, config: str
) -> None:
    archive = write_mar(tmp_path, "shared", SHARED.replace("{kind}", kind), config=config)
    assert try_handler(archive, request_file, output="json") == 0
    assert json.loads(capsys.readouterr().out)["body"] == 21


@pytest.mark.parametrize(("kind", "config"), [("async def", "asyncCommunication: true"), ("def", None)])
def test_parts_of_a_streamed_answer_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, config: str | None) -> None:
    (tmp_path / "in.json").write_text('{"x": "end", "part": "begin"}')
    archive = write_mar(tmp_path, "shared", SHARED.replace("{kind}", kind), config=config)
    assert try_handler(archive, str(tmp_path / "in.json")) == 0
    printed = capsys.readouterr().out
    assert "part 1: begin\n" in printed
    assert "\nend\n" in printed


def test_what_a_handler_raises_is_told_in_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.json").write_text('{"y": 21}')
    assert try_handler(write_mar(tmp_path, "doubling", STEPS), str(tmp_path / "wrong.json")) == 1
    assert "error: Prediction failed: KeyError: 'x' at doubling_handler.py:6" in capsys.readouterr().out
    assert "Traceback (most recent call last)" in caplog.text
    assert "in preprocess" in caplog.text


def test_a_handler_that_cannot_load_is_told_in_full(tmp_path: Path, request_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LoadError, match=r"the weights have gone missing at broken_handler.py:3"):
        try_handler(write_mar(tmp_path, "broken", BROKEN), request_file)
    assert "RuntimeError: the weights have gone missing" in capsys.readouterr().err


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such file"):
        try_handler(write_mar(tmp_path, "doubling", STEPS), str(tmp_path / "absent"))


def test_a_breakpoint_stops_and_standard_input_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "handler.py").write_text("def handle(data, context):\n    breakpoint()\n    return data and ['answer']\n")
    (tmp_path / "in.txt").write_text("x")
    done = subprocess.run(
        [sys.executable, "-m", "flambeau", "test-handler", str(folder), str(tmp_path / "in.txt")],
        input="p data\nc\np data\nc\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONBREAKPOINT": "pdb.set_trace"},
    )
    assert done.returncode == 0, done.stderr
    assert "(Pdb)" in done.stdout
    assert "[{'body': 'x'}]" in done.stdout
    assert "\nanswer\n" in done.stdout
    piped = subprocess.run(
        [sys.executable, "-m", "flambeau", "test-handler", str(folder), "-", "-o", "json"],
        input="x",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONBREAKPOINT": "0"},
    )
    assert json.loads(piped.stdout)["body"] == "answer"
