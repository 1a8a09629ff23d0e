"""OpenAI's completions, chat and embeddings: the whole JSON is one row, and the handler answers with the whole document.

A handler knows such a request by its header ``url_path``, which begins with ``openai/v1/``; it may stream its answer in parts. Pure.
"""

from __future__ import annotations

from flambeau.foundation.errors import Internal, InvalidInput
from flambeau.serving.model import Job
from flambeau.serving.protocol.form import Encoded, Rows
from flambeau.serving.protocol.json_text import read_json, write_compact_json
from flambeau.serving.protocol.v1 import kind_of


def decode(job: Job) -> Rows:
    """Turn a request into its one row, whatever its content type says.

    Raises:
        InvalidInput: it is no JSON object.
        TooLarge: JSON that is nested too deep.
    """
    document = read_json(job.body)
    if not isinstance(document, dict):
        raise InvalidInput(f"the body must be a JSON object, not {kind_of(document)}")
    return Rows([{"body": document}])


def encode(value: object) -> Encoded:
    """Turn the row's result into the answer; bytes go out as they are, for they are a stream's end.

    Raises:
        Internal: a result is of a type that JSON has no word for.
    """
    if isinstance(value, bytes):
        return Encoded(value, "text/event-stream")
    try:
        return Encoded(write_compact_json(value), "application/json")
    except TypeError as error:
        raise Internal(f"Unsupported model output data type. The handler's result cannot be written as JSON: {error}") from error
