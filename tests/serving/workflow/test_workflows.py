from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound, NotReady, WorkerLost
from flambeau.serving.repository import Origin
from flambeau.serving.workflow.registry import WorkflowWish
from tests.fixtures.archives import BROKEN, ECHO, write_mar, write_war
from tests.fixtures.waiting import until
from tests.serving.workflow.conftest import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOWING = """\
class Showing:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self.one(row, context, index) for index, row in enumerate(data)]

    def one(self, row, context, index):
        return {"model": context.model_name, "mine": context.get_request_header(index, "X-Mine"), "row": shown(row)}

def shown(row):
    return {name: [type(value).__name__, value if isinstance(value, str) else bytes(value).decode()] for name, value in row.items()}
"""
"""Answers with the row that it got."""

TRYING = """\
import pathlib, time

def count(path):
    with open(path, "a") as file:
        file.write("x")
    return pathlib.Path(path).stat().st_size

def fails_once(data, context):
    if data and count(data[0]["body"]) == 1:
        raise ValueError("not yet")
    return data and ["worked"]

def fails(data, context):
    if data:
        count(data[0]["body"])
        raise ValueError("never")

def late_once(data, context):
    if data and count(data[0]["body"]) == 1:
        time.sleep(0.6)
    return data and ["in time"]

def waits(data, context):
    if data:
        path = pathlib.Path(data[0]["body"])
        pathlib.Path(f"{path}.begun").touch()
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
    return data and ["waited"]

def after(data, context):
    return data and [b"after " + data[0]["body"]]
"""


async def test_each_node_gets_the_output_of_the_one_before(house: House) -> None:
    write_mar(house.store, "showing", SHOWING)
    await house.register(
        "line",
        "models: {m: {url: showing.mar}}\ndag:\n  pre: [m]\n  m: [post]\n",
        "def pre(data, context):\n    return data and [data[0]['body'].upper()]\n\n\n"
        "def post(data, context):\n    return data and [b'post ' + bytes(data[0]['body'])]\n",
    )
    outputs = await house.predict("line", b"hello")
    assert list(outputs) == ["post"]
    assert outputs["post"].startswith(b"post {")
    # A node sees the client's headers, and its parent's bytes whatever they look like.
    shown = json.loads(outputs["post"].removeprefix(b"post "))
    assert shown == {"model": "line__m", "mine": "yes", "row": {"body": ["bytearray", "HELLO"]}}
    await house.workflows.unregister("line")


async def test_the_first_node_gets_the_request_as_it_came(house: House) -> None:
    write_mar(house.store, "showing", SHOWING)
    await house.register("first", "models: {m: {url: showing.mar}}\ndag: {m: []}\n")
    form = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
    [output] = (await house.predict("first", form, "multipart/form-data; boundary=b")).values()
    assert json.loads(output)["row"] == {"a": ["bytearray", "1"]}
    with pytest.raises(InvalidInput, match="Error executing m of workflow first: the multipart body is cut off"):
        await house.predict("first", form[:-8], "multipart/form-data; boundary=b")
    await house.workflows.unregister("first")


async def test_siblings_run_at_the_same_time_and_are_joined_by_name(house: House, tmp_path: Path) -> None:
    write_mar(house.store, "showing", SHOWING)
    meet = (
        "import pathlib, time\n\n\ndef meet(data, mine, other):\n    folder = pathlib.Path(data[0]['body'].decode())\n"
        "    (folder / mine).touch()\n    deadline = time.monotonic() + 20\n"
        "    while not (folder / other).exists() and time.monotonic() < deadline:\n        time.sleep(0.005)\n"
        "    return [f'{mine} saw {other}: {(folder / other).exists()}']\n\n\n"
        "def pre(data, context):\n    return data and [data[0]['body']]\n\n\n"
        "def left(data, context):\n    return data and meet(data, 'left', 'right')\n\n\n"
        "def right(data, context):\n    return data and meet(data, 'right', 'left')\n"
    )
    spec = "models: {timeout-ms: 20000, join: {url: showing.mar}}\ndag:\n  pre: [left, right]\n  left: [join]\n  right: [join]\n"
    await house.register("meeting", spec, meet)
    [output] = (await house.predict("meeting", str(tmp_path).encode())).values()
    assert json.loads(output)["row"] == {
        "left": ["bytearray", "left saw right: True"],
        "right": ["bytearray", "right saw left: True"],
    }
    await house.workflows.unregister("meeting")


