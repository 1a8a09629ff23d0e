"""Do one thing to many items, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


async def for_each(items: Iterable[Item], action: Callable[[Item], Awaitable[None]], *, parallel_max: int, name: str) -> None:
    """Run an action on every item; the first error ends the others and is raised as itself.

    Args:
        items: taken in order.
        action: called once for each.
        parallel_max: how many run at once.
        name: of the tasks.

    Cancel: every running action is cancelled and waited for.
    """
    pending = iter(items)

    async def take() -> None:
        for item in pending:
            await action(item)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(parallel_max):
                group.create_task(take(), name=f"{name}/{number}")
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures.exceptions[0].__cause__
