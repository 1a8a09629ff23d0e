"""Who may come in: every request passes here before anything else sees it; what isn't listed as open is closed.

Checks the Host (a page in a browser that rebinds its name to 127.0.0.1 sends its own name), the Origin (no page may call) and the bearer
token. Source: users-and-peers.md 4.2, R3, R8, R9.
"""

from __future__ import annotations

import hmac
import ipaddress

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from flambeau.control.apiserver import status
from flambeau.control.apiserver.answers import status_answer
from flambeau.control.apiserver.status import Unauthorized
from flambeau.foundation.errors import Denied, FlambeauError, InvalidInput

OPEN_PATHS = frozenset(("/livez", "/readyz", "/healthz", "/version"))
"""What anybody on the machine may ask."""


class Guard:
    """Pass on what may pass.

    Args:
        app: what is guarded.
        token: the only one that opens.
        host_names: names, besides ``localhost`` and literal addresses, that clients may call us by.
    """

    def __init__(self, app: ASGIApp, *, token: str, host_names: frozenset[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._host_names = host_names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI call, or hand it on."""
        if scope["type"] != "http":
            return
        connection = HTTPConnection(scope)
        try:
            self._check_host(connection)
            if scope["path"] not in OPEN_PATHS:
                self._check_token(connection)
        except FlambeauError as error:
            await status_answer(status.of_error(error))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, connection: HTTPConnection) -> None:
        hosts = connection.headers.getlist("host")
        if len(hosts) != 1:
            raise InvalidInput(f"the request has {len(hosts)} Host headers: it must have one")
        name = _host_name(hosts[0])
        if name not in self._host_names and not _is_address(name):
            raise Denied("the Host of the request is none of this API server's", hint="use the server address of the kubeconfig")
        origin = connection.headers.get("origin")
        if origin is not None and origin != f"https://{hosts[0]}":
            raise Denied("requests made by web pages of other origins are refused")

    def _check_token(self, connection: HTTPConnection) -> None:
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            raise Unauthorized("the request carries no valid bearer token", hint="use the kubeconfig that `flambeau up` writes")


def _host_name(host: str) -> str:
    """Return a Host header without its port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    """Tell whether a host is a literal address; no name server can point that elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
