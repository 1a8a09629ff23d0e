"""The platform on one machine: ``flambeau up``.

One process runs the API server, the controllers, the autoscaler and the agent; the gateway is a second, and pods are process groups of
their own. Stopping it stops everything, the gateway first. Killed with kill -9, it leaves gateway and pods serving, and the next start
adopts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import uvloop

from flambeau.control.agent.runner import Agent
from flambeau.control.apiserver.pods import Pods
from flambeau.control.apiserver.server import ApiServer
from flambeau.control.autoscaler.horizontal_loop import HorizontalScaler
from flambeau.control.autoscaler.loop import Autoscaler
from flambeau.control.controllers.manager import Controllers, ControllerSettings
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.interface import Store
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import Conflict, FlambeauError, Unavailable
from flambeau.foundation.logs import Format, configure
from flambeau.foundation.open_files import allow_open_files
from flambeau.programs.gateway_supervisor import GatewayAddress, GatewaySupervisor
from flambeau.storage.cache import Cache

_log = logging.getLogger(__name__)

CACHE_BYTES_MAX = 50 * 1024**3
"""Models kept on disk. Those in use are never evicted: a model that finds no room beside them is refused (CacheFull)."""
API_DRAIN_SECONDS_MAX = 5.0
_GATEWAY = GatewayAddress("127.0.0.1", 8000)


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """How ``flambeau up`` runs."""

    home: Path
    """Everything it keeps: store, kubeconfig, pods, the models' cache."""
    api: tuple[str, int] = ("127.0.0.1", 7443)
    """Where the API server listens (HTTPS)."""
    gateway: GatewayAddress = _GATEWAY
    """Where the gateway listens."""
    domain: str = "localhost"
    """Services answer at ``<name>.<namespace>.<domain>``."""
    cache_bytes_max: int = CACHE_BYTES_MAX
    log_level: str = "INFO"
    log_format: Format = "text"


def run(settings: PlatformSettings) -> int:
    """Run the platform in the foreground until SIGTERM or Ctrl-C; return the exit status."""
    configure(settings.log_level, settings.log_format)
    allow_open_files()
    try:
        uvloop.run(_serve(settings))
    except FlambeauError as error:
        print(f"flambeau up: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: PlatformSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with platform(settings):
        api, gateway = settings.api, settings.gateway
        print(
            f"flambeau is ready: gateway {gateway.scheme}://{gateway}, API https://{api[0]}:{api[1]}, "
            f"KUBECONFIG={settings.home / 'kubeconfig'}",
            flush=True,
        )
        gc.freeze()  # what is there now stays; a full collection that walks it holds the loop for 60 ms
        await stop.wait()
        _log.info("stopping: draining pods and gateway")


@contextlib.asynccontextmanager
async def platform(settings: PlatformSettings) -> AsyncIterator[None]:
    """Start everything, in order; stop it in the reverse order, but the gateway first.

    Raises:
        Unavailable: another control plane runs in this home, the home cannot be made, or a port is taken; the text says which.
    """
    home, clock = settings.home, SystemClock()
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Unavailable(f"cannot make the home {home}: {error.strerror}", hint="give a folder that you may write with --home") from error
    async with contextlib.AsyncExitStack() as running:
        store = SqliteStore.open(home / "store.db", kinds=KINDS, clock=clock)
        running.callback(store.close)
        await _put_builtin(store, settings)
        gateway = GatewaySupervisor(home, settings.gateway)
        await gateway.start()
        running.push_async_callback(gateway.stop)
        agent = Agent(store, home, Cache(home / "cache", settings.cache_bytes_max, clock), clock)
        await agent.start()
        running.push_async_callback(agent.stop, kill_pods=True)
        controllers = Controllers(
            store,
            ControllerSettings(
                home=home,
                domain=settings.domain,
                gateway_port=settings.gateway.port,
                gateway_scheme=settings.gateway.scheme,
                gateway_host=_reached_at(settings.gateway.host),
            ),
            clock,
        )
        await controllers.start()
        running.push_async_callback(controllers.stop)
        autoscaler = Autoscaler(store, home, clock)
        await autoscaler.start()
        running.push_async_callback(autoscaler.stop)
        horizontal = HorizontalScaler(store, agent.usage, clock)
        await horizontal.start()
        running.push_async_callback(horizontal.stop)
        api = ApiServer(store, KINDS, Pods(agent.logs, agent.commands, agent.usage), home=home, clock=clock)
        await api.start(*settings.api)
        running.push_async_callback(api.stop, API_DRAIN_SECONDS_MAX)
        try:
            yield
        finally:
            await gateway.stop()  # before the pods, so that none is asked while it stops


async def _put_builtin(store: Store, settings: PlatformSettings) -> None:
    """Make what is there from the start: namespaces, the built-in runtime, the gateway's addresses."""
    host, port = settings.gateway.host, settings.gateway.port
    for obj in builtin_objects(gateway_port=port, gateway_host=_reached_at(host)):
        try:
            await store.create(obj)
        except Conflict:
            current = await store.get(KINDS.by_object(obj).key(obj))
            await store.update({**obj, "metadata": {**current["metadata"], **obj["metadata"]}})


def _reached_at(host: str) -> str:
    """Return the address by which this machine reaches a gateway that listens on a host."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
