"""Amounts as Kubernetes writes them: ``500m`` cores, ``1.5Gi`` of memory. Pure."""

from __future__ import annotations

import re
from typing import Any

_FACTORS = {
    **{suffix: 10.0 ** (3 * power) for suffix, power in (("n", -3), ("u", -2), ("m", -1), ("", 0))},
    **{suffix: 10.0 ** (3 * power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{suffix}i": 1024.0**power for power, suffix in enumerate(("K", "M", "G", "T", "P", "E"), 1)},
}
_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")


def amount(quantity: Any) -> float | None:
    """Return what a quantity means, as cores or bytes; None where there is none, or it can't be read."""
    match = _FORM.fullmatch(str(quantity).strip()) if quantity is not None else None
    if match is None:
        return None
    number, suffix = float(match.group(1)), match.group(2) or ""
    return number * _FACTORS[suffix] if suffix in _FACTORS else float(match.group(0))


def milli(value: float) -> str:
    """Return a number with at most three decimals as a quantity: ``250m``, ``2``."""
    thousandths = round(value * 1000)
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"
