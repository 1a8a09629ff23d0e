"""OpenAI's requests and answers as data: what is asked, and the documents that answer it. Pure.

Source: OpenAI's API reference; KServe's huggingfaceserver serves the same routes under ``/openai``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.serving.handlers.errors import PredictionException

PREFIX = "openai/v1/"
CHAT = PREFIX + "chat/completions"
COMPLETIONS = PREFIX + "completions"
EMBEDDINGS = PREFIX + "embeddings"
STREAM_END = b"data: [DONE]\n\n"
STOPS_MAX = 4
"""Stop sequences of one request, as in the original."""
PROMPTS_MAX = 128
"""Prompts, or texts to embed, of one request."""

_REFUSED = ("tools", "functions", "logprobs", "best_of", "suffix", "echo", "response_format", "logit_bias")
_NOTHING: tuple[Any, ...] = (None, False, 0, {}, [], {"type": "text"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client wants written."""

    prompts: tuple[str, ...]
    is_chat: bool
    stream: bool
    tokens_max: int | None
    """None: the server's own default."""
    temperature: float
    """0: always the likeliest word."""
    top_p: float
    stops: tuple[str, ...]
    seed: int | None
    usage_in_stream: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote for one prompt."""

    text: str
    prompt_tokens: int
    tokens: int
    is_cut: bool
    """It reached the most tokens, and would have gone on."""


def check_model(document: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse a request for another model.

    Raises:
        PredictionException: status 404; the text names the model that is here.
    """
    wanted = document.get("model")
    if wanted not in names:
        raise PredictionException(f"The model {str(wanted)[:100]!r} does not exist; this server has {' and '.join(names)}.", 404)


def asked_of(path: str, document: Mapping[str, Any], render_chat: Callable[[list[Any]], str]) -> Asked:
    """Return what a request asks for.

    Args:
        path: ``CHAT`` or ``COMPLETIONS``.
        document: the body.
        render_chat: makes the prompt of a conversation, by the model's own template.

    Raises:
        PredictionException: status 400; a field is missing, malformed or not served here.
    """
    refused = [name for name in _REFUSED if document.get(name) not in _NOTHING]
    if refused:
        raise PredictionException(f"{', '.join(refused)}: not served here", 400)
    if document.get("n") not in (None, 1):
        raise PredictionException("n: one answer a prompt is served here", 400)
    is_chat = path == CHAT
    prompts = (render_chat(_messages(document)),) if is_chat else texts_of(document.get("prompt"), "prompt")
    stream = document.get("stream") is True
    if stream and len(prompts) > 1:
        raise PredictionException("stream: one prompt at a time", 400)
    stops = document.get("stop") or ()
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    if len(stops) > STOPS_MAX or not all(isinstance(stop, str) and stop for stop in stops):
        raise PredictionException(f"stop: at most {STOPS_MAX} texts", 400)
    name = "max_completion_tokens" if document.get("max_completion_tokens") is not None else "max_tokens"
    seed = document.get("seed")
    return Asked(
        prompts=prompts,
        is_chat=is_chat,
        stream=stream,
        tokens_max=None if document.get(name) is None else int(_number(document, name, 1, 1 << 20)),
        temperature=_number(document, "temperature", 0, 2, default=1),
        top_p=_number(document, "top_p", 0, 1, default=1),
        stops=stops,
        seed=seed if type(seed) is int else None,
        usage_in_stream=bool((document.get("stream_options") or {}).get("include_usage")),
    )


def texts_of(value: Any, name: str) -> tuple[str, ...]:
    """Return a text, or a list of them, as a tuple.

    Raises:
        PredictionException: status 400; it is something else.
    """
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
    if not 0 < len(texts) <= PROMPTS_MAX or not all(isinstance(text, str) for text in texts):
        raise PredictionException(f"{name}: expected a text, or a list of 1 to {PROMPTS_MAX} texts", 400)
    return texts


def answer_of(asked: Asked, written: Sequence[Written], *, model: str, request_id: str, now: float) -> dict[str, Any]:
    """Return the answer that is sent whole.

    Units:
        now: seconds since 1970.
    """
    choices = [
        {"index": index, **_said(asked, each.text), "logprobs": None, "finish_reason": _reason(each)} for index, each in enumerate(written)
    ]
    name = "chat.completion" if asked.is_chat else "text_completion"
    return {**_head(asked, name, model, request_id, now), "choices": choices, "usage": usage_of(written)}


def event_of(asked: Asked, text: str | None, *, model: str, request_id: str, now: float, end: Written | None = None) -> bytes:
    """Return one event of a stream: a piece of text, or with ``end`` why there is no more."""
    delta: dict[str, Any] = {"delta": {"content": text} if text is not None else {}} if asked.is_chat else {"text": text or ""}
    choice = {"index": 0, **delta, "logprobs": None, "finish_reason": _reason(end) if end is not None else None}
    head = _head(asked, "chat.completion.chunk" if asked.is_chat else "text_completion", model, request_id, now)
    events = [{**head, "choices": [choice]}]
    if end is not None and asked.usage_in_stream:
        events.append({**head, "choices": [], "usage": usage_of([end])})
    return b"".join(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" for event in events)


def embeddings_of(vectors: Sequence[Any], *, model: str, tokens: int) -> dict[str, Any]:
    """Return the answer to a request for embeddings."""
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def usage_of(written: Sequence[Written]) -> dict[str, int]:
    """Return how many tokens were read and written."""
    read, made = sum(each.prompt_tokens for each in written), sum(each.tokens for each in written)
    return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}


def _messages(document: Mapping[str, Any]) -> list[Any]:
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise PredictionException("messages: expected a list of objects with role and content", 400)
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise PredictionException("messages: each is an object with role and content, both texts", 400)
    return messages


def _number(document: Mapping[str, Any], name: str, least: float, most: float, *, default: float = 0) -> float:
    value = document.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise PredictionException(f"{name}: expected a number from {least} to {most}", 400)
    return value


def _said(asked: Asked, text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}} if asked.is_chat else {"text": text}


def _reason(written: Written) -> str:
    return "length" if written.is_cut else "stop"


def _head(asked: Asked, name: str, model: str, request_id: str, now: float) -> dict[str, Any]:
    return {"id": f"{'chatcmpl' if asked.is_chat else 'cmpl'}-{request_id}", "object": name, "created": int(now), "model": model}
