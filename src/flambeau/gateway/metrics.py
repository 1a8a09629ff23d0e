"""Numbers of the gateway: plain counters on the hot path, Prometheus' text at the scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
CODE_CLASSES = ("client_closed", "1xx", "2xx", "3xx", "4xx", "5xx")
"""By the status's first digit; 0 stands for a client that left before its answer was complete."""


class Numbers:
    """What is counted for one backend."""

    __slots__ = ("buckets", "by_class", "ejections", "latency_sum_seconds")

    def __init__(self) -> None:
        self.by_class = [0] * len(CODE_CLASSES)
        self.buckets = [0] * (len(LATENCY_BUCKETS_SECONDS) + 1)
        self.latency_sum_seconds = 0.0
        self.ejections = 0

    def count(self, status: int, seconds: float) -> None:
        """Count an ended request.

        Args:
            status: that the client got; 0 if it left.
            seconds: from its head to the end of its answer.
        """
        self.by_class[min(status // 100, len(CODE_CLASSES) - 1)] += 1
        self.buckets[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1
        self.latency_sum_seconds += seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """A backend at the moment of a scrape."""

    backend: str
    """Its name; empty for requests that found none."""
    numbers: Numbers
    in_flight: int = 0
    waiting: int = 0
    events: tuple[tuple[str, int], ...] = ()
    """Copies for its logger: (outcome, number)."""
    shadow: tuple[tuple[str, int], ...] = ()
    """Answers of its shadow: (outcome, number)."""


def render(readings: Sequence[Reading]) -> bytes:
    """Return everything in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(list(_families(readings))))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(readings: Sequence[Reading]) -> Iterator[Metric]:
    requests = CounterMetricFamily("flambeau_gateway_requests", "Ended requests.", labels=("backend", "code_class"))
    latency = HistogramMetricFamily("flambeau_gateway_request_seconds", "From a request's head to its answer's end.", labels=("backend",))
    in_flight = GaugeMetricFamily("flambeau_gateway_in_flight", "Requests a replica works on now.", labels=("backend",))
    waiting = GaugeMetricFamily("flambeau_gateway_waiting", "Requests that wait for a replica with room.", labels=("backend",))
    ejections = CounterMetricFamily("flambeau_gateway_ejections", "Times a replica was left alone after failures.", labels=("backend",))
    events = CounterMetricFamily("flambeau_gateway_events", "Copies of requests and answers for a logger.", labels=("backend", "outcome"))
    shadows = CounterMetricFamily("flambeau_gateway_shadow_answers", "Answers of a shadow, compared.", labels=("backend", "outcome"))
    for reading in readings:
        for family, numbers_by_outcome in ((events, reading.events), (shadows, reading.shadow)):
            for outcome, number in numbers_by_outcome:
                family.add_metric((reading.backend, outcome), number)
        labels, numbers = (reading.backend,), reading.numbers
        for code_class, value in zip(CODE_CLASSES, numbers.by_class, strict=True):
            if value:
                requests.add_metric((reading.backend, code_class), value)
        latency.add_metric(labels, _cumulated(numbers.buckets), numbers.latency_sum_seconds)
        in_flight.add_metric(labels, reading.in_flight)
        waiting.add_metric(labels, reading.waiting)
        ejections.add_metric(labels, numbers.ejections)
    yield from (requests, latency, in_flight, waiting, ejections, events, shadows)


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in LATENCY_BUCKETS_SECONDS), "+Inf"]
    total = 0
    cumulated: list[tuple[str, float]] = []
    for bound, value in zip(bounds, buckets, strict=True):
        total += value
        cumulated.append((bound, total))
    return cumulated
