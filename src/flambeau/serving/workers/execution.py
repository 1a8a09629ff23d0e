"""One batch in the worker: decode every job, call the handler once, encode every answer.

An item that cannot be decoded or encoded fails alone. Pure but for the handler's own doing; ``child.py`` calls it between two frames.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from typing import Protocol as Interface

from flambeau.foundation import server_timing
from flambeau.foundation.errors import FlambeauError, InvalidInput, TooLarge
from flambeau.serving.handlers.service import WORKER_ERROR, Outcome
from flambeau.serving.model import Answer, Job, Method, MetricUpdate, ModelSpec, Protocol
from flambeau.serving.protocol import envelope, openai, torchserve, v1, v2
from flambeau.serving.protocol.content_coding import uncompressed
from flambeau.serving.protocol.form import Encoded, Rows

_log = logging.getLogger(__name__)

ENVELOPES = {"kserve": Protocol.V1, "kservev2": Protocol.V2, envelope.BODY: Protocol.TORCHSERVE, envelope.JSON: Protocol.TORCHSERVE}
"""service_envelope -> the wire form that JSON bodies are in on TorchServe's own routes."""
TORCHSERVES = (Protocol.TORCHSERVE, Protocol.FIELDS)
"""Forms of TorchServe's own doors: an envelope has a say in them."""
BAD_REQUEST = "BadRequestException"
"""TorchServe's class for a request that cannot be right."""
TOO_LARGE = "RequestEntityTooLargeException"


HEADERS_KEPT_MAX = 512
"""So many requests' headers are remembered as the handler reads them; clients mostly send the same ones again."""

SendPart = Callable[[int, Answer | None, bytes], None]
"""Sends a part of a job's streamed answer: the job's place, with the first part a head, and the bytes."""


class Handler(Interface):
    """What runs a batch: ``handlers.service.Service``."""

    @property
    def takes_tensors(self) -> bool:
        """Whether a V2 request is one row, its inputs by name, and not a row for each input."""
        ...

    def predict(
        self,
        rows: list[object],
        headers: list[list[tuple[str, Any]]],
        request_ids: list[str],
        send: Callable[[int, Outcome], None] | None = None,
    ) -> list[Outcome]:
        """Answer every row, in order."""
        ...

    def take_updates(self) -> list[MetricUpdate]:
        """Return what the handler measured since the last call."""
        ...


@dataclass(slots=True)
class Item:
    """One job on its way through the batch."""

    job: Job
    protocol: Protocol
    rows: Rows
    headers: list[tuple[str, Any]]
    """What the handler reads as each row's headers."""
    first: int
    """Where its rows begin in the handler's batch."""
    timed: bool
    """Whether its client asks where the time went."""


def run_batch(
    handler: Handler, spec: ModelSpec, jobs: Sequence[Job], clock: Callable[[], float], send_part: SendPart | None = None
) -> list[Answer]:
    """Return one answer for each job, in order.

    Args:
        handler: called once, if any job can be decoded.
        spec: the model's.
        jobs: one batch; all ask for the same method.
        clock: seconds, for the time that the handler took.
        send_part: takes parts of answers while the handler runs; None where nobody does.
    """
    came = clock()
    answers: list[Answer | None] = [None] * len(jobs)
    items: list[Item | None] = [None] * len(jobs)
    timed = False
    rows: list[object] = []
    headers: list[list[tuple[str, Any]]] = []
    request_ids: list[str] = []
    whole = handler.takes_tensors
    for index, job in enumerate(jobs):
        found = item_of(job, spec, len(rows), whole=whole)
        if isinstance(found, Answer):
            answers[index] = found
            continue
        items[index] = found
        timed = timed or found.timed
        rows += found.rows.rows
        headers += [found.headers] * len(found.rows.rows)
        request_ids += [job.id] * len(found.rows.rows)
    began = came
    seconds = 0.0
    outcomes: list[Outcome] = []
    if rows:
        began = clock()
        parts = Parts(items, spec, send_part) if send_part is not None else None
        outcomes = handler.predict(rows, headers, request_ids, parts)
        seconds = clock() - began
    for index, item in enumerate(items):
        if item is not None:
            own = outcomes[item.first : item.first + len(item.rows.rows)]
            answers[index] = answer_of(item, own, spec, seconds)
    if timed:
        ended = began + seconds
        _tell_times(items, answers, decode_seconds=began - came, encode_seconds=clock() - ended)
    return [answer for answer in answers if answer is not None]


