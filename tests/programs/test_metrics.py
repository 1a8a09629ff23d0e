"""Metrics from a handler's call to what a real Prometheus has stored, and to TorchServe's log lines."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.archives import ECHO, write_mar
from tests.fixtures.prometheus import prometheus
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import CONFIG, Served, serving, start

METERED = """\
import logging
from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

class Metered:
    def initialize(self, context):
        context.metrics.add_counter("Loaded", 1)

    def handle(self, data, context):
        metrics = context.metrics
        metrics.add_counter("Seen", 2, 0)
        metrics.add_time("Took", 5.5, None, "ms", [Dimension("Kind", "a")])
        metrics.add_metric("Size", 0.3, "MB", dimensions=[Dimension("Kind", "a")], metric_type=MetricTypes.HISTOGRAM)
        metrics.add_error("Oops", 1)
        print("printed by the handler")
        logging.getLogger("mine").warning("logged by the handler")
        return [{"ok": True} for _ in data]
"""
DECLARED = """\
ts_metrics:
  counter:
    - {name: Requests2XX, unit: Count, dimensions: [Level, Hostname]}
model_metrics:
  counter:
    - {name: Seen, unit: Count, dimensions: [ModelName, Level]}
  histogram:
    - {name: Size, unit: MB, dimensions: [Kind, ModelName, Level], buckets: [0.1, 1]}
"""
HOST = re.escape(socket.gethostname())


async def asked(client: httpx2.AsyncClient) -> None:
    """Ask the metered model twice, once by its version, and for one that isn't there."""

    async def answers() -> bool:
        return (await client.post("/predictions/metered", content=b"x", headers={"x-request-id": "id-1"})).status_code == 200

    await until_told(answers)
    assert (await client.post("/predictions/metered/1.0", content=b"x", headers={"x-request-id": "id-2"})).status_code == 200
    assert (await client.post("/predictions/nope", content=b"x")).status_code == 404


@contextlib.asynccontextmanager
async def metered(root: Path, config: str = "", **environment: str) -> AsyncIterator[tuple[Served, httpx2.AsyncClient]]:
    write_mar(root / "store", "metered", METERED)
    arguments = ["--model-store", str(root / "store"), "--models", "metered.mar"]
    async with (
        serving(root, arguments, config=CONFIG + config, environment=environment) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=30) as client,
    ):
        await asked(client)
        yield served, client


def complaints(page: bytes) -> bytes:
    """Return what promtool says of a page; that it cannot be read fails the test."""
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)
    assert checked.returncode in (0, 3), checked  # 3: names of no good style
    return checked.stdout + checked.stderr


async def stored(client: httpx2.AsyncClient, query: str) -> list[float]:
    """Return what Prometheus has for a query; nothing while it isn't up."""
    try:
        answer = await client.get("/api/v1/query", params={"query": query})
    except httpx2.TransportError:
        return []
    return [float(each["value"][1]) for each in answer.json()["data"]["result"]] if answer.status_code == 200 else []


async def test_a_real_prometheus_stores_what_handlers_measure(tmp_path: Path) -> None:
    async with metered(tmp_path) as (served, client), prometheus(tmp_path, served.url.removeprefix("http://")) as database:

        async def seen() -> bool:
            return await stored(database, 'Seen{ModelName="metered",Level="Model"}') == [4.0]

        await until_told(seen, 60)
        assert await stored(database, "up") == [1.0]
        assert sorted(await stored(database, "ts_inference_requests_total")) == [1.0, 1.0]
        assert await stored(database, 'flambeau_request_seconds_count{model_version="1.0"}') == [2.0]
        assert await stored(database, 'Size_bucket{Kind="a",le="0.5"}') == [2.0]
        assert await stored(database, "Took") == [5.5]
        assert await stored(database, "Oops") == [2.0]
        assert await stored(database, "Loaded") == [1.0]
        assert len(await stored(database, "CPUUtilization")) == 1
        assert await stored(database, "flambeau_batch_size_sum") == [2.0]

        chosen = await client.get("/metrics?name[]=Seen&name%5B%5D=Size_sum")
        assert [line.partition("{")[0] for line in chosen.text.splitlines() if not line.startswith("#")] == ["Seen", "Size_sum"]
        assert (await client.get("/metrics/any/path")).status_code == 200
        assert b"flambeau_" not in complaints((await client.get("/metrics")).content)


