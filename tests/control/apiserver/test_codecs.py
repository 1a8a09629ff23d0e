"""Bodies in: YAML as kubectl reads it, duplicates, limits, protobuf."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.apiserver import codecs, protobuf, yaml_reader
from flambeau.control.apiserver.status import UnsupportedMediaType
from flambeau.foundation.errors import FlambeauError, InvalidInput, TooLarge


@pytest.mark.parametrize(
    ("text", "value"),
    [  # measured with kubectl: dependencies.md, "YAML: match kubectl"
        ("yes", True),
        ("off", False),
        ("n", False),
        ("y", True),
        ("012", 10),
        ("0o14", 12),
        ("0x1F", 31),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ('"012"', "012"),
        ("|\n  12\n", "12\n"),
        ("-7", -7),
        ("1_000", 1000),
        ("08", 8),
        (".", "."),
        ("e3", "e3"),
        ("[1, two]", [1, "two"]),
        ("{a: &x 1, b: *x}", {"a": 1, "b": 1}),
        ("{1: a, yes: b}", {"1": "a", "yes": "b"}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("{'<<': 1}", {"<<": 1}),
    ],
)
def test_yaml(text: str, value: Any) -> None:
    read, _ = yaml_reader.read(text)
    assert (read, type(read)) == (value, type(value))


def test_yaml_duplicates_are_named() -> None:
    _, twice = yaml_reader.read("spec:\n  list:\n  - {a: 1, a: 2}\n  x: 1\n  x: 2\n")
    assert twice == ("spec.list[0].a", "spec.x")


@pytest.mark.parametrize(
    "text", ["a: [", "!!python/object/apply:os.system ['true']", "!thing x", "? [a]\n: b", "a: *b", "!!binary YQ==", "\tx: 1"]
)
def test_yaml_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        yaml_reader.read(text)


def test_yaml_aliases_are_bounded() -> None:
    bomb = "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(TooLarge):
        yaml_reader.read(bomb)
    with pytest.raises(InvalidInput):
        yaml_reader.read("a: &a [*a]")


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
