"""One prompt in, a text out: transformers' ``generate`` with OpenAI's wishes, in one piece or as it is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from flambeau.serving.handlers.defaults.completions import Asked, Written
from flambeau.serving.handlers.defaults.requirement import required
from flambeau.serving.handlers.errors import PredictionException


class Writer:
    """Write with a generating model.

    Args:
        model: of transformers.
        tokenizer: the model's.
        device: where the model is.
        tokens_max: prompt and answer together.
        new_tokens_default: of an answer whose request sets no limit.
    """

    def __init__(self, model: Any, tokenizer: Any, device: Any, tokens_max: int, new_tokens_default: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._tokens_max = tokens_max
        self._new_tokens_default = new_tokens_default

    def write(self, asked: Asked, prompt: str, send: Callable[[str], None] | None = None) -> Written:
        """Write what follows a prompt.

        Args:
            asked: the request.
            prompt: one of its prompts.
            send: called with each piece of text as it is written; None: nobody waits for pieces.

        Raises:
            PredictionException: status 400; the prompt leaves no room for an answer.
        """
        tokens = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=not asked.is_chat).to(self._device)
        read = int(tokens["input_ids"].shape[1])
        is_encoder = bool(getattr(self._model.config, "is_encoder_decoder", False))
        room = self._tokens_max - (0 if is_encoder else read)
        if room < 1 or not read:
            raise PredictionException(f"the prompt has {read} tokens, the model takes 1 to {self._tokens_max - 1} of them", 400)
        most = min(asked.tokens_max or self._new_tokens_default, room)
        wishes: dict[str, Any] = {"max_new_tokens": most, "pad_token_id": self._tokenizer.pad_token_id, "do_sample": asked.temperature > 0}
        if asked.temperature > 0:
            wishes |= {"temperature": float(asked.temperature), "top_p": float(asked.top_p) or 1e-6}
        if asked.stops:
            wishes |= {"stop_strings": list(asked.stops), "tokenizer": self._tokenizer}
        if asked.seed is not None:
            torch.manual_seed(asked.seed)
        held = HeldBack(asked.stops, send) if send is not None else None
        made = self._generate({**tokens, **wishes}, held.take if held is not None else None)
        if held is not None:
            held.flush()
        new = made[0] if is_encoder else made[0][read:]
        text = self._tokenizer.decode(new, skip_special_tokens=True)
        ends = [place for stop in asked.stops if (place := text.find(stop)) >= 0]
        return Written(text[: min(ends)] if ends else text, read, len(new), is_cut=len(new) >= most and not ends)

    def _generate(self, arguments: dict[str, Any], send: Callable[[str], None] | None) -> Any:
        """Run the model; with somebody to send to, in a thread, while its text is handed on here."""
        if send is None:
            with torch.inference_mode():
                return self._model.generate(**arguments)
        streamer = required("transformers", "huggingface").TextIteratorStreamer(
            self._tokenizer, skip_prompt=not self._model.config.is_encoder_decoder, skip_special_tokens=True
        )
        outcome: list[Any] = []

        def run() -> None:
            try:
                with torch.inference_mode():
                    outcome.append(self._model.generate(**arguments, streamer=streamer))
            except Exception as error:
                outcome.append(error)
                streamer.end()  # whoever waits for the next piece is told that there is none

        writing = threading.Thread(target=run, name="writer")
        writing.start()
        try:
            for piece in streamer:
                if piece:
                    send(piece)
        finally:
            writing.join()
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]


class HeldBack:
    """Hand pieces of text on, but for what may be the beginning of a stop sequence; nothing from one on.

    Args:
        stops: the sequences.
        send: takes the text.
    """

    def __init__(self, stops: Sequence[str], send: Callable[[str], None]) -> None:
        self._stops = stops
        self._send = send
        self._kept = ""
        self._is_over = False
        self._keep_chars = max(map(len, stops), default=1) - 1

    def take(self, piece: str) -> None:
        """Take the next piece."""
        if self._is_over:
            return
        text = self._kept + piece
        ends = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        self._is_over = bool(ends)
        at = min(ends) if ends else len(text) - self._keep_chars
        self._kept = "" if ends else text[max(at, 0) :]
        if at > 0:
            self._send(text[:at])

    def flush(self) -> None:
        """Hand on what was held back: there is no more text."""
        if self._kept:
            self._send(self._kept)
            self._kept = ""
