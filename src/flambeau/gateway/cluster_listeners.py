"""Listen where services' names lead to: loopback addresses that the routes document lists, on the gateway's own port, in plain text.

A pod that calls ``X-predictor.ns`` is led to such an address; the Host header that its client makes of it is a host of the document. So
requests between services take the same way as all others, and one that finds no replica wakes one.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Collection

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.http1 import Server

_log = logging.getLogger(__name__)


class ClusterListeners:
    """Keep a server listening on exactly the addresses that are wanted.

    Args:
        server: what takes the connections.
        host: where it listens anyway: one that means every address needs no more listeners.
        port: of all addresses.
    """

    def __init__(self, server: Server, host: str, port: int) -> None:
        self._server = server
        self._port = port
        self._is_everywhere = _is_unspecified(host)
        self._open: set[str] = set()

    async def follow(self, addresses: Collection[str]) -> None:
        """Listen on these, and on no others. One that can't be bound is told in the log and tried again the next time."""
        if self._is_everywhere:
            return
        for address in self._open.difference(addresses):
            self._server.stop_listening(address, self._port)
            self._open.discard(address)
        for address in addresses:
            if address in self._open:
                continue
            try:
                await self._server.start(host=address, port=self._port)
            except Unavailable as error:
                _log.error("services cannot reach each other at a cluster address: %s", error)
            else:
                self._open.add(address)


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
