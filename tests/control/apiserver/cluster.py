"""What the tests of the API server hold in their hands: the server, kubectl, plain HTTP, objects."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import yaml

from flambeau.control.agent.commands import PodCommands
from flambeau.control.agent.usage import PodUsage
from flambeau.control.apiserver.pods import Pods
from flambeau.control.apiserver.server import ApiServer
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import NotFound

KUBECTL_SECONDS_MAX = 20.0


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class FakeLogs:
    """Logs that a test writes; a follower waits until the test ends the log."""

    def __init__(self) -> None:
        self.lines: dict[str, list[bytes]] = {}
        self.ended = asyncio.Event()
        self.asked: list[Mapping[str, Any]] = []

    def clear(self) -> None:
        """Forget what a test wrote, for the next one."""
        self.lines.clear()
        self.asked.clear()
        self.ended.clear()

    async def stream(self, namespace: str, pod: str, container: str, **options: Any) -> AsyncIterator[bytes]:
        self.asked.append({"namespace": namespace, "pod": pod, "container": container, **options})
        if pod not in self.lines:
            raise NotFound(f"pod {pod} has written nothing")
        for line in self.lines[pod][-(options["tail_lines"] or 0) :]:
            yield line
        if options["follow"]:
            await self.ended.wait()
            yield b"the last line\n"


def pods_of(home: Path) -> Pods:
    """The agent's side of pods, without an agent."""
    return Pods(FakeLogs(), PodCommands(home), PodUsage(home, SystemClock()))


class Kubectl:
    """The real kubectl, with nothing of this machine's user."""

    def __init__(self, kubeconfig: Path, home: Path, program: str = "kubectl") -> None:
        self._kubeconfig = kubeconfig
        self._home = home
        self._program = program

    async def start(self, *args: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._program,
            f"--cache-dir={self._home / 'cache'}",
            *args,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._home),
                "KUBECONFIG": str(self._kubeconfig),
                **(env or {}),
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Result:
        process = await self.start(*args, env=env)
        return await finish(process, stdin)

    async def ok(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
        result = await self(*args, stdin=stdin, env=env)
        assert result.code == 0, f"kubectl {' '.join(args)}: {result}"
        return result.out


async def finish(process: asyncio.subprocess.Process, stdin: str = "") -> Result:
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), KUBECTL_SECONDS_MAX)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


class Api:
    """Plain HTTP to the API server, with or without the token."""

    def __init__(self, client: httpx2.AsyncClient, token: str) -> None:
        self.client = client
        self.headers = {"authorization": f"Bearer {token}"}

    async def __call__(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **headers: str
    ) -> httpx2.Response:
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        type_header = {} if body is None else {"content-type": content_type}
        return await self.client.request(method, path, content=content, headers=self.headers | type_header | named)


@dataclass(frozen=True)
class Cluster:
    """The server and what tests reach round it."""

    server: ApiServer
    store: SqliteStore
    logs: FakeLogs
    kubectl: Kubectl
    api: Api
    home: Path


def namespace_object(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}}


def isvc_object(name: str, namespace: str, **predictor: Any) -> Object:
    """An InferenceService that is right."""
    model = {"modelFormat": {"name": "pytorch"}, "storageUri": "s3://models/mnist"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"predictor": {"model": model, **predictor}},
    }


def yaml_of(*objects: Object) -> str:
    """Objects as a YAML stream."""
    return str(yaml.safe_dump_all(objects, sort_keys=False))


def key_of(obj: Object) -> Key:
    return KINDS.by_object(obj).key(obj)


def lines(text: str) -> Sequence[Sequence[str]]:
    """A printed table as words."""
    return [line.split() for line in text.splitlines()]


def pod_object(name: str, namespace: str) -> Object:
    """A pod that runs, as the agent leaves it."""
    containers = ("kserve-container", "queue-proxy")
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"kubectl.kubernetes.io/default-container": "kserve-container"},
            "labels": {"serving.kserve.io/inferenceservice": "mnist"},
        },
        "spec": {"containers": [{"name": container, "image": "flambeau/server"} for container in containers]},
        "status": {
            "phase": "Running",
            "podIP": "127.0.0.9",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}],
            "containerStatuses": [
                {"name": container, "ready": True, "restartCount": 0, "image": "flambeau/server", "imageID": "", "state": running}
                for container in containers
            ],
        },
    }


async def watched(cluster: Cluster, count: int = 1) -> None:
    """Wait until so many watches and followed logs are open."""
    await watched_by(cluster.server, count)


async def watched_by(server: ApiServer, count: int = 1) -> None:
    """Wait until a server has so many streams open."""
    async with asyncio.timeout(KUBECTL_SECONDS_MAX):
        while server.open_streams < count:  # noqa: ASYNC110 - no event of a server's is worth a test's wait
            await asyncio.sleep(0.01)
