"""Which requests of which sequence run where and when. Pure.

A sequence is a conversation with one worker: its requests run there one after the other, never two at once. A worker has so many
sequences at a time as a batch has places. ``sequence_queue.SequenceQueue`` is the hands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

from flambeau.serving.model import Sequences

W = TypeVar("W")


class Refused(Exception):
    """No more can wait; the text says of what there is too much."""


class _Sequence(Generic[W]):
    """One sequence."""

    def __init__(self, id_: str, now: float) -> None:
        self.id = id_
        self.waiting: deque[W] = deque()
        self.worker: int | None = None
        """Where it lives; None until its first request is taken."""
        self.running = False
        self.ending = False
        """Over when its running request is answered."""
        self.opened_at = now
        self.idle_since = now


class SequenceTable(Generic[W]):
    """The sequences of one model.

    Args:
        limits: how many sequences and requests, and for how long.
        per_worker: sequences that one worker has at a time.
    """

    def __init__(self, limits: Sequences, per_worker: int) -> None:
        self._limits = limits
        self._per_worker = per_worker
        self._sequences: dict[str, _Sequence[W]] = {}
        # Worker -> its sequences; None: those that no worker has yet, in the order of their opening.
        self._homes: dict[int | None, dict[str, _Sequence[W]]] = {None: {}}
        self.waiting = 0
        """Requests that wait."""

    def __len__(self) -> int:
        return len(self._sequences)

    def items(self) -> Iterator[W]:
        """Yield the requests that wait."""
        for sequence in self._sequences.values():
            yield from sequence.waiting

    def homeless(self) -> Iterator[W]:
        """Yield the first request of each sequence that no worker has yet, in the order of their opening."""
        for sequence in self._homes[None].values():
            yield sequence.waiting[0]

    def add(self, id_: str, item: W, now: float) -> None:
        """Let a request wait in its sequence; the first one opens it.

        Raises:
            Refused: there are as many sequences, or as many requests of this one, as may be.
        """
        sequence = self._sequences.get(id_)
        if sequence is None:
            if len(self._sequences) >= self._limits.count_max:
                raise Refused(f"{len(self._sequences)} sequences are open already (maxNumSequence)")
            sequence = self._sequences[id_] = self._homes[None][id_] = _Sequence(id_, now)
        if len(sequence.waiting) >= self._limits.queue_size:
            raise Refused(f"{len(sequence.waiting)} requests of sequence {id_} wait already (maxSequenceJobQueueSize)")
        sequence.waiting.append(item)
        self.waiting += 1

    def take(self, worker: int, count_max: int) -> list[tuple[str, W]]:
        """Take the requests that a worker runs next, at most one of each sequence: its own sequences' first, then new ones'."""
        own, homeless = self._homes.setdefault(worker, {}), self._homes[None]
        chosen = [sequence for sequence in own.values() if sequence.waiting and not sequence.running][:count_max]
        for sequence in list(islice(homeless.values(), max(0, min(self._per_worker - len(own), count_max - len(chosen))))):
            del homeless[sequence.id]
            own[sequence.id] = sequence
            sequence.worker = worker
            chosen.append(sequence)
        for sequence in chosen:
            sequence.running = True
        self.waiting -= len(chosen)
        return [(sequence.id, sequence.waiting.popleft()) for sequence in chosen]

    def put_back(self, id_: str, item: W) -> None:
        """Undo a ``take``: no worker has seen the request."""
        sequence = self._sequences[id_]
        sequence.running = False
        sequence.waiting.appendleft(item)
        self.waiting += 1

    def answered(self, id_: str, now: float, *, ends: bool) -> list[W]:
        """Note that a sequence's running request is answered; return what waited in it, if it is over."""
        sequence = self._sequences.get(id_)
        if sequence is None:
            return []
        sequence.running, sequence.idle_since = False, now
        return self._close(sequence) if ends or sequence.ending else []

    def remove(self, id_: str, item: W) -> None:
        """Forget a request if it waits; a sequence that has had no other is forgotten with it."""
        sequence = self._sequences.get(id_)
        if sequence is None or item not in sequence.waiting:
            return
        sequence.waiting.remove(item)
        self.waiting -= 1
        if sequence.worker is None and not sequence.waiting:
            self._close(sequence)

    def held_by(self, worker: int) -> int:
        """Return how many sequences a worker has."""
        return len(self._homes.get(worker, ()))

    def lose(self, worker: int) -> list[W]:
        """Close a dead worker's sequences, whose state died with it; return what waited in them."""
        lost = [item for sequence in list(self._homes.get(worker, {}).values()) for item in self._close(sequence)]
        self._homes.pop(worker, None)
        return lost

    def close_all(self) -> list[W]:
        """Close every sequence; return what waited."""
        return [item for sequence in list(self._sequences.values()) for item in self._close(sequence)]

    def expire(self, now: float) -> list[W]:
        """Close the sequences that are over; return what waited in those whose total time is up."""
        over: list[W] = []
        for sequence in list(self._sequences.values()):
            if now < self._over_at(sequence):
                continue
            if sequence.running:
                sequence.ending = True
            else:
                over += self._close(sequence)
        return over

    def next_expiry(self) -> float | None:
        """Return when ``expire`` has something to do next; None if nothing is open."""
        return min((self._over_at(each) for each in self._sequences.values() if not each.ending), default=None)

    def _over_at(self, sequence: _Sequence[W]) -> float:
        total = self._limits.total_seconds_max
        ends = sequence.opened_at + total if total is not None else float("inf")
        if sequence.running or sequence.waiting:
            return ends
        return min(ends, sequence.idle_since + self._limits.idle_seconds_max)

    def _close(self, sequence: _Sequence[W]) -> list[W]:
        del self._sequences[sequence.id]
        del self._homes[sequence.worker][sequence.id]
        self.waiting -= len(sequence.waiting)
        return list(sequence.waiting)