async def test_several_leaves_answer_by_name(house: House) -> None:
    functions = "def pre(data, context):\n    return data and ['x']\n\n\ndef a(data, context):\n    return data and [{'a': 1}]\n\n\n"
    await house.register("leaves", "dag:\n  pre: [a, b]\n", functions + "def b(data, context):\n    return data and ['text']\n")
    assert dict(await house.predict("leaves")) == {"a": b'{\n  "a": 1\n}', "b": b"text"}
    await house.workflows.unregister("leaves")


@pytest.mark.parametrize(("function", "answer"), [("fails_once", b"worked"), ("late_once", b"in time")])
async def test_a_node_that_fails_or_is_late_once_is_tried_again(house: House, tmp_path: Path, function: str, answer: bytes) -> None:
    await house.register("again", f"models: {{retry-attempts: 2, timeout-ms: 400}}\ndag: {{{function}: []}}\n", TRYING)
    counter = tmp_path / "count"
    assert dict(await house.predict("again", str(counter).encode())) == {function: answer}
    assert house.metrics.tally(f"again__{function}", "1.0", None).in_flight == 0
    assert counter.read_text() == "xx"
    await house.workflows.unregister("again")


@pytest.mark.parametrize(("retries", "attempts"), [(0, "1 attempt"), (2, "3 attempts")])
async def test_a_node_that_goes_on_failing_is_told_with_its_cause(house: House, tmp_path: Path, retries: int, attempts: str) -> None:
    await house.register("failing", f"models: {{retry-attempts: {retries}}}\ndag: {{fails: [after]}}\n", TRYING)
    counter = tmp_path / "count"
    with pytest.raises(
        WorkerLost, match=rf"Error executing fails of workflow failing after {attempts}: Prediction failed: ValueError: never"
    ):
        await house.predict("failing", str(counter).encode())
    assert counter.read_text() == "x" * (retries + 1)
    await house.workflows.unregister("failing")


async def test_a_node_that_takes_too_long_is_told_with_its_time(house: House, tmp_path: Path) -> None:
    await house.register("late", "models: {retry-attempts: 0, timeout-ms: 200}\ndag: {waits: [after]}\n", TRYING)
    with pytest.raises(WorkerLost, match=r"after 1 attempt: no answer from model late__waits 1\.0 within the request's 0\.2 s"):
        await house.predict("late", str(tmp_path / "free").encode())
    (tmp_path / "free").touch()
    await house.workflows.unregister("late")


async def test_a_killed_worker_costs_an_attempt_and_no_answer(house: House, tmp_path: Path) -> None:
    await house.register("killed", "models: {timeout-ms: 20000}\ndag: {waits: [after]}\n", TRYING)
    asking = asyncio.create_task(house.predict("killed", str(tmp_path / "free").encode()))
    await until((tmp_path / "free.begun").exists)
    [worker] = house.repository.find("killed__waits", None).pool.workers()
    assert worker.pid is not None
    (tmp_path / "free").touch()
    os.kill(worker.pid, signal.SIGKILL)
    assert dict(await asking) == {"after": b"after waited"}
    await house.workflows.unregister("killed")


async def test_a_client_that_goes_takes_its_jobs_along(house: House, tmp_path: Path) -> None:
    await house.register("gone", "models: {timeout-ms: 20000}\ndag: {waits: [after]}\n", TRYING)
    busy = asyncio.create_task(house.predict("gone", str(tmp_path / "free").encode()))
    await until((tmp_path / "free.begun").exists)
    waiting = asyncio.create_task(house.predict("gone", b"/nowhere"))
    queue = house.repository.find("gone__waits", None).queue
    await until(lambda: queue.pending == 1)
    for task in (busy, waiting):
        task.cancel()
    await asyncio.wait([busy, waiting])
    assert queue.pending == 0
    assert not house.workflows.find("gone").runs
    assert house.metrics.tally("gone__waits", "1.0", None).in_flight == 0
    (tmp_path / "free").touch()
    assert dict(await house.predict("gone", str(tmp_path / "free").encode())) == {"after": b"after waited"}
    await house.workflows.unregister("gone")


