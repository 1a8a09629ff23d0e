from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from flambeau.serving.handlers.service import TORCHSERVE_SURFACE


@pytest.fixture(autouse=True)
def surface() -> Iterator[None]:
    """Show ``ts`` as a worker does."""
    sys.path.insert(0, str(TORCHSERVE_SURFACE))
    yield
    sys.path.remove(str(TORCHSERVE_SURFACE))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("ts.torch_handler.base_handler.BaseHandler", "base.BaseHandler"),
        ("ts.torch_handler.vision_handler.VisionHandler", "defaults.vision.VisionHandler"),
        ("ts.torch_handler.image_classifier.ImageClassifier", "defaults.image_classifier.ImageClassifier"),
        ("ts.torch_handler.image_segmenter.ImageSegmenter", "defaults.image_segmenter.ImageSegmenter"),
        ("ts.torch_handler.object_detector.ObjectDetector", "defaults.object_detector.ObjectDetector"),
        ("ts.torch_handler.text_handler.TextHandler", "defaults.text.TextHandler"),
        ("ts.torch_handler.text_classifier.TextClassifier", "defaults.text_classifier.TextClassifier"),
        ("ts.torch_handler.densenet_handler.DenseNetHandler", "defaults.densenet.DenseNetHandler"),
        ("ts.torch_handler.dali_handler.DALIHandler", "defaults.elsewhere.DALIHandler"),
        ("ts.torch_handler.dali_image_classifier.DALIImageClassifier", "defaults.elsewhere.DALIImageClassifier"),
        ("ts.torch_handler.vllm_handler.VLLMHandler", "defaults.elsewhere.VLLMHandler"),
        ("ts.torch_handler.trt_llm_handler.TRTLLMHandler", "defaults.elsewhere.TRTLLMHandler"),
        ("ts.torch_handler.contractions.CONTRACTION_MAP", "defaults.contractions.CONTRACTION_MAP"),
        ("ts.torch_handler.distributed.base_pippy_handler.BasePippyHandler", "defaults.elsewhere.BasePippyHandler"),
        ("ts.torch_handler.distributed.base_deepspeed_handler.BaseDeepSpeedHandler", "defaults.elsewhere.BaseDeepSpeedHandler"),
        ("ts.torch_handler.request_envelope.base.BaseEnvelope", "older.envelopes.BaseEnvelope"),
        ("ts.torch_handler.request_envelope.body.BodyEnvelope", "older.envelopes.BodyEnvelope"),
        ("ts.torch_handler.request_envelope.json.JSONEnvelope", "older.envelopes.JSONEnvelope"),
        ("ts.torch_handler.request_envelope.kserve.KServeEnvelope", "older.envelopes.KServeEnvelope"),
        ("ts.torch_handler.request_envelope.kservev2.KServev2Envelope", "older.envelopes.KServev2Envelope"),
        ("ts.torch_handler.unit_tests.test_utils.mock_context.MockContext", "older.mock_context.MockContext"),
        ("ts.context.Context", "context.Context"),
        ("ts.context.RequestProcessor", "context.RequestProcessor"),
        ("ts.service.PredictionException", "errors.PredictionException"),
        ("ts.utils.util.PredictionException", "errors.PredictionException"),
        ("ts.utils.util.list_classes_from_module", "discovery.list_classes_from_module"),
        ("ts.utils.util.get_yaml_config", "older.yaml_config.get_yaml_config"),
        ("ts.utils.util.check_valid_pt2_backend", "compilation.check_valid_pt2_backend"),
        ("ts.utils.util.PT2Backend", "compilation.PT2Backend"),
        ("ts.utils.util.deprecated", "older.deprecation.deprecated"),
        ("ts.utils.util.CLEANUP_REGEX", "defaults.tokens.CLEANUP_REGEX"),
        ("ts.utils.util.load_label_mapping", "labels.load_label_mapping"),
        ("ts.utils.util.map_class_to_label", "labels.map_class_to_label"),
        ("ts.handler_utils.timer.timed", "timing.timed"),
        ("ts.handler_utils.utils.import_class", "discovery.import_class"),
        ("ts.handler_utils.utils.send_intermediate_predict_response", "streaming.send_intermediate_predict_response"),
        ("ts.protocol.otf_message_handler.send_intermediate_predict_response", "streaming.send_intermediate_predict_response"),
        ("ts.handler_utils.hf_batch_streamer.TextIteratorStreamerBatch", "streaming.TextIteratorStreamerBatch"),
        ("ts.handler_utils.micro_batching.MicroBatching", "micro_batching.MicroBatching"),
        ("ts.handler_utils.text_utils.get_tokenizer", "defaults.tokens.get_tokenizer"),
        ("ts.handler_utils.text_utils.ngrams_iterator", "defaults.tokens.ngrams_iterator"),
        ("ts.handler_utils.distributed.deepspeed.get_ds_engine", "defaults.elsewhere.get_ds_engine"),
        ("ts.handler_utils.distributed.pt_pippy.get_pipeline_driver", "defaults.elsewhere.get_pipeline_driver"),
        ("ts.handler_utils.distributed.pt_pippy.initialize_rpc_workers", "defaults.elsewhere.initialize_rpc_workers"),
        ("ts.handler_utils.preprocess.dali.get_dali_pipeline", "defaults.elsewhere.get_dali_pipeline"),
        ("ts.model_service.model_service.ModelService", "older.model_service.ModelService"),
        ("ts.model_service.model_service.SingleNodeService", "older.model_service.SingleNodeService"),
        ("ts.service.Service", "older.hosting.Service"),
        ("ts.model_loader.ModelLoaderFactory", "older.hosting.ModelLoaderFactory"),
        ("ts.protocol.otf_message_handler.create_predict_response", "older.hosting.create_predict_response"),
        ("ts.service.emit_metrics", "older.metrics_store.emit_metrics"),
        ("ts.metrics.dimension.Dimension", "metrics.Dimension"),
        ("ts.metrics.metric.Metric", "older.metrics_store.Metric"),
        ("ts.metrics.metrics_store.MetricsStore", "older.metrics_store.MetricsStore"),
        ("ts.metrics.unit.Units", "older.metrics_store.Units"),
        ("ts.metrics.metric_type_enum.MetricTypes", "metrics.MetricTypes"),
        ("ts.metrics.caching_metric.CachingMetric", "metrics.CachingMetric"),
        ("ts.metrics.metric_cache_yaml_impl.MetricsCacheYamlImpl", "older.metrics_file.MetricsCacheYamlImpl"),
        ("ts.metrics.metric_cache_errors.MetricsCacheValueError", "metrics.MetricsCacheValueError"),
    ],
)
def test_names_are_the_same_objects_whichever_way(name: str, ours: str) -> None:
    module, _, attribute = name.rpartition(".")
    ours_module, _, ours_attribute = ours.rpartition(".")
    theirs = getattr(importlib.import_module(module), attribute)
    assert theirs is getattr(importlib.import_module(f"flambeau.serving.handlers.{ours_module}"), ours_attribute)


def test_the_version_is_the_one_whose_interface_this_is() -> None:
    assert importlib.import_module("ts").__version__ == "0.12.0"
    assert importlib.import_module("ts.version").__version__ == "0.12.0"
    assert importlib.import_module("ts.service").PREDICTION_METRIC == "PredictionTime"


def test_every_module_of_the_surface_imports() -> None:
    for path in sorted(TORCHSERVE_SURFACE.joinpath("ts").rglob("*.py")):
        parts = path.relative_to(TORCHSERVE_SURFACE).with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        assert all(hasattr(module, name) for name in getattr(module, "__all__", ()))


@pytest.mark.parametrize(
    ("module", "status", "text"), [("ts.model_server", 0, "TorchServe Version is 0.12.0"), ("ts.llm_launcher", 1, "vllm serve")]
)
def test_modules_that_are_run(module: str, status: int, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        env={**os.environ, "PYTHONPATH": str(TORCHSERVE_SURFACE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    assert text in done.stdout + done.stderr
