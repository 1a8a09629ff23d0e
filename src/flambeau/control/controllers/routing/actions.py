"""What a VirtualService's rule does beside leading somewhere, in the gateway's words. Pure; source: specification 5.4."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.kind import Object
from flambeau.gateway.document import Cors, DirectResponse, Fault, HeaderChanges, Headers, MatchType, Redirect, TextMatch

Warn = Callable[[str], None]
_HOST_NAMES = frozenset(("host", ":authority"))


def headers(entry: Object | None) -> Headers | None:
    """Return the header changes; a Host that is set is a rewrite of the authority, see ``host_set``."""
    if not entry:
        return None
    made = Headers(*(_changes(entry.get(direction) or {}) for direction in ("request", "response")))
    return None if made == Headers() else made


def host_set(entry: Object | None) -> str | None:
    """Return the Host that header changes set, which KServe's own routes do."""
    for name, value in (((entry or {}).get("request") or {}).get("set") or {}).items():
        if name.lower() in _HOST_NAMES:
            return str(value)
    return None


def _changes(entry: Object) -> HeaderChanges:
    return HeaderChanges(
        set=tuple((name, str(value)) for name, value in (entry.get("set") or {}).items() if name.lower() not in _HOST_NAMES),
        add=tuple((name, str(value)) for name, value in (entry.get("add") or {}).items()),
        remove=tuple(entry.get("remove") or ()),
    )


def redirect(entry: Object | None) -> Redirect | None:
    """Return a redirect; a port derived from the protocol is the one that a URL without a port has."""
    if not entry:
        return None
    return Redirect(
        uri=entry.get("uri"),
        authority=entry.get("authority"),
        scheme=entry.get("scheme"),
        port=int(entry.get("port") or 0),
        code=int(entry.get("redirectCode") or 301),
    )


def direct_response(entry: Object | None, warn: Warn) -> DirectResponse | None:
    """Return a direct response; bytes that are no text are left out."""
    if not entry:
        return None
    body = entry.get("body") or {}
    text = str(body.get("string") or "")
    if body.get("bytes"):
        try:
            text = base64.b64decode(body["bytes"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            warn("spec.http.directResponse.body.bytes is no base64 of UTF-8; the answer has no body")
    return DirectResponse(int(entry["status"]), text)


def fault(entry: Object | None, warn: Warn) -> Fault | None:
    """Return trouble on purpose."""
    if not entry:
        return None
    delay, abort = entry.get("delay") or {}, entry.get("abort") or {}
    for name in ("http2Error", "grpcStatus"):
        if abort.get(name):
            warn(f"spec.http.fault.abort.{name} is not done here, only httpStatus is")
    if delay.get("exponentialDelay"):
        warn("spec.http.fault.delay.exponentialDelay is not done here, only fixedDelay is")
    made = Fault(
        delay_seconds=seconds(delay.get("fixedDelay"), "spec.http.fault.delay.fixedDelay", warn) or 0.0,
        delay_percent=_percent(delay, 100.0),
        abort_status=int(abort.get("httpStatus") or 0),
        abort_percent=_percent(abort, 100.0),
    )
    return made if made.delay_seconds or made.abort_status else None


def cors(entry: Object | None, warn: Warn) -> Cors | None:
    """Return what pages of other origins may do."""
    if not entry:
        return None
    if entry.get("unmatchedPreflights") == "FORWARD":
        warn("spec.http.corsPolicy.unmatchedPreflights FORWARD is not done here: the gateway answers every preflight")
    exact = tuple(
        TextMatch(MatchType.PREFIX if each == "*" else MatchType.EXACT, "" if each == "*" else each)
        for each in entry.get("allowOrigin") or ()
    )
    matches = tuple(match for each in entry.get("allowOrigins") or () if (match := text(each)) is not None)
    anybody = tuple(TextMatch(MatchType.PREFIX, "") if each == TextMatch(MatchType.EXACT, "*") else each for each in (*exact, *matches))
    return Cors(
        anybody,
        methods=tuple(entry.get("allowMethods") or ()),
        headers=tuple(entry.get("allowHeaders") or ()),
        expose=tuple(entry.get("exposeHeaders") or ()),
        credentials=bool(entry.get("allowCredentials")),
        max_age_seconds=int(seconds(entry.get("maxAge"), "spec.http.corsPolicy.maxAge", warn) or 0),
    )


def attempts(entry: Object | None, warn: Warn) -> int:
    """Return how many connections to try; 0: as usual. Only what no replica has seen a byte of is tried again."""
    if not entry or entry.get("attempts") is None:
        return 0
    idle = [name for name in ("perTryTimeout", "retryOn") if entry.get(name)]
    if idle:
        warn(f"spec.http.retries.{' and '.join(idle)} has no effect: only what no replica has begun is tried again, at once")
    return min(int(entry["attempts"]), 9) + 1


def mirrors(entry: Object) -> Sequence[tuple[str, float]]:
    """Return (destination host, percent) of each mirror."""
    found: list[tuple[str, float]] = []
    if entry.get("mirror"):
        old = next((entry[name] for name in ("mirrorPercent", "mirror_percent") if entry.get(name) is not None), 100)
        percentage = entry.get("mirrorPercentage")
        found.append((str(entry["mirror"].get("host", "")), float(old) if percentage is None else float(percentage.get("value") or 0.0)))
    for each in entry.get("mirrors") or ():
        percentage = each.get("percentage")
        host = str((each.get("destination") or {}).get("host", ""))
        found.append((host, 100.0 if percentage is None else float(percentage.get("value") or 0.0)))
    return [(host.lower().rstrip("."), percent) for host, percent in found if percent > 0]


def seconds(value: str | None, place: str, warn: Warn) -> float | None:
    """Return a duration, or None where there is none or it is one in name only."""
    if not value:
        return None
    try:
        return duration_seconds(value) or None
    except ValueError:
        warn(f'{place} "{value}" is no duration; it is not applied')
        return None


def text(entry: Mapping[str, Any] | None, *, ignore_case: bool = False) -> TextMatch | None:
    """Return a condition on a text."""
    for type in MatchType:
        if entry and type.value in entry:
            return TextMatch(type, entry[type.value], ignore_case)
    return None


def _percent(entry: Object, usual: float) -> float:
    """Return a share: an integer in old objects, a percentage in new ones."""
    if entry.get("percentage") is not None:
        return float(entry["percentage"].get("value") or 0.0)
    return float(entry.get("percent") or usual)
