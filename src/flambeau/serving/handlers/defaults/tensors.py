"""Arrays in, arrays out: what models without a handler of their own have in common, whatever library runs them.

A V1 instance is one element of the batch axis, a V2 request is a stretch of it; the requests of a batch are joined, the model runs once,
and the results are taken apart again. Imports numpy only: a model of one library does not pay for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.diagnosis import cause_of
from flambeau.serving.handlers.errors import InvalidRows, PredictionException, UnevenRows
from flambeau.serving.model import Signature, Tensors

UNNAMED = ""
"""The input of a client that sent numbers without a name."""
OUTPUT = "output-0"
"""How KServe's own servers call a model's only output."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one row adds to the batch."""

    arrays: dict[str, Any]
    """By input; the batch axis is the first."""
    lines: int | None
    """Elements of the batch axis; None: it has none that all inputs share, and can't be joined with others."""
    is_element: bool
    """A V1 instance: its result has no batch axis either."""
    is_tensors: bool

    def form(self) -> object:
        """Return what parts that can be joined have in common."""
        if self.lines is None:
            return id(self)
        return tuple((name, array.shape[1:], array.dtype.kind) for name, array in self.arrays.items())


class TensorHandler:
    """Serve a model that turns arrays into arrays; a subclass loads it and runs it."""

    takes_tensors = True

    def __init__(self) -> None:
        self.model: Any = None
        self.options: Mapping[str, Any] = {}
        """What the runtime's flags say: ``nthread``."""

    def initialize(self, context: Context) -> None:
        """Load the model that the manifest names.

        Raises:
            ImportError: its library is not installed; the text says what to type.
        """
        described = (context.manifest or {}).get("model", {})
        self.options = described.get("options", {})
        self.model = self.load(Path(context.system_properties["model_dir"], described.get("serializedFile", "")), context)

    def load(self, path: Path, context: Context) -> Any:
        """Return the model in a file."""
        raise NotImplementedError

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the model's outputs by name; whatever this raises is the input's fault.

        Args:
            inputs: by name; ``UNNAMED`` where the client gave none. All have one batch axis, the first.
        """
        raise NotImplementedError

    def inputs_of(self, tensors: Tensors) -> dict[str, Any]:
        """Return a V2 request's arrays as ``run`` wants them."""
        return {name: _array(value) for name, value in tensors.items()}

    def signature(self) -> Signature:
        """Return what the model says of itself."""
        return Signature()

    def handle(self, data: list[Any], context: Context) -> list[Any]:
        """Answer one batch with one run of the model.

        Raises:
            InvalidRows: some rows are no arrays.
            UnevenRows: the rows can't be joined, or the model refused them together: a model may know one batch size only, and one bad row
                must not fail its neighbours.
            PredictionException: status 400, the model refused the only row; 501, an explanation was asked for.
        """
        if is_description(context):
            return [None] * len(data)
        parts = self._parts(data)
        places: dict[object, list[int]] = {}
        for index, part in enumerate(parts):
            places.setdefault(part.form(), []).append(index)
        if len(places) > 1:
            raise UnevenRows(list(places.values()))
        try:
            outputs = {name: _array(value) for name, value in self.run(_joined(parts)).items()}
        except MemoryError:
            raise
        except Exception as error:
            if len(data) > 1:
                raise _one_by_one(data) from error
            raise PredictionException(f"the model refused the input: {cause_of(error)}", 400) from error
        lines = sum(part.lines or 0 for part in parts)
        if len(data) > 1 and any(array.shape[:1] != (lines,) for array in outputs.values()):
            raise _one_by_one(data)
        return _taken_apart(outputs, parts)

    def _parts(self, data: list[Any]) -> list[_Part]:
        parts: list[_Part] = []
        refused: dict[int, Exception] = {}
        for index, row in enumerate(data):
            try:
                parts.append(self._part_of(row))
            except PredictionException as error:
                refused[index] = error
        if refused:
            raise InvalidRows(refused)
        return parts

    def _part_of(self, row: Any) -> _Part:
        if isinstance(row, Tensors):
            arrays = self.inputs_of(row)
            counts = {array.shape[:1] for array in arrays.values()}
            lines = counts.pop() if len(counts) == 1 else ()
            return _Part(arrays, lines[0] if lines else None, is_element=False, is_tensors=True)
        if isinstance(row, dict) and row.keys() & {"data", "body"}:  # TorchServe's own routes, and V1 clients of its handlers
            row = row.get("data", row.get("body"))
            if isinstance(row, bytes | bytearray):
                raise PredictionException("the body is not JSON: send numbers as JSON, with content-type application/json", 400)
            whole = _array(row)
            if whole.ndim > 1:
                return _Part({UNNAMED: whole}, len(whole), is_element=False, is_tensors=False)
        named = row if isinstance(row, dict) else {UNNAMED: row}
        return _Part({name: _array(value)[numpy.newaxis] for name, value in named.items()}, 1, is_element=True, is_tensors=False)


def is_description(context: Context) -> bool:
    """Tell whether the batch asks what the handler has to say of its model, which is nothing; its requests are all of one method.

    Raises:
        PredictionException: status 501; it asks for explanations.
    """
    if context.get_request_header(0, "explain") == "True":
        raise PredictionException("explanations need a handler of one's own: this model runs on a built-in one, which can't explain", 501)
    return bool(context.get_request_header(0, "describe") == "True")


def input_names(given: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the arrays under the model's own names; where the client has other names, they go by their order.

    Raises:
        PredictionException: there are not as many as the model has.
    """
    if set(names) <= given.keys():
        return {name: given[name] for name in names}
    if len(given) != len(names):
        found = ", ".join(name or "one without a name" for name in given) or "none"
        raise PredictionException(f"the model's inputs are {', '.join(names)}; the request has {found}", 400)
    return dict(zip(names, given.values(), strict=True))


def _array(value: Any) -> Any:
    """Return a value as an array of numbers, truth values or texts."""
    try:
        array = numpy.asarray(value)
    except ValueError as error:
        raise PredictionException(f"the numbers don't form an array: {error}", 400) from error
    if array.dtype.kind == "O" and not all(isinstance(each, str | bytes) for each in array.flat):
        raise PredictionException("expected numbers or texts, in lists of equal length", 400)
    if array.dtype.kind == "S":  # V2's BYTES, which came in binary
        return numpy.char.decode(array, "utf-8", "replace")
    return array


def _joined(parts: list[_Part]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0].arrays
    return {name: numpy.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}


def _taken_apart(outputs: dict[str, Any], parts: list[_Part]) -> list[Any]:
    answers: list[Any] = []
    at = 0
    for part in parts:
        end = at + (part.lines or 0)
        own = outputs if len(parts) == 1 else {name: array[at:end] for name, array in outputs.items()}
        at = end
        if part.is_tensors:
            answers.append(Tensors(own))
            continue
        values = {name: _plain(array, part) for name, array in own.items()}
        answers.append(next(iter(values.values())) if len(values) == 1 else values)
    return answers


def _plain(array: Any, part: _Part) -> Any:
    """Return an output as JSON's own values; an instance's without the batch axis."""
    values = array.tolist()
    return values[0] if part.is_element and isinstance(values, list) and len(values) == 1 else values


def _one_by_one(data: list[Any]) -> UnevenRows:
    return UnevenRows([[index] for index in range(len(data))])