def item_of(job: Job, spec: ModelSpec, first: int = 0, *, whole: bool = False) -> Item | Answer:
    """Return a job with its rows decoded, or the answer that refuses it.

    Args:
        job: the job.
        spec: the model.
        first: where its rows begin in the handler's batch.
        whole: a V2 request is one row.
    """
    if job.protocol is Protocol.TORCHSERVE and ENVELOPES.get(spec.envelope or "") in (Protocol.V1, Protocol.V2):
        job = envelope.unwrapped(job)
    protocol = _protocol_of(job, spec)
    decoded = _decoded(job, protocol, spec, whole=whole)
    if isinstance(decoded, Answer):
        return decoded
    headers, timed = _headers_of(job.headers, decoded.parts, job.method)
    return Item(job, protocol, decoded, headers, first, timed)


def _tell_times(items: Sequence[Item | None], answers: list[Answer | None], *, decode_seconds: float, encode_seconds: float) -> None:
    """Add the worker's times to the answers whose clients asked for them; the handler's own travels with every answer."""
    decode, encode = server_timing.duration("decode", decode_seconds), server_timing.duration("encode", encode_seconds)
    line = f'{decode}, {encode}, batch;desc="{len(items)}"'
    for index, (item, answer) in enumerate(zip(items, answers, strict=True)):
        if item is not None and item.timed and answer is not None:
            answers[index] = replace(answer, headers=(*answer.headers, (server_timing.NAME, line)))


class Parts:
    """Send parts of a batch's answers while the handler runs; a handler may call it from threads of its own.

    Args:
        items: the batch.
        spec: the model.
        send: takes them.
    """

    def __init__(self, items: Sequence[Item | None], spec: ModelSpec, send: SendPart) -> None:
        self._items = items
        self._bytes_max = spec.config.response_bytes_max
        self._send = send
        self._begun: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, row: int, outcome: Outcome) -> None:
        """Send a part of a row's answer.

        Raises:
            TooLarge: it is over response_bytes_max.
            Internal: it is of a type that has no wire form.
        """
        index = next(i for i, item in enumerate(self._items) if item is not None and 0 <= row - item.first < len(item.rows.rows))
        encoded = torchserve.encode(outcome.value)
        if len(encoded.body) > self._bytes_max:
            raise TooLarge(f"a part of an answer has {len(encoded.body)} bytes, at most {self._bytes_max} are allowed")
        with self._lock:
            head = None
            if index not in self._begun:
                self._begun.add(index)
                head = Answer(outcome.status, outcome.content_type, b"", outcome.headers, phrase=outcome.phrase)
            self._send(index, head, encoded.body)


def _protocol_of(job: Job, spec: ModelSpec) -> Protocol:
    """Return the wire form of a job: its route's, or the envelope's where a JSON body came over TorchServe's own route."""
    if job.protocol not in TORCHSERVES or job.method is Method.DESCRIBE:
        return job.protocol
    if job.protocol is Protocol.FIELDS and len(job.parameters) != 1:
        return job.protocol
    enveloped = ENVELOPES.get(spec.envelope or "")
    if enveloped is None or job.body.lstrip()[:1] != b"{":
        return job.protocol
    return enveloped


