"""What only handlers of TorchServe's first years, and users' unit tests, import."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.metrics import Dimension, MetricsCacheIOError, MetricsCachePyYamlError, MetricTypes
from flambeau.serving.handlers.older.deprecation import deprecated
from flambeau.serving.handlers.older.metrics_file import MetricsCacheYamlImpl
from flambeau.serving.handlers.older.metrics_store import Metric, MetricsStore, Units, emit_metrics
from flambeau.serving.handlers.older.mock_context import MockContext
from flambeau.serving.handlers.service import Outcome, Service
from flambeau.serving.handlers.streaming import TextIteratorStreamerBatch

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

MMS = """
from ts.model_service.model_service import SingleNodeService

class Service(SingleNodeService):
    def _preprocess(self, data):
        return [len(value) for value in data]

    def _inference(self, data):
        return [value * 10 for value in data]
"""


def test_services_of_multi_model_server_serve(load: Load, ask: Ask) -> None:
    service = load({"s.py": MMS}, "s.py")
    assert [outcome.value for outcome in ask(service, [{"body": b"ab"}, {"data": "abc"}])] == [20, 30]
    assert {update.name for update in service.take_updates()} == {"PreprocessTime", "InferenceTime", "PostprocessTime"}


def test_a_module_with_a_service_of_its_own_serves_too(load: Load, ask: Ask) -> None:
    module = (
        MMS
        + """
_service = Service("m", "dir", None)

def handle(data, context):
    if not _service.ctx:
        _service.initialize(context)
    if data is None:
        return None
    return _service.handle(data, context)
