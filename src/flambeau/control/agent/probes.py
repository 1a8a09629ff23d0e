"""Asking a container whether it is up, alive and ready; readiness fast until the first yes, at a steady pace afterwards.

A question is an HTTP request, a TCP connection, a gRPC health check or a command; hooks (``lifecycle``) are asked the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from flambeau.control.agent.commands import Inside
from flambeau.control.agent.machine import NO_ANSWER
from flambeau.control.resources.pod_ports import http_port
from flambeau.foundation.ask import ask
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Unavailable

OUR_PATH = "/v2/health/ready"
_STARTING_SECONDS = 0.05
"""Between probes until the first success: a ready pod should not wait for its probe."""
_STEADY_SECONDS = 1.0
"""Where the YAML names no period."""
_FAILURES_MAX = 3
"""Failures in a row that make a ready pod unready, as Kubernetes' default."""
_LIVENESS_PERIOD_SECONDS = 10.0
"""Kubernetes' default between questions about liveness and start-up."""
_MESSAGE_CHARS_MAX = 2000
_OUTPUT_BYTES_MAX = 4096
"""Of a command, for the message."""
_PREFER = ("Prefer", "wait=1")
"""Seconds; below the two that our servers are given for an answer."""
_GRPC_SERVING = b"\x08\x01"
"""HealthCheckResponse with status SERVING, as it is on the wire."""


