"""Metrics as TorchServe's log lines, for the modes ``log`` and ``legacy``. Pure.

    Requests2XX.Count:1.0|#Level:Host|#hostname:h,timestamp:1795632675
    Seen.Count:2.0|#ModelName:m,Level:Model|#hostname:h,requestID:f35456f6,timestamp:1795632675

The time at the head of a line is the log's own.
"""

from __future__ import annotations

from collections.abc import Iterable

_BREAKS = str.maketrans("\r\n", "  ")


def metric_line(name: str, unit: str, value: float, dimensions: Iterable[tuple[str, str]], *, host: str, now: float, ids: str = "") -> str:
    """Return one line, without a line break.

    Args:
        name: the metric's.
        unit: as declared.
        value: of this update, not the sum.
        dimensions: without the host's name.
        host: this machine's name.
        now: seconds since the epoch.
        ids: of the requests that it is about, commas between them; empty for the server's own.
    """
    named = ",".join(f"{key}:{text}" for key, text in dimensions)
    about = f",requestID:{ids}" if ids else ""
    return f"{name}.{unit}:{float(value)!r}|#{named}|#hostname:{host}{about},timestamp:{int(now)}".translate(_BREAKS)
