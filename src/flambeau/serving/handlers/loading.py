"""Weights of every kind become a model: state dict and class, TorchScript, torch.export, AOTInductor, ONNX.

``base.py`` calls these; each takes paths and a device and returns what ``BaseHandler.inference`` can call. Imports torch.
"""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from flambeau.serving.handlers.discovery import import_file, list_classes_from_module

logger = logging.getLogger(__name__)


def load_pickled(model_dir: str, model_file: str, weights: str | None, device: Any) -> Any:
    """Build the one class that the model file defines and give it the saved weights, if there are any.

    Raises:
        FileNotFoundError: the model file is not in the archive.
        ValueError: it defines no class, or several.
    """
    path = Path(model_dir, model_file)
    if not path.is_file():
        raise FileNotFoundError(f"the manifest names modelFile {model_file}, which is not in the archive")
    classes = list_classes_from_module(import_file(path))
    if len(classes) != 1:
        names = ", ".join(found.__name__ for found in classes) or "none"
        raise ValueError(f"model file {model_file} must define exactly one class; it defines {names}")
    model: Any = classes[0]()
    if weights:
        # weights_only is torch's own default since 2.6; left to it so that TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD works as documented there.
        model.load_state_dict(torch.load(weights, map_location=device, weights_only=None))
    return model


def load_exported(path: str, device: Any) -> Any:
    """Load a ``.pt2``: a program that torch.export saved, or a package that AOTInductor compiled."""
    if _holds_compiled_code(path):
        return torch._inductor.aoti_load_package(path)
    program = torch.export.load(path)
    if str(device) != "cpu":
        program = torch.export.passes.move_to_device_pass(program, str(device))
    return program.module()


def load_compiled(path: str, device: Any) -> Any:
    """Load a ``.so`` that AOTInductor made; the library runs on the device that it was compiled for."""
    return torch._export.aot_load(path, str(device))


def load_onnx(path: str, map_location: str | None) -> OnnxModel:
    """Load an ``.onnx`` with onnxruntime.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
    """
    import onnxruntime  # noqa: PLC0415 - 0.3 s that only ONNX models pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads()
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"] if map_location == "cuda" else ["CPUExecutionProvider"]
    return OnnxModel(onnxruntime.InferenceSession(path, options, providers=providers))


class OnnxModel:
    """Call an onnxruntime session as one calls a module; handlers that use the session's own methods find them here too.

    Args:
        session: an ``onnxruntime.InferenceSession``.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self._inputs = [each.name for each in session.get_inputs()]

    def __call__(self, *inputs: Any) -> Any:
        """Return the model's output tensor, or a list where it has several."""
        given = {name: value.cpu().numpy() for name, value in zip(self._inputs, inputs, strict=True)}
        outputs = [torch.from_numpy(output) for output in self.session.run(None, given)]
        return outputs[0] if len(outputs) == 1 else outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def _holds_compiled_code(path: str) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any("/aotinductor/" in name for name in archive.namelist())