@dataclass(frozen=True, slots=True)
class Probe:
    """How to ask."""

    port: int
    path: str | None
    """Of an HTTP question; None: it is enough that the port takes a connection."""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_seconds: float = 1.0
    command: tuple[str, ...] = ()
    """Asks by running it, where it is not empty."""
    grpc_service: str | None = None
    """Asks gRPC's health service for this name, where it is not None."""
    is_tls: bool = False
    delay_seconds: float = 0.0
    """Before the first question."""
    period_seconds: float = _STEADY_SECONDS
    failures_max: int = _FAILURES_MAX
    """So many in a row count."""
    successes_min: int = 1
    """So many in a row make ready."""
    may_wait: bool = False
    """A server that isn't ready yet may keep the question until it is (``Prefer: wait``, RFC 7240): it is not asked again and again,
    and a model that is loaded waits for no next question."""

    def patient(self) -> Probe:
        """Return how to ask a server that isn't ready yet."""
        return replace(self, headers=(*self.headers, _PREFER)) if self.may_wait else self


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pod answered; reason and message are empty when it is ready."""

    ready: bool
    reason: str = ""
    message: str = ""


def probe_for(container: Mapping[str, Any], *, ours: bool) -> Probe:
    """Return how to ask for readiness: our own servers at their health address, others as their YAML says, else by a TCP connection."""
    if ours:
        return Probe(http_port(container), OUR_PATH, timeout_seconds=2.0, may_wait=True)
    return question(container.get("readinessProbe") or {}, container)


def liveness_of(container: Mapping[str, Any]) -> Probe | None:
    """Return the question whose failing restarts a container; None where its YAML has none."""
    wanted = container.get("livenessProbe")
    return question(wanted, container, period=_LIVENESS_PERIOD_SECONDS) if wanted else None


def startup_of(container: Mapping[str, Any]) -> Probe | None:
    """Return the question to be answered once before the others begin; None where its YAML has none."""
    wanted = container.get("startupProbe")
    return question(wanted, container, period=_LIVENESS_PERIOD_SECONDS) if wanted else None


def question(wanted: Mapping[str, Any], container: Mapping[str, Any], *, period: float = _STEADY_SECONDS) -> Probe:
    """Return a probe, or the action of a hook, as something to ask.

    Args:
        wanted: as the YAML has it.
        container: whose ports the question may name.
        period: between questions, where the YAML names none.
    """
    own = http_port(container)
    http, tcp, grpc = (wanted.get(name) or {} for name in ("httpGet", "tcpSocket", "grpc"))
    has_http, has_grpc = wanted.get("httpGet") is not None, wanted.get("grpc") is not None
    return Probe(
        _port_number((http or tcp or grpc).get("port"), container, own),
        str(http.get("path") or "/") if has_http else None,
        tuple((str(header["name"]), str(header["value"])) for header in http.get("httpHeaders") or ()),
        float(wanted.get("timeoutSeconds") or 1),
        command=tuple(map(str, (wanted.get("exec") or {}).get("command") or ())),
        grpc_service=str(grpc.get("service") or "") if has_grpc else None,
        is_tls=str(http.get("scheme") or "").upper() == "HTTPS",
        delay_seconds=float(wanted.get("initialDelaySeconds") or 0),
        period_seconds=float(wanted.get("periodSeconds") or period),
        failures_max=int(wanted.get("failureThreshold") or _FAILURES_MAX),
        successes_min=int(wanted.get("successThreshold") or 1),
    )


def _port_number(named: Any, container: Mapping[str, Any], default: int) -> int:
    """Return a probe's port, which may be a number, the name of one of the container's ports, or 0 (Knative: the server's own)."""
    for port in container.get("ports") or ():
        if port.get("name") == named:
            return int(port["containerPort"])
    with contextlib.suppress(TypeError, ValueError):
        return int(named) or default
    return default


async def check(address: str, probe: Probe, inside: Inside | None = None) -> Verdict:
    """Ask once.

    Args:
        address: the pod's.
        probe: how to ask.
        inside: needed by a probe that is a command.
    """
    try:
        if probe.command:
            return await _run(probe, inside)
        if probe.grpc_service is not None:
            return await _check_grpc(address, probe)
        if probe.path is None or probe.is_tls:
            return await _check_port(address, probe)
        answer = await ask((address, probe.port), probe.path, headers=probe.headers, timeout_seconds=probe.timeout_seconds)
    except Unavailable as error:
        return Verdict(False, NO_ANSWER, f"readiness probe failed: {error.message}")
    if 200 <= answer.status < 400:
        return Verdict(True)
    return _refusal(answer.status, answer.body, probe.path)


async def _check_port(address: str, probe: Probe) -> Verdict:
    """Connect; to a port with TLS also shake hands, and believe whatever certificate it has, as Kubernetes does."""
    tls = ssl._create_unverified_context() if probe.is_tls else None  # noqa: S323 - nothing is sent but the question
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            reader, writer = await asyncio.open_connection(address, probe.port, ssl=tls)
            status = 200
            if probe.is_tls and probe.path is not None:
                headers = "".join(f"{name}: {value}\r\n" for name, value in probe.headers)
                writer.write(f"GET {probe.path} HTTP/1.1\r\nHost: {address}:{probe.port}\r\n{headers}Connection: close\r\n\r\n".encode())
                words = (await reader.readline()).split()
                status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    except TimeoutError:
        raise Unavailable(f"{address}:{probe.port} takes no connection within {probe.timeout_seconds:g} s") from None
    except OSError as error:
        raise Unavailable(f"{address}:{probe.port}: {os.strerror(error.errno) if error.errno else error}") from error
    writer.close()
    return Verdict(True) if 200 <= status < 400 else _refusal(status, b"", str(probe.path))


async def _check_grpc(address: str, probe: Probe) -> Verdict:
    import grpc  # noqa: PLC0415 - only pods that are asked this way pay for it

    service = str(probe.grpc_service).encode()
    request = b"\x0a" + bytes((len(service),)) + service if service else b""
    async with grpc.aio.insecure_channel(f"{address}:{probe.port}") as channel:
        try:
            answer: bytes = await channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=probe.timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"gRPC health of {address}:{probe.port}: {error.code().name} {error.details()}") from error
    if answer.startswith(_GRPC_SERVING):
        return Verdict(True)
    return Verdict(False, "Unhealthy", f"readiness probe failed: gRPC health of {address}:{probe.port} is not SERVING")


