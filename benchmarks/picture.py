"""Draw bars as SVG: what docs/performance.svg shows of the throughput. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
NAME_WIDTH = 150
FIGURE_WIDTH = 80
ROW_HEIGHT = 20
TITLE_HEIGHT = 34
OURS = "flambeau"
COLOURS = {OURS: "#d9541e", "handler in a loop": "#b0b0b0"}
"""The limit is grey."""
OTHER_COLOUR = "#5b7ea4"


@dataclass(frozen=True)
class Group:
    """Bars of one scale below one title."""

    title: str
    rates: Mapping[str, float]
    """Requests a second of each side."""


def bars(groups: Sequence[Group]) -> str:
    """Return one drawing of all groups, the fastest side of each on top."""
    height = sum(TITLE_HEIGHT + ROW_HEIGHT * len(group.rates) for group in groups) + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">'
    lines, y = [head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'], 0
    for group in groups:
        lines += _group(group, y)
        y += TITLE_HEIGHT + ROW_HEIGHT * len(group.rates)
    return "\n".join([*lines, "</svg>", ""])


def _group(group: Group, top: int) -> Iterator[str]:
    yield f'<text x="10" y="{top + 24}" font-weight="bold">{escape(group.title)}: requests a second</text>'
    most = max(group.rates.values(), default=0) or 1
    for row, (name, rate) in enumerate(sorted(group.rates.items(), key=lambda pair: -pair[1])):
        y = top + TITLE_HEIGHT + row * ROW_HEIGHT
        width = rate / most * (WIDTH - NAME_WIDTH - FIGURE_WIDTH)
        yield f'<text x="{NAME_WIDTH - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="{NAME_WIDTH}" y="{y + 2}" width="{width:.1f}" height="14" fill="{COLOURS.get(name, OTHER_COLOUR)}"/>'
        yield f'<text x="{NAME_WIDTH + width + 6:.1f}" y="{y + 13}">{rate:,.0f}</text>'
