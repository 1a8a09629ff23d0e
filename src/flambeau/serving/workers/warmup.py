"""Requests that a worker answers before it counts as loaded (``warmup`` in model-config.yaml, ours).

An element of the list is the name of a file in the archive, or a request: ``instances`` makes it a V1 request, ``inputs`` a list a V2
one, ``body`` one of TorchServe's, with the text or JSON as its body; ``file`` with ``content_type`` sends a file. The first that is not
answered with success fails the load.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Mapping
from pathlib import Path

from flambeau.foundation.files import is_safe_relative
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.model import Answer, Job, Method, ModelSpec, Protocol

FILE_BYTES_MAX = 64 << 20
"""A warm-up file above this is refused."""
WORDS_SHOWN_MAX = 500
"""Characters of a failed answer that are told."""


def warm_up(answer: Callable[[Job], Answer], spec: ModelSpec) -> None:
    """Send a model's warm-up requests, one after the other.

    Args:
        answer: answers one request.
        spec: the model.

    Raises:
        LoadError: a request cannot be made, or was not answered with success; the text says which.
    """
    for number, wish in enumerate(spec.config.warmup, start=1):
        who = f"cannot load model {spec.name} {spec.version}: warm-up request {number}"
        try:
            job = job_of(wish, spec.directory, f"warm-up-{number}")
        except ValueError as error:
            raise LoadError(f"{who} {error}", hint="see warmup in model-config.yaml") from error
        answered = answer(job)
        if answered.error_type is not None or not 200 <= answered.status < 300:
            words = answered.body[:WORDS_SHOWN_MAX].decode("utf-8", "replace")
            named = f" ({wish})" if isinstance(wish, str) else ""
            raise LoadError(f"{who}{named} was answered {answered.status}: {words}", hint="repair the request or the handler")


def job_of(wish: object, directory: Path, id_: str) -> Job:
    """Return a warm-up request as a job.

    Raises:
        ValueError: it is none; the text goes on after "warm-up request 1".
    """
    if isinstance(wish, str):
        wish = {"file": wish}
    if not isinstance(wish, Mapping):
        raise ValueError(f"is a {type(wish).__name__}, not a file's name or a request")
    told = wish.get("content_type")
    if "file" in wish:
        name = str(wish["file"])
        content_type = told or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return _job(id_, Protocol.TORCHSERVE, str(content_type), _content(directory, name))
    if "instances" in wish:
        return _job(id_, Protocol.V1, "application/json", json.dumps(wish).encode())
    if isinstance(wish.get("inputs"), list):
        return _job(id_, Protocol.V2, "application/json", json.dumps(wish).encode())
    if "body" in wish:
        body = wish["body"]
        if isinstance(body, str):
            return _job(id_, Protocol.TORCHSERVE, str(told or "text/plain"), body.encode())
        return _job(id_, Protocol.TORCHSERVE, str(told or "application/json"), json.dumps(body).encode())
    raise ValueError("has none of file, body, instances and inputs")


def _content(directory: Path, name: str) -> bytes:
    path = directory / name
    if not is_safe_relative(name) or not path.is_file():
        raise ValueError(f"names {name}, which the archive does not hold")
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"names {name}, which is over {FILE_BYTES_MAX} bytes")
    return path.read_bytes()


def _job(id_: str, protocol: Protocol, content_type: str, body: bytes) -> Job:
    return Job(id_, protocol, Method.PREDICT, content_type, (("Content-Type", content_type),), body)
