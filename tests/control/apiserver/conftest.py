"""A real API server over a real store, in this process."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from flambeau.control.agent.commands import PodCommands
from flambeau.control.agent.usage import PodUsage
from flambeau.control.apiserver.pods import Pods
from flambeau.control.apiserver.server import ApiServer
from flambeau.control.resources.kind import Key
from flambeau.control.resources.registry import KINDS
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import NotFound
from tests.control.apiserver.cluster import Api, Cluster, FakeLogs, Kubectl, namespace_object


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    home = tmp_path_factory.mktemp("home")
    store = SqliteStore.open(home / "store.db")
    for namespace in ("default", "kube-system"):
        await store.create(namespace_object(namespace))
    logs = FakeLogs()
    server = ApiServer(store, KINDS, Pods(logs, PodCommands(home), PodUsage(home, SystemClock())), home=home, clock=SystemClock())
    await server.start("127.0.0.1", 0)
    token = (home / "pki" / "token").read_text()
    context = ssl.create_default_context(cafile=str(home / "pki" / "ca.crt"))
    client = httpx2.AsyncClient(base_url=server.url, verify=context, timeout=10, trust_env=False)
    user_home = home / "user"
    user_home.mkdir()
    async with client:
        yield Cluster(server, store, logs, Kubectl(server.kubeconfig, user_home), Api(client, token), home)
    await server.stop()
    store.close()


@pytest.fixture
def kubectl(cluster: Cluster) -> Kubectl:
    return cluster.kubectl


@pytest.fixture
def api(cluster: Cluster) -> Api:
    return cluster.api


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """A namespace of the test's own, which takes everything in it along, its pods' logs too."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await cluster.store.create(namespace_object(name))
    yield name
    cluster.logs.clear()
    try:
        await cluster.store.delete(Key("namespaces", "", name))
    except NotFound:
        return
