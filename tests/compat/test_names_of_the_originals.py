"""What TorchServe 0.12.0 and its archiver define, name by name, against ours: ``names_of_0.12.0.json`` lists theirs with parameters."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.serving.handlers.service import TORCHSERVE_SURFACE

NAMES: dict[str, dict[str, list[str] | None]] = json.loads(Path(__file__).with_name("names_of_0.12.0.json").read_text())
LEFT_OUT: dict[str, str | set[str]] = {
    "ts.arg_parser": "the command lines of its own processes",
    "ts.async_service": "its worker's process",
    "ts.model_service_worker": "its worker's process",
    "ts.utils.setup_model_venv": "its worker's process",
    "ts.torch_handler.unit_tests.conftest": "its own tests",
    "ts.llm_launcher": "hosts engines that are not served; running it says so",
    "ts.torch_handler.trt_llm_handler": "the load error says what to do",
    "ts.torch_handler.vllm_handler": "the load error says what to do",
    "ts.torch_handler.dali_handler": "the load error says what to do",
    "ts.torch_handler.dali_image_classifier": "the load error says what to do",
    "ts.handler_utils.micro_batching": {"PROFILER_AVAILABLE", "WorkerThread", "execute_call"},
    "ts.launcher": {"Tee", "Tee.run", "PrintTillTheEnd", "PrintTillTheEnd.run"},
    "ts.metrics.caching_metric": {"CachingMetric.emit_metrics"},
    "ts.metrics.metric_cache_abstract": {"MetricCacheAbstract", "MetricCacheAbstract.initialize_cache"},
    "ts.model_server": {"TS_NAMESPACE", "load_properties"},
    "ts.protocol.otf_message_handler": {"bool_size", "int_size", "RESPONSE"},
    "ts.torch_handler.densenet_handler": {"list_classes_from_module"},
    "ts.torch_handler.unit_tests.test_utils.model_dir": {"REPO_DIR"},
    "ts.version": {"version_path"},
    "model_archiver.version": {"version_path"},
    "model_archiver.model_packaging_utils": {
        *("MANIFEST_FILE_NAME", "MAR_INF", "MODEL_ARCHIVE_VERSION", "MODEL_SERVER_VERSION", "model_handlers"),
        *(f"ModelExportUtils.{name}" for name in ("archive", "archive_dir", "clean_temp_files", "copy_artifacts")),
        *(f"ModelExportUtils.{name}" for name in ("directory_filter", "file_filter", "find_unique", "make_dir")),
    },
}
"""Module -> why none of it is here, or the names in it that nobody outside it uses."""
ANOTHER_NAME = {
    ("ts.handler_utils.timer", "timed"): "func",
    ("ts.metrics.metric_encoder", "MetricEncoder.default"): "obj",
    ("ts.utils.timeit_decorator", "timeit"): "func",
    ("ts.torch_handler.distributed.base_pippy_handler", "BasePippyHandler.initialize"): "ctx",
    ("ts.torch_handler.unit_tests.models.base_model", "ArgmaxModel.forward"): "input",
    ("ts.torch_handler.unit_tests.test_utils.mock_context", "MockContext.get_request_header"): "exp",
    ("ts.torch_handler.base_handler", "setup_ort_session"): "model_pt_path",
}
"""Parameters that are given by position always, and have another name here."""


@pytest.fixture(autouse=True)
def surface() -> Iterator[None]:
    sys.path.insert(0, str(TORCHSERVE_SURFACE))
    yield
    sys.path.remove(str(TORCHSERVE_SURFACE))


@pytest.mark.parametrize("module", [name for name in NAMES if not isinstance(LEFT_OUT.get(name), str)])
def test_every_name_is_there_and_takes_the_same_arguments(module: str) -> None:
    left_out = LEFT_OUT.get(module, set())
    ours = importlib.import_module(module)
    wrong = []
    for name, parameters in NAMES[module].items():
        if name in left_out:
            continue
        found: Any = ours
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            wrong.append(f"{name} is missing")
        elif parameters is not None and not (isinstance(found, type) and issubclass(found, Exception)):
            wrong += _refused(found, name, [each for each in parameters if each != ANOTHER_NAME.get((module, name))])
    assert wrong == []


def _refused(found: Any, name: str, parameters: list[str]) -> list[str]:
    ours = inspect.signature(found).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in ours.values()):
        return []
    return [f"{name} takes no {each}" for each in parameters if each not in ours]


def test_what_is_left_out_is_left_out_still() -> None:
    for module, names in LEFT_OUT.items():
        assert module in NAMES
        assert isinstance(names, str) or names <= set(NAMES[module])
