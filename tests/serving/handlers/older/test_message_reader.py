from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from flambeau.serving.handlers.older.message_reader import retrieve_msg

END = struct.pack("!i", -1)


def sized(content: bytes) -> bytes:
    return struct.pack("!i", len(content)) + content


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    front, worker = socket.socketpair()
    with front, worker:
        yield front, worker


@pytest.mark.parametrize(("gpu", "expected"), [(-1, {}), (2, {"gpu": 2})])
def test_a_load(ends: tuple[socket.socket, socket.socket], gpu: int, expected: dict[str, int]) -> None:
    front, worker = ends
    numbers = struct.pack("!i", 4) + sized(b"h.py") + struct.pack("!i", gpu)
    front.sendall(b"L" + sized(b"m") + sized(b"/m") + numbers + sized(b"kserve") + b"\x01")
    command, load = retrieve_msg(worker)
    assert command == b"L"
    fields = {"modelName": b"m", "modelPath": b"/m", "batchSize": 4, "handler": b"h.py", "envelope": b"kserve", "limitMaxImagePixels": True}
    assert load == fields | expected


def test_a_batch(ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    front, worker = ends
    values = ((b"application/json", b'{"a": 1}'), (b"application/json", b"{"), (b"text/plain", "ü".encode()), (b"", b"raw"))
    parameters = b"".join(sized(b"p%d" % place) + sized(kind) + sized(value) for place, (kind, value) in enumerate(values))
    batch = b"I" + sized(b"id-0") + sized(b"X-Mine") + sized(b"1") + END + parameters + END + END
    front.sendall(batch + batch)
    command, [request] = retrieve_msg(worker)
    assert command == b"I"
    assert request["requestId"] == b"id-0"
    assert request["headers"] == [{"name": b"X-Mine", "value": b"1"}]
    assert [each["value"] for each in request["parameters"]] == [{"a": 1}, b"{", "ü", b"raw"]
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    _, [request] = retrieve_msg(worker)
    assert [each["value"] for each in request["parameters"]] == [value for _, value in values]


def test_another_command_and_a_front_that_has_gone(ends: tuple[socket.socket, socket.socket]) -> None:
    front, worker = ends
    front.sendall(b"UL")
    with pytest.raises(ValueError, match="Invalid command"):
        retrieve_msg(worker)
    front.close()
    with pytest.raises(SystemExit):
        retrieve_msg(worker)
