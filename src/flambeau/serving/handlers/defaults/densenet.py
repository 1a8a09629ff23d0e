"""Saved tensors in, tensors out: for clients that speak ``torch.save``."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from flambeau.serving.handlers.base import BaseHandler
from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.errors import InvalidRows, PredictionException, UnevenRows


class DenseNetHandler(BaseHandler):
    """Answer a tensor that the client saved with torch.save with the model's output, saved too."""

    def handle(self, data: Any, context: Context) -> list[Any]:
        """Answer one row with its output; a batch is taken apart, because each row is a whole input of its own."""
        if len(data) > 1:
            raise UnevenRows([[index] for index in range(len(data))])
        return super().handle(data, context)

    def preprocess(self, data: Any) -> Any:
        """Read the row's tensor; never code: what a client sends is not unpickled."""
        row = data[0]
        content: Any = (row.get("data") or row.get("body")) if isinstance(row, dict) else row
        try:
            tensor = torch.load(io.BytesIO(bytes(content)), map_location=self.device, weights_only=True)
        except (TypeError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            refusal = PredictionException(f"the body is no tensor that torch.save wrote: {type(error).__name__}", 400)
            raise InvalidRows({0: refusal}) from error
        return tensor

    def postprocess(self, data: Any) -> list[Any]:
        """Return the output itself; it goes out as torch.save writes it."""
        return [data]
