from __future__ import annotations

import importlib
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
        ("ts.torch_handler.vision_handler.VisionHandler", "vision.VisionHandler"),
        ("ts.torch_handler.image_classifier.ImageClassifier", "image_classifier.ImageClassifier"),
        ("ts.context.Context", "context.Context"),
        ("ts.context.RequestProcessor", "context.RequestProcessor"),
        ("ts.service.PredictionException", "errors.PredictionException"),
        ("ts.utils.util.PredictionException", "errors.PredictionException"),
        ("ts.utils.util.list_classes_from_module", "discovery.list_classes_from_module"),
        ("ts.utils.util.load_label_mapping", "labels.load_label_mapping"),
        ("ts.utils.util.map_class_to_label", "labels.map_class_to_label"),
        ("ts.handler_utils.timer.timed", "timing.timed"),
        ("ts.handler_utils.utils.import_class", "discovery.import_class"),
        ("ts.metrics.dimension.Dimension", "metrics.Dimension"),
        ("ts.metrics.metric_type_enum.MetricTypes", "metrics.MetricTypes"),
        ("ts.metrics.caching_metric.CachingMetric", "metrics.CachingMetric"),
        ("ts.metrics.metric_cache_yaml_impl.MetricsCacheYamlImpl", "metrics.HandlerMetrics"),
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


def test_every_module_of_the_surface_imports() -> None:
    for path in sorted(TORCHSERVE_SURFACE.joinpath("ts").rglob("*.py")):
        parts = path.relative_to(TORCHSERVE_SURFACE).with_suffix("").parts
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
        assert all(hasattr(module, name) for name in getattr(module, "__all__", ()))
