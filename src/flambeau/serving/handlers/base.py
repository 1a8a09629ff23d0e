"""The handler that others start from: load the weights, then preprocess, infer and postprocess each batch.

Importing this module imports torch: only modules that a handler asked for do so.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.discovery import import_file, list_classes_from_module
from flambeau.serving.handlers.labels import load_label_mapping

logger = logging.getLogger(__name__)


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
        serialized_file, model_file = described.get("serializedFile"), described.get("modelFile")
        if serialized_file:
            self.model_pt_path = str(Path(model_dir, serialized_file))
            if not Path(self.model_pt_path).is_file():
                raise FileNotFoundError(f"the manifest names serializedFile {serialized_file}, which is not in the archive")
        if model_file:
            self.model = self._load_pickled_model(model_dir, model_file, self.model_pt_path)
            self.model.to(self.device).eval()
        elif serialized_file and serialized_file.endswith(".pt"):
            self.model = self._load_torchscript_model(self.model_pt_path)
            self.model.eval()
        else:
            raise RuntimeError(
                f"No model weights could be loaded: {serialized_file or 'no serialized file'} needs a model file (--model-file) or to be"
                " TorchScript (.pt)"
            )
        self.mapping = load_label_mapping(Path(model_dir, "index_to_name.json"))
        self.initialized = True

    def _choose_device(self, gpu_id: int | None) -> None:
        if gpu_id is None:
            self.map_location, name = "cpu", "cpu"
        elif torch.cuda.is_available():
            self.map_location, name = "cuda", f"cuda:{gpu_id}"
        elif torch.backends.mps.is_available():
            self.map_location, name = "mps", "mps"
        else:
            self.map_location, name = "cpu", "cpu"
        self.device = torch.device(name)

    def _load_torchscript_model(self, model_pt_path: str | None) -> Any:
        return torch.jit.load(model_pt_path, map_location=self.device)

    def _load_pickled_model(self, model_dir: str, model_file: str, model_pt_path: str | None) -> Any:
        """Build the one class that the model file defines and give it the saved weights, if there are any."""
        path = Path(model_dir, model_file)
        if not path.is_file():
            raise FileNotFoundError(f"the manifest names modelFile {model_file}, which is not in the archive")
        classes = list_classes_from_module(import_file(path))
        if len(classes) != 1:
            names = ", ".join(found.__name__ for found in classes) or "none"
            raise ValueError(f"model file {model_file} must define exactly one class; it defines {names}")
        model = classes[0]()
        if model_pt_path:
            # weights_only is torch's own default since 2.6; left to it so that TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD works as documented there.
            model.load_state_dict(torch.load(model_pt_path, map_location=self.device, weights_only=None))
        return model

    def preprocess(self, data: Any) -> Any:
        """Turn the rows into the model's input; this one takes rows that are numbers already."""
        return torch.as_tensor(data, device=self.device)

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model on preprocessed input, without gradients."""
        with torch.inference_mode():
            # Tensor.to() on the right device is cheap but not free; most batches are there already.
            placed = data if getattr(data, "device", None) == self.device else data.to(self.device)
            return self.model(placed, *args, **kwargs)

    def postprocess(self, data: Any) -> list[Any]:
        """Turn the model's output into one answer a row."""
        answers: list[Any] = data.tolist()
        return answers

    def handle(self, data: Any, context: Context) -> list[Any]:
        """Answer one batch: the way from rows to answers.

        Args:
            data: one row a request.
            context: the batch's context.

        Returns:
            One answer a row.
        """
        self.context = context
        if self._is_describe():
            return [self.describe_handle()]
        prepared = self.preprocess(data)
        if self._is_explain():
            answers: list[Any] = self.explain_handle(prepared, data)
            return answers
        return self.postprocess(self.inference(prepared))

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explain the first row's prediction with the subclass's ``get_insights``."""
        row = raw_data[0]
        inputs, self.target = None, 0
        if isinstance(row, dict):
            inputs = row.get("data") or row.get("body")
            self.target = row.get("target") or 0
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
