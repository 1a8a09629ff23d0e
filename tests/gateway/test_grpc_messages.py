"""What copies of gRPC calls say, without the model's own words."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import pytest

from flambeau.gateway.grpc_messages import UNPACKED_BYTES_MAX, comparable, is_single, messages
from flambeau.serving.frontends.grpc_messages import message

INFER = b"/inference.GRPCInferenceService/ModelInfer"


def frame(content: bytes, *, packed: bool = False) -> bytes:
    return struct.pack(">BI", packed, len(content)) + content


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (b"", False),
        (frame(b""), True),
        (frame(b"abc"), True),
        (frame(b"abc")[:-1], False),
        (frame(b"abc") + frame(b"d"), False),
    ],
)
def test_one_message_is_told_from_a_stream(frames: bytes, expected: bool) -> None:
    assert is_single(frames) is expected


def test_messages_are_unpacked_within_bounds() -> None:
    assert messages(frame(b"a") + frame(gzip.compress(b"b" * 100), packed=True), b"gzip") == [b"a", b"b" * 100]
    assert messages(b"", None) == []
    for broken in (frame(b"abc")[:3], frame(b"abc")[:-1], frame(b"no gzip", packed=True), frame(gzip.compress(b"b")[:-4], packed=True)):
        assert messages(broken, b"gzip") is None
    assert messages(frame(b"a", packed=True), b"snappy") is None
    assert messages(frame(gzip.compress(bytes(UNPACKED_BYTES_MAX + 1)), packed=True), b"gzip") is None


def answer(name: str, value: int, *parameters: str) -> bytes:
    made: Any = message("inference.ModelInferResponse")(model_name=name, model_version="1", id=name)
    for each in parameters:
        made.parameters[each].int64_param = 1
    made.outputs.add(name="o", datatype="INT64", shape=[1]).contents.int64_contents.append(value)
    return bytes(made.SerializeToString())


def test_answers_that_differ_in_their_models_names_only_say_the_same() -> None:
    assert comparable(INFER, answer("a", 1, "x")) == comparable(INFER, answer("b", 1, "x"))
    assert comparable(INFER, answer("a", 1)) != comparable(INFER, answer("a", 2))
    parameter = b"\x22\x03\x0a\x01%c"
    assert comparable(INFER, parameter % b"x" + parameter % b"y") == comparable(INFER, parameter % b"y" + parameter % b"x")
    assert comparable(b"/other.Service/Method", b"any") == b"any"


@pytest.mark.parametrize("broken", [b"\xff", b"\x0a\x05a", b"\x0b", b"\x08", b"\x31abc"])
def test_what_is_no_message_is_compared_as_it_is(broken: bytes) -> None:
    assert comparable(INFER, broken) == broken
