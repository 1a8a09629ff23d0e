"""A batch as a pipeline: while one part of it is in the model, the next is prepared and the last is finished."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.errors import InvalidRows, UnevenRows

HANDLER_METHODS = ("preprocess", "inference", "postprocess")
"""The stages, in their order."""


@dataclass
class _Part:
    """Rows of a micro-batch that go through the model together, and what was made of them."""

    places: list[int]
    made: Any


@dataclass
class _MicroBatch:
    """What became of one micro-batch so far."""

    rows: list[Any]
    parts: list[_Part] = field(default_factory=list)
    refused: dict[int, Exception] = field(default_factory=dict)


class MicroBatching:
    """Replace a handler's ``handle``: ``self.handle = MicroBatching(self, micro_batch_size)``.

    Args:
        parent_handler: its preprocess, inference and postprocess are the stages.
        micro_batch_size: rows of one micro-batch.
        parallelism: threads of each stage by its name; one each unless said.
    """

    def __init__(self, parent_handler: Any, micro_batch_size: int = 1, parallelism: Mapping[str, int] | None = None) -> None:
        if micro_batch_size < 1:
            raise ValueError(f"micro_batch_size must be 1 or more, not {micro_batch_size}")
        self.handler = parent_handler
        self.micro_batch_size = micro_batch_size
        self._here = threading.local()
        self._stages: dict[str, ThreadPoolExecutor] = {}
        self._parallelism: dict[str, int] = dict.fromkeys(HANDLER_METHODS, 1)
        self.parallelism = dict(parallelism or {})

    @property
    def parallelism(self) -> dict[str, int]:
        """Threads of each stage."""
        return self._parallelism

    @parallelism.setter
    def parallelism(self, parallelism: Mapping[str, int]) -> None:
        unknown = set(parallelism) - set(HANDLER_METHODS)
        if unknown or any(threads < 1 for threads in parallelism.values()):
            raise ValueError(f"parallelism must give {', '.join(HANDLER_METHODS)} one thread or more each, not {dict(parallelism)}")
        self.shutdown()
        self._parallelism = {**self._parallelism, **parallelism}

    def __call__(self, data: list[Any], context: Context) -> list[Any]:
        """Answer one batch.

        Raises:
            Exception: the first that a stage raised; by then nothing of the batch runs any more.
        """
        handler = self.handler
        handler.context = context
        if handler._is_describe():
            return [handler.describe_handle()]
        if handler._is_explain():
            explanations: list[Any] = handler.explain_handle(handler.preprocess(data), data)
            return explanations
        return self.handle(data)

    def handle(self, data: list[Any]) -> list[Any]:
        """Take rows through the three stages, and return their answers in order; a refused row's is its exception."""
        batches = [_MicroBatch(data[start : start + self.micro_batch_size]) for start in range(0, len(data), self.micro_batch_size)]
        prepared = [self._submit("preprocess", index, self._preprocess, _done(batch)) for index, batch in enumerate(batches)]
        inferred = [self._submit("inference", index, self._inference, step) for index, step in enumerate(prepared)]
        finished = [self._submit("postprocess", index, self._postprocess, step) for index, step in enumerate(inferred)]
        wait(finished)
        return [answer for step in finished for answer in step.result()]

    def get_micro_batch_idx(self) -> int | None:
        """Return which micro-batch the calling thread works on; None in a thread of somebody else."""
        index: int | None = getattr(self._here, "index", None)
        return index

    def shutdown(self) -> None:
        """End the threads; the next batch starts them anew."""
        for stage in self._stages.values():
            stage.shutdown()
        self._stages = {}

    def _submit(self, stage: str, index: int, step: Callable[[_MicroBatch], Any], before: Future[_MicroBatch]) -> Future[Any]:
        """Have a stage's thread take the micro-batch on when the stage before is done with it.

        A thread waits for the stage before it; no stage waits for a later one, so none can wait for ever.
        """
        pool = self._stages.get(stage)
        if pool is None:
            pool = self._stages[stage] = ThreadPoolExecutor(self._parallelism[stage], thread_name_prefix=stage)

        def work() -> Any:
            self._here.index = index
            return step(before.result())

        return pool.submit(work)

    def _preprocess(self, batch: _MicroBatch) -> _MicroBatch:
        """Prepare rows; refused ones are set aside and those that don't fit together become parts, as the service does it."""
        waiting = [list(range(len(batch.rows)))]
        while waiting:
            places = waiting.pop()
            try:
                made = self.handler.preprocess([batch.rows[place] for place in places])
            except InvalidRows as refused:
                batch.refused.update({places[index]: error for index, error in refused.errors.items()})
                rest = [place for index, place in enumerate(places) if index not in refused.errors]
                waiting += [rest] if rest else []
            except UnevenRows as uneven:
                waiting += [[places[index] for index in group] for group in uneven.groups]
            else:
                batch.parts.append(_Part(places, made))
        return batch

    def _inference(self, batch: _MicroBatch) -> _MicroBatch:
        for part in batch.parts:
            part.made = self.handler.inference(part.made)
        return batch

    def _postprocess(self, batch: _MicroBatch) -> list[Any]:
        answers: dict[int, Any] = dict(batch.refused)
        for part in batch.parts:
            answers.update(zip(part.places, self.handler.postprocess(part.made), strict=True))
        return [answers[place] for place in range(len(batch.rows))]


def _done(batch: _MicroBatch) -> Future[_MicroBatch]:
    future: Future[_MicroBatch] = Future()
    future.set_result(batch)
    return future
