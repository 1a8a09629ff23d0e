from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flambeau.serving.metrics.catalog import BY_NAME, LEGACY, MODEL, OURS, SERVER
from flambeau.serving.metrics.declared import MetricsSettings, Mode, parse_metrics_yaml
from flambeau.serving.metrics.host import Reading
from flambeau.serving.metrics.server import ModelReading, ServerMetrics
from flambeau.serving.model import MetricUpdate, ModelSpec

HOST = socket.gethostname()
LINE = re.compile(rf"(\w+)\.(\w+):(\d+(?:\.\d+)?(?:e-?\d+)?)\|#([^|]*)\|#hostname:{re.escape(HOST)}(,requestID:[^,]+)?,timestamp:\d{{10}}")


SPEC = ModelSpec("m", "1.0", Path("unread"), "m.mar", "handler.py")


def told_by(metrics: ServerMetrics) -> dict[str, str]:
    lines = [line.rpartition(" ") for line in metrics.page()().decode().splitlines() if not line.startswith("#")]
    return {name: value for name, _, value in lines}


def a_day(metrics: ServerMetrics) -> None:
    """Let everything happen once."""
    for requested in (None, "1.0"):
        tally = metrics.tally("m", "1.0", requested)
        tally.enter()
        tally.answered(100.5, 100.0, 100.2, 0.29, "id-1")
        tally.leave()
    for status in (200, 404, 503, 302):
        metrics.count_answer(status)
    metrics.worker_loaded(SPEC, 3, 1.5)
    metrics.take_host([Reading(family.name, 7.0, "0" if "DeviceId" in family.labels else None) for family in SERVER[9:]])
    metrics.take_updates(SPEC, [MetricUpdate("Seen", "counter", "Count", (("ModelName", "m"), ("Level", "Model")), 2.0, "id-1")])


def readings() -> list[ModelReading]:
    return [ModelReading("m", "1.0", 3, 0.5, 2, 1, 4, 5, {1: 6, 3: 1}, {3: 1.5})]


def test_every_metric_has_its_name_type_and_labels() -> None:
    metrics = ServerMetrics(readings)
    a_day(metrics)
    families = {}
    page = metrics.page()().decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
        assert name not in families
        families[name] = kind
    assert families == {**{name: family.kind.value for name, family in BY_NAME.items()}, "Seen": "counter"}
    for family in (*SERVER, *MODEL):
        [labels, *_] = re.findall(rf"^{family.name}{{(.*)}} ", page, re.MULTILINE)
        assert tuple(re.findall(r'(\w+)="', labels)) == family.labels
        assert f"# HELP {family.name} Torchserve prometheus {family.kind} metric with unit: {family.unit}\n" in page


def test_the_page_tells_what_was_counted() -> None:
    metrics = ServerMetrics(readings)
    a_day(metrics)
    metrics.tally("m", "1.0", None).enter()
    told = told_by(metrics)
    expected = {
        f'Requests2XX{{Level="Host",Hostname="{HOST}"}}': "1.0",
        f'Requests4XX{{Level="Host",Hostname="{HOST}"}}': "1.0",
        f'Requests5XX{{Level="Host",Hostname="{HOST}"}}': "2.0",
        f'ts_inference_requests_total{{model_name="m",model_version="default",hostname="{HOST}"}}': "2.0",
        f'ts_inference_requests_total{{model_name="m",model_version="1.0",hostname="{HOST}"}}': "1.0",
        f'ts_inference_latency_microseconds{{model_name="m",model_version="1.0",hostname="{HOST}"}}': "500000.0",
        f'WorkerLoadTime{{WorkerName="W-3-m_1.0",Level="Host",Hostname="{HOST}"}}': "1500.0",
        f'PredictionTime{{ModelName="m",Level="Model",Hostname="{HOST}"}}': "290.0",
        f'HandlerTime{{ModelName="m",Level="Model",Hostname="{HOST}"}}': "290.0",
        f'GPUUtilization{{Level="Host",DeviceId="0",Hostname="{HOST}"}}': "7.0",
        f'DiskUsage{{Level="Host",Hostname="{HOST}"}}': "7.0",
        f'Seen{{ModelName="m",Level="Model",Hostname="{HOST}"}}': "2.0",
        'flambeau_request_seconds_bucket{model_name="m",model_version="1.0",le="0.5"}': "2.0",
        'flambeau_queue_seconds_count{model_name="m",model_version="1.0"}': "2.0",
        'flambeau_handler_seconds_sum{model_name="m",model_version="1.0"}': "0.58",
        'flambeau_batch_size_bucket{model_name="m",model_version="1.0",le="2.0"}': "6.0",
        'flambeau_batch_size_sum{model_name="m",model_version="1.0"}': "9.0",
        'flambeau_requests_in_flight{model_name="m",model_version="1.0"}': "1.0",
        'flambeau_queue_depth{model_name="m",model_version="1.0"}': "3.0",
        'flambeau_queue_oldest_age_seconds{model_name="m",model_version="1.0"}': "0.5",
        'flambeau_workers{model_name="m",model_version="1.0"}': "2.0",
        'flambeau_workers_ready{model_name="m",model_version="1.0"}': "1.0",
        'flambeau_worker_restarts_total{model_name="m",model_version="1.0"}': "4.0",
        'flambeau_late_answers_total{model_name="m",model_version="1.0"}': "5.0",
        'flambeau_metric_updates_dropped_total{reason="series"}': "0.0",
    }
    assert {name: told.get(name) for name in expected} == expected
    assert float(told[f'ts_queue_latency_microseconds{{model_name="m",model_version="1.0",hostname="{HOST}"}}']) == pytest.approx(200_000)
    assert float(told[f'QueueTime{{Level="Host",Hostname="{HOST}"}}']) == pytest.approx(200)
    assert float(told[f'WorkerThreadTime{{Level="Host",Hostname="{HOST}"}}']) == pytest.approx(10)
    list(text_string_to_metric_families(metrics.page()().decode()))


