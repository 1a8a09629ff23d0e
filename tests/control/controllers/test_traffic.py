"""How requests are shared between revisions: KServe's table, and never to one that can't answer."""

from __future__ import annotations

import pytest

from flambeau.control.controllers.inference_service.traffic import History, Target, from_status, split, to_status


def latest(revision: str, percent: int = 100) -> Target:
    return Target(revision, percent, latest=True)


def previous(revision: str, percent: int) -> Target:
    return Target(revision, percent, previous=True)


@pytest.mark.parametrize(
    ("percent", "created", "ready", "history", "current", "serving", "targets", "after"),
    [
        # Nothing was ever ready.
        (None, "1", "", History(), (), "", (), History()),
        # The first roll-out, whatever share is asked for.
        (None, "1", "1", History(), (), "1", (latest("1"),), History("1")),
        (20, "1", "1", History(), (), "1", (latest("1"),), History("1")),
        # A new revision that isn't ready yet.
        (None, "2", "1", History("1"), (latest("1"),), "1", (latest("1"),), History("1")),
        (20, "2", "1", History("1"), (latest("1"),), "1", (latest("1"),), History("1")),
        # It gets ready.
        (None, "2", "2", History("1"), (latest("1"),), "12", (latest("2"),), History("2", "1")),
        (20, "2", "2", History("1"), (latest("1"),), "12", (latest("2", 20), previous("1", 80)), History("1")),
        (100, "2", "2", History("1"), (latest("1"),), "12", (latest("2"),), History("2", "1")),
        (0, "2", "2", History("1"), (latest("1"),), "12", (latest("2", 0), previous("1", 100)), History("1")),
        # The share is taken away: promotion.
        (None, "2", "2", History("1"), (latest("2", 20), previous("1", 80)), "12", (latest("2"),), History("2", "1")),
        # A share is asked for when the latest has everything: roll-back, as soon as the one before can answer.
        (0, "2", "2", History("2", "1"), (latest("2"),), "2", (latest("2"),), History("1", "1")),
        (0, "2", "2", History("1", "1"), (latest("2"),), "2", (latest("2"),), History("1", "1")),
        (0, "2", "2", History("1", "1"), (latest("2"),), "12", (latest("2", 0), previous("1", 100)), History("1", "1")),
        # A third revision while the second was never rolled out: back is still the first.
        (10, "3", "3", History("1"), (latest("2", 20), previous("1", 80)), "123", (latest("3", 10), previous("1", 90)), History("1")),
        # Nobody can answer: the shares stay.
        (None, "2", "2", History("1"), (latest("1"),), "", (latest("1"),), History("1")),
    ],
)
def test_shares(
    percent: int | None,
    created: str,
    ready: str,
    history: History,
    current: tuple[Target, ...],
    serving: str,
    targets: tuple[Target, ...],
    after: History,
) -> None:
    found = split(percent, created=created, ready=ready, history=history, current=current, serving=set(serving))
    assert (found.targets, found.history) == (targets, after)


def test_a_status_is_read_as_it_was_written() -> None:
    targets = (latest("2", 20), previous("1", 80))
    assert from_status(to_status(targets)) == targets
    assert [entry.get("tag") for entry in to_status(targets)] == [None, "prev"]