async def _run(probe: Probe, inside: Inside | None) -> Verdict:
    """Ask by a command, which is killed when it takes too long."""
    if inside is None:
        raise Unavailable(f"{probe.command[0]}: the container doesn't run")
    try:
        process = await asyncio.create_subprocess_exec(
            *probe.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=inside.directory,
            env=dict(inside.environment),
            start_new_session=True,
            **inside.run_as.options(),
        )
    except OSError as error:
        raise Unavailable(f"cannot run {probe.command[0]}: {error.strerror or error}") from error
    assert process.stdout is not None
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            output = b""
            while piece := await process.stdout.read(_OUTPUT_BYTES_MAX):
                output = (output + piece)[-_OUTPUT_BYTES_MAX:]
            code = await process.wait()
    except TimeoutError:
        raise Unavailable(f"{probe.command[0]} did not end within {probe.timeout_seconds:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
        await process.wait()
    if code == 0:
        return Verdict(True)
    words = output.decode(errors="replace").strip()
    return Verdict(
        False, "Unhealthy", f"readiness probe failed: {probe.command[0]} ended with status {code}" + (f": {words}" if words else "")
    )


def _refusal(status: int, body: bytes, path: str | None) -> Verdict:
    """Return why a server isn't ready: in its own words, where it has some."""
    fields: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        fields = orjson.loads(body)
    if isinstance(fields, dict) and isinstance(fields.get("message"), str):
        return Verdict(False, str(fields.get("reason") or "Unhealthy"), fields["message"][:_MESSAGE_CHARS_MAX])
    return Verdict(False, "Unhealthy", f"readiness probe failed: GET {path} answered {status}")


Ask = Callable[[Probe], Awaitable[Verdict]]
"""Ask a container once."""


async def watch(
    ask_once: Ask, probe: Probe, *, ready: bool, clock: Clock, tell: Callable[[Verdict], None], beat: Callable[[], Awaitable[None]]
) -> None:
    """Ask for readiness for ever; tell each change, each new reason and each failure that counts.

    Args:
        ask_once: asks.
        probe: how.
        ready: whether it counts as ready now.
        clock: for the pauses.
        tell: called with what is to be believed from now on.
        beat: called after each probe of the steady pace, for what else is to be looked at regularly.

    Cancel: nothing is left behind.
    """
    failures = successes = 0
    patient = probe.patient()
    if not ready:
        await clock.sleep(probe.delay_seconds)
    while True:
        verdict = await ask_once(probe if ready else patient)
        failures, successes = (0, successes + 1) if verdict.ready else (failures + 1, 0)
        enough = successes >= probe.successes_min if verdict.ready else failures >= probe.failures_max
        if verdict.ready != ready and enough:
            ready = verdict.ready
            tell(verdict)
        elif not ready and not verdict.ready:
            tell(verdict)
        if ready:
            await beat()
        await clock.sleep(probe.period_seconds if ready else min(_STARTING_SECONDS, probe.period_seconds))


async def until_up(ask_once: Ask, probe: Probe, clock: Clock) -> str:
    """Ask the start-up question until it is answered; return empty words then, or why it is given up.

    It is asked as fast as readiness is; given up only after the time that the YAML grants.

    Cancel: nothing is left behind.
    """
    await clock.sleep(probe.delay_seconds)
    deadline = clock.monotonic() + probe.failures_max * probe.period_seconds
    while not (verdict := await ask_once(probe)).ready:
        if clock.monotonic() >= deadline:
            return verdict.message.replace("readiness probe", "startup probe", 1)
        await clock.sleep(min(_STARTING_SECONDS, probe.period_seconds))
    return ""


async def until_dead(ask_once: Ask, probe: Probe, clock: Clock) -> str:
    """Ask for liveness until it has failed often enough in a row; return why.

    Cancel: nothing is left behind.
    """
    failures, message = 0, ""
    await clock.sleep(probe.delay_seconds)
    while failures < probe.failures_max:
        verdict = await ask_once(probe)
        failures, message = (0, "") if verdict.ready else (failures + 1, verdict.message)
        if failures < probe.failures_max:
            await clock.sleep(probe.period_seconds)
    return message.replace("readiness probe", "liveness probe", 1)
