"""How requests are shared between revisions. Pure.

Rules (specification 4.3): without ``canaryTrafficPercent`` everything goes to the latest ready revision; with it, that share, and the rest
to the last revision that had everything. A revision gets requests only once it can answer them: until then the old shares stand.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from flambeau.control.resources.kind import Object


@dataclass(frozen=True, slots=True)
class Target:
    """A revision and its share."""

    revision: str
    percent: int
    latest: bool = False
    """It is whatever is the latest; shown as LATEST."""
    previous: bool = False
    """It is what everything goes back to; shown as PREV."""


@dataclass(frozen=True, slots=True)
class History:
    """What was rolled out to everybody, now and before; empty where nothing was."""

    rolled_out: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets requests, who should, and what that makes of the history."""

    targets: tuple[Target, ...]
    """As it is to be now."""
    wanted: tuple[Target, ...]
    """As it will be when everybody in it can answer."""
    history: History


def split(
    percent: int | None,
    *,
    created: str,
    ready: str,
    history: History,
    current: tuple[Target, ...],
    serving: Collection[str],
) -> Split:
    """Return the shares.

    Args:
        percent: ``canaryTrafficPercent``.
        created: the latest revision.
        ready: the latest one that has ever been ready; empty before the first.
        history: as it was.
        current: the shares as they are.
        serving: the revisions that can answer now.
    """
    history = _rolled_back(percent, created, ready, history)
    wanted = _wanted(percent, ready, history.rolled_out)
    if all(target.revision in serving for target in wanted if target.percent > 0):
        return Split(wanted, wanted, _rolled_out(wanted, history))
    return Split(current, wanted, history)


def _rolled_back(percent: int | None, created: str, ready: str, history: History) -> History:
    """A share asked for when the latest already has everything means: back to the one before."""
    asked = percent is not None and percent < 100
    if asked and ready and ready == created == history.rolled_out and history.previous:
        return replace(history, rolled_out=history.previous)
    return history


def _wanted(percent: int | None, ready: str, rolled_out: str) -> tuple[Target, ...]:
    if not ready:
        return ()
    if percent is None or percent >= 100 or not rolled_out or rolled_out == ready:
        return (Target(ready, 100, latest=True),)
    return (Target(ready, percent, latest=True), Target(rolled_out, 100 - percent, previous=True))


def _rolled_out(targets: tuple[Target, ...], history: History) -> History:
    for target in targets:
        if target.latest and target.percent == 100 and target.revision != history.rolled_out:
            return History(target.revision, history.rolled_out)
    return history


def from_status(traffic: list[Object]) -> tuple[Target, ...]:
    """Read ``status.components.predictor.traffic``."""
    return tuple(
        Target(
            str(entry["revisionName"]),
            int(entry.get("percent") or 0),
            bool(entry.get("latestRevision")),
            previous=entry.get("tag") == "prev",
        )
        for entry in traffic
    )


def to_status(targets: tuple[Target, ...]) -> list[Object]:
    """Write ``status.components.predictor.traffic``."""
    return [
        {
            "latestRevision": target.latest,
            "percent": target.percent,
            "revisionName": target.revision,
            **({"tag": "prev"} if target.previous else {}),
        }
        for target in targets
    ]
