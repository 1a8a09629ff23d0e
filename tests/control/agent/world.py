"""A real store, real small processes: pods whose container is a Python script."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flambeau.control.agent.runner import Agent
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import NotFound
from flambeau.storage.cache import Cache

WAIT_SECONDS_MAX = 20.0

SERVER = """
    import http.server, json, os, signal, sys, threading
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            ready = not os.path.exists("unready")
            body = json.dumps({"ready": ready, "reason": "WorkerLost", "message": "model m has no worker"}).encode()
            self.send_response(200 if ready else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer((os.environ["FLAMBEAU_POD_IP"], int(os.environ["PORT"])), Handler)
    print("serving", sys.argv[1:], flush=True)
    signal.signal(signal.SIGTERM, lambda *_: (print("stopping", flush=True), os._exit(0)))
    server.serve_forever()
"""


AGENT = """
import asyncio, sys
from pathlib import Path
from flambeau.control.agent.runner import Agent
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.storage.cache import Cache

async def main(home):
    store = SqliteStore.open(home / "store.db")
    agent = Agent(store, home, Cache(home / "cache", 10**9), SystemClock())
    await agent.start()
    while True:
        listing = await store.list("pods")
        for pod in listing.items:
            status = pod.get("status") or {}
            is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
            if is_ready or any("terminated" in each["state"] for each in status.get("containerStatuses") or []):
                print("ready", flush=True)
                await asyncio.sleep(600)
        await asyncio.sleep(0.02)

asyncio.run(main(Path(sys.argv[1])))
"""


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


class World:
    """A store, a home and agents in it."""

    def __init__(self, store: SqliteStore, home: Path) -> None:
        self.store = store
        self.home = home
        self.clock = SystemClock()
        self.agents: list[Agent] = []

    def reopen(self) -> None:
        """Open the store again after another process had it."""
        self.store = SqliteStore.open(self.home / "store.db")

    async def agent(self) -> Agent:
        agent = Agent(self.store, self.home, Cache(self.home / "cache", 10**9), self.clock)
        await agent.start()
        self.agents.append(agent)
        return agent

    async def orphan(self, pod: Object) -> Object:
        """Let an agent in a process of its own make a pod ready, or one of its containers end, and kill it with kill -9; return the pod."""
        stored = await self.store.create(pod)
        self.store.close()
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
        command = (sys.executable, "-c", AGENT, str(self.home))
        agent = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
        assert agent.stdout is not None
        assert await agent.stdout.readline() == b"ready\n"
        agent.kill()
        await agent.wait()
        self.reopen()
        return stored

    def pod(self, name: str, script: str = SERVER, *, arguments: tuple[str, ...] = (), uri: str = "", **spec: Any) -> Object:
        container: Object = {
            "name": "kserve-container",
            "image": "example/server:1",
            "command": [sys.executable, "-c", textwrap.dedent(script), *arguments],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
        }
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "ns", "finalizers": ["flambeau.dev/agent"]},
            "spec": {"containers": [container, {"name": "queue-proxy", "image": "flambeau/queue-proxy"}], **spec},
        }
        if uri:
            mount = {"name": "kserve-provision-location", "mountPath": "/mnt/models"}
            container["volumeMounts"] = [mount]
            pod["spec"]["initContainers"] = [{"name": "storage-initializer", "image": "i", "args": [uri, "/mnt/models"]}]
            pod["spec"]["volumes"] = [{"name": "kserve-provision-location", "emptyDir": {}}]
        return pod

    async def get(self, name: str) -> Object:
        return await self.store.get(Key("pods", "ns", name))

    async def until(self, name: str, holds: Callable[[Object], bool]) -> Object:
        """Wait until a pod is as wanted; fail with its status when it never is."""
        pod: Object = {}

        async def check() -> bool:
            nonlocal pod
            pod = await self.get(name)
            return holds(pod)

        await self.eventually(check, lambda: f"pod {name} is {pod.get('status')}")
        return pod

    async def until_gone(self, name: str) -> None:
        async def check() -> bool:
            try:
                await self.get(name)
            except NotFound:
                return True
            return False

        await self.eventually(check, lambda: f"pod {name} is still there")

    async def eventually(self, check: Callable[[], Awaitable[bool]], otherwise: Callable[[], str] = lambda: "never") -> None:
        deadline = self.clock.monotonic() + WAIT_SECONDS_MAX
        while not await check():
            if self.clock.monotonic() > deadline:
                pytest.fail(otherwise())
            await asyncio.sleep(0.02)

    async def events(self) -> dict[str, str]:
        return {f"{event['type']} {event['reason']}": event["message"] for event in (await self.store.list("events", "ns")).items}

    def directory(self, pod: Object) -> Path:
        metadata = pod["metadata"]
        return self.home / "pods" / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def condition(pod: Object, type: str) -> Object:
    conditions: list[Object] = (pod.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == type), {})


def server_status(pod: Object) -> Object:
    statuses: list[Object] = (pod.get("status") or {}).get("containerStatuses") or [{}]
    return statuses[0]
