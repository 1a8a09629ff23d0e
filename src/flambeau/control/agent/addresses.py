"""An address of its own for each pod: 127.x.y.z, so that many pods keep the same ports, as in Kubernetes."""

from __future__ import annotations

import contextlib
import socket
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

from flambeau.foundation.errors import Unavailable

_TRIES_MAX = 4096
"""Addresses looked at for one pod before giving up."""


class Addresses:
    """Hand out loopback addresses, each only once while this object lives.

    Two platforms on one machine start at different places (a hash of their home), and an address on which somebody already has one of
    the pod's ports is passed over. An address that became free is not used again soon: connections to the old pod may still be kept
    somewhere.

    Args:
        home: the platform's directory.
    """

    def __init__(self, home: Path) -> None:
        self._candidates = _candidates(zlib.crc32(str(home.resolve()).encode()))
        self._taken: set[str] = set()

    def reserve(self, address: str) -> None:
        """Keep an address from being handed out: an adopted pod has it."""
        self._taken.add(address)

    def release(self, address: str) -> None:
        """Let an address be handed out again, once all others were."""
        self._taken.discard(address)

    def take(self, ports: Collection[int]) -> str:
        """Return an unused address.

        Args:
            ports: that must be free there.

        Raises:
            Unavailable: none was found.
        """
        for _ in range(_TRIES_MAX):
            address = next(self._candidates)
            if address not in self._taken and all(_is_free(address, port) for port in ports):
                self._taken.add(address)
                return address
        raise Unavailable(
            f"no loopback address with the ports {sorted(ports)} free among {_TRIES_MAX}",
            hint="pods need addresses of their own (127.x.y.z), which Linux has by default",
            reason="NoPodAddress",
        )


def _candidates(seed: int) -> Iterator[str]:
    """Yield 127.1.0.1 to 127.254.255.254 for ever, from a place that the seed chooses; 127.0.x.y is left to the machine."""
    total = 254 * 256 * 254
    index = seed % total
    while True:
        index = (index + 1) % total
        high, low = divmod(index, 254)
        first, second = divmod(high, 256)
        yield f"127.{first + 1}.{second}.{low + 1}"


def _is_free(address: str, port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
