"""What a container of a pod does next: a pure state machine, events in, actions out.

The runner feeds it and carries the actions out; it alone decides about restarts, back-off, deadlines and the order of stopping. It
never does I/O and never reads a clock: ``now`` is an argument, in seconds of a monotonic clock.

Each container has a machine of its own. The server's begins with what the init containers do (fetching the model); the others begin when
that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from flambeau.control.resources.events import EventType

FETCH_SECONDS_MAX = 3600.0
"""A model that is not here by then is fetched anew."""
START_SECONDS_MAX = 30.0
"""From the wish to start a process to the news that it runs."""
PROGRESS_SECONDS_MAX = 600.0
"""A process that isn't ready by then is told as such; it is not killed, since loading has limits of its own (Knative: 600 s)."""
DRAIN_SECONDS_MAX = 5.0
"""How long a stopping pod waits for the gateway to forget it."""
KILL_SECONDS_MAX = 5.0
"""How long a killed process may take to vanish."""
BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Pauses before restarts in a row; the last one repeats."""
HEALTHY_SECONDS = 300.0
"""A pod that was ready this long starts its back-off anew."""
NO_ANSWER = "ContainersNotReady"
"""Reason of a probe that got no answer at all."""
OUT_OF_MEMORY = "OOMKilled"
"""Reason of a process that was killed over its memory limit."""
_STORY_MAX = 12


class Phase(StrEnum):
    """Where a container stands."""

    PENDING = "pending"
    FETCHING = "fetching"
    STARTING = "starting"
    RUNNING = "running"
    """The process runs, but does not answer as ready."""
    READY = "ready"
    BACKOFF = "backoff"
    ENDING = "ending"
    """Being stopped for a fault of its own, to be started again."""
    ENDED = "ended"
    """Ended, and by the pod's restart policy not to be started again."""
    DRAINING = "draining"
    """Being deleted: shown as not ready, still answering, until the gateway has forgotten it."""
    STOPPING = "stopping"
    GONE = "gone"


class Stage(StrEnum):
    """What went wrong, and so what is tried again after the back-off."""

    FETCH = "fetch"
    SERVE = "serve"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the container isn't ready."""

    stage: Stage
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process (or a fetch, as the storage-initializer) ended."""

    code: int | None
    """None: it was not our child, so nobody can know."""
    signal: int | None
    reason: str
    message: str
    started: float
    finished: float


@dataclass(frozen=True, slots=True)
class Begun:
    """The container's turn has come."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A process of an earlier agent still runs."""

    ready: bool
    """What the pod's status said last: kept until a probe says otherwise, so that adoption leaves no gap."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The model is on this machine, and every init container has ended well."""

    summary: str
    """In a sentence; empty where there was no model to fetch."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The model can't be had now."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class InputsChanged:
    """A ServiceAccount or Secret changed: what failed for want of it may work now."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process can't be started."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ProbeSucceeded:
    """The container answers as ready."""


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    """The container does not answer as ready, and says or shows why."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended."""

    code: int | None
    signal: int | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Condemned:
    """The process runs, but must not go on: it is stopped, and started again."""

    reason: str
    message: str
    grace_seconds: float
    """0: killed at once."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The containers that this one lives beside have ended for good: it is to end, too."""

    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Passed:
    """The state's deadline passed."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """The pod is to go."""

    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """The gateway sends nothing to the pod any more."""


Happening = (
    Begun
    | Adopted
    | Fetched
    | FetchFailed
    | InputsChanged
    | Spawned
    | SpawnFailed
    | ProbeSucceeded
    | ProbeFailed
    | Exited
    | Condemned
    | Retired
    | Passed
    | Deleted
    | Dropped
)


class Act(StrEnum):
    """What the runner is to do."""

    FETCH = "fetch"
    CANCEL_FETCH = "cancel fetch"
    SPAWN = "spawn"
    PROBE = "probe"
    CANCEL_PROBE = "cancel probe"
    TERMINATE = "terminate"
    KILL = "kill"
    CLEAN = "clean"
    """Forget the process: the container is done."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Write an Event about the pod."""

    type: EventType
    reason: str
    message: str


Action = Act | Tell


@dataclass(frozen=True, slots=True)
class State:
    """Everything that is known about a container's life."""

    phase: Phase
    since: float
    """When the phase began."""
    deadline: float | None
    """When ``Passed`` is due."""
    source: str
    """URI of the model that the storage-initializer fetches; empty without one."""
    prepares: bool = False
    """Init containers come before the process."""
    restart_policy: str = "Always"
    """Always, OnFailure or Never, as the pod says."""
    fetched: bool = False
    fetch_started: float | None = None
    fetch_finished: float | None = None
    fetch_restarts: int = 0
    started: float | None = None
    """When the process that runs, or ran last, was started."""
    ready_since: float | None = None
    restarts: int = 0
    failures: int = 0
    """In a row; chooses the back-off."""
    trouble: Trouble | None = None
    last_fetch: Exit | None = None
    last_exit: Exit | None = None
    killed: bool = False
    fault: Trouble | None = None
    """Why the process that is ending was condemned."""
    grace_seconds: float = 30.0
    story: tuple[str, ...] = ()
    """The last steps, for the error that a wrong step raises."""


