"""The worker process: load one model, answer batches until told to leave.

Started by the fork server, which calls ``run`` in a fresh fork, or as ``python -m flambeau.serving.workers.child``. It imports no web
library, and torch only through the handler. Everything it prints goes to the front, which shows it and keeps the last lines.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import orjson

from flambeau.serving.handlers.errors import LoadError
from flambeau.serving.handlers.service import Service, load_service
from flambeau.serving.model import Answer, Job, ModelSpec
from flambeau.serving.workers.child_logs import FORMATTER
from flambeau.serving.workers.execution import ENVELOPES, SendPart, run_batch
from flambeau.serving.workers.kinship import die_with_parent, name_process, volunteer_for_out_of_memory
from flambeau.serving.workers.link import ChildLink, Kind
from flambeau.serving.workers.messages import (
    LoadFailure,
    answers_message,
    batches_of,
    load_failure_text,
    metrics_buffers,
    numbers_of,
    signature_text,
    spec_of,
)
from flambeau.serving.workers.part_sender import PartSender
from flambeau.serving.workers.warmup import warm_up

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker in an interpreter of its own."""
    parser = argparse.ArgumentParser(prog="flambeau-worker")
    parser.add_argument("--link", type=int, required=True, help="descriptor of the worker's end of its link")
    parser.add_argument("--parent", type=int, required=True, help="pid to die with")
    options = parser.parse_args(arguments)
    return run(socket.socket(fileno=options.link), options.parent)


def run(end: socket.socket, parent: int) -> int:
    """Live a worker's life on its end of the link.

    Args:
        end: the worker's socket.
        parent: pid to die with.

    Returns:
        The exit code.
    """
    _prepare_process(parent)
    link = ChildLink(end)
    try:
        link.send(Kind.GREETING, orjson.dumps({"pid": os.getpid()}))
        frame = link.receive()
        if frame is None or frame.kind is not Kind.SPEC:
            return 0
        spec = spec_of(frame.text)
        name_process(f"fl:{spec.name}")
        os.chdir(spec.directory)
        if spec.config.visible_devices:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, spec.config.visible_devices))
        try:
            service = _load(spec)
            mode = _mode_of(link, service, spec)
            warm_up(mode.answer, spec)
        except LoadError as error:
            _log.error("%s\n%s", error, error.traceback_text)
            link.send(Kind.LOAD_FAILED, load_failure_text(LoadFailure(error.message, error.hint, error.traceback_text)))
            return 1
        gc.collect()
        gc.freeze()  # the model and its libraries live as long as we do; collections need not walk them
        link.send(Kind.LOADED, signature_text(service.signature()), before=metrics_buffers(service.take_updates()))
        mode.serve()
    except ConnectionError:
        pass  # the front has gone
    return 0


def _prepare_process(parent: int) -> None:
    die_with_parent(parent)
    volunteer_for_out_of_memory()
    # A terminal's Ctrl-C is the front's to handle: it lets us finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text files, as the interpreter opens them
    # A worker that is over its time gets SIGTERM: it prints where every thread stands, even inside native code, then ends.
    faulthandler.enable()
    faulthandler.register(signal.SIGTERM, chain=True)
    printing = logging.StreamHandler(sys.stderr)
    printing.setFormatter(FORMATTER)
    logging.basicConfig(level=logging.INFO, handlers=[printing], force=True)


def _load(spec: ModelSpec) -> Service:
    """Load the model.

    Raises:
        LoadError: for whatever reason; the handler's own errors are in it.
    """
    if spec.envelope and spec.envelope not in ENVELOPES:
        known = ", ".join(sorted(ENVELOPES))
        raise LoadError(
            f"cannot load model {spec.name} {spec.version}: service envelope {spec.envelope!r} is not supported",
            hint=f"use one of {known}, or none",
        )
    try:
        return load_service(spec)
    except LoadError:
        raise
    except Exception as error:  # a defect of ours is told like the handler's own failures
        raise LoadError(
            f"cannot load model {spec.name} {spec.version}: {type(error).__name__}: {error}", traceback_text=traceback.format_exc()
        ) from error