"""
    )
    assert ask(load({"s.py": module}, "s.py"), [{"body": "ab"}])[0].value == 20


def test_a_signature_names_the_input(load: Load, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "signature.json").write_text(json.dumps({"input_type": "application/json", "inputs": [{"data_name": "x"}]}))
    files = {"s.py": MMS.replace("[len(value) for value in data]", "data[0]")}
    service = load(files, "s.py", model={})
    service.context.manifest["Model"] = {"Signature": "signature.json"}  # type: ignore[index]  # a dict here
    service._entry.__self__.initialize(service.context)  # type: ignore[attr-defined]  # a bound method
    assert ask(service, [{"x": b"[1, 2]"}])[0].value == [10, 20]
    assert service._entry.__self__.signature()["input_type"] == "application/json"  # type: ignore[attr-defined]


def test_metric_objects() -> None:
    metric = Metric("Seen", 1, "count", [Dimension("Level", "Model")], "id", "counter")
    metric.update(2)
    assert str(metric).startswith("Seen.Count:3|#Level:Model|#hostname:")
    assert str(metric).endswith(",id")
    assert metric.to_dict()["Value"] == 3
    metric.reset()
    assert metric.value == 0
    assert Units().units["ms"] == "Milliseconds"
    assert Units().units[None] == "unit"


def test_the_store_keeps_metric_objects(caplog: pytest.LogCaptureFixture) -> None:
    store = MetricsStore({0: "a"}, "m")
    store.add_counter("C", 1)
    store.add_counter("C", 2)
    store.add_time("T", 5, idx=0)
    store.add_time("T", 7, idx=0)
    assert [(metric.name, metric.value) for metric in store.store] == [("C", 3), ("T", 7)]
    with caplog.at_level(logging.INFO):
        emit_metrics(store.cache)
    assert "[METRICS]C.Count:3|#ModelName:m,Level:Model|#hostname:" in caplog.text


def test_a_metrics_file_declares(tmp_path: Path) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text("model_metrics: {gauge: [{name: Took, unit: ms, dimensions: [Kind]}], counter: }\n")
    metrics = MetricsCacheYamlImpl(path)
    metrics.initialize_cache()
    metrics.get_metric("Took", MetricTypes.GAUGE).add_or_update(3, ["a"])
    assert [(update.name, update.unit, update.dimensions) for update in metrics.take_updates()] == [
        ("Took", "Milliseconds", (("Kind", "a"),))
    ]
    path.write_text("model_metrics: [")
    with pytest.raises(MetricsCachePyYamlError, match="is not YAML"):
        MetricsCacheYamlImpl(path)
    path.write_text("dimensions: {}")
    with pytest.raises(MetricsCachePyYamlError, match="has no model_metrics"):
        MetricsCacheYamlImpl(path)
    with pytest.raises(MetricsCacheIOError, match="cannot read"):
        MetricsCacheYamlImpl(tmp_path / "gone.yaml")


def test_a_users_unit_test_gets_a_context(tmp_path: Path) -> None:
    (tmp_path / "model-config.yaml").write_text("handler: {a: 1}\n")
    context = MockContext(model_pt_file=None, model_dir=str(tmp_path), model_yaml_config_file="model-config.yaml", gpu_id=None)
    assert context.manifest == {"model": {"modelFile": "model.py"}}
    assert context.model_yaml_config == {"handler": {"a": 1}}
    assert context.system_properties["model_dir"] == str(tmp_path)
    assert context.get_request_header(0, "explain") == "False"
    context.explain = True
    assert context.get_request_header(0, "explain") == "True"
    context.metrics.add_counter("C", 1)


def test_deprecated_functions_warn() -> None:
    @deprecated("0.12", "new")
    def old() -> int:
        return 1

    with pytest.warns(PendingDeprecationWarning, match=r"old is deprecated since 0\.12; use new"):
        assert old() == 1


def test_a_batchs_tokens_become_texts_step_by_step() -> None:
    class Tokens:
        """Stands for a tensor of tokens."""

        def __init__(self, rows: list[list[int]]) -> None:
            self.rows = rows

        def reshape(self, *shape: int) -> list[list[int]]:
            assert shape == (2, -1)
            return self.rows

    class Tokenizer:
        def batch_decode(self, rows: list[list[int]], **options: Any) -> list[str]:
            assert options == {"skip_special_tokens": True}
            return ["".join(map(chr, row)) for row in rows]

    streamer = TextIteratorStreamerBatch(Tokenizer(), batch_size=2, skip_prompt=True, timeout=5, skip_special_tokens=True)
    for step in ([[80], [80]], [[97], [98]], [[99], [100]]):
        streamer.put(Tokens(step))
    streamer.end()
    assert list(streamer) == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("handler", "package"),
    [
        ("vllm_handler", "VLLMHandler needs vllm, which is not installed: pip install vllm"),
        ("trt_llm_handler", "TRTLLMHandler needs tensorrt_llm, which is not installed"),
        ("dali_image_classifier", "DALIImageClassifier needs nvidia-dali-cuda120, which is not installed"),
        ("base_pippy_handler", "BasePippyHandler needs torchpippy, which is not installed"),
    ],
)
def test_handlers_that_host_another_engine_name_what_is_missing(load: Load, handler: str, package: str) -> None:
    with pytest.raises(LoadError, match=package):
        load({}, handler)


def test_functions_that_need_another_engine_name_it_too() -> None:
    from flambeau.serving.handlers.defaults import elsewhere  # noqa: PLC0415 - for this test alone

    context = MockContext(gpu_id=None)
    for function, package in (
        (lambda: elsewhere.get_dali_pipeline(context), "nvidia-dali"),
        (lambda: elsewhere.get_pipeline_driver(None, 1, context), "torchpippy"),
        (lambda: elsewhere.initialize_rpc_workers(0, 1, context), "torchpippy"),
    ):
        with pytest.raises(ImportError, match=package):
            function()
    with pytest.raises(ValueError, match="no section deepspeed"):
        elsewhere.get_ds_engine(None, context)
    context.model_yaml_config = {"deepspeed": {}}
    with pytest.raises(ImportError, match="pip install deepspeed"):
        elsewhere.get_ds_engine(None, context)


def test_deepspeeds_base_handler_takes_its_place(load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    handler = (
        "from ts.torch_handler.distributed.base_deepspeed_handler import BaseDeepSpeedHandler\n"
        "class H(BaseDeepSpeedHandler):\n"
        "    def handle(self, data, context):\n"
        "        return [self.device for row in data]\n"
    )
    assert ask(load({"h.py": handler}, "h.py"), [{}])[0].value == 3
