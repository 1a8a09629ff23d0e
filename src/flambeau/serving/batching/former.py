"""What an idle worker takes: what is queued, at once, up to the batch size. Pure.

Work-conserving: a worker never sleeps while a job waits, so ``maxBatchDelay`` costs nobody anything. Batches form by themselves while
every worker is busy.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, TypeVar

from flambeau.serving.model import Job, Method


class Waiting(Protocol):
    """A queued job as this module sees it."""

    job: Job
    deadline: float | None


W = TypeVar("W", bound=Waiting)


def form_batch(queued: deque[W], batch_size: int, now: float) -> tuple[list[W], list[W]]:
    """Take the next batch from the head of the queue.

    All jobs of a batch ask for the same method, as handlers look at the first row's header only; descriptions run alone.

    Args:
        queued: in the order of arrival; what is returned is taken out.
        batch_size: the most jobs of a batch.
        now: the present, on the deadlines' clock.

    Returns:
        The batch, and jobs met on the way whose deadline has passed.
    """
    batch: list[W] = []
    expired: list[W] = []
    while queued and len(batch) < batch_size:
        first = queued[0]
        if is_over(first, now):
            expired.append(queued.popleft())
            continue
        if batch and (first.job.method is not batch[0].job.method or first.job.method is Method.DESCRIBE):
            break
        batch.append(queued.popleft())
    return batch, expired


def take_expired(queued: deque[W], now: float) -> list[W]:
    """Take out the jobs whose deadline has passed; the others keep their order."""
    expired = [waiting for waiting in queued if is_over(waiting, now)]
    if expired:
        staying = [waiting for waiting in queued if not is_over(waiting, now)]
        queued.clear()
        queued.extend(staying)
    return expired


def is_over(waiting: Waiting, now: float) -> bool:
    """Return whether a job's deadline has passed."""
    return waiting.deadline is not None and waiting.deadline <= now
