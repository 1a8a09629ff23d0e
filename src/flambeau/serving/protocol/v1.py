"""KServe V1: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out.

Each instance is a row, as TorchServe's kserve envelope hands it to a handler. The rows of all requests of a batch go through one
call of the handler and the results are split again, so V1 requests can be batched.
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.foundation.errors import Internal, InvalidInput, TooLarge
from flambeau.serving.model import Job, Method
from flambeau.serving.protocol.form import Encoded, Rows
from flambeau.serving.protocol.json_text import read_json, write_compact_json

HINT = 'send {"instances": [{"data": "<base64>"}]}'


def decode(job: Job) -> Rows:
    """Turn a request into one row for each instance, whatever its content type says.

    Raises:
        InvalidInput: no JSON, no instances, or an instance that holds nothing.
        TooLarge: JSON that is nested too deep.
    """
    try:
        document = read_json(job.body)
    except TooLarge:
        raise
    except InvalidInput as error:
        raise InvalidInput(error.message, hint=HINT) from error
    if not isinstance(document, dict):
        raise InvalidInput(f'the body must be a JSON object with "instances", not {kind_of(document)}', hint=HINT)
    # KServe's own helper prefers inputs where a client sends both.
    key = "inputs" if "inputs" in document else "instances"
    if key not in document:
        found = ", ".join(name[:40] for name in sorted(document)[:10]) or "none"
        raise InvalidInput(f'the body has no "instances"; its keys are: {found}', hint=HINT)
    instances = document[key]
    if key == "inputs" and isinstance(instances, dict):
        instances = [instances]
    if not isinstance(instances, list):
        raise InvalidInput(f'"{key}" must be a list, not {kind_of(instances)}', hint=HINT)
    if not instances:
        raise InvalidInput(f'"{key}" is empty: there is nothing to predict', hint=HINT)
    for index, instance in enumerate(instances):
        _refuse_empty(instance, index)
    return Rows(instances, noun="instance")


def encode(values: Sequence[object], method: Method) -> Encoded:
    """Turn the results of one request's rows into its answer.

    Raises:
        Internal: a result is of a type that JSON has no word for.
    """
    key = "explanations" if method is Method.EXPLAIN else "predictions"
    try:
        return Encoded(write_compact_json({key: list(values)}), "application/json")
    except TypeError as error:  # orjson.JSONEncodeError is one
        raise Internal(
            f"Unsupported model output data type. The handler's result cannot be written as JSON: {error}",
            hint="return numbers, strings, lists, dicts, arrays or tensors",
        ) from error


def kind_of(value: object) -> str:
    """Return what JSON calls a value."""
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def _refuse_empty(instance: object, index: int) -> None:
    """Refuse an instance that no handler could use; what else it needs is the handler's to say."""
    if instance is None or instance in ({}, ""):
        what = "null" if instance is None else "empty"
        raise InvalidInput(f'instance {index} is {what}: it has no "data"', hint=HINT)
    if isinstance(instance, dict) and len(instance) == 1:
        ((key, value),) = instance.items()
        if key in ("data", "body") and (value is None or value in ("", [])):
            raise InvalidInput(f'instance {index} has no "{key}": its value is {"null" if value is None else "empty"}', hint=HINT)
