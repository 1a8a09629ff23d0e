"""Reading the logs of pods."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from flambeau.control.agent import logs
from flambeau.control.agent.logs import PodLogs
from flambeau.foundation.clock import SystemClock, rfc3339
from flambeau.foundation.errors import InvalidInput, NotFound, NotReady

LINES = [f"line {number}\n" for number in range(10)]


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    directory = tmp_path / "pods" / "ns_p_uid"
    (directory / "logs").mkdir(parents=True)
    return directory


def write(pod: Path, text: str, container: str = "kserve-container") -> Path:
    path = logs.log_path(pod, container)
    path.write_text(text)
    return path


async def read(pod: Path, container: str = "kserve-container", **query: Any) -> str:
    source = PodLogs(pod.parents[1], SystemClock()).stream("ns", "p", container, **query)
    return b"".join([piece async for piece in source]).decode()


@pytest.mark.parametrize(("lines", "wanted"), [(None, LINES), (0, []), (1, LINES[-1:]), (3, LINES[-3:]), (99, LINES)])
async def test_the_last_lines(pod: Path, lines: int | None, wanted: list[str]) -> None:
    write(pod, "".join(LINES))
    assert await read(pod, tail_lines=lines) == "".join(wanted)


async def test_the_last_lines_of_a_long_log_are_found_across_blocks(pod: Path) -> None:
    write(pod, "".join(f"{number} {'x' * 997}\n" for number in range(300)))
    assert (await read(pod, tail_lines=150)).split()[0] == "150"


async def test_a_line_without_an_end_is_shown(pod: Path) -> None:
    write(pod, "whole\npart")
    assert await read(pod, tail_lines=1) == "part"


async def test_bytes_are_limited(pod: Path) -> None:
    write(pod, "".join(LINES))
    assert await read(pod, limit_bytes=9) == "line 0\nli"


async def test_old_lines_are_left_out_and_times_are_shown(pod: Path) -> None:
    now = SystemClock().wall()
    write(pod, f"{rfc3339(now - 3600)} old\nits trace\n{rfc3339(now)} new\nmore\n")
    assert await read(pod, since_seconds=60) == f"{rfc3339(now)} new\nmore\n"
    assert (await read(pod, timestamps=True, tail_lines=1)).endswith("Z more\n")


async def test_following_goes_on_until_the_process_ends(pod: Path) -> None:
    (pod / "processes").mkdir()
    (pod / "processes" / "kserve-container.json").touch()
    path = write(pod, "one\n")
    source = PodLogs(pod.parents[1], SystemClock()).stream("ns", "p", "kserve-container", follow=True)
    assert await anext(source) == b"one\n"
    with path.open("a") as file:
        file.write("two\n")
    assert await anext(source) == b"two\n"
    (pod / "processes" / "kserve-container.json").unlink()
    assert [piece async for piece in source] == []


async def test_following_a_log_that_is_cut_begins_anew(pod: Path) -> None:
    (pod / "processes").mkdir()
    (pod / "processes" / "kserve-container.json").touch()
    path = write(pod, "a long line\n")
    source = PodLogs(pod.parents[1], SystemClock()).stream("ns", "p", "kserve-container", follow=True)
    assert await anext(source) == b"a long line\n"
    logs.cut(path)
    with path.open("a") as file:
        file.write("new\n")
    assert await anext(source) == b"new\n"
    assert path.with_name(path.name + ".1").read_text() == "a long line\n"
    await source.aclose()


async def test_following_waits_for_a_container_to_start(pod: Path) -> None:
    reading = asyncio.ensure_future(read(pod, follow=True))
    await asyncio.sleep(0)
    write(pod, "begun\n")
    assert await reading == "begun\n"


async def test_a_new_run_keeps_the_last_ones_log(pod: Path) -> None:
    write(pod, "first\n")
    logs.begin(pod, "kserve-container").write_text("second\n")
    assert await read(pod) == "second\n"
    assert await read(pod, previous=True) == "first\n"


async def test_what_is_not_there_is_named(pod: Path) -> None:
    with pytest.raises(NotReady, match="waiting to start"):
        await read(pod)
    with pytest.raises(NotFound, match="previous"):
        await read(pod, previous=True)
    with pytest.raises(NotFound, match='pod "q"'):
        await anext(PodLogs(pod.parents[1], SystemClock()).stream("ns", "q", "kserve-container"))
    with pytest.raises(InvalidInput):
        await read(pod, tail_lines=-1)
    assert "no process of its own" in await read(pod, "queue-proxy")


def test_a_messages_lines_are_the_last_ones(pod: Path) -> None:
    assert logs.last_lines(write(pod, "".join(LINES)), 2) == "line 8\nline 9"
    assert logs.last_lines(pod / "absent", 2) == ""


def test_a_log_is_cut_even_where_there_is_no_room_to_keep_it(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(pod, "".join(LINES))

    def full(source: Path, target: Path) -> None:
        target.write_text("half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    logs.cut(path)
    assert (path.read_text(), [each.name for each in path.parent.iterdir()]) == ("", [path.name])
