"""Resolve a host once, look at every address it has, and connect to those alone.

So nobody can give the check one address and the connection another. Used by every fetch; the libraries that resolve by themselves (obstore)
are preceded by the check.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from flambeau.foundation.errors import Unavailable
from flambeau.storage.destinations import is_forbidden
from flambeau.storage.place import port_of

ADDRESSES_MAX = 4
"""Of one host that are tried, one after the other."""


async def addresses_of(host: str, port: int) -> list[str]:
    """Return a host's addresses, best first, at most ADDRESSES_MAX; all it has are looked at.

    Raises:
        OSError: it is not known.
        Unavailable: one of them is where a machine's own credentials are told (EndpointRefused).
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is no name of a host") from error
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if is_forbidden(address):
            which = f"{host}: it" if address == host else f"{host}: its address {address}"
            raise Unavailable(
                f"cannot fetch from {which} is where a machine's own credentials are told (link-local or metadata)",
                hint="name the server's own address",
                reason="EndpointRefused",
            )
    return addresses[:ADDRESSES_MAX]


async def check(url: str) -> None:
    """Look at the addresses of a URL's host, for a client that resolves it by itself; a host that is not known is left to that client.

    Raises:
        Unavailable: as ``addresses_of``.
    """
    with suppress(OSError):
        await addresses_of(urlsplit(url).hostname or "", port_of(url))


def proxy_for(url: str) -> str | None:
    """Return the proxy that this process's environment names for a URL: it resolves the host, so nothing can be pinned."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


class PinnedTransport(httpx2.AsyncBaseTransport):
    """Connect to the checked addresses of a request's host; TLS and the Host header stay the name's.

    Args:
        trust: whose certificates are believed.
    """

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._transport = httpx2.AsyncHTTPTransport(verify=trust, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Ask at one address after the other until one takes the connection.

        Raises:
            httpx2.ConnectError: none does, or the host is not known.
            Unavailable: as ``addresses_of``.
        """
        host = request.url.raw_host.decode("ascii")
        try:
            addresses = await addresses_of(host, request.url.port or port_of(str(request.url)))
        except OSError as error:
            raise httpx2.ConnectError(f"{host} is not known: {error.strerror or error}", request=request) from error
        extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._ask_at(address, request, extensions)
        return await self._ask_at(addresses[-1], request, extensions)

    async def _ask_at(self, address: str, request: httpx2.Request, extensions: dict[str, object]) -> httpx2.Response:
        pinned = httpx2.Request(
            request.method, request.url.copy_with(host=address), headers=request.headers, stream=request.stream, extensions=extensions
        )
        return await self._transport.handle_async_request(pinned)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._transport.aclose()
