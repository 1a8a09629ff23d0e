"""Controllers on a real store, with doubles of the agent and the gateway, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from flambeau.control.controllers.manager import Controllers, ControllerSettings
from flambeau.control.controllers.names import PODS, REVISION_LABEL, REVISIONS, SERVICES
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.pod_contract import AGENT_FINALIZER
from flambeau.control.store.interface import modify
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.errors import NotFound

WAIT_SECONDS_MAX = 10.0
NAMESPACE = "ns"


class VirtualClock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self._now = 1_000_000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self._now += seconds
        due = [future for moment, future in self._sleepers if moment <= self._now]
        self._sleepers = [(moment, future) for moment, future in self._sleepers if moment > self._now]
        for future in due:
            if not future.done():
                future.set_result(None)


class Doorbell:
    """The gateway's admin door: confirms what the file says, unless it is told to be slow or broken."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "gateway"
        self._server: asyncio.Server | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.served: Object = {"version": 0, "hosts": [], "backends": []}

    async def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, self._folder / "admin.sock")

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /reload HTTP/1.1\r\n")
        await self.open.wait()
        self.served = orjson.loads((self._folder / "routes.json").read_bytes())
        body = orjson.dumps({"version": self.served["version"]})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            (self._folder / "admin.sock").unlink(missing_ok=True)

    def endpoints(self, host: str) -> dict[str, int]:
        """Return pod -> weight for a host, as the gateway serves it."""
        rules: list[Object] = next((each["rules"] for each in self.served["hosts"] if each["name"] == host), [])
        backends = {each["name"]: each for each in self.served["backends"]}
        return {
            endpoint["pod"]: destination["weight"]
            for destination in (rules[0]["destinations"] if rules else [])
            for endpoint in backends[destination["backend"]]["endpoints"]
        }


class World:
    """A store with controllers at work; the test plays the agent."""

    def __init__(self, store: SqliteStore, clock: VirtualClock, home: Path) -> None:
        self.store = store
        self.clock = clock
        self.gateway = Doorbell(home)
        self.controllers = Controllers(store, ControllerSettings(home, "localhost", 8000), clock)

    async def start(self) -> None:
        for obj in (*builtin_objects(gateway_port=8000), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}):
            await self.store.create(obj)
        await self.gateway.start()
        await self.controllers.start()

    async def stop(self) -> None:
        await self.controllers.stop()
        await self.gateway.stop()

    # The user

    async def apply(self, name: str, **predictor: Any) -> None:
        """Create an InferenceService, or change fields of its predictor (None takes one away)."""
        key = Key(SERVICES, NAMESPACE, name)
        try:
            await self.store.get(key)
        except NotFound:
            await self.store.create(inference_service(name, **predictor))
            return

        def change(obj: Object) -> None:
            for field, value in predictor.items():
                if value is None:
                    obj["spec"]["predictor"].pop(field, None)
                else:
                    obj["spec"]["predictor"][field] = value

        await modify(self.store, key, change)

    async def apply_spec(self, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Create an InferenceService with a model and more, or change parts of its spec (None takes one away)."""
        key = Key(SERVICES, NAMESPACE, name)
        try:
            await self.store.get(key)
        except NotFound:
            obj = inference_service(name)
            obj["metadata"]["annotations"] = annotations or {}
            obj["spec"] |= spec
            await self.store.create(obj)
            return

        def change(obj: Object) -> None:
            obj["spec"] = {field: value for field, value in (obj["spec"] | spec).items() if value is not None}

        await modify(self.store, key, change)

    async def service(self, name: str) -> Object:
        return await self.store.get(Key(SERVICES, NAMESPACE, name))

    async def until(self, name: str, holds: Callable[[Object], bool]) -> Object:
        service: Object = {}

        async def check() -> bool:
            nonlocal service
            service = await self.service(name)
            return holds(service)

        await self.eventually(check, lambda: f"service {name} is {service.get('status')}")
        return service

    async def eventually(self, check: Callable[[], Awaitable[bool]], otherwise: Callable[[], str] = lambda: "never") -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS_MAX
        while not await check():
            if loop.time() > deadline:
                pytest.fail(otherwise())
            self.clock.advance(0.05)
            await asyncio.sleep(0.005)

    # The agent

    async def pods(self, revision: str) -> list[Object]:
        listing = await self.store.list(PODS, NAMESPACE)
        return [pod for pod in listing.items if pod["metadata"]["labels"][REVISION_LABEL] == revision]

    async def pods_of(self, revision: str, count: int = 1) -> list[Object]:
        """Wait until a revision has so many pods."""
        found: list[Object] = []

        async def check() -> bool:
            nonlocal found
            found = await self.pods(revision)
            return len(found) == count

        await self.eventually(check, lambda: f"revision {revision} has {len(found)} pods, not {count}")
        return found

    async def say(self, pod: Object, *, ready: bool, reason: str = "", message: str = "", address: str = "127.9.9.9") -> None:
        """Write a pod's status as the agent would."""

        def change(obj: Object) -> None:
            conditions = (obj.get("status") or {}).get("conditions") or []
            set_condition(conditions, "Ready", "True" if ready else "False", reason, message, self.clock.wall())
            obj["status"] = {"phase": "Running", "podIP": address, "conditions": conditions}

        await modify(self.store, Key(PODS, NAMESPACE, pod["metadata"]["name"]), change, status=True)

    async def make_ready(self, revision: str, count: int = 1) -> list[Object]:
        pods = await self.pods_of(revision, count)
        for pod in pods:
            await self.say(pod, ready=True)
        return pods

    async def finish(self, revision: str) -> None:
        """Let the pods of a revision go, once the gateway lets them."""

        async def check() -> bool:
            for pod in await self.pods(revision):
                finalizers = pod["metadata"].get("finalizers") or []
                if pod["metadata"].get("deletionTimestamp") and finalizers == [AGENT_FINALIZER]:
                    await modify(
                        self.store, Key(PODS, NAMESPACE, pod["metadata"]["name"]), lambda obj: obj["metadata"].update(finalizers=[])
                    )
            return not await self.pods(revision)

        await self.eventually(check, lambda: f"pods of {revision} are still there")

    async def revision(self, name: str) -> Object:
        return await self.store.get(Key(REVISIONS, NAMESPACE, name))


def inference_service(name: str, **predictor: Any) -> Object:
    model = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist", "name": ""}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"predictor": {"model": model, **predictor}},
    }


def told(obj: Object, type: str) -> tuple[str, str, str]:
    """Return a condition's (status, reason, message)."""
    condition = get_condition(obj, type) or {}
    return condition.get("status", ""), condition.get("reason", ""), condition.get("message", "")


def is_ready(service: Object) -> bool:
    return told(service, "Ready")[0] == "True"


def traffic(service: Object) -> dict[str, int]:
    shares = service["status"]["components"]["predictor"].get("traffic") or []
    return {entry["revisionName"]: entry["percent"] for entry in shares}
