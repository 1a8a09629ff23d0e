"""Bodies in: YAML as kubectl reads it, duplicates, limits, protobuf."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.apiserver import codecs, protobuf
from flambeau.control.apiserver.status import UnsupportedMediaType
from flambeau.foundation.errors import FlambeauError, InvalidInput


def test_yaml_duplicates_are_named() -> None:
    assert codecs.decode(b"spec:\n  x: 1\n  x: 2\n", codecs.YAML) == codecs.Decoded({"spec": {"x": 2}}, ("spec.x",))


def test_one_yaml_document_is_taken() -> None:
    assert codecs.decode(b"---\na: 1\n---\n", codecs.YAML).value == {"a": 1}
    with pytest.raises(InvalidInput, match="YAML body:3: one object is taken here"):
        codecs.decode(b"a: 1\n---\nb: 2\n", codecs.YAML)


def test_yaml_that_json_cannot_say_is_refused() -> None:
    long = b"1" * 10_000
    for text in (b'a: "\\ud800"', b"a: 99999999999999999999999", b"\xff", b"a: 1e999", b"a: " + long, b"a: 0x" + long, b"a: 0" + long):
        with pytest.raises(InvalidInput):
            codecs.decode(text, codecs.YAML)


def test_json_duplicates_are_named() -> None:
    decoded = codecs.decode(b'{"a":{"b":1,"b":2},"c":[{"d":1,"d":1}],"a":{"b":1,"b":3}}', codecs.JSON)
    assert decoded.duplicates == ("a", "a.b", "c[0].d")
    assert decoded.value == {"a": {"b": 3}, "c": [{"d": 1}]}


def test_json_numbers_beyond_reason() -> None:
    with pytest.raises(InvalidInput):
        codecs.decode(b'{"a": 1e999}', codecs.JSON)
    with pytest.raises(InvalidInput):
        codecs.decode(b"[" + b"9" * 5000 + b"]", codecs.JSON)
    assert codecs.decode(b"[" + b"9" * 40 + b"]", codecs.JSON).value == [1e40]


def test_media_types() -> None:
    assert codecs.media_type("Application/JSON; charset=utf-8", codecs.OBJECT_TYPES) == codecs.JSON
    assert codecs.media_type("", codecs.OBJECT_TYPES) == codecs.YAML
    assert codecs.media_type("", (codecs.JSON_PATCH, codecs.JSON)) == codecs.JSON
    with pytest.raises(UnsupportedMediaType):
        codecs.media_type("text/html", codecs.OBJECT_TYPES)


@given(st.binary(max_size=200), st.sampled_from(codecs.OBJECT_TYPES + codecs.PATCH_TYPES))
def test_any_bytes_decode_or_are_refused(body: bytes, media_type: str) -> None:
    with contextlib.suppress(FlambeauError):
        orjson.dumps(codecs.decode(body, media_type).value)


# -- protobuf --


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(api_version: bytes, kind: bytes, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw) + field(3, b"")


def test_protobuf_secret() -> None:
    metadata = field(1, b"keys") + field(3, b"ns") + field(8, field(1, 90)) + field(11, field(1, b"app") + field(2, b"x"))
    raw = field(1, metadata) + field(2, field(1, b"a") + field(2, b"\xff")) + field(3, b"Opaque") + field(5, 1) + field(15, b"new")
    assert protobuf.decode(envelope(b"v1", b"Secret", raw)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "namespace": "ns", "creationTimestamp": "1970-01-01T00:01:30Z", "labels": {"app": "x"}},
        "data": {"a": "/w=="},
        "type": "Opaque",
        "immutable": True,
    }


def test_protobuf_unknown_kind() -> None:
    with pytest.raises(InvalidInput, match="send JSON"):
        protobuf.decode(envelope(b"apps/v1", b"Deployment", b""))


@given(st.binary(max_size=100), st.sampled_from([b"Secret", b"ServiceAccount", b"SelfSubjectAccessReview", b"DeleteOptions"]))
def test_any_protobuf_decodes_or_is_refused(raw: bytes, kind: bytes) -> None:
    for body in (b"k8s\0" + raw, envelope(b"v1", kind, raw)):
        with contextlib.suppress(InvalidInput):
            orjson.dumps(protobuf.decode(body))
