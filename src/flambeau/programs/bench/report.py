"""What a benchmark has seen, as text for people and as data for scripts. Pure; called by ``cli.bench``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.programs.bench.figures import PHASES, QUANTILES, Level, Measured, Split, best_of

BAR_CHARS = 40
_HEADS = ("connections", "requests/s", *(f"p{share * 100:g} ms" for share in QUANTILES), "failed")


def as_text(measured: Measured, *, chart: bool) -> str:
    """Return the report for a person.

    Args:
        measured: what was seen.
        chart: draw requests a second as bars.
    """
    if not measured.levels:
        return "\n".join(["nothing was measured", *(f"note: {note}" for note in measured.notes)])
    blocks = [_title(measured), _table([_HEADS, *(_row(level) for level in measured.levels)])]
    if chart and len(measured.levels) > 1:
        blocks.append(_chart(measured.levels))
    if any(split.count for split in measured.splits):
        blocks.append("where the time of a request goes, mean ms:\n" + _split_table(measured))
    failures = _failures(measured.levels)
    if failures:
        blocks.append("failed:\n" + "\n".join(failures))
    if measured.tried:
        blocks.append(_search_text(measured))
    if measured.notes:
        blocks.append("\n".join(f"note: {note}" for note in measured.notes))
    if measured.interrupted:
        blocks.append("stopped early; this is what there was")
    return "\n\n".join(blocks)


def as_data(measured: Measured) -> dict[str, Any]:
    """Return everything as JSON can say it; times in milliseconds."""
    best = best_of(measured.tried)
    question = measured.question
    return {
        "url": question.url,
        "bodies": [
            {"file": body.name, "bytes": len(body.data), "contentType": body.content_type, "form": str(body.form)}
            for body in question.bodies
        ],
        "seconds": measured.seconds,
        "levels": [
            {**_level_data(level), "split": _split_data(split)} for level, split in zip(measured.levels, measured.splits, strict=True)
        ],
        "search": {
            "tried": [{"batchSize": each.batch_size, "workers": each.workers, **_level_data(each.level)} for each in measured.tried],
            "best": {"batchSize": best.batch_size, "workers": best.workers} if best is not None else None,
        },
        "notes": measured.notes,
        "interrupted": measured.interrupted,
    }


def label_of(level: Level) -> str:
    """Return how a load is called: its connections, and the rate of a schedule."""
    return f"{level.connections}" if level.rate is None else f"{level.connections} at {level.rate:g}/s"


def milliseconds(seconds: float) -> str:
    """Return a time in ms with three significant digits."""
    value = float(f"{seconds * 1000:.3g}")
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _title(measured: Measured) -> str:
    bodies = measured.question.bodies
    sizes = sorted({len(body.data) for body in bodies})
    size = f"{sizes[0]:,} bytes" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} bytes"
    kinds = ", ".join(sorted({f"{body.form} {body.content_type}" for body in bodies}))
    files = bodies[0].name if len(bodies) == 1 else f"{len(bodies)} files"
    return f"{measured.question.url}\n{files}: {size}, {kinds}; {measured.seconds:g} s each"


def _row(level: Level) -> tuple[str, ...]:
    times = level.latencies.quantiles() if level.latencies.count else ()
    shown = [milliseconds(each) for each in times] or ["-"] * len(QUANTILES)
    return (label_of(level), f"{level.throughput:,.0f}", *shown, str(level.failed + level.unsent))


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _chart(levels: list[Level]) -> str:
    most = max(level.throughput for level in levels) or 1.0
    names = [label_of(level) for level in levels]
    width = max(map(len, names))
    bars = [
        f"{name.rjust(width)} |{'#' * round(level.throughput / most * BAR_CHARS)} {level.throughput:,.0f}"
        for name, level in zip(names, levels, strict=True)
    ]
    return "requests/s by connections:\n" + "\n".join(bars)


def _split_table(measured: Measured) -> str:
    told = [(level, split) for level, split in zip(measured.levels, measured.splits, strict=True) if split.count]
    shown = [key for key, _, _ in PHASES if any(split.means()[key] for _, split in told)]
    names = {key: name for key, name, _ in PHASES}
    rows = [("connections", *(names[key] for key in shown), "requests a batch")]
    rows += [(label_of(level), *(milliseconds(split.means()[key]) for key in shown), f"{split.batch:.1f}") for level, split in told]
    return _table(rows)


def _failures(levels: list[Level]) -> list[str]:
    lines = [
        f"  {label_of(level)}: {found.count} x {outcome}: {found.message}" for level in levels for outcome, found in level.failures.items()
    ]
    return lines + [f"  {label_of(level)}: {level.unsent} were due and found no free connection" for level in levels if level.unsent]


def _search_text(measured: Measured) -> str:
    rows = [("batch size", "workers", "requests/s", "p50 ms", "p99 ms", "failed")]
    for each in measured.tried:
        latencies = each.level.latencies
        rows.append(
            (
                str(each.batch_size),
                str(each.workers),
                f"{each.level.throughput:,.0f}",
                milliseconds(latencies.quantile(0.5)),
                milliseconds(latencies.quantile(0.99)),
                str(each.level.failed),
            )
        )
    connections = measured.tried[0].level.connections
    lines = [f"batch sizes and workers, at {connections} connections:", _table(rows)]
    best = best_of(measured.tried)
    if best is not None:
        lines += [
            "best; in model-config.yaml:",
            f"  batchSize: {best.batch_size}",
            f"  minWorkers: {best.workers}",
            f"  maxWorkers: {best.workers}",
        ]
    return "\n".join(lines)


def _level_data(level: Level) -> dict[str, Any]:
    times = level.latencies.quantiles()
    return {
        "connections": level.connections,
        "rate": level.rate,
        "countedSeconds": round(level.seconds, 3),
        "answered": level.latencies.count,
        "requestsPerSecond": round(level.throughput, 1),
        "latencyMs": {
            "mean": round(level.latencies.mean * 1000, 4),
            **{f"p{share * 100:g}": round(each * 1000, 4) for share, each in zip(QUANTILES, times, strict=True)},
        },
        "failed": {outcome: {"count": found.count, "first": found.message} for outcome, found in level.failures.items()},
        "unsent": level.unsent,
        "clientShare": round(level.client_share, 3),
        "interrupted": level.interrupted,
    }


def _split_data(split: Split) -> dict[str, float] | None:
    """Return mean ms by phase; None where nothing told them."""
    if not split.count:
        return None
    return {**{key: round(seconds * 1000, 4) for key, seconds in split.means().items()}, "batch": round(split.batch, 2)}
