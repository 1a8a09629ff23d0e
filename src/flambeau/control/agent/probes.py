"""Asking a pod whether it is ready: fast until the first yes, once a second afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from flambeau.control.agent.machine import NO_ANSWER
from flambeau.control.resources.pod_ports import http_port
from flambeau.foundation.ask import ask
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Unavailable

OUR_PATH = "/v2/health/ready"
_STARTING_SECONDS = 0.1
"""Between probes until the first success: a ready pod should not wait for its probe."""
_STEADY_SECONDS = 1.0
_FAILURES_MAX = 3
"""Failures in a row that make a ready pod unready, as Kubernetes' default."""
_MESSAGE_CHARS_MAX = 2000


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask."""

    port: int
    path: str | None
    """None: it is enough that the port takes a connection."""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pod answered; reason and message are empty when it is ready."""

    ready: bool
    reason: str = ""
    message: str = ""


def probe_for(container: Mapping[str, Any], *, ours: bool) -> Probe:
    """Return how to ask a container: our own servers at their health address, others as their YAML says, else by a TCP connection."""
    port = http_port(container)
    if ours:
        return Probe(port, OUR_PATH, timeout_seconds=2.0)
    wanted = container.get("readinessProbe") or {}
    timeout = float(wanted.get("timeoutSeconds", 1))
    http, tcp = wanted.get("httpGet"), wanted.get("tcpSocket")
    if http is not None:
        headers = tuple((str(header["name"]), str(header["value"])) for header in http.get("httpHeaders") or ())
        return Probe(_port_number(http.get("port"), container, port), str(http.get("path") or "/"), headers, timeout)
    return Probe(_port_number((tcp or {}).get("port"), container, port), None, (), timeout)


def _port_number(named: Any, container: Mapping[str, Any], default: int) -> int:
    """Return a probe's port, which may be a number, the name of one of the container's ports, or 0 (Knative: the server's own)."""
    for port in container.get("ports") or ():
        if port.get("name") == named:
            return int(port["containerPort"])
    with contextlib.suppress(TypeError, ValueError):
        return int(named) or default
    return default


async def check(address: str, probe: Probe) -> Verdict:
    """Ask once."""
    try:
        if probe.path is None:
            return await _check_port(address, probe)
        answer = await ask((address, probe.port), probe.path, headers=probe.headers, timeout_seconds=probe.timeout_seconds)
    except Unavailable as error:
        return Verdict(False, NO_ANSWER, f"readiness probe failed: {error.message}")
    if 200 <= answer.status < 400:
        return Verdict(True)
    return _refusal(answer.status, answer.body, probe.path)


async def _check_port(address: str, probe: Probe) -> Verdict:
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            _, writer = await asyncio.open_connection(address, probe.port)
    except TimeoutError:
        raise Unavailable(f"{address}:{probe.port} takes no connection within {probe.timeout_seconds:g} s") from None
    except OSError as error:
        raise Unavailable(f"{address}:{probe.port}: {os.strerror(error.errno) if error.errno else error}") from error
    writer.close()
    return Verdict(True)


def _refusal(status: int, body: bytes, path: str) -> Verdict:
    """Return why a server isn't ready: in its own words, where it has some."""
    fields: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        fields = orjson.loads(body)
    if isinstance(fields, dict) and isinstance(fields.get("message"), str):
        return Verdict(False, str(fields.get("reason") or "Unhealthy"), fields["message"][:_MESSAGE_CHARS_MAX])
    return Verdict(False, "Unhealthy", f"readiness probe failed: GET {path} answered {status}")


async def watch(
    address: str, probe: Probe, *, ready: bool, clock: Clock, tell: Callable[[Verdict], None], beat: Callable[[], Awaitable[None]]
) -> None:
    """Ask for ever; tell each change, each new reason and each failure that counts.

    Args:
        address: the pod's.
        probe: how to ask.
        ready: whether it counts as ready now.
        clock: for the pauses.
        tell: called with what is to be believed from now on.
        beat: called after each probe of the steady pace, for what else is to be looked at regularly.

    Cancel: nothing is left behind.
    """
    failures = 0
    while True:
        verdict = await check(address, probe)
        failures = 0 if verdict.ready else failures + 1
        if verdict.ready != ready and (verdict.ready or failures >= _FAILURES_MAX):
            ready = verdict.ready
            tell(verdict)
        elif not ready:
            tell(verdict)
        if ready:
            await beat()
        await clock.sleep(_STEADY_SECONDS if ready else _STARTING_SECONDS)