def initial(
    now: float, *, source: str, prepares: bool = False, restart_policy: str = "Always", ended: Exit | None = None, restarts: int = 0
) -> State:
    """Return the state of a container that nobody has looked at yet; ``ended``: how it ended for good before this agent came."""
    return State(
        Phase.ENDED if ended is not None else Phase.PENDING,
        now,
        None,
        source,
        prepares or bool(source),
        restart_policy,
        fetched=ended is not None,
        started=None if ended is None else ended.started,
        restarts=restarts,
        last_exit=ended,
    )


def backoff_seconds(failures: int) -> float:
    """Return the pause after so many failures in a row (1 or more)."""
    return BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]


def step(state: State, event: Happening, now: float) -> tuple[State, tuple[Action, ...]]:
    """Return the next state and what to do.

    Raises:
        RuntimeError: the event can't happen in this state; the text tells the story so far.
    """
    handler = _TABLE.get((state.phase, type(event)))
    if handler is None:
        if isinstance(event, _LATE) or state.phase is Phase.GONE:
            return state, ()
        raise RuntimeError(f"{type(event).__name__} in state {state.phase}: {' > '.join(state.story)}")
    following, actions = handler(state, event, now)
    if following == state:
        return state, actions
    line = f"{state.phase}+{type(event).__name__}"
    return replace(following, story=(*state.story, line)[-_STORY_MAX:]), actions


_LATE = (InputsChanged, ProbeSucceeded, ProbeFailed, Condemned, Retired, Fetched, FetchFailed, Dropped, Passed, Deleted)
"""Events that may arrive after what they were about has ended (a probe's answer, a second look at a deletion); they change nothing then."""

_Step = tuple[State, tuple[Action, ...]]


def _enter(state: State, phase: Phase, now: float, seconds: float | None) -> State:
    return replace(state, phase=phase, since=now, deadline=None if seconds is None else now + seconds)


def _begin(state: State, _: Happening, now: float) -> _Step:
    if state.prepares:
        following = replace(_enter(state, Phase.FETCHING, now, FETCH_SECONDS_MAX), fetch_started=now)
        told = (Tell("Normal", "Fetching", f"fetching {state.source}"),) if state.source else ()
        return following, (Act.FETCH, *told)
    return _enter(state, Phase.STARTING, now, START_SECONDS_MAX), (Act.SPAWN,)


def _begin_again(state: State, event: Happening, now: float) -> _Step:
    """Go on after the process ended while no agent was there."""
    assert isinstance(event, Exited)
    ended = Exit(event.code, event.signal, event.reason, event.message, now, now)
    if not _is_restarted(state, event):
        return replace(_enter(state, Phase.ENDED, now, None), last_exit=ended, fetched=True), (Tell("Warning", "Lost", event.message),)
    following, actions = _begin(replace(state, last_exit=ended, restarts=state.restarts + 1), event, now)
    return following, (Tell("Warning", "Lost", event.message), *actions)


def _adopt(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Adopted)
    phase = Phase.READY if event.ready else Phase.RUNNING
    following = replace(
        _enter(state, phase, now, None if event.ready else PROGRESS_SECONDS_MAX),
        fetched=True,
        fetch_started=now,
        fetch_finished=now,
        started=now,
        ready_since=now if event.ready else None,
    )
    return following, (Act.PROBE, Tell("Normal", "Adopted", "its process went on serving while the control plane was away"))


def _have_model(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Fetched)
    following = replace(_enter(state, Phase.STARTING, now, START_SECONDS_MAX), fetched=True, fetch_finished=now, failures=0, trouble=None)
    told = (Tell("Normal", "Fetched", event.summary),) if event.summary else ()
    return following, (Act.SPAWN, *told)  # somebody may be waiting for the pod: what is told can wait


def _back_off(state: State, trouble: Trouble, now: float, *actions: Action) -> _Step:
    failures = state.failures + 1
    pause = backoff_seconds(failures)
    following = replace(_enter(state, Phase.BACKOFF, now, pause), failures=failures, trouble=trouble, ready_since=None)
    return following, (*actions, Tell("Warning", "BackOff", f"{trouble.message}; trying again in {pause:.0f} s"))


