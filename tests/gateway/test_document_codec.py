"""Documents survive JSON, and wrong ones are told where they are wrong."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import Backend, Destination, Document, Endpoint, Host, MatchType, RequestMatch, Rewrite, Rule, TextMatch
from flambeau.gateway.document_codec import decode, encode

RULE = Rule(
    destinations=(Destination(weight=90, backend="n/r"), Destination(weight=10, reroute=True, host="x")),
    matches=(RequestMatch(uri=TextMatch(MatchType.REGEX, "/.*", True), headers=(("a", TextMatch(MatchType.EXACT, "b")),)),),
    rewrite=Rewrite(uri="/", authority="y"),
    timeout_seconds=3.5,
    source="VirtualService n/v",
)
DOCUMENT = Document(7, (Host("*.a", (RULE,)),), (Backend("n/r", (Endpoint("127.0.1.2", 8080, "n/p"),), 60.0, 2, 30.0, "why"),))


def test_a_document_survives() -> None:
    assert decode(encode(DOCUMENT)) == DOCUMENT
    assert decode(b'{"version": 1}') == Document(1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": "1"}, "document.version: expected int, found str"),
        ({"version": True}, "document.version: expected int, found bool"),
        ({"hosts": {}}, "document.hosts: expected a list, found dict"),
        (
            {"hosts": [{"name": "a", "rules": [{"destinations": [], "timeout_secs": 1}]}]},
            "document.hosts[0].rules[0].timeout_secs: unknown field",
        ),
        ({"hosts": [{"name": "a"}]}, "document.hosts[0].rules: missing"),
        (
            {"hosts": [{"name": "a", "rules": [{"destinations": [], "matches": [{"uri": {"type": "glob", "value": "x"}}]}]}]},
            "'glob' is none of",
        ),
        ({"hosts": [{"name": "a", "rules": [{"destinations": [], "matches": [{"headers": [["a"]]}]}]}]}, "expected 2 items, found 1"),
        ({"backends": [{"name": "a", "endpoints": [3]}]}, "document.backends[0].endpoints[0]: expected an object, found int"),
    ],
)
def test_a_wrong_document_is_told_where(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)):
        decode(orjson.dumps({"version": 1, **change}))


def test_what_is_near_is_suggested() -> None:
    with pytest.raises(InvalidInput) as error:
        decode(b'{"version": 1, "host": []}')
    assert error.value.hint == "did you mean hosts?"
    with pytest.raises(InvalidInput, match="not JSON"):
        decode(b"{")
