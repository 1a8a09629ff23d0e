from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from flambeau.foundation import http1
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.http import HttpFrontend
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.repository import Repository
from flambeau.serving.workers.starter import FreshStarter
from flambeau.serving.workflow.registry import Workflows, WorkflowWish
from tests.fixtures.archives import ECHO, write_mar, write_war
from tests.fixtures.waiting import until
from tests.serving.frontends.conftest import management_of, workflows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FUNCTIONS = """\
import json, pathlib, time

def first(data, context):
    return data and [data[0]["body"]]

def waits(data, context):
    if data:
        path = pathlib.Path(data[0]["body"].decode())
        pathlib.Path(f"{path}.begun").touch()
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
    return data and ["waited"]

def a(data, context):
    return data and [{"length": len(data[0]["body"])}]

def b(data, context):
    return data and [[1, 2, "\u00e9"]]

def text(data, context):
    return data and ["no json"]

def teapot(data, context):
    if data:
        context.set_response_status(code=418, idx=0)
        context.set_response_content_type(0, "text/plain")
    return data and ["short and stout"]
"""
GRAPHS = {
    "teapot": "{first: [teapot]}",
    "leaves": "{first: [a, b]}",
    "mixed": "{first: [a, text]}",
    "waiting": "{waits: [first]}",
}


@dataclass
class House:
    client: httpx2.AsyncClient
    """To a door where models may be registered."""
    closed: httpx2.AsyncClient
    """To one where they may not."""
    workflows: Workflows
    store: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: object) -> AsyncIterator[House]:
    root: Path = tmp_path_factory.mktemp("workflow-pages")  # type: ignore[attr-defined]  # pytest's own
    store = root / "store"
    repository = Repository(root / "models", FreshStarter())
    dataplane = DataPlane(repository)
    metrics = ServerMetrics(lambda: [])
    workflows = workflows_of(repository, dataplane, metrics, root)
    write_mar(store, "echo", ECHO)
    for name, graph in GRAPHS.items():
        write_war(store, name, f"models: {{timeout-ms: 20000}}\ndag: {graph}\n", FUNCTIONS)
        await workflows.register(WorkflowWish(f"{name}.war"))
    fronts, servers, clients = [], [], []
    for model_api in (True, False):
        front = HttpFrontend(
            dataplane,
            management_of(repository, store),
            metrics,
            access_log=None,
            request_bytes_max=1_000,
            model_api=model_api,
            workflows=workflows,
        )
        server = http1.Server(front.door(frozenset(Plane)))
        _, port = await server.start(host="127.0.0.1", port=0)
        fronts.append(front)
        servers.append(server)
        clients.append(httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30))
    yield House(clients[0], clients[1], workflows, store)
    for client in clients:
        await client.aclose()
    for server in servers:
        await server.close()
    for front in fronts:
        await front.close()
    await repository.stop(1)


async def test_lists_come_in_pages(house: House) -> None:
    told = (await house.client.get("/workflows?limit=3")).json()
    assert [workflow["workflowName"] for workflow in told["workflows"]] == ["leaves", "mixed", "teapot"]
    assert told["workflows"][0]["workflowUrl"] == "leaves.war"
    rest = (await house.client.get(f"/workflows?next_page_token={told['nextPageToken']}")).json()
    assert rest == {"workflows": [{"workflowName": "waiting", "workflowUrl": "waiting.war"}]}


async def test_one_is_described_in_torchserves_words(house: House) -> None:
    [told] = (await house.client.get("/workflows/leaves")).json()
    assert list(told.items()) == [
        ("workflowName", "leaves"),
        ("workflowUrl", "leaves.war"),
        ("minWorkers", 1),
        ("maxWorkers", 1),
        ("batchSize", 1),
        ("maxBatchDelay", 50),
        ("workflowDag", "{first=[a, b]}"),
    ]


async def test_functions_are_models_that_no_list_shows(house: House) -> None:
    assert (await house.client.get("/models")).json() == {"models": []}
    [told] = (await house.client.get("/models/leaves__first")).json()
    assert "modelUrl" not in told or not told["modelUrl"]
    assert (told["minWorkers"], told["batchSize"], told["loadedAtStartup"]) == (1, 1, False)


async def test_an_answer_is_the_last_nodes_and_json_by_name(house: House) -> None:
    response = await house.client.put("/wfpredict/teapot/more/path?a=1", content=b"x", headers={"content-type": "text/plain"})
    assert (response.status_code, response.content) == (200, b"short and stout")
    assert response.headers["content-type"] == "application/json"
    assert "x-request-id" in response.headers


