"""The gateway's process: ``python -m flambeau.programs.gateway --listen HOST:PORT --home DIR [--tls-cert FILE --tls-key FILE]``.

``flambeau up`` starts it in a session of its own; it goes on when the control plane dies and reads the routes file by itself when it is
started again. SIGTERM and Ctrl-C drain it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import uvloop

from flambeau.foundation.errors import FlambeauError, NotFound
from flambeau.foundation.http1 import Limits, Server
from flambeau.foundation.logs import configure
from flambeau.foundation.memory import keep_freed_memory
from flambeau.foundation.open_files import allow_open_files
from flambeau.foundation.tls import context_of, follow_certificate
from flambeau.gateway.admin import ROUTES_NAME, SOCKET_NAME, Admin, read_table
from flambeau.gateway.cluster_listeners import ClusterListeners
from flambeau.gateway.proxy import Gateway

DRAIN_SECONDS_MAX = 30.0
"""From SIGTERM until what still runs is cut."""
CONNECTIONS_MAX = 8192
"""Clients at once."""
THREAD_TURN_SECONDS = 0.0005
"""So long a request waits for the thread that reads new routes (66 ms for 500 services); by default it would be 5 ms each time."""

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gateway until it is told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="flambeau gateway", description="Route HTTP requests to replicas by host and path.")
    parser.add_argument(
        "--listen", required=True, type=_address, metavar="HOST:PORT", help="where clients connect; port 0 takes a free one"
    )
    parser.add_argument("--home", required=True, type=Path, metavar="DIR", help="the platform's directory; uses DIR/gateway")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM); with it, clients speak TLS")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM), if the certificate's file does not hold it")
    arguments = parser.parse_args(argv)
    configure()
    keep_freed_memory()
    sys.setswitchinterval(THREAD_TURN_SECONDS)
    allow_open_files()
    try:
        tls = context_of(arguments.tls_cert, arguments.tls_key, ("h2", "http/1.1")) if arguments.tls_cert else None
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(arguments, tls))
    except FlambeauError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(arguments: argparse.Namespace, tls: ssl.SSLContext | None) -> None:
    directory = arguments.home / "gateway"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host, port = arguments.listen
    scheme = "http" if tls is None else "https"
    gateway = Gateway(f"{host}:{port}", scheme=scheme.encode())
    front = Server(gateway.application, Limits(connections_max=CONNECTIONS_MAX), http2=gateway.http2)
    directory.mkdir(parents=True, exist_ok=True)
    _load_what_is_there(gateway, directory / ROUTES_NAME)
    gateway.start()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(gateway.close)
        # The front's port first: a second gateway must not get as far as the first one's socket.
        stack.push_async_callback(front.close)
        bound_host, bound_port = await front.start(host=host, port=port, ssl=tls)
        gateway.address = f"{bound_host}:{bound_port}"
        listeners = ClusterListeners(front, host, bound_port)
        await listeners.follow(gateway.table.addresses)
        admin = Server(Admin(gateway, directory / ROUTES_NAME, listeners).application)
        stack.push_async_callback(admin.close)
        await admin.start_unix(directory / SOCKET_NAME)
        if tls is not None:
            gateway.tasks.keep("certificate", partial(follow_certificate, tls, arguments.tls_cert, arguments.tls_key))
        sys.stderr.write(f"gateway ready on {scheme}://{gateway.address}\n")  # at once: the log is written by a thread of its own
        sys.stderr.flush()
        gc.freeze()  # what is there now stays; collections need not walk it
        await stop.wait()
        _log.info("stopping: waiting up to %.0f s for running requests", DRAIN_SECONDS_MAX)
        gateway.drain()
        await front.drain(DRAIN_SECONDS_MAX)


def _load_what_is_there(gateway: Gateway, routes: Path) -> None:
    """Serve the last document; without one, or with a bad one, serve 404s until the next reload rather than not at all."""
    try:
        gateway.serve(read_table(routes))
    except NotFound:
        _log.info("no routes yet")
    except FlambeauError as error:
        _log.error("the routes document is not used: %s", error)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


if __name__ == "__main__":
    sys.exit(main())
