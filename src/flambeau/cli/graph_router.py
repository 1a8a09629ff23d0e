"""``flambeau graph-router``: what an InferenceGraph's pod runs."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from flambeau.programs import graph_router as program
from flambeau.programs.settings.graph_router import Flags, router_settings


def graph_router(
    *,
    graph_json: Annotated[str, Parameter(name="--graph-json")],
    gateway: str | None = None,
    inside: Annotated[str, Parameter(name="--inside")] = "",
    timeout: float = 300.0,
    call_timeout: Annotated[float, Parameter(name="--call-timeout")] = 300.0,
    read_timeout: Annotated[float, Parameter(name="--read-timeout")] = 60.0,
    idle_timeout: Annotated[float, Parameter(name="--idle-timeout")] = 180.0,
) -> int:
    """Answer requests by an inference graph until SIGTERM or Ctrl-C.

    Args:
        graph_json: an InferenceGraph's spec, as in '{"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceUrl": "http://..."}]}}}'.
        gateway: where names inside the cluster are asked, as in http://127.0.0.1:8000; where they say if nothing is said.
        inside: comma list of hosts that are asked at the gateway, too, as in mnist.default.
        timeout: seconds for a request, as in 60.
        call_timeout: seconds for one call of a service, as in 30.
        read_timeout: seconds between two pieces of a request, as in 60.
        idle_timeout: seconds that a client's connection may be idle, as in 180.
    """
    flags = Flags(graph_json, gateway, inside, timeout, call_timeout, read_timeout, idle_timeout)
    return program.run(router_settings(flags, os.environ))
