"""One benchmark from its first request to its figures. Called by ``cli.bench``."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from flambeau.foundation import server_timing
from flambeau.foundation.errors import FlambeauError, InvalidInput
from flambeau.programs.bench.figures import Level, Measured, Split
from flambeau.programs.bench.load import Load, message_of
from flambeau.programs.bench.question import Question
from flambeau.programs.bench.search import Wish, search

WARM_SHARE = 0.2
"""Of a level's seconds, so many more before it, which do not count: connections and caches warm up."""
SPLIT_SHARE = 0.2
"""Of a level's seconds, so many more after it, with requests that ask where their time goes."""
SPLIT_SECONDS_MIN = 0.5
SPLIT_REQUESTS_MIN = 3
"""Each connection gets the time for so many requests, where a model is slow."""
SMALL_CORES_MAX = 8
"""On a machine with more cores a client beside the server takes little from it."""
CLIENT_SHARE_MAX = 0.8
"""Of one core: above it the client is what was measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Args:
        question: what is asked.
        connections: of each closed loop.
        rates: of each fixed schedule, requests a second; they have the most connections of ``connections``.
        seconds: that each load counts.
        timeout_seconds: an answer that takes longer has failed.
        certificate: trusted in place of the usual ones, for https.
        search: what else to try; None: nothing.
    """

    question: Question
    connections: tuple[int, ...]
    rates: tuple[float, ...] = ()
    seconds: float = 5.0
    timeout_seconds: float = 30.0
    certificate: str | None = None
    search: Wish | None = None


def run(plan: Plan, tell: Callable[[str], None]) -> Measured:
    """Measure; Ctrl-C ends it early with what there is.

    Args:
        plan: what.
        tell: called with a line about how it gets on.

    Raises:
        FlambeauError: the server cannot be reached, or its first answer is an error.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_run(plan, tell))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _run(plan: Plan, tell: Callable[[str], None]) -> Measured:
    stop = asyncio.Event()
    bench = _Bench(plan, stop, tell)
    await bench.begin()
    loop, whole = asyncio.get_running_loop(), asyncio.current_task()
    assert whole is not None, "a coroutine runs in a task"
    loop.add_signal_handler(signal.SIGINT, lambda: whole.cancel() if stop.is_set() else stop.set())  # the second time at once
    try:
        for connections in plan.connections:
            await bench.level(connections, None)
        for rate in plan.rates:
            await bench.level(max(plan.connections), rate)
        await bench.search()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return bench.over()


class _Bench:
    """The loads of one plan, one after the other."""

    def __init__(self, plan: Plan, stop: asyncio.Event, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._measured = Measured(plan.question, plan.seconds)
        self._stop = stop
        self._tell = tell
        self._tls = _tls(plan.certificate) if plan.question.secure else None
        self._tells_times = False

    async def begin(self) -> None:
        """Ask once: is there an answer, and does it tell times?

        Raises:
            FlambeauError: the answer is an error, or there is none.
        """
        load = self._load(self._plan.question, 0, timed=True)
        answer = await load.ask_once()
        if not 200 <= answer.status < 300:
            said = message_of(answer.message)
            raise InvalidInput(
                f"the first request to {self._plan.question.url} was answered {answer.status}: {said}",
                hint="--key-file names the server's key_file.json, --header sets another key"
                if answer.status in (401, 403) or "token" in said.lower()
                else "a benchmark of errors says nothing; is the path the model's, and --data what it takes?",
            )
        self._tells_times = "server" in server_timing.durations_of(answer.times)
        if not self._tells_times:
            self._measured.notes.append("this server does not tell where the time goes; flambeau's answers do, those that are no streams")
        cores = os.cpu_count() or 1
        if cores <= SMALL_CORES_MAX and _is_here(self._plan.question.place[0]):
            self._measured.notes.append(
                f"the load comes from the server's own machine, which has {cores} cores: the client takes part of them, "
                "and from another machine there would be more requests a second"
            )

    async def level(self, connections: int, rate: float | None) -> None:
        """Measure one load, and where its requests' time goes."""
        if self._stop.is_set():
            return
        of = f"{connections} connection{'s' if connections > 1 else ''}" + (f", {rate:g} requests/s" if rate else "")
        self._tell(f"measuring {of} for {self._plan.seconds:g} s")
        level, split = Level(connections, rate), Split()
        try:
            await self._measure(self._plan.question, level, self._plan.seconds)
            if self._tells_times and not self._stop.is_set():
                seconds = max(SPLIT_SECONDS_MIN, self._plan.seconds * SPLIT_SHARE, SPLIT_REQUESTS_MIN * level.latencies.mean)
                split = await self._measure(self._plan.question, Level(connections, rate), seconds, timed=True)
        except FlambeauError as error:  # what was measured before is worth telling
            self._measured.notes.append(f"{of}: {error}")
        if level.seconds:
            self._measured.levels.append(level)
            self._measured.splits.append(split)

    async def search(self) -> None:
        """Try other settings, if that is wished."""
        wish = self._plan.search
        if wish is None or self._stop.is_set():
            return
        self._tell(f"trying batch sizes and workers on a copy of {wish.model}")
        try:
            await search(wish, self._measure_copy, self._measured.tried, self._stop.is_set)
        except FlambeauError as error:
            self._measured.notes.append(f"the search ended early: {error}")

    def over(self) -> Measured:
        """Return what was seen."""
        measured = self._measured
        busy = [level for level in measured.levels if level.client_share > CLIENT_SHARE_MAX]
        if busy:
            at = ", ".join(str(level.connections) for level in busy)
            measured.notes.append(f"at {at} connections this client was busy all the time: the server can do more")
        measured.interrupted = self._stop.is_set()
        return measured

    async def _measure_copy(self, model: str) -> Level:
        """Measure a copy of the model with the most connections."""
        level = Level(max(self._plan.connections))
        self._tell(f"measuring a copy for {self._plan.seconds:g} s")
        await self._measure(self._plan.question.of_model(model), level, self._plan.seconds)
        return level

    async def _measure(self, question: Question, level: Level, seconds: float, *, timed: bool = False) -> Split:
        load = self._load(question, level.connections, timed=timed)
        try:
            await load.open()
            await load.run(level, warm_seconds=seconds * WARM_SHARE, seconds=seconds, stop=self._stop)
        finally:
            await load.close()
        return load.split

    def _load(self, question: Question, connections: int, *, timed: bool) -> Load:
        return Load(question, connections, timeout_seconds=self._plan.timeout_seconds, tls=self._tls, timed=timed)


def _tls(certificate: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificate)
    except OSError as error:  # also what is no certificate
        raise InvalidInput(f"cannot trust {certificate}: {error.strerror or error}", hint="--ca-cert names a PEM file") from error


def _is_here(host: str) -> bool:
    """Tell whether a host is this machine: one of its addresses can be bound."""
    try:
        address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(address[0], socket.SOCK_STREAM) as probe:
            probe.bind(address[4])
    except OSError:
        return False
    return True