def _lack_model(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, FetchFailed)
    ended = Exit(1, None, "Error", event.message, state.fetch_started or now, now)
    told = replace(state, last_fetch=ended)
    return _back_off(told, Trouble(Stage.FETCH, event.reason, event.message), now, Tell("Warning", event.reason, event.message))


def _fetch_too_long(state: State, _: Happening, now: float) -> _Step:
    message = f"the model was not here after {FETCH_SECONDS_MAX:.0f} s"
    following, actions = _lack_model(state, FetchFailed("FetchTimedOut", message), now)
    return following, (Act.CANCEL_FETCH, *actions)


def _run(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Spawned)
    following = replace(_enter(state, Phase.RUNNING, now, PROGRESS_SECONDS_MAX), started=now, ready_since=None)
    return following, (Act.PROBE, Tell("Normal", "Started", f"started process {event.pid}"))


def _cannot_start(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, SpawnFailed)
    return _back_off(state, Trouble(Stage.SERVE, event.reason, event.message), now, Tell("Warning", event.reason, event.message))


def _start_too_long(state: State, _: Happening, now: float) -> _Step:
    return _cannot_start(state, SpawnFailed("RunContainerError", f"the process did not start in {START_SECONDS_MAX:.0f} s"), now)


def _become_ready(state: State, _: Happening, now: float) -> _Step:
    return replace(_enter(state, Phase.READY, now, None), ready_since=now, trouble=None), ()


def _stay_unready(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, ProbeFailed)
    if state.trouble is not None and event.reason == NO_ANSWER:
        return state, ()  # a process that doesn't answer yet says less than how the last one ended
    return replace(state, trouble=Trouble(Stage.SERVE, event.reason, event.message)), ()


def _progress_too_long(state: State, _: Happening, now: float) -> _Step:
    known = f": {state.trouble.message}" if state.trouble else ""
    message = f"not ready after {PROGRESS_SECONDS_MAX:.0f} s{known}"
    trouble = Trouble(Stage.SERVE, "ProgressDeadlineExceeded", message)
    return replace(state, trouble=trouble, deadline=None), (Tell("Warning", trouble.reason, message),)


def _become_unready(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, ProbeFailed)
    trouble = Trouble(Stage.SERVE, event.reason, event.message)
    following = replace(_enter(state, Phase.RUNNING, now, PROGRESS_SECONDS_MAX), trouble=trouble)
    return following, (Tell("Warning", "Unhealthy", event.message),)


def _lose_process(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Exited)
    fault = state.fault
    ended = Exit(event.code, event.signal, event.reason, event.message, state.started or now, now)
    if fault is not None:
        ended = replace(ended, reason=fault.reason if fault.reason == OUT_OF_MEMORY else event.reason, message=fault.message)
    if not _is_restarted(state, event):
        return replace(_enter(state, Phase.ENDED, now, None), last_exit=ended, ready_since=None), (Act.CANCEL_PROBE,)
    healthy = state.ready_since is not None and now - state.ready_since >= HEALTHY_SECONDS
    told = replace(state, last_exit=ended, restarts=state.restarts + 1, failures=0 if healthy else state.failures, fault=None, killed=False)
    trouble = fault or Trouble(Stage.SERVE, _crash_reason(event), event.message)
    return _back_off(told, trouble, now, Act.CANCEL_PROBE)


def _crash_reason(event: Exited) -> str:
    return f"ExitCode{event.code}" if event.code is not None else event.reason


def _is_restarted(state: State, event: Exited) -> bool:
    return state.restart_policy == "Always" or (state.restart_policy == "OnFailure" and event.code != 0)


def _condemn(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Condemned)
    fault = Trouble(Stage.SERVE, event.reason, event.message)
    at_once = event.grace_seconds <= 0
    following = replace(
        _enter(state, Phase.ENDING, now, KILL_SECONDS_MAX if at_once else event.grace_seconds), fault=fault, trouble=fault, killed=at_once
    )
    return following, (Act.CANCEL_PROBE, Tell("Warning", event.reason, event.message), Act.KILL if at_once else Act.TERMINATE)


def _retire(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Retired)
    following = replace(_enter(state, Phase.ENDING, now, event.grace_seconds), restart_policy="Never", fault=None, killed=False)
    told = Tell("Normal", "Killing", "stopping a sidecar: the containers beside it have ended")
    return following, (Act.CANCEL_PROBE, told, Act.TERMINATE)


def _stay_ended(state: State, _: Happening, now: float) -> _Step:
    """Start no sidecar again that ended by itself just before."""
    return replace(_enter(state, Phase.ENDED, now, None), restart_policy="Never"), ()


