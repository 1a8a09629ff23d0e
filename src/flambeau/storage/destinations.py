"""Where no model is fetched from, however its address is written. Pure.

A cloud tells a machine its own credentials at link-local addresses and a few others: whoever names a model must not read them that way.
Loopback and private addresses are fetched from: object stores stand there.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    )  # AWS, Google, Alibaba, Azure, Oracle
)
"""Where clouds tell credentials, beside link-local addresses."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as NAT64 writes them."""
_COMPATIBLE = ipaddress.IPv6Network("::/96")
"""IPv4 addresses as they were once written in IPv6."""
_NUMBER_BASES = {"0x": 16, "0X": 16}


def is_forbidden(host: str) -> bool:
    """Tell whether a host is an address, in any way of writing it, where a cloud tells a machine its credentials.

    A name is never one here: what it stands for is looked at when it is resolved (``pinning``).
    """
    address = _written_address(host)
    if address is None:
        return False
    return any(each.is_link_local or each.is_multicast or each in _METADATA for each in (address, _inner(address)))


def _inner(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address leads to, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED or address in _COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _written_address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return _counted_address(host)


def _counted_address(host: str) -> ipaddress.IPv4Address | None:
    """Return what resolvers make of numbers: one to four parts, decimal, octal or hexadecimal, the last one filling what is left."""
    try:
        parts = [_number(part) for part in host.split(".")]
    except ValueError:
        return None
    *first, last = parts
    if len(parts) > 4 or any(part > 0xFF for part in first) or last >= 1 << 8 * (4 - len(first)):
        return None
    return ipaddress.IPv4Address(sum(part << 8 * (3 - place) for place, part in enumerate(first)) + last)


def _number(text: str) -> int:
    if not text.isascii() or not text.isalnum():
        raise ValueError(text)
    if base := _NUMBER_BASES.get(text[:2]):
        return int(text[2:], base)
    return int(text, 8 if text.startswith("0") else 10)
