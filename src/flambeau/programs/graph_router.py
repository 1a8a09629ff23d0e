"""The process of an InferenceGraph's pod: ``flambeau graph-router --graph-json JSON``.

The inference graph's controller writes the arguments; the agent starts it like any other pod. SIGTERM and Ctrl-C drain it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import sys

import uvloop

from flambeau.foundation.errors import FlambeauError, InvalidInput
from flambeau.foundation.http1 import Limits, Server
from flambeau.foundation.logs import configure
from flambeau.foundation.open_files import allow_open_files
from flambeau.gateway.graph.calls import Services
from flambeau.gateway.graph.router import Router, RouterLimits
from flambeau.gateway.graph.spec import parse
from flambeau.programs.settings.graph_router import RouterSettings

DRAIN_SECONDS_MAX = 25.0
"""From SIGTERM until what still runs is cut: within Kubernetes' default grace."""
_CLUSTER_SUFFIXES = (".svc.cluster.local", ".svc")
_log = logging.getLogger(__name__)


def run(settings: RouterSettings) -> int:
    """Run the router in the foreground until SIGTERM or Ctrl-C; return the exit status."""
    configure()
    allow_open_files()
    try:
        uvloop.run(_serve(settings))
    except FlambeauError as error:
        print(f"graph-router: {error}", file=sys.stderr)
        if settings.termination_log is not None:
            with contextlib.suppress(OSError):
                settings.termination_log.write_text(str(error), encoding="utf-8")
        return 1
    return 0


async def _serve(settings: RouterSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    services = Services(
        settings.gateway, lambda host: host.endswith(_CLUSTER_SUFFIXES) or host in settings.inside, settings.call_seconds_max
    )
    propagated = [_pattern(text) for text in settings.propagated]
    router = Router(parse(settings.graph_json), services, propagated, RouterLimits(settings.seconds_max))
    limits = Limits(
        head_seconds=settings.read_seconds_max, body_idle_seconds=settings.read_seconds_max, idle_seconds=settings.idle_seconds_max
    )
    server = Server(router.application, limits)
    router.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(router.close)
        stack.push_async_callback(server.close)
        host, port = await server.start(host=settings.host, port=settings.port)
        print(f"graph router ready on http://{host}:{port}", file=sys.stderr, flush=True)
        await stop.wait()
        _log.info("stopping: waiting up to %.0f s for running requests", DRAIN_SECONDS_MAX)
        await server.drain(DRAIN_SECONDS_MAX)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.lower())
    except re.error as error:
        raise InvalidInput(f'the header pattern "{text}" is no regular expression: {error}') from error
