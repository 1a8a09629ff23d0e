"""The rows and answers of torchserve-spec 4.3."""

from __future__ import annotations

import io
import math

import numpy
import pytest
import torch

from flambeau.foundation.errors import Internal, InvalidInput
from flambeau.serving.model import Job, Method, Protocol
from flambeau.serving.protocol.torchserve import FORM_FIELDS_MAX, decode, encode

FORM = "application/x-www-form-urlencoded"


def row(body: bytes, content_type: str = "", *parameters: tuple[str, str]) -> object:
    (only,) = decode(Job("id", Protocol.TORCHSERVE, Method.PREDICT, content_type, (), body, parameters)).rows
    return only


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b'{"a": [1, NaN]}', {"a": [1, math.nan]}),
        ("application/json; charset=utf-8", b"[1]", [1]),
        ("application/json", b"not json", bytearray(b"not json")),
        ("text/plain", "grün".encode(), "grün"),
        ("text/csv; header=present", b"1,2", "1,2"),
        ("text/plain", b"\xff", bytearray(b"\xff")),
        ("image/png", b"{}", bytearray(b"{}")),
        ("", b"\x89PNG", bytearray(b"\x89PNG")),
        ("", b"", bytearray()),
        # Nobody said what it is, and it can only be JSON: curl -d without -H.
        ("", b' {"a": 1}', {"a": 1}),
        (FORM, b'{"instances": [1]}', {"instances": [1]}),
        ("", b"{broken", bytearray(b"{broken")),
    ],
)
def test_a_body_is_one_row(content_type: str, body: bytes, expected: object) -> None:
    assert repr(row(body, content_type)) == repr({"body": expected})


def test_a_form_gives_its_names() -> None:
    assert row(b"data=1%202&text=a+b&empty=&data=last", FORM) == {
        "data": bytearray(b"last"),
        "text": bytearray(b"a b"),
        "empty": bytearray(),
    }


def test_a_multipart_form_gives_its_names_and_types() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="data"; filename="x.json"\r\nContent-Type: application/json\r\n\r\n{"a":1}\r\n'
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhi\r\n--b--\r\n'
    )
    assert row(body, "multipart/form-data; boundary=b") == {"data": {"a": 1}, "note": bytearray(b"hi")}


def test_query_parameters_come_first_and_a_body_may_replace_them() -> None:
    assert row(b"x", "image/png", ("size", "3"), ("body", "lost")) == {"size": bytearray(b"3"), "body": bytearray(b"x")}


def test_a_form_has_a_bound() -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        row(b"&".join([b"a=1"] * (FORM_FIELDS_MAX + 1)), FORM)


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (b"raw", b"raw"),
        (bytearray(b"raw"), b"raw"),
        ("grün", "grün".encode()),
        ({"a": [1, 2.5], "ü": None}, b'{\n  "a": [\n    1,\n    2.5\n  ],\n  "\\u00fc": null\n}'),
        ([math.nan, True], b"[\n  NaN,\n  true\n]"),
        (7, b"7"),
        (numpy.arange(2), b"[\n  0,\n  1\n]"),
        ({"p": numpy.float32(0.5)}, b'{\n  "p": 0.5\n}'),
    ],
)
def test_results_are_written_as_torchserve_writes_them(value: object, body: bytes) -> None:
    encoded = encode(value)
    assert encoded.body == body
    assert encoded.content_type == (None if isinstance(value, str | bytes | bytearray) else "application/json")


def test_a_tensor_is_saved() -> None:
    tensor = torch.arange(3)
    assert torch.equal(torch.load(io.BytesIO(encode(tensor).body), weights_only=True), tensor)


def test_what_has_no_form_is_named() -> None:
    with pytest.raises(Internal, match=r"Unsupported model output data type\. The handler returned dict: object cannot"):
        encode({"a": object()})
