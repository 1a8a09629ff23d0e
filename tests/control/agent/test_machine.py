"""The life of a pod, step by step."""

from __future__ import annotations

import pytest

from flambeau.control.agent import machine
from flambeau.control.agent.machine import (
    Act,
    Begun,
    Deleted,
    Dropped,
    Exited,
    Fetched,
    FetchFailed,
    Happening,
    InputsChanged,
    Passed,
    Phase,
    ProbeFailed,
    ProbeSucceeded,
    Retired,
    Spawned,
    SpawnFailed,
    State,
    step,
)

CRASH = Exited(1, None, "Error", "server exited with status 1")
UNREADY = ProbeFailed("ModelLoading", "model m is loading")


def play(*events: Happening, needs_model: bool = False, now: float = 0.0) -> tuple[State, list[Act]]:
    """Return the state after some events, and what the last one made to be done."""
    state, acts = machine.initial(now, source="s3://b/m" if needs_model else ""), []
    for event in events:
        state, actions = step(state, event, now)
        acts = [action for action in actions if isinstance(action, Act)]
    return state, acts


UP = (Begun(), Spawned(1), ProbeSucceeded())


@pytest.mark.parametrize(
    ("events", "needs_model", "phase", "acts"),
    [
        ((Begun(),), True, Phase.FETCHING, [Act.FETCH]),
        ((Begun(),), False, Phase.STARTING, [Act.SPAWN]),
        ((Begun(), Fetched("")), True, Phase.STARTING, [Act.SPAWN]),
        ((Begun(), FetchFailed("R", "m")), True, Phase.BACKOFF, []),
        ((Begun(), FetchFailed("R", "m"), Passed()), True, Phase.FETCHING, [Act.FETCH]),
        ((Begun(), FetchFailed("R", "m"), InputsChanged()), True, Phase.FETCHING, [Act.FETCH]),
        ((Begun(), Passed()), True, Phase.BACKOFF, [Act.CANCEL_FETCH]),
        ((Begun(), Deleted(1)), True, Phase.GONE, [Act.CANCEL_FETCH, Act.CLEAN]),
        ((Begun(), SpawnFailed("R", "m")), False, Phase.BACKOFF, []),
        ((Begun(), SpawnFailed("R", "m"), InputsChanged()), False, Phase.BACKOFF, []),
        ((Begun(), Spawned(1)), False, Phase.RUNNING, [Act.PROBE]),
        ((Begun(), Spawned(1), UNREADY), False, Phase.RUNNING, []),
        (UP, False, Phase.READY, []),
        ((*UP, UNREADY), False, Phase.RUNNING, []),
        ((*UP, CRASH), False, Phase.BACKOFF, [Act.CANCEL_PROBE]),
        ((*UP, CRASH, Passed()), False, Phase.STARTING, [Act.SPAWN]),
        ((*UP, CRASH, Deleted(1)), False, Phase.GONE, [Act.CLEAN]),
        ((Begun(), Spawned(1), Deleted(1)), False, Phase.STOPPING, [Act.CANCEL_PROBE, Act.TERMINATE]),
        ((*UP, Deleted(1)), False, Phase.DRAINING, [Act.CANCEL_PROBE]),
        ((*UP, Deleted(1), Dropped()), False, Phase.STOPPING, [Act.CANCEL_PROBE, Act.TERMINATE]),
        ((*UP, Deleted(1), Passed()), False, Phase.STOPPING, [Act.CANCEL_PROBE, Act.TERMINATE]),
        ((*UP, Deleted(1), CRASH), False, Phase.GONE, [Act.CLEAN]),
        ((*UP, Deleted(1), Dropped(), CRASH), False, Phase.GONE, [Act.CLEAN]),
        ((*UP, Deleted(1), Dropped(), Passed()), False, Phase.STOPPING, [Act.KILL]),
        ((*UP, Deleted(1), Dropped(), Passed(), Passed()), False, Phase.GONE, [Act.CLEAN]),
        ((machine.Adopted(ready=True),), True, Phase.READY, [Act.PROBE]),
        ((machine.Adopted(ready=False),), True, Phase.RUNNING, [Act.PROBE]),
        ((CRASH,), False, Phase.STARTING, [Act.SPAWN]),
    ],
)
def test_each_event_leads_on(events: tuple[Happening, ...], needs_model: bool, phase: Phase, acts: list[Act]) -> None:
    state, done = play(*events, needs_model=needs_model)
    assert (state.phase, done) == (phase, acts)


@pytest.mark.parametrize("late", [ProbeSucceeded(), UNREADY, Fetched(""), FetchFailed("R", "m"), Dropped(), InputsChanged()])
def test_late_news_changes_nothing(late: Happening) -> None:
    before, _ = play(*UP, Deleted(1), Dropped())
    assert step(before, late, 0.0) == (before, ())


def test_an_impossible_event_raises_with_the_story() -> None:
    state, _ = play(*UP)
    with pytest.raises(RuntimeError, match=r"Spawned in state ready: .*pending\+Begun > starting\+Spawned > running\+ProbeSucceeded"):
        step(state, Spawned(2), 0.0)


