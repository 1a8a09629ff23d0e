"""One handler, one request, in this process: what ``flambeau test-handler`` does, under a debugger if one likes.

The same code decodes, calls and encodes as in a worker; only the process and the queue are left out. The handler's import, its steps and
what it raises happen on the caller's thread, so that ``breakpoint()`` and ``python -m pdb`` work.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

from flambeau.programs.settings.models import config_merger
from flambeau.serving.archive.plain import is_model_folder, manifest_of_folder
from flambeau.serving.archive.unpack import unpack
from flambeau.serving.handlers.service import Service, load_service
from flambeau.serving.model import Answer, Job, Method, MetricUpdate, ModelConfig, ModelSpec, Protocol
from flambeau.serving.repository import Registration, spec_of
from flambeau.serving.workers.continuous import Continuous
from flambeau.serving.workers.execution import Parts, answer_of, item_of, run_batch
from flambeau.serving.workers.link import ChildLink

STEPS = ("preprocess", "inference", "postprocess", "explain_handle")
"""Methods of a handler whose time is told, where it has them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a request."""

    spec: ModelSpec
    answer: Answer
    parts: tuple[bytes, ...]
    """Of a streamed answer, what came before its end; not with continuousBatching."""
    seconds: dict[str, float]
    """``load``, ``handler``, the handler's own steps, and ``codec``: decoding the request and encoding the answer."""
    measured: tuple[MetricUpdate, ...]
    """The handler's metrics."""

    @property
    def succeeded(self) -> bool:
        """Whether a client would see a success."""
        return self.answer.error_type is None and self.answer.status < 400


def run_once(archive: Path, body: bytes, *, content_type: str, protocol: Protocol, method: Method = Method.PREDICT) -> Trial:
    """Load a model and answer one request.

    Args:
        archive: a MAR, or a model's folder, packed or plain; an absolute path.
        body: the request's.
        content_type: the request's.
        protocol: the wire form of the request and its answer.
        method: what is asked.

    Raises:
        FlambeauError: the archive or the handler cannot be loaded; a LoadError has the handler's traceback.
    """
    with tempfile.TemporaryDirectory(prefix="flambeau-handler-") as directory, _as_in_a_worker():
        spec = _spec(archive, Path(directory))
        os.chdir(spec.directory)
        began = time.perf_counter()
        service = load_service(spec)
        seconds = {"load": time.perf_counter() - began}
        steps = _timed_steps(service)
        parts: list[bytes] = []
        job = Job("trial", protocol, method, content_type, (("content-type", content_type),), body)
        began = time.perf_counter()
        answer = _answer(service, spec, job, parts)
        whole = time.perf_counter() - began
        seconds |= {"handler": answer.handler_seconds, **steps, "codec": whole - answer.handler_seconds}
        return Trial(spec, answer, tuple(parts), seconds, tuple(service.take_updates()))


def _spec(archive: Path, unpacked_below: Path) -> ModelSpec:
    unpacked = unpack(archive, unpacked_below)
    if archive.is_dir() and is_model_folder(unpacked.directory):
        unpacked = replace(unpacked, manifest=manifest_of_folder(unpacked.directory))
    configure = config_merger(ModelConfig(), {}, None)
    return spec_of(Registration(archive, archive.name, configure), unpacked, None)


def _answer(service: Service, spec: ModelSpec, job: Job, parts: list[bytes]) -> Answer:
    """Answer as the model's workers do: a batch, step by step (continuousBatching) or in an event loop (asyncCommunication)."""
    if spec.config.async_communication:
        return asyncio.run(_answer_in_loop(service, spec, job, parts))
    if spec.config.continuous_batching:
        ours, theirs = socket.socketpair()
        with ours, theirs:  # a link to no server: the answer comes back here, and parts of it go nowhere
            return Continuous(ChildLink(theirs), service, spec).answer(job)
    [answer] = run_batch(service, spec, [job], time.perf_counter, lambda _, head, part: parts.append(part))
    return answer


async def _answer_in_loop(service: Service, spec: ModelSpec, job: Job, parts: list[bytes]) -> Answer:
    item = item_of(job, spec, whole=service.takes_tensors)
    if isinstance(item, Answer):
        return item
    began, count = time.perf_counter(), len(item.rows.rows)
    send = Parts([item], spec, lambda _, head, part: parts.append(part))
    outcomes = await service.predict_concurrently(item.rows.rows, [item.headers] * count, [job.id] * count, send)
    return answer_of(item, outcomes, spec, time.perf_counter() - began)


def _timed_steps(service: Service) -> dict[str, float]:
    """Have the handler's steps note how long they take; return where they do."""
    seconds: dict[str, float] = {}
    for name in STEPS:
        step = getattr(service.handler, name, None)
        if callable(step):
            setattr(service.handler, name, _timed(name, step, seconds))
    return seconds


def _timed(name: str, step: Callable[..., Any], seconds: dict[str, float]) -> Callable[..., Any]:
    @wraps(step)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return step(*args, **kwargs)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began

    return timed


@contextlib.contextmanager
def _as_in_a_worker() -> Iterator[None]:
    """Lend the process to a handler: its folder and import path are the model's, and ours again afterwards."""
    directory, path, without_bytecode = Path.cwd(), list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a plain folder is the user's: no __pycache__ in it
    try:
        yield
    finally:
        os.chdir(directory)
        sys.path[:] = path
        sys.dont_write_bytecode = without_bytecode
