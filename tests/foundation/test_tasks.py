"""Tasks have an owner; it hears of failures and ends them."""

import asyncio
import logging

import pytest

from flambeau.foundation import tasks
from flambeau.foundation.tasks import TaskOwner


async def test_a_failure_is_logged_once_and_handed_on(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, BaseException]] = []
    owner = TaskOwner("room", lambda name, error: heard.append((name, error)))

    async def fail() -> None:
        raise ValueError("no")

    with caplog.at_level(logging.ERROR):
        task = owner.start("worker", fail())
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [(name, str(error)) for name, error in heard] == [("room/worker", "no")]
    assert len(caplog.records) == 1
    assert len(owner) == 0


async def test_close_cancels_and_waits() -> None:
    owner = TaskOwner("room")
    ended = asyncio.Event()

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    owner.start("runs", run())
    await asyncio.sleep(0)
    await owner.close()
    assert ended.is_set()
    with pytest.raises(RuntimeError, match="room is closed"):
        owner.start("late", run())


async def test_a_task_that_ignores_cancellation_is_named_and_left(caplog: pytest.LogCaptureFixture) -> None:
    owner = TaskOwner("room")
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = owner.start("stubborn", stubborn())
    await asyncio.sleep(0)
    await owner.close(grace_seconds=0.05)
    assert "room/stubborn ignored its cancellation" in caplog.text
    release.set()
    await task


async def test_work_that_never_ends_is_begun_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.0)
    begun: list[int] = []
    at_last = asyncio.Event()

    async def work() -> None:
        begun.append(len(begun))
        if begun[-1] == 0:
            raise ValueError("no")
        if begun[-1] == 2:
            at_last.set()
            await asyncio.Event().wait()

    owner = TaskOwner("room")
    with caplog.at_level(logging.ERROR):
        owner.keep("loop", work)
        await asyncio.wait_for(at_last.wait(), 5)
    await owner.close()
    assert begun == [0, 1, 2]
    assert ["failed" in caplog.messages[0], "ended" in caplog.messages[1], len(caplog.messages)] == [True, True, 2]


async def test_settle_waits_so_long_and_cancels_nobody() -> None:
    owner = TaskOwner("room")
    await owner.settle(10)
    go_on = asyncio.Event()
    task = owner.start("waits", go_on.wait())
    await owner.settle(0.01)
    assert not task.done()
    go_on.set()
    await owner.settle(10)
    assert task.done()
    await owner.close()
