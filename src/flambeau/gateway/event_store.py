"""Copies of requests and answers as files in a bucket or folder.

Traffic never waits: copies gather within bounds, files are written beside it, and what finds no room, or can't be written, is counted and
forgotten. What has gathered is written when the settings change or the gateway ends, too. Source: specification 6.8.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.foundation.errors import FlambeauError
from flambeau.foundation.tasks import TaskOwner
from flambeau.gateway.clients import Budget
from flambeau.gateway.document import Logger, LogStore
from flambeau.gateway.event_files import content_of, key_of, records_of
from flambeau.gateway.events import Event
from flambeau.gateway.marshaller import marshalled
from flambeau.storage import credential_files
from flambeau.storage.deposit_uri import parse_deposit, prefix_of
from flambeau.storage.model import Credentials

if TYPE_CHECKING:
    from flambeau.storage.deposit import Deposit

HELD_EVENTS_MAX = 100
"""Copies that wait or are being written, beside those of the file that gathers."""
HELD_BYTES_MAX = 16 * 1024 * 1024
"""All of them together: of the gateway's budget, so that one broken store does not take it all."""
FILE_BYTES_MAX = 4 * 1024 * 1024
"""Of copies, after which a file is written however few they are."""
WRITERS_MAX = 4
"""Files of one store on their way at once."""
GATHER_SECONDS_USUAL = 60.0
"""A file is written at the latest so long after its first copy, unless the logger says how long: a crash loses what has gathered."""

_log = logging.getLogger(__name__)


class EventStore:
    """Write the copies of one logger.

    Args:
        logger: what for; it has a store.
        tasks: the owner of the writers, which live only while there is something to write.
        budget: of bytes that wait.
    """

    def __init__(self, logger: Logger, tasks: TaskOwner, budget: Budget) -> None:
        assert logger.store is not None
        self.url = logger.url
        self.settings: LogStore = logger.store
        self._tasks = tasks
        self._budget = budget
        self._gathering: list[Event] = []
        self._gathered_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._files: deque[list[Event]] = deque()
        self._writers = 0
        self._held = 0
        self._held_bytes = 0
        self._deposit: Deposit | None = None
        self._prefix = ""
        self.sent = 0
        self.dropped = 0
        """There was no room."""
        self.failed = 0
        """The store was not there, or refused."""
        self.last_failure = ""
        self._is_failing = False

    def offer(self, event: Event) -> None:
        """Take a copy, or count it as dropped."""
        size = len(event.body)
        is_full = self._held >= HELD_EVENTS_MAX + self.settings.batch_size or self._held_bytes + size > HELD_BYTES_MAX
        if is_full or not self._budget.take(size):
            self.dropped += 1
            return
        self._held += 1
        self._held_bytes += size
        self._gathering.append(event)
        self._gathered_bytes += size
        if len(self._gathering) >= self.settings.batch_size or self._gathered_bytes >= FILE_BYTES_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.settings.batch_seconds or GATHER_SECONDS_USUAL, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._gathering:
            return
        self._files.append(self._gathering)
        self._gathering, self._gathered_bytes = [], 0
        if self._writers < WRITERS_MAX:
            self._writers += 1
            self._tasks.start(f"files to {self.url}", self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._files:
                events = self._files.popleft()
                try:
                    await self._write(events)
                finally:
                    self._let_go(events)
        finally:
            self._writers -= 1

    async def _write(self, events: list[Event]) -> None:
        try:
            if self._deposit is None:
                self._deposit = await asyncio.to_thread(self._open)
            if self.settings.marshaller:
                records = await asyncio.to_thread(records_of, events)
                content, extension = await marshalled(self.settings.marshaller, records)
            else:
                extension = self.settings.format
                content = await asyncio.to_thread(content_of, events, self.settings.format)
            await self._deposit.put(key_of(self._prefix, events[-1], extension), content)
        except FlambeauError as error:
            self.failed += len(events)
            self.last_failure = error.message
            if not self._is_failing:
                _log.warning("copies for a logger are lost: %s", error)
            self._is_failing = True
        else:
            self.sent += len(events)
            self._is_failing = False

    def _open(self) -> Deposit:
        """Return the place to write to. Blocks: it loads the object stores' library."""
        from flambeau.storage.deposit import deposit_at  # noqa: PLC0415 - most gateways never write files

        where = parse_deposit(self.url)
        self._prefix = prefix_of(where)
        file = self.settings.credentials
        return deposit_at(where, credential_files.find(Path(file)) if file else Credentials())

    def _let_go(self, events: list[Event]) -> None:
        size = sum(len(event.body) for event in events)
        self._held -= len(events)
        self._held_bytes -= size
        self._budget.give(size)
