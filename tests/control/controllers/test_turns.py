"""Turns: one a time, in order, and everybody else in between."""

from __future__ import annotations

import asyncio

import pytest

from flambeau.control.controllers.turns import Turns


async def test_one_begins_with_each_turn_of_the_loop() -> None:
    turns, seen = Turns(), list[str]()

    async def work(name: str) -> None:
        await turns.next()
        seen.append(name)

    def other() -> None:
        seen.append("-")
        if len(seen) < 20:
            asyncio.get_running_loop().call_soon(other)

    asyncio.get_running_loop().call_soon(other)
    await asyncio.wait_for(asyncio.gather(*(work(name) for name in "abc")), 5)
    passes = "".join(seen)
    assert [name for name in passes if name != "-"] == ["a", "b", "c"]
    assert "a-b-c" in passes.strip("-")


async def test_who_was_cancelled_takes_no_turn() -> None:
    turns = Turns()
    first, second = (asyncio.create_task(turns.next()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 5)
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.wait_for(turns.next(), 5)
