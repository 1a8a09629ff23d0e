"""A benchmark's picture: latency and requests a second over connections, and where the time goes, as SVG or a page with it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from flambeau.programs.bench.figures import PHASES, QUANTILES, Measured
from flambeau.programs.bench.report import label_of, milliseconds

_WIDTH = 760
_PANEL = 220
_LEFT = 90
_RIGHT = 40
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#bab0ac")


def as_svg(measured: Measured) -> str:
    """Return the picture."""
    labels = [label_of(level) for level in measured.levels]
    closed = [level for level in measured.levels if level.rate is None]
    panels = [
        _bars("requests/s", labels, [[level.throughput] for level in measured.levels], ("answered",), "{:,.0f}"),
        _lines("latency, ms", labels, [level.latencies.quantiles() for level in measured.levels], joined=len(closed)),
    ]
    means = [split.means() for split in measured.splits]
    if any(means):
        stacked = [[each.get(key, 0.0) * 1000 for key, _, _ in PHASES] for each in means]
        panels.append(_bars("where the time goes, mean ms", labels, stacked, tuple(name for _, name, _ in PHASES), "{:.3g}"))
    height = 50 + len(panels) * (_PANEL + 60)
    body = "\n".join(f'<g transform="translate(0 {50 + number * (_PANEL + 60)})">{panel}</g>' for number, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n'
        f'<text x="16" y="26" font-size="15">{escape(measured.question.url)}</text>\n{body}\n</svg>\n'
    )


def as_page(measured: Measured, text: str) -> str:
    """Return a web page with the picture and the report's text."""
    title = escape(f"flambeau bench {measured.question.url}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>\n{as_svg(measured)}<pre>{escape(text)}</pre>\n</body></html>\n"
    )


def _frame(title: str, labels: Sequence[str], most: float, names: Sequence[str], form: str) -> list[str]:
    """Return what all panels have: title, names of the colours, two axes with their numbers."""
    parts = [f'<text x="16" y="0" font-weight="bold">{escape(title)}</text>']
    at = _LEFT
    for number, name in enumerate(names if len(names) > 1 else ()):
        parts.append(f'<rect x="{at}" y="8" width="10" height="10" fill="{_COLOURS[number]}"/><text x="{at + 14}" y="17">{name}</text>')
        at += 28 + 7 * len(name)
    for step in range(5):
        y = _y(most * step / 4, most)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{form.format(most * step / 4)}</text>')
    for number, label in enumerate(labels):
        parts.append(f'<text x="{_x(number, len(labels)):.1f}" y="{_PANEL + 22}" text-anchor="middle">{escape(label)}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_PANEL + 38}" text-anchor="end" fill="#666">connections</text>')
    return parts


def _bars(title: str, labels: Sequence[str], stacks: Sequence[Sequence[float]], names: Sequence[str], form: str) -> str:
    most = _round(max((sum(stack) for stack in stacks), default=0.0))
    parts = _frame(title, labels, most, names, form)
    width = min(60.0, (_WIDTH - _LEFT - _RIGHT) / max(1, len(labels)) * 0.6)
    for number, stack in enumerate(stacks):
        bottom = 0.0
        for place, value in enumerate(stack):
            top = _y(bottom + value, most)
            parts.append(
                f'<rect x="{_x(number, len(labels)) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{_y(bottom, most) - top:.1f}" fill="{_COLOURS[place]}"><title>{names[place]}: {form.format(value)}</title></rect>'
            )
            bottom += value
    return "".join(parts)


def _lines(title: str, labels: Sequence[str], quantiles: Sequence[Sequence[float]], *, joined: int) -> str:
    """Return dots for all loads, joined for the first ones, the closed loops: schedules are no series with them."""
    names = [f"p{share * 100:g}" for share in QUANTILES]
    most = _round(max((max(each) for each in quantiles), default=0.0) * 1000)
    parts = _frame(title, labels, most, names, "{:.3g}")
    for place, name in enumerate(names):
        points = [(_x(number, len(labels)), _y(each[place] * 1000, most), each[place]) for number, each in enumerate(quantiles)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points[:joined])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{_COLOURS[place]}" stroke-width="2"/>')
        for x, y, seconds in points:
            shown = f"<title>{name}: {milliseconds(seconds)} ms</title>"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_COLOURS[place]}">{shown}</circle>')
    return "".join(parts)


def _round(most: float) -> float:
    """Return the next number that divides well into four steps."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next((step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= most), most)


def _x(number: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (number + 0.5) / max(1, count)


def _y(value: float, most: float) -> float:
    return 25 + (_PANEL - 20) * (1 - value / most)
