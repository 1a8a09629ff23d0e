from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.workers.machine import STORY_LENGTH_MAX, Action, Event, ImpossibleStep, Life, Limits, State, begin, step

LIMITS = Limits(start_seconds=10, load_seconds=20, answer_seconds=5, drain_seconds=3, end_seconds=1)


def lived(*events: Event) -> tuple[Life, tuple[Action, ...]]:
    life = begin(0.0, LIMITS)
    actions: tuple[Action, ...] = ()
    for second, event in enumerate(events, start=1):
        actions = step(life, event, float(second), LIMITS)
    return life, actions


def test_a_worker_greets_loads_answers_and_leaves() -> None:
    life, actions = lived(Event.GREETED)
    assert (life.state, life.deadline, actions) == (State.LOADING, 21.0, (Action.SEND_SPEC,))
    life, actions = lived(Event.GREETED, Event.LOADED)
    assert (life.state, life.deadline, actions) == (State.IDLE, None, (Action.ANNOUNCE, Action.TAKE_WORK))
    life, actions = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED)
    assert (life.state, life.deadline, actions) == (State.BUSY, 8.0, ())
    life, actions = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.ANSWERED)
    assert (life.state, actions) == (State.IDLE, (Action.TAKE_WORK,))
    life, actions = lived(Event.GREETED, Event.LOADED, Event.RETIRED)
    assert (life.state, actions) == (State.DYING, (Action.WITHDRAW, Action.SEND_STOP))
    assert lived(Event.GREETED, Event.LOADED, Event.RETIRED, Event.EXITED)[0].state is State.DEAD


def test_each_state_has_its_own_deadline() -> None:
    assert begin(7.0, LIMITS).deadline == 17.0
    assert lived(Event.GREETED)[0].deadline == 1 + 20
    assert lived(Event.GREETED, Event.LOADED)[0].deadline is None
    assert lived(Event.GREETED, Event.LOADED, Event.RETIRED)[0].deadline == 3 + 1


def test_draining_never_outlasts_the_batch() -> None:
    life, _ = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.RETIRED)
    assert (life.state, life.deadline) == (State.DRAINING, 4 + 3)
    late = begin(0.0, LIMITS)
    for event, when in ((Event.GREETED, 0.0), (Event.LOADED, 0.0), (Event.DISPATCHED, 0.0), (Event.RETIRED, 4.0)):
        step(late, event, when, LIMITS)
    assert late.deadline == 5.0
    life, actions = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.RETIRED, Event.ANSWERED)
    assert (life.state, actions) == (State.DYING, (Action.SEND_STOP,))


def test_a_streaming_batch_has_its_time_from_part_to_part() -> None:
    life, actions = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.PROGRESSED)
    assert (life.state, life.since, life.deadline, actions) == (State.BUSY, 3.0, 4 + 5, ())
    life, _ = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.RETIRED, Event.PROGRESSED)
    assert (life.state, life.deadline) == (State.DRAINING, 4 + 3)  # letting go is bounded, whatever it sends


def test_a_late_answer_costs_the_worker_its_life_and_the_batch_hears_at_once() -> None:
    life, actions = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.LATE)
    assert (life.state, actions) == (State.DYING, (Action.TERMINATE, Action.FAIL_BATCH))
    actions = step(life, Event.ANSWERED, 5.0, LIMITS)
    assert actions == ()
    actions = step(life, Event.LATE, 5.5, LIMITS)
    assert (actions, life.deadline) == ((Action.KILL,), 6.5)


def test_a_death_while_answering_fails_the_batch_before_the_burial() -> None:
    assert lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.EXITED)[1] == (Action.FAIL_BATCH, Action.BURY)
    lost, actions = lived(Event.GREETED, Event.LOADED, Event.DISPATCHED, Event.LINK_LOST)
    assert (lost.state, actions) == (State.DYING, ())


def test_an_impossible_step_tells_the_story() -> None:
    life, _ = lived(Event.GREETED, Event.LOADED)
    with pytest.raises(ImpossibleStep, match=r"a worker that is IDLE cannot have ANSWERED: GREETED at 1\.000, LOADED at 2\.000"):
        step(life, Event.ANSWERED, 3.0, LIMITS)


@given(st.lists(st.sampled_from(list(Event)), max_size=60))
def test_whatever_happens_a_worker_is_buried_once_and_never_waits_for_ever_on_its_way_out(events: list[Event]) -> None:
    life, burials = begin(0.0, LIMITS), 0
    for second, event in enumerate(events):
        try:
            actions = step(life, event, float(second), LIMITS)
        except ImpossibleStep:
            continue
        burials += actions.count(Action.BURY)
        assert len(life.story) <= STORY_LENGTH_MAX
        assert (life.deadline is None) == (life.state in (State.IDLE, State.DEAD))
    assert burials == (life.state is State.DEAD)


@pytest.mark.parametrize("state", [state for state in State if state is not State.DEAD])
def test_a_process_can_end_in_every_state(state: State) -> None:
    life = Life(state, 0.0, 1.0)
    actions = step(life, Event.EXITED, 0.5, LIMITS)
    assert life.state is State.DEAD
    assert actions[-1] is Action.BURY
