"""The one module that creates tasks: each has a name, an owner that waits for it, and a policy.

A task's unexpected end is a failure: it is logged once with its cause and handed to ``on_failure``. A ``TaskOwner`` is closed by
the one that opened it; close() cancels what runs and waits for it, bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

AGAIN_SECONDS = 2.0
"""Before work that is never to end, and did, is begun again."""
_log = logging.getLogger(__name__)


class TaskOwner:
    """Own the tasks of one object, and end them with it.

    Args:
        name: prefix of the tasks' names.
        on_failure: called with (task name, exception) when a task raises; None logs only.
    """

    def __init__(self, name: str, on_failure: Callable[[str, BaseException], None] | None = None) -> None:
        self._name = name
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this owner.

        Raises:
            RuntimeError: the owner is closed; the coroutine is closed unrun.
        """
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"{self._name} is closed: cannot start {name}")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any]:
        """Run work that is never to end: where it fails or returns all the same, that is logged and it is begun again.

        Raises:
            RuntimeError: the owner is closed.
        """
        return self.start(name, self._again_and_again(name, work))

    async def _again_and_again(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        while True:
            try:
                await work()
                _log.error("task %s/%s ended, which it never should; it begins again in %.0f s", self._name, name, AGAIN_SECONDS)
            except Exception:
                _log.exception("task %s/%s failed; it begins again in %.0f s", self._name, name, AGAIN_SECONDS)
            await asyncio.sleep(AGAIN_SECONDS)

    def __len__(self) -> int:
        return len(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        _log.error("task %s failed: %r", task.get_name(), error, exc_info=error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)

    async def settle(self, seconds: float) -> None:
        """Wait for the tasks that run now, at most so long; none is cancelled."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self, grace_seconds: float = 10.0) -> None:
        """Cancel every task and wait for them.

        Cancel: may be called again. What has not ended after the grace is logged by name and left.
        """
        self._closed = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=grace_seconds)
        for task in late:
            _log.error("task %s ignored its cancellation for %.1f s", task.get_name(), grace_seconds)
