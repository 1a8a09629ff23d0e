"""Load a model's handler and run batches through it: what a worker process does between two frames.

The worker calls :func:`load_service` once and :meth:`Service.predict` for every batch. Neither knows a wire form.
"""

from __future__ import annotations

import copy
import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.diagnosis import cause_of, is_out_of_memory, load_hint_of, place_of, traceback_of
from flambeau.serving.handlers.discovery import class_of, function_of, import_handler, module_name_of
from flambeau.serving.handlers.errors import InvalidRows, LoadError, PredictionException, UnevenRows
from flambeau.serving.handlers.metrics import HandlerMetrics
from flambeau.serving.model import MetricUpdate, ModelSpec, Signature

logger = logging.getLogger(__name__)

TORCHSERVE_SURFACE = Path(__file__).parents[2] / "compat" / "torchserve"
"""The folder that makes ``import ts`` work in a handler. A path, not an import: compat stands above serving."""

WORKER_ERROR = "InternalServerException"
"""TorchServe's class for every error that comes out of a worker, whatever its status."""

Entry = Callable[[Any, Context], Any]
SendPart = Callable[[int, "Outcome"], None]
"""Sends a part of a row's answer to its client."""

ISOLATE = "isolateFailures"
"""Key of model-config.yaml, ours: a batch that fails is run again item by item. Each item runs at most twice."""


@dataclass(slots=True)
class Outcome:
    """What the handler made of one row; the protocol's codec makes bytes of it."""

    value: object
    """As the handler returned it: bytes, text, a tensor, anything JSON."""
    status: int = 200
    phrase: str = ""
    """Reason phrase that the handler set."""
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    """The sentence the client reads, where the row failed; ``value`` is None then."""
    error_type: str | None = None