def test_failures_in_a_row_are_retried_later_and_later_but_not_forever_later() -> None:
    state, pauses = play(Begun())[0], []
    for _ in range(9):
        state, _ = step(state, Spawned(1), 0.0)
        state, _ = step(state, CRASH, 0.0)
        pauses.append(state.deadline)
        state, _ = step(state, Passed(), 0.0)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert state.restarts == 9


def test_a_pod_that_was_healthy_for_long_starts_its_back_off_anew() -> None:
    state, _ = play(*UP, CRASH, Passed(), Spawned(1), CRASH, Passed(), Spawned(1), ProbeSucceeded())
    assert step(state, CRASH, machine.HEALTHY_SECONDS)[0].failures == 1
    assert step(state, CRASH, machine.HEALTHY_SECONDS - 1)[0].failures == 3


def test_how_the_last_run_ended_is_told_until_the_next_one_speaks() -> None:
    state, _ = play(*UP, CRASH, Passed(), Spawned(2), ProbeFailed(machine.NO_ANSWER, "connection refused"))
    assert state.trouble is not None
    assert state.trouble.message == "server exited with status 1"
    assert step(state, UNREADY, 0.0)[0].trouble == machine.Trouble(machine.Stage.SERVE, "ModelLoading", "model m is loading")
    assert step(state, ProbeSucceeded(), 0.0)[0].trouble is None


def test_a_process_that_never_gets_ready_is_told_and_not_killed() -> None:
    state, acts = play(Begun(), Spawned(1), UNREADY, Passed())
    assert (state.phase, state.deadline, acts) == (Phase.RUNNING, None, [])
    assert state.trouble is not None
    assert (state.trouble.reason, state.trouble.message) == ("ProgressDeadlineExceeded", "not ready after 600 s: model m is loading")


def test_the_grace_is_the_pods_own() -> None:
    state, _ = play(*UP, Deleted(7), Dropped())
    assert state.deadline == 7


TOO_LARGE = machine.Condemned(machine.OUT_OF_MEMORY, "too large", 0.0)
NOT_ALIVE = machine.Condemned("Unhealthy", "not alive", 5.0)
KILLED = Exited(None, 9, "Error", "server was killed by SIGKILL")


def test_a_condemned_process_ends_and_is_started_again_with_its_fault_told() -> None:
    state, acts = play(*UP, TOO_LARGE)
    assert (state.phase, acts) == (Phase.ENDING, [Act.CANCEL_PROBE, Act.KILL])
    state, _ = play(*UP, TOO_LARGE, KILLED)
    assert (state.phase, state.restarts, state.fault) == (Phase.BACKOFF, 1, None)
    assert state.last_exit is not None
    assert (state.last_exit.reason, state.last_exit.message) == ("OOMKilled", "too large")
    assert state.trouble == machine.Trouble(machine.Stage.SERVE, "OOMKilled", "too large")


def test_a_condemned_process_has_its_grace_and_is_killed_after_it() -> None:
    state, acts = play(*UP, NOT_ALIVE)
    assert (state.deadline, acts) == (5.0, [Act.CANCEL_PROBE, Act.TERMINATE])
    assert play(*UP, NOT_ALIVE, Passed())[1] == [Act.KILL]
    state, acts = play(*UP, NOT_ALIVE, Passed(), Deleted(1))
    assert (state.phase, state.killed, acts) == (Phase.STOPPING, False, [Act.CANCEL_PROBE, Act.TERMINATE])


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Always", 0, Phase.BACKOFF), ("OnFailure", 0, Phase.ENDED), ("OnFailure", 1, Phase.BACKOFF), ("Never", 1, Phase.ENDED)],
)
def test_the_restart_policy_decides_what_is_started_again(policy: str, code: int, phase: Phase) -> None:
    state = machine.initial(0.0, source="", restart_policy=policy)
    for event in (Begun(), Spawned(1), Exited(code, None, "Error", "ended")):
        state, _ = step(state, event, 0.0)
    assert state.phase is phase


@pytest.mark.parametrize(
    ("events", "phase", "acts"),
    [
        ((Begun(), Spawned(1)), Phase.ENDING, [Act.CANCEL_PROBE, Act.TERMINATE]),
        (UP, Phase.ENDING, [Act.CANCEL_PROBE, Act.TERMINATE]),
        ((*UP, NOT_ALIVE), Phase.ENDING, [Act.CANCEL_PROBE, Act.TERMINATE]),
        ((*UP, CRASH), Phase.ENDED, []),
        ((*UP, Deleted(1)), Phase.DRAINING, []),
    ],
)
def test_a_retired_sidecar_ends_for_good(events: tuple[Happening, ...], phase: Phase, acts: list[Act]) -> None:
    state, done = play(*events, Retired(7.0))
    assert (state.phase, done) == (phase, acts)
    if phase is Phase.ENDING:
        assert state.deadline == 7.0
        assert play(*events, Retired(7.0), Passed())[1] == [Act.KILL]
        assert play(*events, Retired(7.0), CRASH)[0].phase is Phase.ENDED
