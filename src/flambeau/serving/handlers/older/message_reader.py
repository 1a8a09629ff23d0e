"""Read what TorchServe's front sends to its workers, for code that hosts a worker itself; our own workers have other frames."""

from __future__ import annotations

import json
import logging
import os
import struct
import sys
from collections.abc import Callable
from typing import Any, Protocol

logger = logging.getLogger(__name__)

END_OF_LIST = -1
LOAD_MSG = b"L"
PREDICT_MSG = b"I"


class Receiver(Protocol):
    """The part of a socket that reading needs."""

    def recv(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none when the other side has gone."""
        ...


def retrieve_msg(conn: Receiver) -> tuple[bytearray, Any]:
    """Read one message.

    Returns:
        ``L`` with the load's fields, or ``I`` with a batch: a list of requests.

    Raises:
        ValueError: it begins with another letter.
        SystemExit: the front has gone, which ends a worker.
    """
    command = _read(conn, 1)
    if command == LOAD_MSG:
        return command, _load_of(conn)
    if command == PREDICT_MSG:
        return command, _list_of(conn, _request_of)
    raise ValueError(f"Invalid command: {command!r}")


def _load_of(conn: Receiver) -> dict[str, Any]:
    load: dict[str, Any] = {"modelName": _sized(conn), "modelPath": _sized(conn), "batchSize": _integer(conn), "handler": _sized(conn)}
    gpu = _integer(conn)
    if gpu >= 0:
        load["gpu"] = gpu
    load["envelope"] = _sized(conn)
    load["limitMaxImagePixels"] = _read(conn, 1) != b"\0"
    return load


def _list_of(conn: Receiver, read: Callable[[Receiver, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the things up to the end mark; each begins with the length of its first field."""
    found = []
    while (length := _integer(conn)) != END_OF_LIST:
        found.append(read(conn, length))
    return found


def _request_of(conn: Receiver, length: int) -> dict[str, Any]:
    return {"requestId": _read(conn, length), "headers": _list_of(conn, _header_of), "parameters": _list_of(conn, _parameter_of)}


def _header_of(conn: Receiver, length: int) -> dict[str, Any]:
    return {"name": _read(conn, length), "value": _sized(conn)}


def _parameter_of(conn: Receiver, length: int) -> dict[str, Any]:
    name, content_type, value = _read(conn, length).decode(), _sized(conn).decode(), _sized(conn)
    return {"name": name, "contentType": content_type, "value": _decoded(value, content_type)}


def _decoded(value: bytearray, content_type: str) -> Any:
    """Return what a handler gets: JSON and texts decoded, where they can be and TS_DECODE_INPUT_REQUEST does not forbid it."""
    if os.environ.get("TS_DECODE_INPUT_REQUEST", "true") != "true":
        return value
    try:
        if content_type == "application/json":
            return json.loads(value)
        return value.decode() if content_type.startswith("text") else value
    except ValueError as error:
        logger.warning("a parameter stays bytes, as it is not %s: %s", content_type, error)
        return value


def _sized(conn: Receiver) -> bytearray:
    return _read(conn, _integer(conn))


def _integer(conn: Receiver) -> int:
    (number,) = struct.unpack("!i", _read(conn, 4))
    return int(number)


def _read(conn: Receiver, length: int) -> bytearray:
    content = bytearray()
    while len(content) < length:
        part = conn.recv(length - len(content))
        if not part:
            logger.info("Frontend disconnected.")
            sys.exit(0)
        content += part
    return content
