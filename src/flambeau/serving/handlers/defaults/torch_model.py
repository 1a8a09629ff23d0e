"""A PyTorch model without a handler: TorchScript, torch.export, AOTInductor, or a state dict with its ``model.py``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from flambeau.serving.handlers.base import BaseHandler
from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.defaults.tensors import TensorHandler
from flambeau.serving.model import Signature

_NUMBERED = re.compile(r".*__(\d+)")
"""Triton's names for a TorchScript model's arguments: ``INPUT__0``."""
_ABOUT_TYPES = re.compile(r"dtype|datatype|scalar type|Input type \(|'Long'")
"""In torch's refusals of whole numbers, by layers that compute with fractions."""


class TorchHandler(TensorHandler):
    """Serve a module whose arguments and results are tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._base = BaseHandler()

    def load(self, path: Path, context: Context) -> Any:
        """Return the module, as ``base_handler`` loads it."""
        self._base.initialize(context)
        return self._base.model

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Call the module with the inputs in their order; results are called output-0, output-1, unless they have names."""
        is_numbered = all(_NUMBERED.fullmatch(name) for name in inputs)
        ordered = sorted(inputs.items(), key=_number) if is_numbered else list(inputs.items())
        result = self._call([array for _, array in ordered])
        if isinstance(result, dict):
            return {str(name): _numbers(value) for name, value in result.items()}
        results = list(result) if isinstance(result, tuple | list) else [result]
        prefix = "OUTPUT__" if is_numbered else "output-"
        return {f"{prefix}{index}": _numbers(value) for index, value in enumerate(results)}

    def _call(self, arrays: list[Any]) -> Any:
        try:
            return self._called(arrays)
        except (RuntimeError, ValueError) as error:
            if not _ABOUT_TYPES.search(str(error)) or all(array.dtype != "int64" for array in arrays):
                raise
            # JSON's [1, 2] says no more than [1.0, 2.0]: the model is asked whether it meant that.
            return self._called([array.astype("float64") if array.dtype == "int64" else array for array in arrays])

    def _called(self, arrays: list[Any]) -> Any:
        with torch.inference_mode():
            return self.model(*(self._tensor_of(array) for array in arrays))

    def signature(self) -> Signature:
        """Return the platform; a module declares no shapes."""
        return Signature("pytorch_torchscript" if isinstance(self.model, torch.jit.ScriptModule) else "pytorch")

    def _tensor_of(self, array: Any) -> Any:
        # JSON's numbers have no size: they become torch's own default, float32. Unsigned numbers of V2 stay what they are.
        wanted = torch.get_default_dtype() if array.dtype == "float64" else None
        return torch.as_tensor(array, dtype=wanted, device=self._base.device)


def _number(item: tuple[str, Any]) -> int:
    found = _NUMBERED.fullmatch(item[0])
    assert found is not None, "all names were looked at"
    return int(found.group(1))


def _numbers(value: Any) -> Any:
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