class Service:
    """Run batches through a loaded handler, one at a time.

    Args:
        spec: the model.
        context: the handler's context.
        entry: called with rows and context.
    """

    def __init__(self, spec: ModelSpec, context: Context, entry: Entry) -> None:
        self._spec = spec
        self._entry = entry
        self._isolates = spec.yaml.get(ISOLATE) is True
        self._places: Sequence[int] = ()
        self._send: SendPart | None = None
        self._streamed = False
        self.context = context

    @property
    def handler(self) -> object | None:
        """The handler's instance; None where the handler is a function."""
        return getattr(self._entry, "__self__", None)

    @property
    def takes_tensors(self) -> bool:
        """Whether the handler wants a V2 request as one row, its inputs by name (``takes_tensors = True`` in its class)."""
        return getattr(self.handler, "takes_tensors", False) is True

    def signature(self) -> Signature:
        """Return what a handler that takes tensors says of its model; of others nothing is known."""
        if not self.takes_tensors:
            return Signature()
        found: Signature = getattr(self.handler, "signature", Signature)()
        return found

    def take_updates(self) -> list[MetricUpdate]:
        """Return what the handler measured since the last call."""
        return self.context.metrics.take_updates()

    def predict(
        self,
        rows: list[Any],
        headers: Sequence[Sequence[tuple[str, Any]]],
        request_ids: Sequence[str],
        send: SendPart | None = None,
    ) -> list[Outcome]:
        """Answer one batch.

        Nothing that a handler raises comes out of here, except what ends the process (SystemExit, KeyboardInterrupt).

        Args:
            rows: one row a request.
            headers: each row's request headers.
            request_ids: each row's request id.
            send: called while the handler runs with a row's place and a part of its answer; None where nobody takes parts.

        Returns:
            One outcome a row, in order.
        """
        if not rows:
            return []
        self._send, self._places = send, range(len(rows))
        try:
            return self._answers(rows, headers, request_ids)
        except (InvalidRows, UnevenRows) as split:
            return self._apart(split, rows, headers, request_ids)
        finally:
            self._send = None  # it holds the batch's bodies

    def _apart(
        self, split: InvalidRows | UnevenRows, rows: list[Any], headers: Sequence[Sequence[tuple[str, Any]]], request_ids: Sequence[str]
    ) -> list[Outcome]:
        """Answer a batch in the groups that it has to be split into, and those again, should they have to be."""
        outcomes: list[Outcome] = [Outcome(None)] * len(rows)
        waiting = self._groups_of(split, self._places, outcomes)
        while waiting:
            places = self._places = waiting.pop()
            try:
                answers = self._answers([rows[i] for i in places], [headers[i] for i in places], [request_ids[i] for i in places])
            except (InvalidRows, UnevenRows) as again:
                waiting += self._groups_of(again, places, outcomes)
            else:
                for place, answer in zip(places, answers, strict=True):
                    outcomes[place] = answer
        return outcomes

    def _groups_of(self, split: InvalidRows | UnevenRows, places: Sequence[int], outcomes: list[Outcome]) -> list[list[int]]:
        """Return the places that are to be answered together, the first group last; what is refused gets its outcome."""
        if isinstance(split, UnevenRows):
            return [[places[index] for index in group] for group in reversed(split.groups)]
        # The handler did nothing yet, so handing it the rest is the first execution of those, not a second one.
        for index, error in split.errors.items():
            outcomes[places[index]] = self._failed(error)
        rest = [place for index, place in enumerate(places) if index not in split.errors]
        return [rest] if rest else []

    async def predict_concurrently(
        self, rows: list[Any], headers: Sequence[Sequence[tuple[str, Any]]], request_ids: Sequence[str], send: SendPart | None = None
    ) -> list[Outcome]:
        """Answer one request while the handler's coroutines answer others (asyncCommunication); it gets a context of its own.

        Args are those of ``predict``; the rows are one request's.
        """
        return await Service(self._spec, copy.copy(self.context), self._entry)._awaited(rows, headers, request_ids, send)

    async def _awaited(
        self, rows: list[Any], headers: Sequence[Sequence[tuple[str, Any]]], request_ids: Sequence[str], send: SendPart | None
    ) -> list[Outcome]:
        self._places, self._send = list(range(len(rows))), send
        self.context.begin(headers, request_ids, self._send_part if send is not None else None)
        try:
            values = self._entry(rows, self.context)
            if inspect.isawaitable(values):
                values = await values
        except Exception as error:
            # A user's code may raise anything; its request is answered and the others go on.
            return [self._failed(error)] * len(rows)
        finally:
            self.context.end()
        wrong = self._wrong_shape(values, len(rows))
        if wrong is not None:
            logger.error("handler of model %s: %s", self._spec.name, wrong)
            return [Outcome(None, 503, error=wrong, error_type=WORKER_ERROR)] * len(rows)
        return [self._outcome(index, value) for index, value in enumerate(values)]

    def _answers(self, rows: list[Any], headers: Sequence[Sequence[tuple[str, Any]]], request_ids: Sequence[str]) -> list[Outcome]:
        self._streamed = False
        self.context.begin(headers, request_ids, self._send_part if self._send is not None else None)
        try:
            values = self._entry(rows, self.context)
        except (InvalidRows, UnevenRows):
            raise
        except Exception as error:
            # A user's code may raise anything; the batch is answered and the worker lives.
            self._maybe_run_alone(len(rows), cause_of(error))
            return [self._failed(error)] * len(rows)
        finally:
            self.context.end()
        wrong = self._wrong_shape(values, len(rows))
        if wrong is not None:
            self._maybe_run_alone(len(rows), wrong)
            logger.error("handler of model %s: %s", self._spec.name, wrong)
            return [Outcome(None, 503, error=wrong, error_type=WORKER_ERROR)] * len(rows)
        return [self._outcome(index, value) for index, value in enumerate(values)]

    def _maybe_run_alone(self, rows: int, why: str) -> None:
        """Have a failed batch run again item by item, where the model wants that and no client has seen a part of an answer."""
        if self._isolates and rows > 1 and not self._streamed:
            logger.warning(
                "model %s: a batch of %d failed, its items are run again one by one (%s): %s", self._spec.name, rows, ISOLATE, why
            )
            raise UnevenRows([[index] for index in range(rows)])

    def _send_part(self, index: int, value: object) -> None:
        """Send a part of a row's answer (``context.send_part``)."""
        if isinstance(value, Exception):
            raise value
        assert self._send is not None, "the context was given this method because there is somebody to send to"
        self._streamed = True
        self._send(self._places[index], self._outcome(index, value))

    def _wrong_shape(self, values: Any, rows: int) -> str | None:
        if isinstance(values, list) and len(values) == rows:
            return None
        where = f"handler {self._spec.handler} of model {self._spec.name}"
        if inspect.iscoroutine(values):
            values.close()
            return f"{where} is a coroutine function: set asyncCommunication: true in model-config.yaml"
        if not isinstance(values, list):
            return f"Invalid model predict output: {where} returned {type(values).__name__}, expected a list of {rows}"
        return f"number of batch response mismatched: {where} returned {len(values)}, expected {rows}, one for each request"

    def _outcome(self, index: int, value: object) -> Outcome:
        if isinstance(value, Exception):
            return self._failed(value)
        processor = self.context.request_processor[index]
        headers = processor.get_response_headers()
        status = processor.get_response_status_code()
        phrase = processor.get_response_status_phrase()
        if not headers:
            return Outcome(value, status, phrase)
        others = tuple((name, str(text)) for name, text in headers.items() if name.lower() != "content-type")
        content_type = next((str(text) for name, text in headers.items() if name.lower() == "content-type"), None)
        return Outcome(value, status, phrase, content_type, others)

    def _failed(self, error: BaseException) -> Outcome:
        if isinstance(error, PredictionException):
            return Outcome(None, error.error_code, error=error.message, error_type=WORKER_ERROR)
        logger.error("handler of model %s failed: %s", self._spec.name, traceback_of(error))
        status, what = (507, "Out of resources") if is_out_of_memory(error) else (503, "Prediction failed")
        place = place_of(error, self._spec.directory)
        where = f" at {place}" if place else ""
        return Outcome(None, status, error=f"{what}: {cause_of(error)}{where}", error_type=WORKER_ERROR)


