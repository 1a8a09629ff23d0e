"""How long each station of ours had a request, told to a client that asks for it: the Server-Timing header (W3C).

A client asks with ``x-flambeau-timing: 1``; each station that answers adds a line of its own, so that none reads another's. Stations lie
in one another: ``gateway`` holds ``server``, that is ``receive``, ``queue`` and ``worker``, and ``worker`` holds ``decode``, ``handler``
and ``encode``. Written by the gateway, the model server's doors and its workers, read by ``flambeau bench``. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ASK = "x-flambeau-timing"
"""The request header; its value does not matter."""
NAME = "server-timing"
"""The answer's."""

_ENTRY = re.compile(r"""\s*([\w-]+)((?:;[\w-]+=(?:"[^"]*"|[^,;"]*))*)\s*(?:,|$)""")
_PARAMETER = re.compile(r""";([\w-]+)=(?:"([^"]*)"|([^,;"]*))""")


def duration(name: str, seconds: float) -> str:
    """Return an entry of the header: milliseconds, to the microsecond."""
    return f"{name};dur={seconds * 1000:.3f}"


def durations_of(values: Iterable[str]) -> dict[str, float]:
    """Return the seconds of each entry of an answer's headers; what has no number of its own is left out.

    Args:
        values: of all its Server-Timing headers.
    """
    found: dict[str, float] = {}
    for name, parameters in _entries(values):
        try:
            found[name] = float(parameters["dur"]) / 1000
        except (KeyError, ValueError):
            continue
    return found


def descriptions_of(values: Iterable[str]) -> dict[str, str]:
    """Return what the entries of an answer's headers say beside numbers."""
    return {name: parameters["desc"] for name, parameters in _entries(values) if "desc" in parameters}


def _entries(values: Iterable[str]) -> Iterable[tuple[str, dict[str, str]]]:
    for value in values:
        for name, rest in _ENTRY.findall(value):
            yield name, {each: quoted or plain for each, quoted, plain in _PARAMETER.findall(rest)}
