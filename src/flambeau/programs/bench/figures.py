"""What a load has seen: latencies, answers by status, and the split of a request's time. Pure: times are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flambeau.programs.bench.question import Question

QUANTILES = (0.5, 0.9, 0.99, 0.999)
OUTCOMES_MAX = 32
"""Different failures that are told apart; further ones count as OTHER."""
OTHER = "other"
_STEPS_BITS = 8
"""A latency is kept to one part in 2**8, 0.4 %: a histogram that never grows, however long the load lasts."""
_TICKS = 10_000_000
"""A second in steps of 100 ns."""


class Latencies:
    """A histogram of times, with steps in proportion to them."""

    def __init__(self) -> None:
        self.count = 0
        self.total_seconds = 0.0
        self._steps: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Note a time."""
        self.count += 1
        self.total_seconds += seconds
        step = _step_of(seconds)
        self._steps[step] = self._steps.get(step, 0) + 1

    @property
    def mean(self) -> float:
        """Mean in seconds; 0 if there is none."""
        return self.total_seconds / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """Return the time in seconds that so large a share did not exceed; 0 if there is none."""
        left = share * self.count
        for step in sorted(self._steps):
            left -= self._steps[step]
            if left <= 1e-9:  # a share such as 0.999 is no exact number
                return _middle_of(step)
        return 0.0

    def quantiles(self) -> tuple[float, ...]:
        """Return the times of QUANTILES in seconds."""
        return tuple(self.quantile(share) for share in QUANTILES)


def _step_of(seconds: float) -> int:
    ticks = max(0, int(seconds * _TICKS))
    shift = max(0, ticks.bit_length() - _STEPS_BITS - 1)
    return (shift << 32) | (ticks >> shift)


def _middle_of(step: int) -> float:
    shift, ticks = step >> 32, step & 0xFFFFFFFF
    return ((ticks << shift) + ((1 << shift) - 1) / 2) / _TICKS


@dataclass(slots=True)
class Failures:
    """Requests of one outcome that were not answered with a 2xx status."""

    count: int = 0
    message: str = ""
    """What the first of them was told."""


@dataclass(slots=True)
class Level:
    """What came of one load.

    The load may go on before and after the time that is counted; ``note`` and ``fail`` are called only within it.
    """

    connections: int
    rate: float | None = None
    """Requests a second of a fixed schedule; None: each connection sends its next request when it has an answer."""
    seconds: float = 0.0
    """How long it was counted."""
    latencies: Latencies = field(default_factory=Latencies)
    """Of answers with a 2xx status."""
    failures: dict[str, Failures] = field(default_factory=dict)
    """By status, or by what happened to the connection."""
    unsent: int = 0
    """Requests of a schedule that were still waiting for a free connection at the end."""
    client_share: float = 0.0
    """Of one core, what this client took: near 1 it is the client that was measured."""
    interrupted: bool = False

    def fail(self, outcome: str, message: str) -> None:
        """Note a request that failed."""
        if outcome not in self.failures and len(self.failures) >= OUTCOMES_MAX:
            outcome = OTHER
        found = self.failures.setdefault(outcome, Failures(message=message))
        found.count += 1

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(each.count for each in self.failures.values())

    @property
    def throughput(self) -> float:
        """Answers with a 2xx status a second."""
        return self.latencies.count / self.seconds if self.seconds else 0.0


PHASES = (
    ("client", "network and client", "between the client and the first of our stations, and within the client"),
    ("gateway", "gateway", "in the gateway, and between it and the model server"),
    ("receive", "receive", "from the head of the request to its last byte"),
    ("queue", "queue", "waiting for a worker, and for the batch to form"),
    ("link", "link", "between the front and the worker's process, both ways"),
    ("decode", "decode", "from the wire form to the handler's input, for the whole batch"),
    ("handler", "handler", "the handler: the model itself"),
    ("encode", "encode", "from the handler's output to the wire form, for the whole batch"),
)
"""Where a request's time goes, in its order: key, name, meaning."""


@dataclass(slots=True)
class Split:
    """Mean seconds of each phase, of the answers that told them."""

    count: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    batches: float = 0.0
    """Sum of the sizes of the requests' batches."""

    def add(self, seconds: float, told: Mapping[str, float], batch: int) -> None:
        """Note what one answer told.

        Args:
            seconds: the client's own latency.
            told: of each station, how long it had the request (``foundation.server_timing``).
            batch: how many requests the worker had together.
        """
        server = told.get("server")
        if server is None:
            return
        outermost = told.get("gateway", server)
        parts = {"client": seconds - outermost, "gateway": outermost - server, "link": told.get("worker", 0.0)}
        for name in ("decode", "handler", "encode"):
            parts[name] = told.get(name, 0.0)
            parts["link"] -= parts[name]
        for name in ("receive", "queue"):
            parts[name] = told.get(name, 0.0)
        self.count += 1
        self.batches += batch
        for name, value in parts.items():
            self.totals[name] = self.totals.get(name, 0.0) + max(0.0, value)

    def means(self) -> dict[str, float]:
        """Return the mean seconds of each of PHASES; nothing if no answer told them."""
        return {key: self.totals[key] / self.count for key, _, _ in PHASES} if self.count else {}

    @property
    def batch(self) -> float:
        """Mean size of a request's batch."""
        return self.batches / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting of a model, and what came of it."""

    batch_size: int
    workers: int
    level: Level


GAIN_MIN = 0.03
"""A setting is better than a smaller one if it answers so much more: less is the noise of a quiet machine."""


def best_of(tried: Sequence[Tried]) -> Tried | None:
    """Return the setting that answers most; of those about as good the one with the fewest workers, then the smallest batch."""
    good = [each for each in tried if each.level.throughput and not each.level.failed]
    if not good:
        return None
    most = max(each.level.throughput for each in good)
    near = [each for each in good if each.level.throughput >= most / (1 + GAIN_MIN)]
    return min(near, key=lambda each: (each.workers, each.batch_size))


@dataclass(slots=True)
class Measured:
    """Everything that a benchmark has seen."""

    question: Question
    seconds: float
    """That each load was to count."""
    levels: list[Level] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    """Of each level; empty ones where the server tells no times."""
    tried: list[Tried] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What whoever reads the figures should know."""
    interrupted: bool = False