async def test_what_was_accepted_is_answered_before_a_workflow_goes(house: House, tmp_path: Path) -> None:
    await house.register("leaving", "models: {timeout-ms: 20000}\ndag: {waits: [after]}\n", TRYING)
    asking = asyncio.create_task(house.predict("leaving", str(tmp_path / "free").encode()))
    await until((tmp_path / "free.begun").exists)
    pids = house.pids()
    going = asyncio.create_task(house.workflows.unregister("leaving"))
    await asyncio.sleep(0)
    with pytest.raises(NotFound, match="Workflow not found: leaving"):
        await house.predict("leaving")
    (tmp_path / "free").touch()
    assert dict(await asking) == {"after": b"after waited"}
    await going
    assert house.repository.models() == []
    assert house.left() == []
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_what_does_not_end_in_time_is_told_so(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.register("hanging", "models: {timeout-ms: 20000}\ndag: {waits: [after]}\n", TRYING)
    asking = asyncio.create_task(house.predict("hanging", str(tmp_path / "never").encode()))
    await until((tmp_path / "never.begun").exists)
    pids = house.pids()
    monkeypatch.setattr(house.workflows, "_unregister_seconds", 0.1)
    await house.workflows.unregister("hanging")
    with pytest.raises(NotReady, match="workflow hanging was unregistered before"):
        await asking
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize(
    ("spec", "functions", "why"),
    [
        (
            "models: {m: {url: gone.mar}}\ndag: {m: []}\n",
            "",
            r"\[Workflow Node bad__m failed to register. Details: Model not found at: gone.mar",
        ),
        ("models: {m: {url: ../m.mar}}\ndag: {m: []}\n", "", "Relative path is not allowed"),
        ("models: {m: {url: 'http://127.0.0.1:9/m.mar'}}\ndag: {m: []}\n", "", "does not match any allowed URL"),
        (
            "models: {m: {url: torn.mar}}\ndag: {m: [f]}\n",
            TRYING.replace("fails", "f"),
            "Workflow Node bad__m failed to register. Details:",
        ),
        ("models: {m: {url: broken.mar}}\ndag: {after: [m]}\n", TRYING, "Failed to start workers for model bad__m.*the weights have gone"),
        ("dag: {after: [nowhere]}\n", TRYING, "Failed to start workers for model bad__nowhere"),
        ("dag: {f: []}\n", "import gone_missing\n", "Failed to start workers for model bad__f.*gone_missing"),
    ],
)
async def test_nothing_is_left_of_a_workflow_that_cannot_be_loaded(house: House, spec: str, functions: str, why: str) -> None:
    write_mar(house.store, "broken", BROKEN)
    (house.store / "torn.mar").write_bytes(b"no archive")
    with pytest.raises(WorkerLost, match=r"^Workflow bad has failed to register") as caught:
        await house.register("bad", spec, functions)
    assert caught.match(f"(?s){why}")
    assert caught.value.reason == "WorkflowFailed"
    assert house.workflows.all() == []
    assert house.repository.models() == []
    assert house.left() == []


async def test_an_archive_without_functions_says_what_is_missing(house: House) -> None:
    path = write_war(house.store, "bare", "dag: {f: []}\n")
    folder = house.store / "bare-folder"
    (folder / "WAR-INF").mkdir(parents=True)
    (folder / "WAR-INF" / "MANIFEST.json").write_text(json.dumps({"workflow": {"workflowName": "bare", "specFile": "bare.yaml"}}))
    (folder / "bare.yaml").write_text("dag: {f: []}\n")
    path.unlink()
    with pytest.raises(InvalidInput, match="workflow bare: f is no model, and the archive has no handler"):
        await house.workflows.register(WorkflowWish("bare-folder"))
    assert (folder / "bare.yaml").is_file()


async def test_a_name_is_taken_once_and_its_nodes_are_its_own(house: House) -> None:
    write_mar(house.store, "echo", ECHO)
    write_war(house.store, "twin", "models: {m: {url: echo.mar}}\ndag: {m: []}\n")
    wish = WorkflowWish("twin.war")
    first, second = await asyncio.gather(house.workflows.register(wish), house.workflows.register(wish), return_exceptions=True)
    assert {type(first), type(second)} > {Conflict}
    with pytest.raises(Conflict, match="Workflow twin is already registered"):
        await house.workflows.register(wish)
    other = await house.workflows.register(WorkflowWish("twin.war", name="other"))
    assert [workflow.name for workflow in house.workflows.all()] == ["other", "twin"]
    assert {model.origin for model in other.models} == {Origin.WORKFLOW}
    with pytest.raises(Conflict, match="model other__m is a node of a workflow"):
        await house.repository.remove("other__m", None, 0)
    assert house.repository.names() == []
    for name in ("other", "twin"):
        await house.workflows.unregister(name)
    with pytest.raises(NotFound, match="Workflow not found: twin"):
        await house.workflows.unregister("twin")
    assert house.left() == []
