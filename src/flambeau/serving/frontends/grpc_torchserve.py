"""TorchServe's inference service: a map of bytes in, bytes out, whole or in parts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from flambeau.foundation.errors import FlambeauError, InvalidInput
from flambeau.foundation.tasks import TaskOwner
from flambeau.serving.frontends.grpc_asked import Asked, Models
from flambeau.serving.frontends.grpc_messages import message, wire_form
from flambeau.serving.frontends.grpc_service import Call, Headers, Refused, Service
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.frontends.status import pretty
from flambeau.serving.model import Job, Method, Protocol, SequenceHeaders

REQUESTS_AHEAD_MAX = 64
"""Of a stream of requests, so many wait for their answers; then the next is not read."""

_PACKAGE = "org.pytorch.serve.grpc.inference"


class InferenceService:
    """Answer TorchServe's inference calls.

    Args:
        models: who answers.
        sequence_headers: how handlers and the batcher know a request's sequence.
    """

    def __init__(self, models: Models, sequence_headers: SequenceHeaders) -> None:
        self._models = models
        self._sequence_headers = sequence_headers
        self._response = message(f"{_PACKAGE}.PredictionResponse")
        self._health = message(f"{_PACKAGE}.TorchServeHealthResponse")

    def service(self) -> Service:
        """Return the service's methods."""
        methods = {
            "Ping": self._ping,
            "Predictions": self._predictions,
            "StreamPredictions": self._stream,
            "StreamPredictions2": self._sequence,
        }
        return Service((f"{_PACKAGE}.InferenceAPIsService",), methods, Plane.INFERENCE)

    async def _ping(self, request: Any, call: Call) -> Any:
        status = "Healthy" if self._models.dataplane.health().ready else "Unhealthy"
        return self._health(health=pretty({"status": status}).decode().rstrip())

    async def _predictions(self, request: Any, call: Call) -> Any:
        answer = await self._ask(request, call).whole()
        return self._answered(request, answer.body)

    async def _stream(self, request: Any, call: Call) -> AsyncIterator[Any]:
        async with aclosing(self._ask(request, call).parts()) as parts:
            async for part in parts:
                yield self._answered(request, part)

    async def _sequence(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        """Answer requests in their order; several may be with the model at once, and one that fails doesn't end the stream."""
        waiting: asyncio.Queue[tuple[Any, Asked | Refused] | None] = asyncio.Queue(REQUESTS_AHEAD_MAX)
        tasks = TaskOwner("requests of a stream")
        tasks.start("reader", self._read(requests, call, waiting))
        try:
            while (item := await waiting.get()) is not None:
                request, asked = item
                try:
                    if isinstance(asked, Refused):
                        raise asked
                    async with aclosing(asked.parts()) as parts:
                        async for part in parts:
                            yield self._answered(request, part)
                except Refused as refused:
                    yield self._failed(request, refused)
        finally:
            await tasks.close()
            while not waiting.empty():
                left = waiting.get_nowait()
                if left is not None and isinstance(left[1], Asked):
                    left[1].end()

    async def _read(self, requests: AsyncIterator[Any], call: Call, waiting: asyncio.Queue[Any]) -> None:
        """Queue a stream's requests, and None behind the last."""
        async for request in requests:
            try:
                sequence = self._sequence_of(request)
                asked: Asked | Refused = self._ask(request, call, sequence)
            except FlambeauError as error:
                asked = Refused.because(error)
            try:
                await waiting.put((request, asked))
            except asyncio.CancelledError:
                if isinstance(asked, Asked):
                    asked.end()
                raise
        await waiting.put(None)

    def _sequence_of(self, request: Any) -> Headers:
        """Return the headers that tell a request's sequence; the first request of one may leave its name to the server.

        Raises:
            InvalidInput: it belongs to no sequence and begins none.
        """
        names = self._sequence_headers
        flags = tuple((name, _text(request.input[name])) for name in (names.start, names.end) if name in request.input)
        if not request.sequence_id:
            if (names.start, "true") not in [(name, value.lower()) for name, value in flags]:
                raise InvalidInput("Parameter sequenceId is required.", hint=f"or begin a sequence: input {names.start}=true")
            request.sequence_id = f"ts-seq-{secrets.token_hex(16)}"
        return ((names.id, request.sequence_id), *flags)

    def _ask(self, request: Any, call: Call, sequence: Headers = ()) -> Asked:
        """Queue a request's job.

        Raises:
            FlambeauError: it cannot be queued.
        """
        if not request.model_name:
            raise InvalidInput("Parameter model_name is required.")
        if request.sequence_id and not sequence:
            sequence = ((self._sequence_headers.id, request.sequence_id),)
        # Sorted: the order of a map's entries is nobody's.
        fields = sorted(request.input.items())
        job = Job(
            id=call.id,
            protocol=Protocol.FIELDS,
            method=Method.PREDICT,
            content_type="",
            headers=(*call.headers, *sequence),
            body=fields[0][1] if len(fields) == 1 else b"".join(value for _, value in fields),
            parameters=tuple((name, str(len(value))) for name, value in fields),
        )
        return self._models.ask(request.model_name, request.model_version or None, job, call.deadline)

    def _answered(self, request: Any, part: bytes) -> bytes:
        return wire_form(self._empty(request), "prediction", [part])

    def _empty(self, request: Any) -> Any:
        response = self._response()
        if request.HasField("sequence_id"):
            response.sequence_id = request.sequence_id
        return response

    def _failed(self, request: Any, refused: Refused) -> Any:
        response = self._empty(request)
        response.status.code = refused.code.value[0]
        response.status.message = refused.text
        return response


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
