"""What the frames of a link say: the model's spec, jobs and answers to and from JSON text and raw bodies. Pure."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from flambeau.serving.model import (
    Answer,
    Job,
    Method,
    MetricDeclaration,
    MetricUpdate,
    ModelConfig,
    ModelSpec,
    Parallelism,
    Protocol,
    SequenceHeaders,
    Sequences,
    Signature,
    TensorSignature,
)
from flambeau.serving.workers.link import BrokenFrame, Kind, frame_buffers

HEADS_KEPT_MAX = 512
"""So many jobs' heads are remembered by a worker, as they are read."""
HEAD_KEPT_BYTES_MAX = 4096
"""Longer ones are not remembered."""


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why a worker could not load its model."""

    message: str
    hint: str | None
    traceback_text: str


def spec_text(spec: ModelSpec) -> bytes:
    """Return a model's spec as text.

    model-config.yaml travels as YAML: JSON would turn its number keys, dates and infinities into something else.
    """
    fields = asdict(spec)
    fields["directory"] = str(spec.directory)
    for name in ("packages", "interpreter"):
        fields[name] = str(fields[name]) if fields[name] else None
    fields["yaml"] = yaml.safe_dump(spec.yaml) if spec.yaml else ""
    return json.dumps(fields, default=str).encode()


def spec_of(text: bytes) -> ModelSpec:
    """Return the spec that a text says."""
    fields = json.loads(text)
    fields["directory"] = Path(fields["directory"])
    for name in ("packages", "interpreter"):
        fields[name] = Path(fields[name]) if fields[name] else None
    fields["config"] = _config_of(fields["config"])
    fields["declared_metrics"] = tuple(
        MetricDeclaration(each["name"], each["kind"], each["unit"], tuple(each["dimensions"])) for each in fields["declared_metrics"]
    )
    fields["yaml"] = yaml.safe_load(fields["yaml"]) if fields["yaml"] else {}
    return ModelSpec(**fields)


def _config_of(fields: dict[str, Any]) -> ModelConfig:
    """Return a config from its JSON, where tuples are lists and parts are objects."""
    if fields["parallelism"] is not None:
        fields["parallelism"] = Parallelism(**fields["parallelism"])
    if fields["sequences"] is not None:
        fields["sequences"] = Sequences(**fields["sequences"])
    fields["sequence_headers"] = SequenceHeaders(**fields["sequence_headers"])
    for name in ("device_ids", "visible_devices", "warmup"):
        fields[name] = tuple(fields[name])
    return ModelConfig(**fields)


def signature_text(signature: Signature) -> bytes:
    """Return a model's signature as text."""
    return orjson.dumps(signature)