class Mode(Protocol):
    """How a worker answers: batch by batch, step by step, or side by side."""

    def answer(self, job: Job) -> Answer:
        """Answer one request before the worker serves."""
        ...

    def serve(self) -> None:
        """Answer requests until the front says stop or is gone."""
        ...


def _mode_of(link: ChildLink, service: Service, spec: ModelSpec) -> Mode:
    """Return the mode that a model's config asks for; the rare ones are imported only then."""
    if spec.config.async_communication:
        from flambeau.serving.workers.asynchronous import Asynchronous  # noqa: PLC0415 - asyncio costs every worker memory

        return Asynchronous(link, service, spec)
    if spec.config.continuous_batching:
        from flambeau.serving.workers.continuous import Continuous  # noqa: PLC0415 - rare

        return Continuous(link, service, spec)
    return BatchByBatch(link, service, spec)


LOOK_SECONDS = 0.002
"""While batches wait already, the link is looked at no more often: that takes as long as a small batch."""
_NOBODYS = Answer(503, None, b"")
"""The answer of a job that its client left before it began."""


class BatchByBatch:
    """Serve one batch after the other.

    Args:
        link: to the front.
        service: the loaded handler.
        spec: the model.
    """

    def __init__(self, link: ChildLink, service: Service, spec: ModelSpec) -> None:
        self._link = link
        self._service = service
        self._spec = spec
        self._waiting: deque[list[Job]] = deque()
        """Batches that have come ahead of time; the front sees to it that they are few."""
        self._begun = 0
        """Batches that were begun: the number of the first that waits."""
        self._looked_at = 0.0
        """When the link was seen to be empty."""
        self._gone: dict[int, set[int]] = {}
        """By the number of a batch that waits: places of jobs for which nobody waits any more."""

    def answer(self, job: Job) -> Answer:
        """Answer one request; its parts go nowhere."""
        return run_batch(self._service, self._spec, [job], time.perf_counter, lambda index, head, body: None)[0]

    def serve(self) -> None:
        """Answer batches until the front says stop or is gone."""
        link, service, spec = self._link, self._service, self._spec
        parts = PartSender(link)
        while (wanted := self._next_batch()) is not None:
            gone = self._gone.pop(self._begun, ())
            self._begun += 1
            send: SendPart = parts.send
            if gone:
                places = [place for place in range(len(wanted)) if place not in gone]
                wanted, send = [wanted[place] for place in places], partial(_send_as, parts.send, places)
            FORMATTER.jobs = wanted
            answers = run_batch(service, spec, wanted, time.perf_counter, send) if wanted else []
            parts.flush()
            FORMATTER.jobs = ()
            for place in sorted(gone):
                answers.insert(place, _NOBODYS)
            # Before the next batch begins: by its answers the front knows which batches a worker that died had begun.
            link.send(Kind.ANSWERS, *answers_message(answers), before=metrics_buffers(service.take_updates()))

    def _next_batch(self) -> list[Job] | None:
        """Return the next batch, when everything that has come meanwhile is known (or nearly); None: leave."""
        while self._may_have_come():
            frame = self._link.receive()
            if frame is None or frame.kind is Kind.STOP:
                return None
            if frame.kind is Kind.CANCEL:
                number, *places = numbers_of(frame.text)
                if number >= self._begun:
                    self._gone.setdefault(number, set()).update(places)
                continue
            assert frame.kind is Kind.BATCHES, f"a loaded worker cannot have {frame.kind.name}"
            self._waiting.extend(batches_of(frame.text, frame.body))
        return self._waiting.popleft()

    def _may_have_come(self) -> bool:
        """Return whether to take a frame, or to wait for one, before the next batch begins."""
        if not self._waiting:
            return True
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return False
        if self._link.has_frame():
            return True
        self._looked_at = now
        return False


def _send_as(send: SendPart, places: Sequence[int], index: int, head: Answer | None, body: bytes) -> None:
    """Send a part of a job that has another place in the batch as it came."""
    send(places[index], head, body)


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)
