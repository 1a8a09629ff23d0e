from __future__ import annotations

import json
import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.protocol.json_text import JSON_DEPTH_MAX, read_json, write_compact_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_it_reads_what_json_writes_with_nan_and_infinities(value: object) -> None:
    assert repr(read_json(json.dumps(value).encode())) == repr(value)


@given(st.binary(max_size=100))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    try:
        read_json(data)
    except InvalidInput:
        return


@pytest.mark.parametrize("ending", [b"", b"NaN"])
def test_depth_is_bounded(ending: bytes) -> None:
    deep = JSON_DEPTH_MAX * 100
    with pytest.raises(TooLarge, match="1024 levels"):
        read_json(b"[" * deep + ending + b"]" * deep)


def test_errors_say_where() -> None:
    with pytest.raises(InvalidInput, match="line 2 column"):
        read_json(b'{"a": 1,\n x}')
    with pytest.raises(InvalidInput, match="not JSON"):
        read_json(b'{"a": NaN x}')


def test_arrays_tensors_and_their_kin_are_numbers_and_nan_is_null() -> None:
    value = {"array": numpy.arange(3), "scalar": numpy.float32(0.5), "nan": math.nan, "tuple": (1, {2}), "bytes": b"x", 3: 4}
    assert write_compact_json(value) == b'{"array":[0,1,2],"scalar":0.5,"nan":null,"tuple":[1,[2]],"bytes":"x","3":4}'
    with pytest.raises(TypeError):
        write_compact_json(object())
