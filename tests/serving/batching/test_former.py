from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.batching.former import form_batch, take_expired
from flambeau.serving.model import Job, Method, Protocol


@dataclass(eq=False)
class Waiting:
    job: Job
    deadline: float | None


def waiting(method: Method = Method.PREDICT, deadline: float | None = None) -> Waiting:
    return Waiting(Job("id", Protocol.V1, method, "", (), b""), deadline)


QUEUES = st.lists(st.builds(waiting, st.sampled_from(Method), st.none() | st.floats(0, 10)), max_size=20).map(deque)


@given(QUEUES, st.integers(1, 8), st.floats(0, 10))
def test_nothing_is_lost_doubled_or_reordered(queued: deque[Waiting], batch_size: int, now: float) -> None:
    before = list(queued)
    batch, expired = form_batch(queued, batch_size, now)
    taken = before[: len(batch) + len(expired)]
    assert [item for item in taken if item in batch] == batch
    assert [item for item in taken if item in expired] == expired
    assert list(queued) == before[len(taken) :]
    assert all(item.deadline is not None and item.deadline <= now for item in expired)
    assert not any(item.deadline is not None and item.deadline <= now for item in batch)


@given(QUEUES, st.integers(1, 8), st.floats(0, 10))
def test_a_batch_is_of_one_method_within_its_size_and_never_empty_while_a_job_could_run(
    queued: deque[Waiting], batch_size: int, now: float
) -> None:
    batch, _ = form_batch(queued, batch_size, now)
    assert len(batch) <= batch_size
    assert len({item.job.method for item in batch}) <= 1
    assert batch or not queued
    if batch and batch[0].job.method is Method.DESCRIBE:
        assert len(batch) == 1


@given(QUEUES, st.floats(0, 10))
def test_expiry_takes_those_over_their_deadline_and_no_other(queued: deque[Waiting], now: float) -> None:
    before = list(queued)
    expired = take_expired(queued, now)
    assert expired == [item for item in before if item.deadline is not None and item.deadline <= now]
    assert list(queued) == [item for item in before if item not in expired]


def test_one_job_is_a_batch_at_once() -> None:
    queued = deque([waiting()])
    assert len(form_batch(queued, 16, 0.0)[0]) == 1