async def test_several_last_nodes_answer_in_one_object(house: House) -> None:
    response = await house.client.post("/wfpredict/leaves", content=b"four", headers={"content-type": "text/plain"})
    assert response.text == json.dumps({"a": {"length": 4}, "b": [1, 2, "é"]}, indent=2, ensure_ascii=False) + "\n"
    refused = await house.client.post("/wfpredict/mixed", content=b"x")
    assert refused.status_code == 500
    assert refused.json()["type"] == "InternalServerException"
    assert "node text of workflow mixed did not answer in JSON" in refused.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "message"),
    [
        ("POST", "/workflows", 400, "BadRequestException", "Parameter url is required."),
        ("POST", "/workflows?url=", 404, "WorkflowNotFoundException", "empty url"),
        ("POST", "/workflows?url=gone.war", 404, "WorkflowNotFoundException", "Workflow not found in workflow store: gone.war"),
        ("POST", "/workflows?url=../leaves.war", 404, "WorkflowNotFoundException", "Relative path is not allowed in url"),
        ("POST", "/workflows?url=http://127.0.0.1:9/w.war", 404, "WorkflowNotFoundException", "Given URL http://127.0.0.1:9/w.war"),
        ("POST", "/workflows?url=echo.mar", 400, "InvalidWorkflowException", "archive echo.mar is no workflow archive"),
        ("POST", "/workflows?url=leaves.war", 409, "ConflictStatusException", "Workflow leaves is already registered."),
        ("POST", "/workflows?url=leaves.war&workflow_name=a/b", 400, "BadRequestException", "workflow_name must have"),
        ("GET", "/workflows/gone", 404, "WorkflowNotFoundException", "Workflow not found: gone"),
        ("DELETE", "/workflows/gone", 404, "WorkflowNotFoundException", "Workflow not found: gone"),
        ("POST", "/wfpredict/gone", 404, "WorkflowNotFoundException", "Workflow not found: gone"),
        ("POST", "/wfpredict", 404, "ResourceNotFoundException", "Requested resource is not found"),
        ("PUT", "/workflows/leaves", 405, "MethodNotAllowedException", "Requested method is not allowed"),
        ("PATCH", "/workflows", 405, "MethodNotAllowedException", "Requested method is not allowed"),
    ],
)
async def test_refusals_have_the_originals_type(house: House, method: str, path: str, status: int, kind: str, message: str) -> None:
    response = await house.client.request(method, path)
    assert (response.status_code, response.json()["type"]) == (status, kind), response.text
    assert response.json()["message"].startswith(message)


async def test_a_graph_that_is_none_is_named(house: House) -> None:
    write_war(house.store, "cycle", "dag: {a: [b], b: [c], c: [b]}\n")
    response = await house.client.post("/workflows?url=cycle.war")
    assert (response.status_code, response.json()["type"]) == (400, "InvalidDAGException")
    assert response.json()["message"].startswith("Not a valid DAG")


async def test_registration_takes_json_and_gives_way_again(house: House) -> None:
    response = await house.client.post("/workflows", json={"url": "leaves.war", "workflow_name": "again", "startup_timeout": 60})
    assert response.json() == {"status": "Workflow again has been registered and scaled successfully."}
    assert (await house.client.delete("/workflows/again")).json() == {"status": 'Workflow "again" unregistered'}


async def test_without_the_model_api_nothing_comes_and_nothing_goes(house: House) -> None:
    for method, path in (("POST", "/workflows?url=leaves.war"), ("DELETE", "/workflows/leaves")):
        response = await house.closed.request(method, path)
        assert response.status_code == 405
        assert "--enable-model-api" in response.json()["message"]
    assert (await house.closed.get("/workflows/leaves")).status_code == 200
    assert (await house.closed.post("/wfpredict/leaves", content=b"x")).status_code == 200


async def test_a_body_over_the_limit_reaches_no_node(house: House) -> None:
    assert (await house.client.post("/wfpredict/leaves", content=b"x" * 1_001)).status_code == 413


async def test_a_client_that_hangs_up_frees_its_place(house: House, tmp_path: Path) -> None:
    path = tmp_path / "free"
    order = {"content": str(path).encode(), "headers": {"content-type": "application/octet-stream"}}
    asking = asyncio.create_task(house.client.post("/wfpredict/waiting", **order))  # type: ignore[arg-type]  # a table's values
    await until(Path(f"{path}.begun").exists)
    workflow = house.workflows.find("waiting")
    assert len(workflow.runs) == 1
    asking.cancel()
    await asyncio.wait([asking])
    await until(lambda: not workflow.runs)
    path.touch()
    assert (await house.client.post("/wfpredict/waiting", **order)).content == b"waited"  # type: ignore[arg-type]  # a table's values