async def test_metrics_yaml_chooses_and_shapes(tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").write_text(DECLARED)
    config = "metrics_config=metrics.yaml\nmodel_metrics_auto_detect=false\ndisable_system_metrics=true\n"
    async with metered(tmp_path, config) as (_, client):
        text = (await client.get("/metrics")).text
    told = {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}
    assert {name for name in told if not name.startswith("flambeau_")} == {"Requests2XX", "Seen", "Size_bucket", "Size_count", "Size_sum"}
    assert re.findall(r'Size_bucket{.*le="(.*)"}', text) == ["0.1", "1.0", "+Inf"]
    assert 'flambeau_metric_updates_dropped_total{reason="undeclared"} 5.0' in text


@pytest.mark.parametrize(
    ("mode", "families"),
    [
        ("metrics_mode=log", set()),
        ("metrics_mode=legacy", {"ts_inference_requests_total", "ts_inference_latency_microseconds", "ts_queue_latency_microseconds"}),
    ],
)
async def test_the_modes_that_log(tmp_path: Path, mode: str, families: set[str]) -> None:
    places = {"LOG_LOCATION": str(tmp_path / "logs"), "METRICS_LOCATION": str(tmp_path / "numbers")}
    async with metered(tmp_path, mode + "\n", **places) as (_, client):
        page = await client.get("/metrics")
        assert (page.status_code, {line.split()[2] for line in page.text.splitlines() if line.startswith("#")}) == (200, families)
        server, model = tmp_path / "numbers" / "ts_metrics.log", tmp_path / "numbers" / "model_metrics.log"
        await until(lambda: server.exists() and {"Requests4XX", "CPUUtilization"} <= set(re.findall(r" - (\w+)\.", server.read_text())))
        await until(lambda: model.exists() and model.read_text().count("PredictionTime") == 2)
    stamp, number = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}", r"\d+(\.\d+)?(e-?\d+)?"
    form = rf"{stamp} - (\w+)\.(\w+):{number}\|#([\w:,.-]+)\|#hostname:{HOST}(,requestID:[^,]+)?,timestamp:\d{{10}}"
    lines = [re.fullmatch(form, line) for line in (server.read_text() + model.read_text()).splitlines()]
    assert None not in lines
    told = {match[1]: match[0].partition(" - ")[2] for match in lines if match}
    assert {"QueueTime", "WorkerThreadTime", "WorkerLoadTime", "Requests2XX", "MemoryUsed", "HandlerTime", "Loaded"} <= set(told)
    assert families.isdisjoint(told)
    assert re.fullmatch(rf"Seen\.Count:2\.0\|#ModelName:metered,Level:Model\|#hostname:{HOST},requestID:id-2,timestamp:\d+", told["Seen"])
    assert re.fullmatch(rf"WorkerLoadTime\.Milliseconds:{number}\|#WorkerName:W-\d+-metered_1\.0,Level:Host\|.*", told["WorkerLoadTime"])
    assert re.match(rf"Took\.Milliseconds:5\.5\|#Kind:a,ModelName:metered,Level:Model\|#hostname:{HOST},requestID:id-2,", told["Took"])


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("metrics_config=gone.yaml", "metrics_config not found: gone.yaml (config.properties line"),
        ("metrics_config=bad.yaml", "cannot use metrics_config bad.yaml: model_metrics.gauge[0] (a) has no unit"),
    ],
)
async def test_a_metrics_yaml_that_cannot_be_used_stops_the_start(tmp_path: Path, config: str, why: str) -> None:
    (tmp_path / "bad.yaml").write_text("model_metrics: {gauge: [{name: a}]}")
    write_mar(tmp_path / "store", "echo", ECHO)
    served = start(tmp_path, ["--model-store", str(tmp_path / "store")], config=f"{CONFIG}{config}\n")
    assert await served.ended() == 1
    assert why in served.err.read_text()
