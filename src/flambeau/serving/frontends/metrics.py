"""What ``/metrics`` tells: counted in plain integers on the hot path, shaped by prometheus-client when somebody asks.

Names and labels of TorchServe's three counters and its status classes are kept for existing dashboards; latencies are histograms
besides. One thread writes (the event loop); the page is made in another, which may see a count a request ahead of its neighbour.
"""

from __future__ import annotations

import socket
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds of the latency histograms."""

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_LABELS = ("model_name", "model_version")


class Histogram:
    """Count durations in buckets; one bisection per observation."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.total_seconds += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, count up to it) as Prometheus wants them."""
        pairs = []
        total = 0
        for bound, count in zip((*map(str, BUCKETS_SECONDS), "+Inf"), self.counts, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs


class ModelNumbers:
    """The counts of one model under one version label; bound once, then only added to."""

    __slots__ = ("handler", "in_flight", "latency_seconds", "queue_seconds", "request", "requests")

    def __init__(self) -> None:
        self.requests = 0
        """Accepted or refused by the queue; counted before queueing, as in TorchServe."""
        self.in_flight = 0
        self.latency_seconds = 0.0
        self.queue_seconds = 0.0
        self.request = Histogram()
        self.handler = Histogram()


@dataclass(frozen=True, slots=True)
class ModelGauges:
    """What is read from a model when somebody asks."""

    name: str
    version: str
    queue_depth: int
    workers_ready: int
    worker_restarts: int


class ServerMetrics(Collector):
    """Every number of one server.

    Args:
        gauges: reads the models' present state.
    """

    def __init__(self, gauges: Callable[[], Sequence[ModelGauges]]) -> None:
        self._gauges = gauges
        self._models: dict[tuple[str, str], ModelNumbers] = {}
        self._hostname = socket.gethostname()
        self.answers = [0] * 6
        """Answers of every door by the first digit of their status."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def model(self, name: str, version: str | None) -> ModelNumbers:
        """Return the numbers of a model that exists.

        Args:
            name: the model's.
            version: the one the client named; None counts as ``default``.
        """
        key = (name, version or "default")
        numbers = self._models.get(key)
        if numbers is None:
            numbers = self._models[key] = ModelNumbers()
        return numbers

    def text(self) -> bytes:
        """Return the page in Prometheus' text form. Takes milliseconds: not for the event loop."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return every family; prometheus-client calls this."""
        yield from self._torchserve_families()
        yield from self._histograms()
        yield from self._present_state()

    def _torchserve_families(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "ts_inference_requests", "Torchserve prometheus counter metric with unit: Count", labels=(*_LABELS, "hostname")
        )
        # Counters whose names lack _total can't be typed as such in this text form; the names are what dashboards know.
        latency = Metric("ts_inference_latency_microseconds", "Torchserve prometheus counter metric with unit: Microseconds", "unknown")
        queue = Metric("ts_queue_latency_microseconds", "Torchserve prometheus counter metric with unit: Microseconds", "unknown")
        for (name, version), numbers in list(self._models.items()):
            labels = {"model_name": name, "model_version": version, "hostname": self._hostname}
            requests.add_metric(tuple(labels.values()), numbers.requests)
            latency.add_sample(latency.name, labels, numbers.latency_seconds * 1e6)
            queue.add_sample(queue.name, labels, numbers.queue_seconds * 1e6)
        yield from (requests, latency, queue)
        host = {"Level": "Host", "Hostname": self._hostname}
        twos, fours = self.answers[2], self.answers[4]
        for family_name, count in (("Requests2XX", twos), ("Requests4XX", fours), ("Requests5XX", sum(self.answers) - twos - fours)):
            family = Metric(family_name, "Torchserve prometheus counter metric with unit: Count", "unknown")
            family.add_sample(family_name, host, count)
            yield family

    def _histograms(self) -> Iterable[Metric]:
        request = HistogramMetricFamily("flambeau_request_seconds", "From a request's last byte to its answer.", labels=_LABELS)
        handler = HistogramMetricFamily("flambeau_handler_seconds", "In the model's handler, for the whole batch.", labels=_LABELS)
        in_flight = GaugeMetricFamily("flambeau_requests_in_flight", "Accepted and not yet answered.", labels=_LABELS)
        for labels, numbers in list(self._models.items()):
            request.add_metric(labels, numbers.request.cumulative(), numbers.request.total_seconds)
            handler.add_metric(labels, numbers.handler.cumulative(), numbers.handler.total_seconds)
            in_flight.add_metric(labels, numbers.in_flight)
        yield from (request, handler, in_flight)

    def _present_state(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("flambeau_queue_depth", "Requests that wait for a worker.", labels=_LABELS)
        ready = GaugeMetricFamily("flambeau_workers_ready", "Workers that can answer.", labels=_LABELS)
        restarts = CounterMetricFamily("flambeau_worker_restarts", "Workers started again after a failure.", labels=_LABELS)
        for model in self._gauges():
            labels = (model.name, model.version)
            depth.add_metric(labels, model.queue_depth)
            ready.add_metric(labels, model.workers_ready)
            restarts.add_metric(labels, model.worker_restarts)
        yield from (depth, ready, restarts)
