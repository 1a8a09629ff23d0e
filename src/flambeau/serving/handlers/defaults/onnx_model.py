"""An ONNX file as a model: its own input and output names, no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.defaults.requirement import required
from flambeau.serving.handlers.defaults.tensors import TensorHandler, input_names
from flambeau.serving.model import Signature, TensorSignature

_TYPES = {
    "tensor(bool)": ("BOOL", "bool"),
    "tensor(int8)": ("INT8", "int8"),
    "tensor(int16)": ("INT16", "int16"),
    "tensor(int32)": ("INT32", "int32"),
    "tensor(int64)": ("INT64", "int64"),
    "tensor(uint8)": ("UINT8", "uint8"),
    "tensor(uint16)": ("UINT16", "uint16"),
    "tensor(uint32)": ("UINT32", "uint32"),
    "tensor(uint64)": ("UINT64", "uint64"),
    "tensor(float16)": ("FP16", "float16"),
    "tensor(float)": ("FP32", "float32"),
    "tensor(double)": ("FP64", "float64"),
    "tensor(string)": ("BYTES", "object"),
}
"""onnxruntime's word -> V2's and numpy's."""


class OnnxHandler(TensorHandler):
    """Serve an ``.onnx`` with onnxruntime."""

    def load(self, path: Path, context: Context) -> Any:
        """Return a session, on the worker's GPU if it has one."""
        onnxruntime = required("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))  # 0: onnxruntime's own choice
        gpu = context.system_properties.get("gpu_id")
        providers: list[Any] = ["CPUExecutionProvider"]
        if gpu is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": gpu}))
        return onnxruntime.InferenceSession(str(path), options, providers=providers)

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return all outputs; numbers become the types that the model declares."""
        declared = {each.name: each.type for each in self.model.get_inputs()}
        named = input_names(inputs, list(declared))
        given = {name: array.astype(_TYPES[declared[name]][1], copy=False) for name, array in named.items()}
        outputs = [each.name for each in self.model.get_outputs()]
        return dict(zip(outputs, self.model.run(outputs, given), strict=True))

    def signature(self) -> Signature:
        """Return the model's inputs and outputs; a size that varies is -1."""

        def told(tensor: Any) -> TensorSignature:
            shape = tuple(size if isinstance(size, int) else -1 for size in tensor.shape)
            return TensorSignature(tensor.name, _TYPES.get(tensor.type, ("BYTES", ""))[0], shape)

        return Signature("onnxruntime_onnx", tuple(map(told, self.model.get_inputs())), tuple(map(told, self.model.get_outputs())))