def test_promtool_finds_fault_with_torchserves_names_only() -> None:
    metrics = ServerMetrics(readings, read_log_drops=lambda: {"ts_log": 3})
    a_day(metrics)
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: run tools/need_debian prometheus=prometheus promtool=prometheus"
    checked = subprocess.run([promtool, "check", "metrics"], input=metrics.page()(), capture_output=True, timeout=30, check=False)
    complaints = (checked.stdout + checked.stderr).decode().splitlines()
    assert checked.returncode == 3, complaints
    assert {line.split()[0] for line in complaints} <= {"Seen", *(family.name for family in (*SERVER, *MODEL))}
    # Of our own families alone there is nothing to say.
    ours = frozenset(family.name for family in OURS)
    checked = subprocess.run([promtool, "check", "metrics"], input=metrics.page(ours)(), capture_output=True, timeout=30, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_what_metrics_yaml_does_not_list_is_off() -> None:
    text = "ts_metrics: {counter: [{name: Requests2XX, unit: Count, dimensions: [Ebene, Rechner]}]}"
    declared, _ = parse_metrics_yaml(text, source="y")
    metrics = ServerMetrics(readings, MetricsSettings(declared=declared))
    a_day(metrics)
    told = told_by(metrics)
    assert f'Requests2XX{{Ebene="Host",Rechner="{HOST}"}}' in told
    assert {name.partition("{")[0] for name in told if not name.startswith("flambeau_")} == {"Requests2XX", "Seen"}


@pytest.mark.parametrize(("mode", "on_page"), [(Mode.LOG, frozenset()), (Mode.LEGACY, LEGACY)])
def test_the_modes_that_log(mode: Mode, on_page: frozenset[str]) -> None:
    server: list[str] = []
    model: list[str] = []
    metrics = ServerMetrics(readings, MetricsSettings(mode=mode), server_line=server.append, model_line=model.append)
    a_day(metrics)
    assert {name.partition("{")[0] for name in told_by(metrics)} == on_page
    found = [LINE.fullmatch(line) for line in (*server, *model)]
    assert None not in found
    lines = {match[1]: match for match in found if match}
    assert set(lines) == {family.name for family in (*SERVER, *MODEL)} - on_page | {"Seen"}
    assert lines["Seen"].group(2, 3, 4, 5) == ("Count", "2.0", "ModelName:m,Level:Model", ",requestID:id-1")
    assert lines["PredictionTime"].group(2, 3, 5) == ("ms", "290.0", ",requestID:id-1")
    assert lines["WorkerLoadTime"].group(2, 3, 4, 5) == ("Milliseconds", "1500.0", "WorkerName:W-3-m_1.0,Level:Host", None)
    assert lines["GPUMemoryUsed"].group(4) == "Level:Host,DeviceId:0"
    assert sum(line.startswith("Requests5XX") for line in server) == 2


def test_models_that_are_gone_are_forgotten() -> None:
    present = readings()
    metrics = ServerMetrics(lambda: present)
    a_day(metrics)
    busy = metrics.tally("m", "1.0", None)
    busy.enter()
    present.clear()
    assert any('model_name="m"' in name for name in told_by(metrics))
    assert not any('ModelName="m"' in name for name in told_by(metrics) if name.startswith("Seen"))
    busy.leave()
    told = told_by(metrics)
    assert not any('="m"' in name for name in told)
