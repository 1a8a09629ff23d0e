"""The handler that others start from: load the weights, then preprocess, infer and postprocess each batch.

Importing this module imports torch: only modules that a handler asked for do so.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import torch

from flambeau.serving.handlers import compilation, loading
from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.errors import InvalidRows, PredictionException, UnevenRows
from flambeau.serving.handlers.labels import load_label_mapping
from flambeau.serving.handlers.timing import timed

logger = logging.getLogger(__name__)

PROFILER_SWITCH = "ENABLE_TORCH_PROFILER"
"""Environment variable: batches run under torch's profiler."""


class BaseHandler:
    """Serve a PyTorch model; subclasses override the steps that differ."""

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, str] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: Any = None
        self.map_location: str | None = None
        self.explain = False
        self.target: Any = 0
        self.profiler_args: dict[str, Any] = {}
        self.model_yaml_config: dict[str, Any] = {}

    def initialize(self, context: Context) -> None:
        """Load the model that the manifest names, ready to answer.

        Raises:
            RuntimeError: the archive holds no weights of a known kind.
            FileNotFoundError: a file that the manifest names is not in the archive.
        """
        self.model_yaml_config = getattr(context, "model_yaml_config", None) or {}
        properties = context.system_properties
        self._choose_device(properties.get("gpu_id"))
        self.manifest = context.manifest or {}
        model_dir = properties["model_dir"]
        described = self.manifest.get("model", {})
        serialized_file = described.get("serializedFile")
        if serialized_file:
            self.model_pt_path = str(Path(model_dir, serialized_file))
            if not Path(self.model_pt_path).is_file():
                raise FileNotFoundError(f"the manifest names serializedFile {serialized_file}, which is not in the archive")
        pt2 = self.model_yaml_config.get("pt2")
        self.model = self._load(model_dir, described.get("modelFile"), serialized_file, pt2)
        options = compilation.options_of(pt2)
        if options is not None:
            self.model = compilation.compiled(self.model, options)
        else:
            self.model = compilation.optimized_by_ipex(self.model, self.device)
        self.mapping = load_label_mapping(Path(model_dir, "index_to_name.json"))
        self.initialized = True

    def _choose_device(self, gpu_id: int | str | None) -> None:
        if gpu_id is None:
            self.map_location, name = "cpu", "cpu"
        elif torch.cuda.is_available():
            self.map_location, name = "cuda", f"cuda:{gpu_id}"
            if torch.cuda.get_device_capability(int(gpu_id)) >= (8, 0):  # Ampere and later have tensor cores for float32
                torch.set_float32_matmul_precision("high")
        elif os.environ.get("TS_IPEX_GPU_ENABLE") == "true" and torch.xpu.is_available():
            self.map_location, name = "xpu", f"xpu:{gpu_id}"
        elif torch.backends.mps.is_available():
            self.map_location, name = "mps", "mps"
        else:
            self.map_location, name = "cpu", "cpu"
        self.device = torch.device(name)

    def _load(self, model_dir: str, model_file: str | None, serialized_file: str | None, pt2: Any) -> Any:
        """Load the archive's model, by what the manifest names and how the file ends."""
        ending = Path(serialized_file or "").suffix
        path = str(self.model_pt_path)
        if model_file:
            model = self._load_pickled_model(model_dir, model_file, self.model_pt_path)
            return model.to(self.device).eval()
        if ending == ".pt":
            return self._load_torchscript_model(path).eval()
        if ending == ".pt2":
            return loading.load_exported(path, self.device)
        if ending == ".onnx":
            return self._load_onnx_model(path)
        if ending == ".so" and compilation.is_compiled_ahead(pt2):
            return self._load_torch_export_aot_compile(path)
        raise RuntimeError(
            f"No model weights could be loaded: {serialized_file or 'no serialized file'} needs a model file (--model-file), or to be"
            " TorchScript (.pt), torch.export (.pt2), ONNX (.onnx) or AOTInductor's (.so, with pt2: {export: {aot_compile: true}})"
        )

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        return torch.jit.load(model_pt_path, map_location=self.device)

    def _load_pickled_model(self, model_dir: str, model_file: str, model_pt_path: str | None) -> Any:
        return loading.load_pickled(model_dir, model_file, model_pt_path, self.device)

    def _load_torch_export_aot_compile(self, model_so_path: str) -> Any:
        if self.map_location == "cuda":
            torch.cuda.set_device(self.device)  # AOTInductor's libraries run on the current device
        return loading.load_compiled(model_so_path, self.map_location)

    def _load_onnx_model(self, model_onnx_path: str) -> Any:
        return loading.load_onnx(model_onnx_path, self.map_location)

    @timed
    def preprocess(self, data: Any) -> Any:
        """Turn the rows into the model's input; this one takes rows that are numbers already."""
        return torch.as_tensor(data, device=self.device)

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model on preprocessed input, without gradients."""
        with torch.inference_mode():
            # Tensor.to() on the right device is cheap but not free; most batches are there already.
            placed = data if getattr(data, "device", None) == self.device else data.to(self.device)
            return self.model(placed, *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Turn the model's output into one answer a row."""
        answers: list[Any] = data.tolist()
        return answers

    def handle(self, data: Any, context: Context) -> list[Any]:
        """Answer one batch: the way from rows to answers. Measures ``HandlerTime``.

        Args:
            data: one row a request.
            context: the batch's context.

        Returns:
            One answer a row.
        """
        started = time.perf_counter()
        self.context = context
        if PROFILER_SWITCH in os.environ:
            answers, _ = self._infer_with_profiler(data)
        elif self._is_describe():
            answers = [self.describe_handle()]
        else:
            prepared = self.preprocess(data)
            answers = self.explain_handle(prepared, data) if self._is_explain() else self.postprocess(self.inference(prepared))
        context.metrics.add_time("HandlerTime", (time.perf_counter() - started) * 1000, None, "ms")
        return answers

    def _infer_with_profiler(self, data: Any) -> tuple[list[Any], Any]:
        """Answer a batch under torch's profiler; ``profiler_args`` are the profiler's arguments, if a subclass sets some."""
        from flambeau.serving.handlers.profiling import profiled  # noqa: PLC0415 - a debugging aid

        name = self.manifest.get("model", {}).get("modelName", "") if self.manifest else ""
        with profiled(name, self.profiler_args) as profiler:
            with torch.profiler.record_function("preprocess"):
                prepared = self.preprocess(data)
            if self._is_explain():
                with torch.profiler.record_function("explain"):
                    answers = self.explain_handle(prepared, data)
            else:
                with torch.profiler.record_function("inference"):
                    output = self.inference(prepared)
                with torch.profiler.record_function("postprocess"):
                    answers = self.postprocess(output)
        return answers, profiler

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explain a batch's predictions of one target class (a row's ``target``, else 0) with the subclass's ``get_insights``.

        Raises:
            InvalidRows: some rows' targets are no numbers.
            UnevenRows: the rows ask about several classes.
        """
        places: dict[Any, list[int]] = {}
        refused: dict[int, Exception] = {}
        for index, row in enumerate(raw_data):
            try:
                places.setdefault(_target_of(row), []).append(index)
            except PredictionException as error:
                refused[index] = error
        if refused:
            raise InvalidRows(refused)
        if len(places) > 1:
            raise UnevenRows(list(places.values()))
        row = raw_data[0]
        self.target = _target_of(row)
        inputs = row.get("data") or row.get("body") if isinstance(row, dict) else None
        return self.get_insights(data_preprocess, inputs, self.target)

    def get_insights(self, tensor_data: Any, _: Any, target: Any = 0) -> Any:
        """Say how much each part of the input counted; subclasses do."""
        raise NotImplementedError(f"{type(self).__name__} has no get_insights, so it can't explain")

    def describe_handle(self) -> Any:
        """Describe the model in the handler's own words; subclasses may."""
        return None

    def get_device(self) -> Any:
        """Return the device that the model is on."""
        return self.device

    def _is_explain(self) -> bool:
        return bool(self.context and self.context.get_request_header(0, "explain") == "True")

    def _is_describe(self) -> bool:
        return bool(self.context and self.context.get_request_header(0, "describe") == "True")


def _target_of(row: Any) -> Any:
    """Return the class that a row asks about; a form's field is a number as text."""
    target = row.get("target") if isinstance(row, dict) else None
    if isinstance(target, bytes | bytearray | str):
        try:
            return int(target)
        except ValueError:
            raise PredictionException("target must be the number of a class", 400) from None
    # A list names a place in a model's output of several dimensions.
    return tuple(target) if isinstance(target, list) else target or 0