def signature_of(text: bytes) -> Signature:
    """Return the signature that a text says; an empty object is one that says nothing.

    Raises:
        BrokenFrame: it is not of the form.
    """
    try:
        fields = orjson.loads(text)
        for side in ("inputs", "outputs"):
            fields[side] = tuple(
                TensorSignature(str(each["name"]), str(each["datatype"]), tuple(map(int, each["shape"]))) for each in fields.get(side, ())
            )
        return Signature(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BrokenFrame(f"the model's signature cannot be read: {error}") from error


def batches_message(batches: Iterable[Sequence[Job]]) -> tuple[bytes, list[bytes]]:
    """Return batches as text (of each job id, size of head and of body) and bodies: of each job its head, then its body.

    The heads travel apart, because many requests have the same one: it is encoded once, and read once.
    """
    told: list[list[tuple[str, int, int]]] = []
    bodies: list[bytes] = []
    for jobs in batches:
        sizes: list[tuple[str, int, int]] = []
        for job in jobs:
            head = job.head_text or head_text(job.protocol, job.method, job.content_type, job.headers, job.parameters)
            sizes.append((job.id, len(head), len(job.body)))
            bodies.append(head)
            if job.body:
                bodies.append(job.body)
        told.append(sizes)
    return orjson.dumps(told), bodies


def head_text(
    protocol: Protocol, method: Method, content_type: str, headers: tuple[tuple[str, str], ...], parameters: tuple[tuple[str, str], ...]
) -> bytes:
    """Return what a job is beside its id and body as text."""
    return orjson.dumps((protocol, method, content_type, headers, parameters))


def batches_of(text: bytes, body: bytes | memoryview) -> list[list[Job]]:
    """Return the batches that a frame brought."""
    batches = []
    at = 0
    for sizes in orjson.loads(text):
        jobs = []
        for id_, head_size, size in sizes:
            body_at = at + head_size
            head = bytes(body[at:body_at])
            read = _kept_head if head_size <= HEAD_KEPT_BYTES_MAX else _head_of
            protocol, method, content_type, headers, parameters = read(head)
            at = body_at + size
            jobs.append(Job(id_, protocol, method, content_type, headers, bytes(body[body_at:at]), parameters))
        batches.append(jobs)
    return batches


_Head = tuple[Protocol, Method, str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]


def _head_of(text: bytes) -> _Head:
    protocol, method, content_type, headers, parameters = orjson.loads(text)
    return Protocol(protocol), Method(method), content_type, _pairs(headers), _pairs(parameters)


_kept_head = functools.lru_cache(maxsize=HEADS_KEPT_MAX)(_head_of)


def answers_message(answers: Sequence[Answer]) -> tuple[bytes, list[bytes]]:
    """Return answers as text and bodies."""
    heads = [
        (answer.status, answer.content_type, answer.headers, answer.error_type, answer.handler_seconds, answer.phrase, len(answer.body))
        for answer in answers
    ]
    return orjson.dumps(heads), [answer.body for answer in answers if answer.body]


def answers_of(text: bytes, body: bytes | memoryview, count: int) -> list[Answer]:
    """Return the answers that a frame brought.

    Raises:
        BrokenFrame: they are not as many as the batch has jobs, or not of the form.
    """
    answers = []
    at = 0
    try:
        for status, content_type, headers, error_type, seconds, phrase, size in orjson.loads(text):
            content = bytes(body[at : at + size])
            at += size
            answers.append(Answer(status, content_type, content, _pairs(headers), error_type, seconds, phrase))
    except (ValueError, TypeError) as error:
        raise BrokenFrame(f"the worker's answers cannot be read: {error}") from error
    if len(answers) != count or at != len(body):
        raise BrokenFrame(f"the worker sent {len(answers)} answers to a batch of {count}")
    return answers


def numbered_answers_message(answers: Sequence[tuple[int, Answer]]) -> tuple[bytes, list[bytes]]:
    """Return answers to some of a shared worker's jobs as text and bodies."""
    text, bodies = answers_message([answer for _, answer in answers])
    return numbers_text([number for number, _ in answers]) + b"\n" + text, bodies


def numbered_answers_of(text: bytes, body: bytes | memoryview) -> list[tuple[int, Answer]]:
    """Return the answers that a frame of a shared worker brought, each with its job's number.

    Raises:
        BrokenFrame: they are not of the form.
    """
    first, _, rest = text.partition(b"\n")
    numbers = numbers_of(first)
    return list(zip(numbers, answers_of(rest, body, len(numbers)), strict=True))


def numbers_text(numbers: Sequence[int]) -> bytes:
    """Return numbers of jobs as text."""
    return orjson.dumps(numbers)


def numbers_of(text: bytes) -> list[int]:
    """Return the numbers of jobs that a text says.

    Raises:
        BrokenFrame: it says none.
    """
    try:
        return [int(number) for number in orjson.loads(text)]
    except (ValueError, TypeError) as error:
        raise BrokenFrame(f"numbers of jobs cannot be read: {error}") from error


@dataclass(slots=True)
class Progress:
    """Parts of one job's streamed answer."""

    index: int
    """The job's place in the batch; of a shared worker, its number."""
    head: Answer | None
    """Status and headers, an answer without a body: with the job's first part only."""
    parts: list[bytes]


def parts_message(progress: Iterable[Progress]) -> tuple[bytes, list[bytes]]:
    """Return parts of jobs' answers as text (index, sizes of the parts, then the head if there is one) and bodies."""
    told: list[tuple[object, ...]] = []
    bodies: list[bytes] = []
    for each in progress:
        head = each.head
        said = () if head is None else (head.status, head.content_type, head.headers, head.phrase)
        told.append((each.index, list(map(len, each.parts)), *said))
        bodies.append(b"".join(each.parts))
    return orjson.dumps(told), bodies


def parts_of(text: bytes, body: bytes | memoryview) -> list[Progress]:
    """Return the parts of answers that a frame brought.

    Raises:
        BrokenFrame: the text is not of the form, or does not fit the body.
    """
    found: list[Progress] = []
    at = 0
    try:
        for index, sizes, *said in orjson.loads(text):
            head = None
            if said:
                status, content_type, headers, phrase = said
                head = Answer(status, content_type, b"", _pairs(headers), phrase=phrase)
            parts = []
            for size in sizes:
                parts.append(bytes(body[at : at + size]))
                at += size
            found.append(Progress(int(index), head, parts))
    except (ValueError, TypeError) as error:
        raise BrokenFrame(f"parts of the worker's answers cannot be read: {error}") from error
    if at != len(body) or not found:
        raise BrokenFrame(f"the worker sent parts of {at} bytes in a frame of {len(body)}")
    return found


def metrics_text(updates: Sequence[MetricUpdate]) -> bytes:
    """Return what a handler measured as text."""
    return orjson.dumps([(each.name, each.kind, each.unit, each.dimensions, each.value, each.request_id) for each in updates])


def metrics_buffers(updates: Sequence[MetricUpdate]) -> list[bytes]:
    """Return the buffers of a frame with what a handler measured; none if it measured nothing."""
    return frame_buffers(Kind.METRICS, metrics_text(updates)) if updates else []


def metrics_of(text: bytes) -> list[MetricUpdate]:
    """Return the measurements that a text says.

    Raises:
        BrokenFrame: the text is not of the form.
    """
    try:
        return [MetricUpdate(name, kind, unit, _pairs(pairs), value, id_) for name, kind, unit, pairs, value, id_ in orjson.loads(text)]
    except (ValueError, TypeError) as error:
        raise BrokenFrame(f"the worker's metrics cannot be read: {error}") from error


def load_failure_text(failure: LoadFailure) -> bytes:
    """Return a load failure as text."""
    return json.dumps(asdict(failure)).encode()


def load_failure_of(text: bytes) -> LoadFailure:
    """Return the load failure that a text says."""
    return LoadFailure(**orjson.loads(text))


def _pairs(found: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, value) for name, value in found])
