"""Which addresses no model is fetched from, however they are written."""

from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.storage.destinations import is_forbidden
from flambeau.storage.uri import parse_uri


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "2852039166",
        "0xa9fea9fe",
        "0xA9.0xFE.0xA9.0xFE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.16689662",
        "fe80::1",
        "fe80::1%eth0",
        "[fe80::1]",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_where_credentials_are_told_is_forbidden(host: str) -> None:
    assert is_forbidden(host)
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    with pytest.raises(InvalidInput, match="link-local") as caught:
        parse_uri(f"http://{shown}/m.pt")
    assert caught.value.reason == "InvalidStorageUri"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "::1",
        "::ffff:127.0.0.1",
        "10.1.2.3",
        "192.168.1.1",
        "fd00::1",
        "93.184.216.34",
        "2606:2800:220:1::1",
        "models.example",
        "metadata",
        "169.254.169.254.example",
        "1.2.3.4.5",
        "256.1",
        "99999999999",
        "0x",
        "08",
        "-1",
        "1_0",
        "",
    ],
)
def test_others_are_not(host: str) -> None:
    assert not is_forbidden(host)
