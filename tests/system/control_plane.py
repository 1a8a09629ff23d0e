"""A control plane without gateway and agent: store, controllers, API server. Run as a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from flambeau.control.agent.commands import PodCommands
from flambeau.control.agent.logs import PodLogs
from flambeau.control.agent.usage import PodUsage
from flambeau.control.apiserver.pods import Pods
from flambeau.control.apiserver.server import ApiServer
from flambeau.control.controllers.manager import Controllers, ControllerSettings
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import Conflict


async def main(home: Path) -> None:
    clock = SystemClock()
    store = SqliteStore.open(home / "store.db")
    for obj in builtin_objects(gateway_port=8000):
        try:
            await store.create(obj)
        except Conflict:
            continue
    await Controllers(store, ControllerSettings(home, "localhost", 8000), clock).start()
    api = ApiServer(store, KINDS, Pods(PodLogs(home, clock), PodCommands(home), PodUsage(home, clock)), home=home, clock=clock)
    await api.start("127.0.0.1", 0)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
