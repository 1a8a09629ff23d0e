"""One load on a server: so many connections that each ask again when they have an answer, or requests by a fixed schedule.

One process, callbacks, no task per request: some 30,000 requests a second before the client itself is the limit. Whoever measures reads
``Level.client_share`` to know. Called by ``run``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import orjson

from flambeau.foundation import server_timing
from flambeau.foundation.errors import Unavailable
from flambeau.foundation.tasks import TaskOwner
from flambeau.programs.bench.connection import Answer, Connection
from flambeau.programs.bench.figures import Level, Split
from flambeau.programs.bench.question import Question

CONNECT_SECONDS_MAX = 5.0
CONNECT_PAUSE_SECONDS = 0.05
"""Before a connection that was lost is opened again."""
SWEEP_SECONDS = 0.1
"""Answers that take too long are looked for this often."""
SCHEDULE_STEP_SECONDS = 0.0001
"""A schedule's requests leave within so long of when they are due: an event loop's own timers have whole milliseconds."""
LAG_REQUESTS_MAX = 1_000_000
"""Requests of a schedule that wait for a free connection; further ones are not sent."""
_MESSAGE_CHARS_MAX = 300


class Load:
    """Ask a question over some connections.

    Args:
        question: what is asked.
        connections: how many requests may be on their way.
        timeout_seconds: an answer that takes longer has failed.
        tls: for https.
        timed: ask where the time goes.
    """

    def __init__(
        self, question: Question, connections: int, *, timeout_seconds: float, tls: ssl.SSLContext | None = None, timed: bool = False
    ) -> None:
        self.split = Split()
        self._question = question
        self._messages = question.messages(timed=timed)
        self._timeout_seconds = timeout_seconds
        self._tls = tls
        self._wanted = connections
        self._tasks = TaskOwner("bench")
        self._open: set[Connection] = set()
        self._free: set[Connection] = set()
        self._waiting: deque[float] = deque()
        self._next = 0
        self._closing = False
        self._asking = False
        self._scheduled = False
        self._level: Level | None = None  # what is counted now
        self._sweeper: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Open every connection.

        Raises:
            Unavailable: one could not be opened.

        Cancel: those that are open stay so until ``close``.
        """
        self._sweep()
        for _ in range(self._wanted):
            await self._connect()

    async def close(self) -> None:
        """Cut every connection; what is on its way counts for nothing."""
        self._closing, self._level = True, None
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.cut("the benchmark is over")
        await self._tasks.close()

    async def run(self, level: Level, *, warm_seconds: float, seconds: float, stop: asyncio.Event) -> None:
        """Load the server and note what comes in ``level``.

        Args:
            level: with its rate; the rest is filled in.
            warm_seconds: loaded before anything counts.
            seconds: that count.
            stop: ends it early; what there is by then is kept.
        """
        self._asking, self._scheduled = True, level.rate is not None
        schedule = _Schedule(level.rate, self._due) if level.rate is not None else None
        if schedule is None:
            for connection in list(self._free):
                self._ask_again(connection)
        else:
            schedule.start()
        try:
            if not await _over(stop, warm_seconds):
                began, computed = time.perf_counter(), time.process_time()
                self._level = level
                await _over(stop, seconds)
                self._level = None
                level.seconds = time.perf_counter() - began
                level.client_share = (time.process_time() - computed) / level.seconds
        finally:
            self._asking, self._level = False, None
            level.interrupted = stop.is_set()
            if schedule is not None:
                schedule.stop()
                level.unsent = len(self._waiting)

    async def ask_once(self) -> Answer:
        """Ask the first question once, over a connection of its own.

        Raises:
            Unavailable: there was no answer.
        """
        connection = _Once()
        await self._dial(connection)
        try:
            connection.ask(self._messages[0], 0.0, 0.0)
            async with asyncio.timeout(self._timeout_seconds):
                return await connection.answer
        except TimeoutError:
            raise Unavailable(f"{self._question.url} did not answer within {self._timeout_seconds:g} s") from None
        finally:
            connection.cut("done")

    # What connections tell (connection.Owner).

    def answered(self, connection: Connection, answer: Answer) -> None:
        """Note an answer and ask again."""
        now = time.perf_counter()
        level = self._level
        if level is not None:
            if 200 <= answer.status < 300:
                level.latencies.add(now - connection.due)
                if answer.times:
                    batch = server_timing.descriptions_of(answer.times).get("batch", "1")
                    self.split.add(now - connection.sent, server_timing.durations_of(answer.times), int(batch) if batch.isdigit() else 1)
            else:
                level.fail(str(answer.status), message_of(answer.message))
        if not answer.keeps:
            self._open.discard(connection)
            connection.cut("the server closes it after each answer")
            self._replace(0.0)
            return
        self._ask_again(connection)

    def lost(self, connection: Connection, why: str) -> None:
        """Note a failure if an answer was on its way, and open another connection."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._free.discard(connection)
        if connection.busy and self._level is not None:
            self._level.fail("no answer", why)
        self._replace(CONNECT_PAUSE_SECONDS)

    # Inside.

    def _ask_again(self, connection: Connection) -> None:
        """Give a free connection its next request, if there is one now."""
        now = time.perf_counter()
        if not self._asking:
            self._free.add(connection)
        elif not self._scheduled:
            self._send(connection, now, now)
        elif self._waiting:
            self._send(connection, self._waiting.popleft(), now)
        else:
            self._free.add(connection)

    def _send(self, connection: Connection, due: float, now: float) -> None:
        self._free.discard(connection)
        messages = self._messages
        self._next = (self._next + 1) % len(messages)
        connection.ask(messages[self._next], due, now)

    def _due(self, times: list[float]) -> None:
        """Send what a schedule says is due, as far as connections are free."""
        room = LAG_REQUESTS_MAX - len(self._waiting)
        self._waiting.extend(times[:room])
        now = time.perf_counter()
        while self._waiting and self._free:
            self._send(self._free.pop(), self._waiting.popleft(), now)

    def _replace(self, pause_seconds: float) -> None:
        if not self._closing:
            self._tasks.start("connect", self._connect_again(pause_seconds))

    async def _connect_again(self, pause_seconds: float) -> None:
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = CONNECT_PAUSE_SECONDS
            try:
                await self._connect()
            except Unavailable as error:
                if self._level is not None:
                    self._level.fail("no connection", error.message)
            else:
                return

    async def _connect(self) -> None:
        connection = Connection(self)
        await self._dial(connection)
        self._open.add(connection)
        self._ask_again(connection)

    async def _dial(self, connection: Connection) -> None:
        host, port = self._question.place
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, host, port, ssl=self._tls, server_hostname=self._question.host if self._tls is not None else None
                )
        except (OSError, TimeoutError) as error:  # also what TLS does not accept
            why = str(error) or f"no connection within {CONNECT_SECONDS_MAX:g} s"
            raise Unavailable(f"cannot connect to {host}:{port}: {why}", hint="is the server up, and is this its address?") from error

    def _sweep(self) -> None:
        """Cut connections whose answer takes too long."""
        oldest = time.perf_counter() - self._timeout_seconds
        for connection in [each for each in self._open if each.busy and each.sent < oldest]:
            connection.cut(f"no answer within {self._timeout_seconds:g} s")
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)


class _Once(Connection):
    """A connection for one answer (and its own owner)."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        super().__init__(self)

    def answered(self, connection: Connection, answer: Answer) -> None:
        self.answer.set_result(answer)

    def lost(self, connection: Connection, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(Unavailable(f"no answer: {why}"))


class _Schedule:
    """Tell the loop what is due, from a thread that sleeps more exactly than the loop does.

    Args:
        rate: requests a second.
        on_due: called on the loop with the times, on ``time.perf_counter``.
    """

    def __init__(self, rate: float, on_due: Callable[[list[float]], None]) -> None:
        self._rate = rate
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bench schedule", daemon=True)

    def start(self) -> None:
        """Begin now."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more; the thread has ended when this returns."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began, sent = time.perf_counter(), 0
        while not self._stopped.is_set():
            due: list[float] = []
            now = time.perf_counter()
            while (at := began + sent / self._rate) <= now and len(due) < LAG_REQUESTS_MAX:
                due.append(at)
                sent += 1
            if due:
                with contextlib.suppress(RuntimeError):  # the loop has closed
                    self._loop.call_soon_threadsafe(self._on_due, due)
            self._stopped.wait(max(SCHEDULE_STEP_SECONDS, began + sent / self._rate - time.perf_counter()))


async def _over(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; return whether somebody has stopped it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


def message_of(body: bytes) -> str:
    """Return what an error's body says, in one line: the message of its JSON, or its text."""
    text = body.decode("utf-8", "replace")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict):
        text = str(found.get("message") or found.get("error") or text)
    return " ".join(text.split())[:_MESSAGE_CHARS_MAX]
