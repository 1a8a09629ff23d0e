from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest_asyncio
import torch

from flambeau.cli.torchserve import archiver, workflow_archiver
from tests.fixtures.waiting import until
from tests.programs.kit import Served, serving

MODEL = """\
import torch


class Doubling(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3, bias=False)

    def forward(self, batch):
        return self.layer(batch)
"""
HANDLER = """\
import json

import torch
from ts.torch_handler.base_handler import BaseHandler


class Rows(BaseHandler):
    def preprocess(self, data):
        return torch.stack([torch.tensor(json.loads(row["body"])) for row in data])

    def postprocess(self, inference_output):
        return inference_output.tolist()
"""
FUNCTIONS = """\
import json


def scale(data, context):
    if data is None:
        return None
    numbers = data[0]["body"]
    return [json.dumps([float(number) / 255 for number in numbers])]


def total(data, context):
    if data is None:
        return None
    return [{name: sum(json.loads(value)) for name, value in data[0].items()}]
"""
SPEC = """\
models:
  min-workers: 1
  max-workers: 2
  batch-size: 4
  timeout-ms: 30000
  one:
    url: doubling.mar
  two:
    url: doubling.mar
dag:
  scale: [one, two]
  one: [total]
  two: [total]
"""


def make_archives(root: Path) -> None:
    """Package a model and a workflow as a user does."""
    for name, text in (("model.py", MODEL), ("rows.py", HANDLER), ("functions.py", FUNCTIONS), ("spec.yaml", SPEC)):
        (root / name).write_text(text)
    torch.save({"layer.weight": 2 * torch.eye(3)}, root / "weights.pt")
    for store in ("models", "workflows"):
        (root / store).mkdir()
    model = ["--model-file", root / "model.py", "--serialized-file", root / "weights.pt", "--handler", root / "rows.py"]
    model += ["--model-name", "doubling", "--version", "1.0", "--export-path", root / "models"]
    assert archiver.main([str(part) for part in model]) == 0
    workflow = ["--workflow-name", "sums", "--spec-file", root / "spec.yaml", "--handler", root / "functions.py"]
    assert workflow_archiver.main([str(part) for part in [*workflow, "--export-path", root / "workflows"]]) == 0


@dataclass
class House:
    served: Served
    client: httpx2.AsyncClient


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    make_archives(tmp_path)
    arguments = ["--model-store", str(tmp_path / "models"), "--workflow-store", str(tmp_path / "workflows")]
    arguments += ["--enable-model-api", "--disable-token-auth"]
    async with serving(tmp_path, arguments) as served, httpx2.AsyncClient(base_url=served.url, timeout=100) as client:
        yield House(served, client)


async def test_a_torch_model_serves_in_a_workflow_and_leaves_nothing(house: House) -> None:
    client = house.client
    before = house.served.family()
    response = await client.post("/workflows?url=sums.war")
    assert (response.status_code, response.json()["status"]) == (200, "Workflow sums has been registered and scaled successfully."), (
        response.text
    )
    response = await client.post("/wfpredict/sums", json=[51, 102, 153])
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert {name: round(total, 4) for name, total in response.json().items()} == {"one": 2.4, "two": 2.4}
    [told] = (await client.get("/workflows/sums")).json()
    assert told["workflowDag"] == "{scale=[one, two], one=[total], two=[total]}"
    models = (await client.get("/models")).json()["models"]
    assert [model["modelName"] for model in models] == ["sums__one", "sums__two"]
    workers = [process for process in house.served.family() if process not in before]
    assert len(workers) >= 4
    assert (await client.delete("/models/sums__one")).status_code == 409
    assert (await client.delete("/workflows/sums")).json()["status"] == 'Workflow "sums" unregistered'
    assert (await client.get("/models")).json() == {"models": []}
    await until(lambda: not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE])
    assert not [path for path in house.served.temporary.rglob("*") if path.is_file() and "flambeau-models" in str(path)]


async def test_readiness_does_not_wait_for_workflows_and_snapshots_forget_them(house: House) -> None:
    assert (await house.client.post("/workflows?url=sums.war")).status_code == 200
    assert (await house.client.get("/v2/health/ready")).json() == {"ready": True}
    assert (await house.client.get("/v1/models")).json() == {"models": []}
    saved = [path.read_text() for path in house.served.temporary.parent.rglob("*.cfg")]
    assert not any("sums__one" in text for text in saved)
    assert json.loads((await house.client.get("/workflows")).text) == {"workflows": [{"workflowName": "sums", "workflowUrl": "sums.war"}]}
