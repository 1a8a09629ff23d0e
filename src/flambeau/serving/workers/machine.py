"""The life of one worker as a table: events in, instructions out.

Pure: ``worker.py`` feeds it what happened and does what it says. Starting, loading, answering, draining and dying each have a deadline
of their own: a slow load never looks like a hanging answer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum, auto

STORY_LENGTH_MAX = 12
"""Steps kept for the error text of an impossible step."""


class State(IntEnum):
    """Where a worker is in its life."""

    STARTING = auto()
    """Its process was asked for; it has said nothing yet."""
    LOADING = auto()
    """It has its model's spec and runs the handler's ``initialize``."""
    IDLE = auto()
    BUSY = auto()
    """It works on one batch."""
    DRAINING = auto()
    """It finishes its batch and is then let go."""
    DYING = auto()
    """It was told to end or lost its link; its exit status is awaited."""
    DEAD = auto()


class Event(IntEnum):
    """What can happen to a worker."""

    GREETED = auto()
    LOADED = auto()
    LOAD_FAILED = auto()
    DISPATCHED = auto()
    """A batch was given to it."""
    PROGRESSED = auto()
    """It sent a part of an answer."""
    ANSWERED = auto()
    RETIRED = auto()
    """It is wanted no more: scale-down or stop."""
    LINK_LOST = auto()
    """Its end of the socket closed, or it broke the protocol."""
    LATE = auto()
    """The state's deadline passed."""
    EXITED = auto()


class Action(IntEnum):
    """What the hands have to do, in this order."""

    SEND_SPEC = auto()
    ANNOUNCE = auto()
    """Tell that it has loaded."""
    TAKE_WORK = auto()
    """Give it the next batch, or note that it is idle."""
    WITHDRAW = auto()
    """It is idle no more: give it nothing."""
    SEND_STOP = auto()
    """Ask it to leave by itself."""
    TERMINATE = auto()
    """SIGTERM to its group: it writes where it stands to its log, and ends."""
    KILL = auto()
    """SIGKILL to its group."""
    FAIL_BATCH = auto()
    """Answer what it was working on with the cause; nothing is run again."""
    BURY = auto()
    """Note how it ended and decide about a successor."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a worker may stay in a state, in seconds."""

    start_seconds: float = 120.0
    """From the process being asked for to its first word; importing torch from a cold disk is part of it."""
    load_seconds: float = 120.0
    """startupTimeout."""
    answer_seconds: float = 120.0
    """responseTimeout: one batch; a streaming one from part to part."""
    drain_seconds: float = 120.0
    """The most a batch may still take once the worker is to be let go; never longer than its own deadline."""
    end_seconds: float = 2.0
    """From SIGTERM or the stop frame to SIGKILL, and between two SIGKILLs."""


@dataclass(slots=True)
class Life:
    """A worker's state and how it came to it; ``step`` moves it on."""

    state: State
    since: float
    deadline: float | None
    """On the same clock as ``since``; None where it may stay for ever."""
    story: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=STORY_LENGTH_MAX))


class ImpossibleStep(AssertionError):
    """An event came in a state that cannot have it: a defect of ours, told with the story so far."""


