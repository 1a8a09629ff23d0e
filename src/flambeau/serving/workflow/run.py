"""One request on its way through a workflow: each node is a job in its model's queue, as soon as its parents have answered.

Callbacks only: the model's queue answers a step, the run begins what has become ready. What was begun is forgotten when the run ends, by an
answer, an error or its client's going.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flambeau.foundation.errors import FlambeauError, InvalidInput, NotReady, TooLarge, WorkerLost
from flambeau.serving.batching.queue import Ticket
from flambeau.serving.metrics.server import ServerMetrics, Tally
from flambeau.serving.model import Answer, Job, Method, Protocol
from flambeau.serving.protocol.multipart import join_parts
from flambeau.serving.repository import LoadedModel
from flambeau.serving.workflow.dag import Progress
from flambeau.serving.workflow.spec import Node, WorkflowSpec

STREAMED_BYTES_MAX = 67_108_864
"""Of one node that streams its answer; its children get it whole."""

_CLIENTS_FAULT = {"BadRequestException": InvalidInput, "RequestEntityTooLargeException": TooLarge}
"""Answers that a further attempt cannot change."""
_BYTES = "application/octet-stream"
"""What a node sends its child: bytes, whatever they look like, as in TorchServe."""


@dataclass(frozen=True, slots=True)
class WorkflowRequest:
    """What a client sent."""

    id: str
    content_type: str
    headers: tuple[tuple[str, str], ...]
    """Every node's handler may read them."""
    body: bytes


class Run:
    """Take one request through a workflow.

    Args:
        workflow: the workflow's name.
        spec: what it consists of.
        request: what came.
        model_of: returns the model that serves a node.
        metrics: count nodes' requests as any model's.
    """

    def __init__(
        self,
        workflow: str,
        spec: WorkflowSpec,
        request: WorkflowRequest,
        model_of: Callable[[str], LoadedModel],
        metrics: ServerMetrics,
    ) -> None:
        self._workflow = workflow
        self._spec = spec
        self._request = request
        self._model_of = model_of
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._progress = Progress(spec.dag)
        self._steps: set[_Step] = set()
        self.result: asyncio.Future[Mapping[str, bytes]] = self._loop.create_future()
        """The leaves' outputs by name, or why there are none."""

    def start(self) -> None:
        """Begin with the first node; it gets the request as it came."""
        request = self._request
        job = Job(request.id, Protocol.TORCHSERVE, Method.PREDICT, request.content_type, request.headers, request.body)
        self._begin(self._spec.nodes[self._spec.dag.start], job, 1)

    def fail(self, error: FlambeauError) -> None:
        """End with an error; what runs is forgotten."""
        if not self.result.done():
            self.result.set_exception(error)
        self.forget()

    def forget(self) -> None:
        """Forget every job that was begun: those that wait are dropped, answers of those that run too."""
        self.result.cancel()
        for step in self._steps:
            step.model.queue.cancel(step.ticket)
            step.tally.leave()
        self._steps.clear()

    # The steps' side.

    def answered(self, step: _Step, answer: Answer) -> None:
        """Go on after a node's answer."""
        if self.result.done():
            return
        self._steps.discard(step)
        step.tally.answered(time.monotonic(), step.submitted_at, step.ticket.given_at, answer.handler_seconds, step.job.id)
        step.tally.leave()
        node = step.node
        if answer.error_type is None:
            self._finish(node, b"".join((*step.parts, answer.body)))
            return
        why = answer.body.decode("utf-8", "replace")
        if (kind := _CLIENTS_FAULT.get(answer.error_type)) is not None:
            self.fail(kind(f"Error executing {node.name} of workflow {self._workflow}: {why}"))
        elif step.attempt <= node.sizes.retries:
            # Not at once: this is called while the queue hands its answers out.
            self._loop.call_soon(self._begin, node, step.job, step.attempt + 1)
        else:
            attempts = f"{step.attempt} attempts" if step.attempt > 1 else "1 attempt"
            self.fail(WorkerLost(f"Error executing {node.name} of workflow {self._workflow} after {attempts}: {why}", reason="NodeFailed"))

    def _begin(self, node: Node, job: Job, attempt: int) -> None:
        if self.result.done():
            return
        if attempt > 1:
            # A worker may still be busy with the attempt before, and tells its jobs apart by their ids.
            job = replace(job, id=f"{self._request.id}.{attempt}")
        try:
            model = self._model_of(node.name)
            step = _Step(self, node, job, attempt, model, self._metrics.tally(model.name, model.version, None))
            step.ticket = model.queue.submit(job, step, deadline=self._loop.time() + node.sizes.timeout_ms / 1000)
        except FlambeauError as error:
            self.fail(error)
        else:
            step.tally.enter()
            self._steps.add(step)

    def _finish(self, node: Node, output: bytes) -> None:
        ready = self._progress.finish(node.name, output)
        if self._progress.is_over:
            self.result.set_result(self._progress.results())
        for name in ready:
            # Not at once, for the same reason.
            self._loop.call_soon(self._begin, self._spec.nodes[name], self._job_of(name), 1)

    def _job_of(self, node: str) -> Job:
        """Return the job of a node with parents: one parent's output is its body, those of several are named fields."""
        inputs = self._progress.inputs_of(node)
        if len(inputs) == 1:
            [body], content_type = inputs.values(), _BYTES
        else:
            body, content_type = join_parts(inputs, boundary=uuid.uuid4().hex)
        return Job(self._request.id, Protocol.TORCHSERVE, Method.PREDICT, content_type, self._request.headers, body)


class _Step:
    """One attempt of one node (queue.Reply)."""

    __slots__ = ("attempt", "job", "model", "node", "parts", "run", "streamed_bytes", "submitted_at", "tally", "ticket")

    ticket: Ticket

    def __init__(self, run: Run, node: Node, job: Job, attempt: int, model: LoadedModel, tally: Tally) -> None:
        self.run = run
        self.node = node
        self.job = job
        self.attempt = attempt
        self.model = model
        self.tally = tally
        self.submitted_at = time.monotonic()
        self.parts: list[bytes] = []
        self.streamed_bytes = 0

    def answer(self, answer: Answer) -> None:
        """Take the answer."""
        self.run.answered(self, answer)

    def begin(self, head: Answer) -> None:
        """A node's status and headers are nobody's: the workflow's answer has its own."""

    def chunks(self, parts: Sequence[bytes]) -> None:
        """Take parts of an answer that is streamed."""
        self.streamed_bytes += sum(map(len, parts))
        self.parts += parts
        if self.streamed_bytes > STREAMED_BYTES_MAX:
            self.run.fail(NotReady(f"node {self.node.name} streams more than {STREAMED_BYTES_MAX} bytes", reason="NodeFailed"))
