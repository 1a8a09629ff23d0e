"""TorchServe's envelopes as classes, for handlers and tests that import them.

The server itself reads ``service_envelope`` in the wire codecs, request by request; these wrap one call of a handler, whole.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from flambeau.serving.handlers.context import Context

_TYPES = {"BOOL": "bool", "FP16": "float16", "FP32": "float32", "FP64": "float64"} | {
    f"{sign.upper()}INT{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""The Open Inference Protocol's datatypes and numpy's."""
_DATATYPES = {dtype: datatype for datatype, dtype in _TYPES.items()}


class BaseEnvelope(ABC):
    """Turn rows into a handler's input and its output into answers.

    Args:
        handle_fn: the handler's ``handle``.
    """

    def __init__(self, handle_fn: Callable[[Any, Context], Any]) -> None:
        self._handle_fn = handle_fn
        self.context: Any = None

    def handle(self, data: Any, context: Context) -> Any:
        """Answer one batch; rows or results that hold nothing are passed on as they are."""
        self.context = context
        if data:
            data = self.parse_input(data)
        results = self._handle_fn(data, context)
        return self.format_output(results) if results else results

    @abstractmethod
    def parse_input(self, data: Any) -> Any:
        """Return what the handler gets for these rows."""

    @abstractmethod
    def format_output(self, data: Any) -> Any:
        """Return the answers to what the handler returned."""


class BodyEnvelope(BaseEnvelope):
    """Hand over each row's value itself."""

    def parse_input(self, data: Any) -> Any:
        """Return the values under ``data`` or ``body``."""
        return [_value_of(row) for row in data]

    def format_output(self, data: Any) -> Any:
        """Return the results as they are."""
        return data


class JSONEnvelope(BaseEnvelope):
    """Take ``{"instances": [...]}`` and answer ``{"predictions": [...]}``; all requests' instances go through one call."""

    def __init__(self, handle_fn: Callable[[Any, Context], Any]) -> None:
        super().__init__(handle_fn)
        self._lengths: list[int] = []

    def parse_input(self, data: Any) -> Any:
        """Return all rows' instances, bytes where they say ``b64``."""
        batches = [[_without_base64(instance) for instance in _document_of(row)["instances"]] for row in data]
        self._lengths = [len(batch) for batch in batches]
        return [instance for batch in batches for instance in batch]

    def format_output(self, data: Any) -> Any:
        """Return one JSON text a request."""
        answers, at = [], 0
        for length in self._lengths:
            answers.append(json.dumps({"predictions": list(data[at : at + length])}))
            at += length
        return answers


class KServeEnvelope(BaseEnvelope):
    """Take KServe V1's ``instances`` of the first request and answer its ``predictions`` or ``explanations``."""

    def parse_input(self, data: Any) -> Any:
        """Return the first row's instances."""
        return _document_of(data[0])["instances"]

    def format_output(self, data: Any) -> Any:
        """Return the one answer."""
        explains = self.context is not None and self.context.get_request_header(0, "explain") == "True"
        return [{"explanations" if explains else "predictions": data}]


class KServev2Envelope(BaseEnvelope):
    """Take the Open Inference Protocol's ``inputs`` of the first request and answer its ``outputs``."""

    def parse_input(self, data: Any) -> Any:
        """Return the first row's inputs, numbers nested by their shapes; their names and the id stay in the context."""
        import numpy  # noqa: PLC0415 - 0.1 to 0.25 s that only this envelope pays

        document = _document_of(data[0])
        inputs = document["inputs"]
        self.context.input_request_id = document.get("id")
        self.context.input_names = [tensor["name"] for tensor in inputs]
        rows = []
        for tensor in inputs:
            values = tensor["data"]
            if tensor["datatype"] == "BYTES":
                values = values[0]
            else:
                values = numpy.asarray(values, dtype=_TYPES[tensor["datatype"]]).reshape(tensor["shape"]).tolist()
            rows.append({**tensor, "data": values})
        return rows

    def format_output(self, data: Any) -> Any:
        """Return the one answer, an output for each input."""
        context = self.context
        outputs = [_output_of(value, name) for value, name in zip(data, context.input_names, strict=True)]
        version = (context.manifest or {}).get("model", {}).get("modelVersion")
        identifier = context.input_request_id or context.get_request_id(0)
        return [{"id": identifier, "model_name": context.model_name, "model_version": version, "outputs": outputs}]


def _output_of(value: Any, name: str) -> dict[str, Any]:
    import numpy  # noqa: PLC0415 - as above

    array = numpy.asarray(value)
    datatype = _DATATYPES.get(array.dtype.name, "BYTES")
    flat = array.reshape(-1).tolist()
    return {"name": name, "datatype": datatype, "data": flat, "shape": list(array.shape) or [1]}


def _value_of(row: Any) -> Any:
    return row.get("data") or row.get("body")


def _document_of(row: Any) -> dict[str, Any]:
    value = _value_of(row)
    document: dict[str, Any] = json.loads(value) if isinstance(value, str | bytes | bytearray) else value
    return document


def _without_base64(instance: Any) -> Any:
    if not isinstance(instance, dict):
        return instance
    if set(instance) == {"b64"}:
        return base64.b64decode(instance["b64"])
    return {
        name: base64.b64decode(value["b64"]) if isinstance(value, dict) and set(value) == {"b64"} else value
        for name, value in instance.items()
    }
