from __future__ import annotations

from typing import Any

import pytest

from flambeau.foundation.errors import Internal, InvalidInput
from flambeau.serving.protocol import envelope
from flambeau.serving.protocol.form import Rows


def opened(value: Any, name: str) -> list[object]:
    return envelope.opened(Rows([{"body": value}]), name).rows


def test_the_body_envelope_gives_the_value() -> None:
    assert opened(bytearray(b"x"), "body") == [bytearray(b"x")]
    assert envelope.opened(Rows([{"data": 1, "body": 2}]), "body").rows == [1]


@pytest.mark.parametrize("body", [bytearray(b'{"instances": [1, {"b64": "eA=="}, {"p": {"b64": "eA=="}}]}')])
def test_the_json_envelope_gives_instances(body: Any) -> None:
    assert opened(body, "json") == [1, b"x", {"p": b"x"}]


@pytest.mark.parametrize("body", [bytearray(b"no json"), {}, {"instances": []}, {"instances": 1}, [1], {"instances": [{"b64": "?"}]}, None])
def test_what_is_of_another_form_is_refused(body: Any) -> None:
    with pytest.raises(InvalidInput):
        opened(body, "json")


def test_answers_are_one_line() -> None:
    assert envelope.sealed([1, "a"]).body == b'{"predictions": [1, "a"]}'
    with pytest.raises(Internal, match="cannot be written as JSON"):
        envelope.sealed([object()])
