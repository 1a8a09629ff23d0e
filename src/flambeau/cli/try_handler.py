"""``flambeau test-handler``: run a model's handler here, once, with its tracebacks and times."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import mimetypes
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from flambeau.foundation.errors import NotFound, TooLarge
from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.model import Method, Protocol

BODY_BYTES_MAX = 1 << 30
"""A longer input is refused."""
_FORMS = {"torchserve": Protocol.TORCHSERVE, "v1": Protocol.V1, "v2": Protocol.V2}


def try_handler(
    archive: Path,
    input_file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    content_type: str | None = None,
    protocol: Literal["torchserve", "v1", "v2"] = "torchserve",
    explain: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
) -> int:
    """Run one request through a model's handler, in this process.

    For a breakpoint, write ``breakpoint()`` into the handler, or start with ``python -m pdb -m flambeau test-handler ...``. The exit
    status is 0 if a client would have got an answer, 1 if not.

    Args:
        archive: a .mar file, or a model's folder, packed or not.
        input_file: a file with the request's body; ``-`` is standard input.
        content_type: the request's; by default what the file's name says, such as `--content-type image/png`.
        protocol: the form of the request, TorchServe's own, KServe's V1 or V2, such as `--protocol v1`.
        explain: ask for an explanation instead of a prediction, such as `--explain`.
        output: ``text`` for people, ``json`` for scripts, such as `--output json`.
    """
    from flambeau.programs.handler_trial import run_once  # noqa: PLC0415 - its imports take as long as the rest

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    body, content_type = _body(input_file), content_type or _type_of(input_file, protocol)
    # What the handler prints must not get between the lines of the JSON.
    aside = contextlib.redirect_stdout(sys.stderr) if output == "json" else contextlib.nullcontext()
    try:
        with aside:
            trial = run_once(
                archive.expanduser().absolute(),
                body,
                content_type=content_type,
                protocol=_FORMS[protocol],
                method=Method.EXPLAIN if explain else Method.PREDICT,
            )
    except LoadError as error:
        print(error.traceback_text.rstrip(), file=sys.stderr)
        raise
    answer, milliseconds = trial.answer, {name: round(value * 1000, 3) for name, value in trial.seconds.items()}
    told: dict[str, Any] = {
        "model": trial.spec.name,
        "version": trial.spec.version,
        "handler": trial.spec.handler,
        "status": answer.status,
        "contentType": answer.content_type,
        "headers": dict(answer.headers),
        **({"error": answer.body.decode("utf-8", "replace")} if answer.error_type else _readable(answer.body)),
        "parts": [part.decode("utf-8", "replace") for part in trial.parts],
        "milliseconds": milliseconds,
        "metrics": [{"name": each.name, "unit": each.unit, "value": each.value} for each in trial.measured],
    }
    print(json.dumps(told, indent=2) if output == "json" else _text(told))
    return 0 if trial.succeeded else 1


def _body(input_file: str) -> bytes:
    if input_file == "-":
        body = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
    else:
        path = Path(input_file).expanduser()
        try:
            with path.open("rb") as file:
                body = file.read(BODY_BYTES_MAX + 1)
        except OSError as error:
            raise NotFound(f"cannot read the input {input_file}: {error.strerror}", hint="- reads standard input") from error
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge(f"the input {input_file} is over {BODY_BYTES_MAX} bytes")
    return body


def _type_of(input_file: str, protocol: str) -> str:
    if protocol != "torchserve":
        return "application/json"
    return mimetypes.guess_type(input_file)[0] or "application/octet-stream"


def _readable(body: bytes) -> dict[str, Any]:
    """Return an answer's body as JSON can say it: a value, a text, or base64."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body).decode()}
    try:
        return {"body": json.loads(text)}
    except ValueError:
        return {"body": text}


def _text(told: dict[str, Any]) -> str:
    body = told.get("body")
    if "error" in told:
        shown = f"error: {told['error']}"
    elif "bodyBase64" in told:
        shown = f"({len(base64.b64decode(told['bodyBase64']))} bytes that are no text; --output json has them)"
    else:
        shown = body if isinstance(body, str) else json.dumps(body, indent=2)
    times = "  ".join(f"{name} {value:.1f} ms" for name, value in told["milliseconds"].items())
    lines = [
        f"model {told['model']} {told['version']}, handler {told['handler']}",
        f"status {told['status']} {told['contentType'] or ''}".rstrip(),
    ]
    lines += [f"{name}: {value}" for name, value in told["headers"].items()]
    lines += [f"part {number}: {part}" for number, part in enumerate(told["parts"], 1)]
    lines += [f"metric {each['name']}: {each['value']} {each['unit']}" for each in told["metrics"]]
    return "\n".join([*lines, "", shown, "", times])