def _force_end(state: State, _: Happening, now: float) -> _Step:
    """Kill what ignores SIGTERM, as often as it takes: nothing is started beside a process that is still there."""
    return replace(_enter(state, Phase.ENDING, now, KILL_SECONDS_MAX), killed=True), (Act.KILL,)


def _try_again(state: State, _: Happening, now: float) -> _Step:
    if state.trouble is not None and state.trouble.stage is Stage.FETCH:
        following = replace(
            _enter(state, Phase.FETCHING, now, FETCH_SECONDS_MAX), fetch_started=now, fetch_restarts=state.fetch_restarts + 1
        )
        return following, (Act.FETCH,)
    return _enter(state, Phase.STARTING, now, START_SECONDS_MAX), (Act.SPAWN,)


def _drain(state: State, event: Happening, now: float) -> _Step:
    assert isinstance(event, Deleted)
    return replace(_enter(state, Phase.DRAINING, now, DRAIN_SECONDS_MAX), grace_seconds=event.grace_seconds), (Act.CANCEL_PROBE,)


def _stop(state: State, event: Happening, now: float) -> _Step:
    grace = event.grace_seconds if isinstance(event, Deleted) else state.grace_seconds
    following = replace(_enter(state, Phase.STOPPING, now, grace), grace_seconds=grace, killed=False)
    return following, (Act.CANCEL_PROBE, Tell("Normal", "Killing", "stopping the process"), Act.TERMINATE)


def _force(state: State, _: Happening, now: float) -> _Step:
    if state.killed:
        message = f"the process is still there {KILL_SECONDS_MAX:.0f} s after SIGKILL; it is left to the system"
        return _enter(state, Phase.GONE, now, None), (Tell("Warning", "FailedKillPod", message), Act.CLEAN)
    message = f"the process ignored SIGTERM for {state.grace_seconds:.0f} s: SIGKILL"
    following = replace(_enter(state, Phase.STOPPING, now, KILL_SECONDS_MAX), killed=True)
    return following, (Tell("Warning", "Killing", message), Act.KILL)


def _end(state: State, _: Happening, now: float) -> _Step:
    return _enter(state, Phase.GONE, now, None), (Act.CLEAN,)


def _end_fetching(state: State, _: Happening, now: float) -> _Step:
    return _enter(state, Phase.GONE, now, None), (Act.CANCEL_FETCH, Act.CLEAN)


def _retry_if_fetching_failed(state: State, event: Happening, now: float) -> _Step:
    if state.trouble is None or state.trouble.stage is not Stage.FETCH:
        return state, ()
    return _try_again(state, event, now)


_TABLE: dict[tuple[Phase, type], Callable[[State, Happening, float], _Step]] = {
    (Phase.PENDING, Begun): _begin,
    (Phase.PENDING, Adopted): _adopt,
    (Phase.PENDING, Exited): _begin_again,
    (Phase.PENDING, Deleted): _end,
    (Phase.FETCHING, Fetched): _have_model,
    (Phase.FETCHING, FetchFailed): _lack_model,
    (Phase.FETCHING, Passed): _fetch_too_long,
    (Phase.FETCHING, Deleted): _end_fetching,
    (Phase.STARTING, Spawned): _run,
    (Phase.STARTING, SpawnFailed): _cannot_start,
    (Phase.STARTING, Passed): _start_too_long,
    (Phase.STARTING, Deleted): _end,
    (Phase.RUNNING, ProbeSucceeded): _become_ready,
    (Phase.RUNNING, ProbeFailed): _stay_unready,
    (Phase.RUNNING, Passed): _progress_too_long,
    (Phase.RUNNING, Exited): _lose_process,
    (Phase.RUNNING, Deleted): _stop,
    (Phase.RUNNING, Condemned): _condemn,
    (Phase.RUNNING, Retired): _retire,
    (Phase.READY, ProbeFailed): _become_unready,
    (Phase.READY, Condemned): _condemn,
    (Phase.READY, Retired): _retire,
    (Phase.READY, Exited): _lose_process,
    (Phase.READY, Deleted): _drain,
    (Phase.BACKOFF, Passed): _try_again,
    (Phase.BACKOFF, InputsChanged): _retry_if_fetching_failed,
    (Phase.BACKOFF, Retired): _stay_ended,
    (Phase.BACKOFF, Deleted): _end,
    (Phase.ENDING, Exited): _lose_process,
    (Phase.ENDING, Passed): _force_end,
    (Phase.ENDING, Retired): _retire,
    (Phase.ENDING, Deleted): _stop,
    (Phase.ENDED, Deleted): _end,
    (Phase.DRAINING, Dropped): _stop,
    (Phase.DRAINING, Passed): _stop,
    (Phase.DRAINING, Exited): _end,
    (Phase.STOPPING, Exited): _end,
    (Phase.STOPPING, Passed): _force,
}
