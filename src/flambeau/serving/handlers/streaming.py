"""Answers in parts: ``send_intermediate_predict_response``, and a streamer that turns a batch's tokens into text as they come."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.errors import PredictionException

TEXTS_WAITING_MAX = 4096
"""Pieces of text that a streamer keeps for a reader that is slower than the model; the model then waits."""


def send_intermediate_predict_response(
    ret: Sequence[Any], req_id_map: Mapping[int, str] | None, message: str, code: int, context: Context | None = None
) -> None:
    """Send a part of every row's answer to its client now; what the handler returns is the last part.

    The first part also sends the status and headers that the handler has set. In a group of processes only the first sends.

    Args:
        ret: one part a row, each of what a handler may return.
        req_id_map: the rows by their place (``context.request_ids``); None for all.
        message: what the client reads if the code says a failure.
        code: 200 goes on; anything else ends the batch with that status.
        context: the handler's.

    Raises:
        PredictionException: the code says a failure.
        ValueError: there is no context.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    if context is None:
        raise ValueError("send_intermediate_predict_response needs the handler's context")
    if code != 200:
        raise PredictionException(message, code)
    for index in range(len(ret)) if req_id_map is None else req_id_map:
        context.send_part(index, ret[index])


class TextIteratorStreamerBatch:
    """Give ``model.generate(streamer=...)`` of transformers to a thread and iterate here: one list of texts a step.

    Args:
        tokenizer: turns tokens into text.
        batch_size: rows of the batch; the first step brings their prompts.
        skip_prompt: whether the prompts are left out.
        timeout: how many seconds a step may take; None for no limit.
        decode_kwargs: for the tokenizer's ``batch_decode``.
    """

    def __init__(
        self, tokenizer: Any, batch_size: int = 1, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.skip_prompt = skip_prompt
        self.timeout = timeout
        self.decode_kwargs = decode_kwargs
        self.next_tokens_are_prompt = True
        self._texts: queue.Queue[list[str] | None] = queue.Queue(TEXTS_WAITING_MAX)

    def put(self, value: Any) -> None:
        """Take a step's tokens: ``(batch,)`` or ``(batch, tokens)``."""
        if self.skip_prompt and self.next_tokens_are_prompt:
            self.next_tokens_are_prompt = False
            return
        self.next_tokens_are_prompt = False
        rows = value.reshape(self.batch_size, -1)
        self._texts.put(self.tokenizer.batch_decode(rows, **self.decode_kwargs), timeout=self.timeout)

    def end(self) -> None:
        """Note that the model is done."""
        self._texts.put(None, timeout=self.timeout)

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        texts = self._texts.get(timeout=self.timeout)
        if texts is None:
            raise StopIteration
        return texts
