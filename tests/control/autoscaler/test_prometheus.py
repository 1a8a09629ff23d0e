"""As whom Prometheus is asked, and what it is asked at; the asking itself is tested with the autoscaler, against a real one."""

from __future__ import annotations

import base64

import pytest

from flambeau.control.autoscaler.prometheus import authorization, measure
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput


def secret(**texts: str) -> Object:
    return {"metadata": {"name": "s"}, "data": {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}}


def test_a_secret_says_who_asks() -> None:
    assert authorization(secret(bearerToken="abc\n")) == (("Authorization", "Bearer abc"),)
    pair = base64.b64encode(b"me:word").decode()
    assert authorization(secret(username="me", password="word")) == (("Authorization", f"Basic {pair}"),)


@pytest.mark.parametrize("texts", [{}, {"password": "x"}, {"bearerToken": "a\r\nX: y"}])
def test_a_secret_that_says_nobody_is_refused(texts: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="Secret s does not say as whom"):
        authorization(secret(**texts))


@pytest.mark.parametrize("address", ["prometheus:9090", "ftp://prometheus", "http://", "http://prometheus:port"])
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="is no address"):
        await measure(address, "up", None)
