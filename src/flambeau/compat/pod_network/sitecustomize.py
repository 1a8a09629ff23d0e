"""Let a Python program in a pod that listens on all addresses listen on the pod's own.

In a cluster a pod has a network of its own, and servers listen on ``0.0.0.0``: KServe's SDK, uvicorn and gRPC servers do, and offer no
flag to change it. Here pods share the machine's network; each has an address of its own, and one server that listens on all of them
would take its port away from every other pod. The agent puts this folder first on the PYTHONPATH of programs that aren't ours, and
Python imports ``sitecustomize`` by itself; a sitecustomize that stands behind this one is run as well.

It is loaded into programs that we know nothing of: it imports little, works from Python 3.8 on, and changes nothing but the address.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from typing import Any

_ADDRESS = os.environ.get("FLAMBEAU_POD_IP", "")
_EVERYWHERE = (None, "", "0.0.0.0", "::", "[::]")  # noqa: S104 - compared, not bound


def _own(host: Any) -> Any:
    return _ADDRESS if host in _EVERYWHERE else host


def _narrow_socket(module: Any) -> None:
    """Sockets of the standard library, and so of asyncio, gunicorn, Flask, aiohttp and others."""
    plain = module.socket.bind

    def bind(self: Any, address: Any) -> None:
        if self.type == module.SOCK_STREAM and isinstance(address, tuple) and address[0] in _EVERYWHERE and address[1]:
            if self.family == module.AF_INET:
                address = (_ADDRESS, address[1])
            elif self.getsockopt(module.IPPROTO_IPV6, module.IPV6_V6ONLY):
                address = ("::1", 0)  # the IPv4 socket beside it is the one that is asked
            else:
                address = (f"::ffff:{_ADDRESS}", address[1])
        plain(self, address)

    module.socket.bind = bind


def _narrow_uvloop(module: Any) -> None:
    """uvloop binds by itself."""
    plain = module.Loop.create_server

    async def create_server(self: Any, factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        return await plain(self, factory, _own(host) if port else host, port, **more)

    module.Loop.create_server = create_server


def _narrow_grpc(servers: Any) -> None:
    """gRPC binds by itself."""
    for name in ("add_insecure_port", "add_secure_port"):
        setattr(servers, name, _with_own_address(getattr(servers, name)))


def _with_own_address(plain: Any) -> Any:
    def add_port(self: Any, address: Any, *more: Any, **named: Any) -> Any:
        if isinstance(address, str):
            host, colon, port = address.rpartition(":")
            if colon and host in _EVERYWHERE and port.strip("0"):
                address = f"{_ADDRESS}:{port}"
        return plain(self, address, *more, **named)

    return add_port


_CHANGES: dict[str, Any] = {
    "socket": _narrow_socket,
    "uvloop": _narrow_uvloop,
    "grpc._server": lambda module: _narrow_grpc(module._Server),
    "grpc.aio._server": lambda module: _narrow_grpc(module.Server),
}


class _Finder:
    """Change a module right after it was loaded, if it ever is."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        """Return what the other finders find, with a loader that changes the module."""
        change = _CHANGES.get(name)
        if change is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                load: Any = spec.loader.exec_module

                def load_and_change(module: Any) -> None:
                    load(module)  # noqa: B023 - returned right after
                    change(module)

                spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
                return spec
        return None


def _run_next() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    behind = [place for place in sys.path if os.path.abspath(place) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", behind)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if _ADDRESS:
    for _name, _change in _CHANGES.items():
        if _name in sys.modules:
            _change(sys.modules[_name])
    sys.meta_path.insert(0, _Finder)
_run_next()
