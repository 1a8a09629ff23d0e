"""What a logger wants to know of a request and its answer: two events with one id. How they travel, others know: ``event_log``.

Source: specification 6.8.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flambeau.foundation.http1 import Head
from flambeau.gateway import grpc_messages
from flambeau.gateway.clients import Answer, Tap
from flambeau.gateway.document import Logger

ID_CHARACTERS_MAX = 256
"""Longest id that a client may give a pair of events; a longer one is replaced."""
MESSAGE_TYPE = "application/protobuf"
"""Content type of an event of gRPC: the message itself, without gRPC's frame."""

_TYPES = "org.kubeflow.serving.inference."
_REQUEST = f"{_TYPES}request"
_RESPONSE = f"{_TYPES}response"
_QUESTIONS = frozenset(
    ("ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "Ping", "ListModels", "DescribeModel")
)
"""Methods that ask about a server instead of a model; by HTTP they are GETs, which are not logged either."""
_QUESTION_SERVICES = (b"/grpc.health.", b"/grpc.reflection.")


@dataclass(frozen=True, slots=True)
class Event:
    """One copy."""

    logger: Logger
    type: str
    id: str
    time: str
    content_type: str
    metadata: Mapping[str, list[str]]
    """Chosen headers of the request; of a gRPC call also its method, as ``:path``."""
    body: bytes

    @property
    def source(self) -> str:
        """Who says it."""
        return f"/{self.logger.namespace}/{self.logger.service}"

    @property
    def kind(self) -> str:
        """``request`` or ``response``."""
        return self.type.removeprefix(_TYPES)


def is_event(head: Head) -> bool:
    """Tell whether a request is an event of a logger, which is never logged itself: a collector's logger would log for ever."""
    return (head.get(b"ce-type") or b"").startswith(_TYPES.encode())


def is_inference_call(head: Head) -> bool:
    """Tell whether a gRPC call asks a model, not about one."""
    method = head.path.rpartition(b"/")[2].decode("latin-1")
    return method not in _QUESTIONS and not head.path.startswith(_QUESTION_SERVICES)


class LogTap(Tap):
    """Make events of one request and its answer.

    Args:
        logger: what is wanted.
        head: of the request.
        send: takes the events.
        lost: called for each that can't be made, because the body was too long or can't be read.
    """

    def __init__(self, logger: Logger, head: Head, send: Callable[[Event], None], lost: Callable[[], None]) -> None:
        self._logger = logger
        self._head = head
        self._send = send
        self._lost = lost
        incoming = (head.get(b"ce-id") or b"").decode("latin-1")
        self._id = incoming if 0 < len(incoming) <= ID_CHARACTERS_MAX and incoming.isprintable() else str(uuid.uuid4())

    def on_request(self, body: bytes | None) -> None:
        """Send the request's event."""
        if self._logger.requests:
            self._emit(_REQUEST, self._head.get(b"content-type"), body)

    def on_answer(self, answer: Answer | None) -> None:
        """Send the answer's event, if it went well, as the original has it."""
        if self._logger.responses and answer is not None and answer.status == 200:
            self._emit(_RESPONSE, answer.header(b"content-type"), answer.body)

    def _emit(self, type: str, content_type: bytes | None, body: bytes | None) -> None:
        if body is None:
            self._lost()
            return
        time = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        kind = (content_type or b"application/json").decode("latin-1")
        self._send(Event(self._logger, type, self._id, time, kind, self._metadata(), body))

    def _metadata(self) -> dict[str, list[str]]:
        chosen: dict[str, list[str]] = {}
        for name, value in self._head.headers if self._logger.headers else ():
            if name.lower().decode("latin-1") in self._logger.headers:
                chosen.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        return chosen


class CallLogTap(LogTap):
    """Make events of one gRPC call: of its request and of its answer where each is one message. Streams are not logged."""

    def on_request(self, body: bytes | None) -> None:
        """Send the request's event."""
        if self._logger.requests:
            self._emit_message(_REQUEST, self._head.get(b"grpc-encoding"), body)

    def on_answer(self, answer: Answer | None) -> None:
        """Send the answer's event, if it went well."""
        if self._logger.responses and answer is not None and answer.status == 200:
            self._emit_message(_RESPONSE, answer.header(b"grpc-encoding"), answer.body)

    def _emit_message(self, type: str, encoding: bytes | None, frames: bytes | None) -> None:
        if frames is None or grpc_messages.is_single(frames):
            unpacked = grpc_messages.messages(frames, encoding) if frames is not None else None
            self._emit(type, MESSAGE_TYPE.encode(), unpacked[0] if unpacked else None)

    def _metadata(self) -> dict[str, list[str]]:
        return {":path": [self._head.path.decode("latin-1")], **super()._metadata()}
