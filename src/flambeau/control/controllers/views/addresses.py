"""Cluster addresses: a loopback address for each name by which services call each other. Pure.

On a cluster ``X-predictor.ns`` is a name of the DNS; here it is an address of 127.255.x.y, on which the gateway listens, so that a caller
needs to know nothing of gateways or Host headers. A Service keeps the address that it was given first.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

from flambeau.foundation.errors import Unavailable

ADDRESSES = 255 * 254
"""127.255.0.1 to 127.255.254.254; pods have theirs below 127.255."""


def address_for(namespace: str, name: str, taken: Collection[str]) -> str:
    """Return an address that nobody has; the same for the same name, unless somebody has that.

    Raises:
        Unavailable: all are taken.
    """
    start = zlib.crc32(f"{namespace}/{name}".encode())
    for step in range(ADDRESSES):
        third, fourth = divmod((start + step) % ADDRESSES, 254)
        address = f"127.255.{third}.{fourth + 1}"
        if address not in taken:
            return address
    raise Unavailable(f"all {ADDRESSES} cluster addresses are taken", reason="NoClusterAddress")
