from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.batching.sequences import Refused, SequenceTable
from flambeau.serving.model import Sequences


def table(*, count_max: int = 10, queue_size: int = 10, total: float | None = None, per_worker: int = 2) -> SequenceTable[str]:
    return SequenceTable(Sequences(5.0, total, count_max, queue_size), per_worker)


def test_a_batch_has_one_request_of_each_sequence_and_the_next_waits_for_its_answer() -> None:
    sequences = table()
    for item in ("a1", "a2", "b1"):
        sequences.add(item[0], item, 0.0)
    assert sequences.take(1, 4) == [("a", "a1"), ("b", "b1")]
    assert sequences.take(1, 4) == []
    assert sequences.answered("a", 1.0, ends=False) == []
    assert sequences.take(1, 4) == [("a", "a2")]


def test_a_sequence_stays_with_the_worker_that_took_it_first() -> None:
    sequences = table()
    sequences.add("a", "a1", 0.0)
    assert sequences.take(7, 4) == [("a", "a1")]
    sequences.answered("a", 1.0, ends=False)
    sequences.add("a", "a2", 1.0)
    assert sequences.take(8, 4) == []
    assert sequences.take(7, 4) == [("a", "a2")]


def test_a_worker_has_no_more_sequences_than_a_batch_has_places() -> None:
    sequences = table(per_worker=1)
    sequences.add("a", "a1", 0.0)
    sequences.add("b", "b1", 0.0)
    assert sequences.take(1, 4) == [("a", "a1")]
    assert sequences.answered("a", 1.0, ends=False) == []
    assert sequences.take(1, 4) == []
    assert list(sequences.homeless()) == ["b1"]
    assert sequences.take(2, 4) == [("b", "b1")]


def test_bounds() -> None:
    sequences = table(count_max=1, queue_size=2)
    sequences.add("a", "a1", 0.0)
    sequences.add("a", "a2", 0.0)
    with pytest.raises(Refused, match="2 requests of sequence a wait already"):
        sequences.add("a", "a3", 0.0)
    with pytest.raises(Refused, match="1 sequences are open already"):
        sequences.add("b", "b1", 0.0)


def test_an_idle_sequence_is_over_and_its_id_opens_a_new_one_elsewhere() -> None:
    sequences = table()
    sequences.add("a", "a1", 0.0)
    assert sequences.next_expiry() == float("inf")
    sequences.take(1, 4)
    sequences.answered("a", 2.0, ends=False)
    assert sequences.next_expiry() == 7.0
    assert sequences.expire(6.9) == []
    assert len(sequences) == 1
    assert sequences.expire(7.0) == []
    assert len(sequences) == 0
    sequences.add("a", "a2", 8.0)
    assert sequences.take(2, 4) == [("a", "a2")]


def test_a_sequence_over_its_total_time_ends_after_its_running_request_and_returns_what_waits() -> None:
    sequences = table(total=3.0)
    sequences.add("a", "a1", 0.0)
    sequences.take(1, 4)
    sequences.add("a", "a2", 1.0)
    assert sequences.expire(3.0) == []
    assert sequences.next_expiry() is None
    assert sequences.answered("a", 4.0, ends=False) == ["a2"]
    assert len(sequences) == 0


def test_what_a_dead_worker_had_is_over() -> None:
    sequences = table()
    for item in ("a1", "a2", "b1"):
        sequences.add(item[0], item, 0.0)
    assert sequences.take(1, 1) == [("a", "a1")]
    assert sequences.lose(1) == ["a2"]
    assert sequences.take(2, 4) == [("b", "b1")]


def test_a_request_that_no_worker_saw_is_first_again_and_one_that_left_is_gone() -> None:
    sequences = table()
    sequences.add("a", "a1", 0.0)
    sequences.add("a", "a2", 0.0)
    [(id_, item)] = sequences.take(1, 1)
    sequences.put_back(id_, item)
    sequences.remove("a", "a2")
    assert list(sequences.items()) == ["a1"]
    sequences.add("b", "b1", 0.0)
    sequences.remove("b", "b1")
    assert len(sequences) == 1


@given(st.lists(st.tuples(st.sampled_from("tad"), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_requests_of_a_sequence_keep_their_order_and_never_run_twice_or_two_at_once(steps: list[tuple[str, int, int]]) -> None:
    sequences: SequenceTable[tuple[int, int]] = SequenceTable(Sequences(1e9, None, 3, 100), 2)
    sent: dict[int, int] = {}
    running: dict[int, int] = {}
    done: list[tuple[int, int]] = []
    for step, who, worker in steps:
        if step == "a":
            try:
                sequences.add(str(who), (who, sent.get(who, 0)), 0.0)
                sent[who] = sent.get(who, 0) + 1
            except Refused:
                assert len(sequences) == 3
        elif step == "t":
            for id_, item in sequences.take(worker, 2):
                assert int(id_) not in running
                running[int(id_)] = worker
                done.append(item)
        elif who in running:
            del running[who]
            assert sequences.answered(str(who), 0.0, ends=False) == []
    for who in sent:
        ran = [number for each, number in done if each == who]
        assert ran == list(range(len(ran)))
    assert sum(sent.values()) == len(done) + sequences.waiting