def load_service(spec: ModelSpec) -> Service:
    """Import a model's handler and let it initialize.

    Puts the archive's folder and TorchServe's import surface on ``sys.path``; the process is the model's own.

    Raises:
        LoadError: the handler can't be found, imported or initialized.
    """
    # The archive's own modules first, then the surface: a model that requires torchserve still gets our ``ts``.
    for folder in map(str, filter(None, (spec.packages, TORCHSERVE_SURFACE, spec.directory))):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    context = Context(
        spec.name,
        str(spec.directory),
        spec.manifest,
        spec.config.batch_size,
        _gpu_of(spec.config.device),
        metrics=HandlerMetrics(spec.name, spec.declared_metrics),
        limit_max_image_pixels=spec.limit_max_image_pixels,
        model_yaml_config=spec.yaml,
    )
    names = spec.config.sequence_headers
    context.header_key_sequence_id = names.id
    context.header_key_sequence_start = names.start
    context.header_key_sequence_end = names.end
    # A handler may call sys.exit() while it loads; that is its failure, not the worker's wish to end.
    try:
        module = import_handler(spec.handler, spec.directory)
    except (Exception, SystemExit) as error:
        raise _load_error(spec, "import", error) from error
    try:
        entry = _entry_of(module, spec.handler, context)
    except (Exception, SystemExit) as error:
        raise _load_error(spec, "initialize", error) from error
    return Service(spec, context, entry)


def _entry_of(module: Any, handler: str, context: Context) -> Entry:
    function: Entry | None = function_of(module, handler)
    if function is not None:
        function(None, context)
        return function
    instance: Any = class_of(module, handler)()
    if hasattr(instance, "initialize"):
        instance.initialize(context)
    entry: Entry = instance.handle
    return entry


def _load_error(spec: ModelSpec, phase: str, error: BaseException) -> LoadError:
    place = place_of(error, spec.directory)
    where = f" at {place}" if place else ""
    file = f"{module_name_of(spec.handler)}.py" if (spec.directory / f"{module_name_of(spec.handler)}.py").is_file() else spec.handler
    failed = "failed to import" if phase == "import" else "failed to initialize"
    return LoadError(
        f"cannot load model {spec.name} {spec.version}: handler {file} {failed}: {cause_of(error)}{where}",
        hint=load_hint_of(error),
        traceback_text=traceback_of(error),
    )


def _gpu_of(device: str) -> int | None:
    kind, _, number = device.partition(":")
    return None if kind == "cpu" else int(number or 0)
