"""What users' own scripts take from TorchServe beside handlers."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from flambeau.serving.handlers.context import Context, RequestProcessor
from flambeau.serving.handlers.metrics import CachingMetric, Dimension, HandlerMetrics, MetricTypes
from flambeau.serving.handlers.older import hub, process_memory, system_metrics
from flambeau.serving.handlers.older.metrics_file import MetricsCacheYamlImpl
from flambeau.serving.handlers.older.metrics_store import Metric, MetricEncoder
from flambeau.serving.handlers.older.mock_model import copy_files, save_pt_file
from flambeau.serving.handlers.timing import timeit


def test_a_context_is_made_as_torchserve_makes_it() -> None:
    context = Context("m", "/nowhere", {}, 4, None, "0.1.0", False)
    assert context.system_properties["server_version"] == "0.1.0"
    assert context.system_properties["limit_max_image_pixels"] is False
    assert isinstance(context.metrics, MetricsCacheYamlImpl)
    context.request_processor = [RequestProcessor(request_header={"a": "1"})]
    assert context.get_request_header(0, "a") == "1"
    assert not isinstance(object(), MetricsCacheYamlImpl)


def test_a_metric_of_ones_own_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        metric = CachingMetric("Rows", "count", ["Kind"], MetricTypes.GAUGE)
        metric.add_or_update(3, ["a"], "id-0")
        metric.add_or_update(3, [])
    [line] = caplog.messages
    assert line.startswith("[METRICS]Rows.Count:3|#Kind:a|#type:GAUGE|#hostname:")
    assert line.endswith(",id-0")


def test_what_a_metrics_file_declares_can_be_listed(tmp_path: Path) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text("model_metrics: {gauge: [{name: Rows, unit: count, dimensions: []}]}")
    metrics = MetricsCacheYamlImpl(file)
    metrics.initialize_cache()
    assert metrics.cache_keys() == ["gauge:Rows"]
    assert metrics.cache[MetricTypes.GAUGE]["Rows"] is metrics.get_metric("Rows", MetricTypes.GAUGE)


def test_metrics_become_json() -> None:
    written = json.loads(json.dumps([Metric("Rows", 3, "count", [Dimension("Kind", "a")])], cls=MetricEncoder))
    assert (written[0]["Value"], written[0]["Dimensions"]) == (3, [{"Name": "Kind", "Value": "a"}])
    with pytest.raises(TypeError):
        json.dumps(HandlerMetrics("m"), cls=MetricEncoder)


def test_the_machine_is_measured(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_metrics, "system_metrics", [])
    with caplog.at_level(logging.INFO):
        system_metrics.collect_all(system_metrics, 0)
        process_memory.check_process_mem_usage(io.StringIO(f"{os.getpid()},\n"))
    names = {line.partition(".")[0] for line in caplog.messages}
    assert {"CPUUtilization", "MemoryUsed", "MemoryAvailable", "DiskUtilization"} <= names
    assert caplog.messages[-1].startswith(f"{os.getpid()}:")
    assert process_memory.get_cpu_usage("999999999") == 0


def test_times_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert timeit(sum)([1, 2]) == 3
    assert capsys.readouterr().out.startswith("func: 'sum' took a total of 0.0")


def test_a_model_for_tests(tmp_path: Path) -> None:
    save_pt_file(str(tmp_path / "base_model.pt"))
    copy_files(tmp_path, tmp_path, {"base_model.pt": "model.pt"})
    assert (tmp_path / "model.pt").read_bytes() == (tmp_path / "base_model.pt").read_bytes()


def test_only_what_pytorch_reads_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(**given: Any) -> str:
        asked.update(given)
        return str(tmp_path)

    monkeypatch.setattr(pytest.importorskip("huggingface_hub"), "snapshot_download", snapshot_download)
    assert hub.download_model("some/model", use_auth_token="t") == str(tmp_path)
    assert (asked["repo_id"], asked["token"], asked["revision"]) == ("some/model", "t", "main")
    assert "*.safetensors" in asked["allow_patterns"]