def _decoded(job: Job, protocol: Protocol, spec: ModelSpec, *, whole: bool) -> Rows | Answer:
    """Return a job's rows, or the answer that refuses it."""
    try:
        if job.protocol not in TORCHSERVES:
            job = uncompressed(job)
        if protocol is Protocol.V1:
            return v1.decode(job)
        if protocol is Protocol.V2:
            return v2.decode_whole(job) if whole else v2.decode(job)
        if protocol is Protocol.OPENAI:
            return openai.decode(job)
        rows = torchserve.decode_fields(job) if job.protocol is Protocol.FIELDS else torchserve.decode(job, parsed=spec.decode_input)
        return envelope.opened(rows, spec.envelope) if _is_enveloped(job, spec) and spec.envelope else rows
    except TooLarge as error:
        return Answer(413, None, str(error).encode(), (), TOO_LARGE)
    except InvalidInput as error:
        return Answer(400, None, str(error).encode(), (), BAD_REQUEST)
    except Exception:  # a defect of a codec must not let one body kill the worker
        _log.exception("cannot decode request %s", job.id)
        return Answer(500, None, b"the request could not be decoded; the server's log says why", (), WORKER_ERROR)


def _is_enveloped(job: Job, spec: ModelSpec) -> bool:
    """Tell whether the envelopes ``body`` and ``json`` have a say in a job."""
    return job.protocol in TORCHSERVES and job.method is not Method.DESCRIBE and ENVELOPES.get(spec.envelope or "") is Protocol.TORCHSERVE


@functools.lru_cache(maxsize=HEADERS_KEPT_MAX)
def _headers_of(
    headers: tuple[tuple[str, str], ...], parts: tuple[tuple[str, str], ...], method: Method
) -> tuple[list[tuple[str, Any]], bool]:
    """Return what the handler reads as headers, and whether the client asks where the time goes.

    A client cannot ask for an explanation or description by a header of its own.

    Nobody changes the list: each request gets a dict of its own out of it (``handlers.context.RequestProcessor``).
    """
    fields: list[tuple[str, Any]] = [(name, value) for name, value in headers if name.lower() not in ("explain", "describe")]
    fields += [(name, {"content-type": content_type}) for name, content_type in parts]
    fields.append(("explain", str(method is Method.EXPLAIN)))
    if method is Method.DESCRIBE:
        fields.append(("describe", "True"))
    return fields, any(name.lower() == server_timing.ASK for name, _ in headers)


def answer_of(item: Item, outcomes: list[Outcome], spec: ModelSpec, seconds: float) -> Answer:
    """Return a job's answer from what the handler made of its rows."""
    for index, outcome in enumerate(outcomes):
        if outcome.error is not None:
            where = f"{item.rows.noun} {index}: " if item.rows.noun else ""
            return Answer(
                outcome.status,
                None,
                f"{where}{outcome.error}".encode(),
                outcome.headers,
                outcome.error_type or WORKER_ERROR,
                seconds,
            )
    try:
        encoded = _encode(item, [outcome.value for outcome in outcomes], spec)
    except FlambeauError as error:
        return Answer(503, None, str(error).encode(), (), WORKER_ERROR, seconds)
    except Exception:  # the handler's own objects are asked for their numbers and may raise anything
        _log.exception("cannot encode the answer to request %s", item.job.id)
        return Answer(503, None, b"Unsupported model output data type. The server's log says why", (), WORKER_ERROR, seconds)
    bound = spec.config.response_bytes_max
    if len(encoded.body) > bound:
        text = f"the response has {len(encoded.body)} bytes, at most {bound} are allowed (raise max_response_size)"
        return Answer(500, None, text.encode(), (), WORKER_ERROR, seconds)
    first = outcomes[0]
    status = first.status if len(outcomes) == 1 else max(outcome.status for outcome in outcomes)
    return Answer(
        status, first.content_type or encoded.content_type, encoded.body, (*first.headers, *encoded.headers), None, seconds, first.phrase
    )


def _encode(item: Item, values: list[object], spec: ModelSpec) -> Encoded:
    if item.protocol is Protocol.V1:
        return v1.encode(values, item.job.method)
    if item.protocol is Protocol.V2:
        return v2.encode(values, item.rows, model_name=spec.name, model_version=spec.version)
    if item.protocol is Protocol.OPENAI:
        return openai.encode(values[0])
    if spec.envelope == envelope.JSON and _is_enveloped(item.job, spec):
        return envelope.sealed(values)
    return torchserve.encode(values[0])