_END = (Action.TERMINATE,)
# A lost link asks for nothing yet: the process is most likely ending by itself, and a signal now would hide its exit code.
_TABLE: dict[State, dict[Event, tuple[State, tuple[Action, ...]]]] = {
    State.STARTING: {
        Event.GREETED: (State.LOADING, (Action.SEND_SPEC,)),
        Event.RETIRED: (State.DYING, _END),
        Event.LINK_LOST: (State.DYING, ()),
        Event.LATE: (State.DYING, _END),
        Event.EXITED: (State.DEAD, (Action.BURY,)),
    },
    State.LOADING: {
        Event.LOADED: (State.IDLE, (Action.ANNOUNCE, Action.TAKE_WORK)),
        Event.LOAD_FAILED: (State.DYING, ()),
        Event.RETIRED: (State.DYING, _END),
        Event.LINK_LOST: (State.DYING, ()),
        Event.LATE: (State.DYING, _END),
        Event.EXITED: (State.DEAD, (Action.BURY,)),
    },
    State.IDLE: {
        Event.DISPATCHED: (State.BUSY, ()),
        Event.RETIRED: (State.DYING, (Action.WITHDRAW, Action.SEND_STOP)),
        Event.LINK_LOST: (State.DYING, (Action.WITHDRAW,)),
        Event.EXITED: (State.DEAD, (Action.WITHDRAW, Action.BURY)),
    },
    State.BUSY: {
        Event.PROGRESSED: (State.BUSY, ()),
        Event.ANSWERED: (State.IDLE, (Action.TAKE_WORK,)),
        Event.RETIRED: (State.DRAINING, ()),
        Event.LINK_LOST: (State.DYING, ()),
        Event.LATE: (State.DYING, (Action.TERMINATE, Action.FAIL_BATCH)),
        Event.EXITED: (State.DEAD, (Action.FAIL_BATCH, Action.BURY)),
    },
    State.DRAINING: {
        Event.PROGRESSED: (State.DRAINING, ()),
        Event.ANSWERED: (State.DYING, (Action.SEND_STOP,)),
        Event.RETIRED: (State.DRAINING, ()),
        Event.LINK_LOST: (State.DYING, ()),
        Event.LATE: (State.DYING, (Action.TERMINATE, Action.FAIL_BATCH)),
        Event.EXITED: (State.DEAD, (Action.FAIL_BATCH, Action.BURY)),
    },
    # What a dying worker still says was on its way already: it changes nothing, and an answer to a failed batch is dropped.
    State.DYING: {
        Event.GREETED: (State.DYING, ()),
        Event.LOADED: (State.DYING, ()),
        Event.LOAD_FAILED: (State.DYING, ()),
        Event.ANSWERED: (State.DYING, ()),
        Event.RETIRED: (State.DYING, ()),
        Event.LINK_LOST: (State.DYING, ()),
        Event.LATE: (State.DYING, (Action.KILL,)),
        Event.EXITED: (State.DEAD, (Action.FAIL_BATCH, Action.BURY)),
    },
    State.DEAD: {},
}
# The same by position: an enum's hash is Python code, and two steps are taken for every batch.
_STEPS = [
    [_TABLE.get(State(state), {}).get(Event(event)) if state and event else None for event in range(len(Event) + 1)]
    for state in range(len(State) + 1)
]


def begin(now: float, limits: Limits) -> Life:
    """Return the life of a worker whose process was just asked for."""
    return Life(State.STARTING, now, now + limits.start_seconds)


def step(life: Life, event: Event, now: float, limits: Limits) -> tuple[Action, ...]:
    """Move a worker on by an event; return what to do about it.

    Raises:
        ImpossibleStep: the state cannot have this event; the worker stays where it is.
    """
    found = _STEPS[life.state][event]
    if found is None:
        told = ", ".join(f"{what.name} at {when:.3f}" for when, what in (*life.story, (now, event)))
        raise ImpossibleStep(f"a worker that is {life.state.name} cannot have {event.name}: {told}")
    life.story.append((now, event))
    state, actions = found
    if state is life.state and event is not Event.LATE:
        if state is State.BUSY:
            life.deadline = now + limits.answer_seconds
        return actions
    life.deadline = _deadline(life, state, now, limits)
    life.state, life.since = state, now
    return actions


def _deadline(life: Life, state: State, now: float, limits: Limits) -> float | None:
    """Return when a state that begins now is over its time."""
    if state is State.BUSY:
        return now + limits.answer_seconds
    if state is State.LOADING:
        return now + limits.load_seconds
    if state is State.DRAINING:
        assert life.deadline is not None, "a busy worker has a deadline"
        return min(life.deadline, now + limits.drain_seconds)
    if state is State.DYING:
        return now + limits.end_seconds
    return None
