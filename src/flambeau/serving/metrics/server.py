"""Every number of one server: what doors count, what is read from models, what handlers and the machine tell.

Doors bind a ``Tally`` per model and version and only add to plain numbers; a page is made when somebody asks. One thread writes (the
event loop); a page is written in another, which may see a count a request ahead of its neighbour.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flambeau.serving.metrics.catalog import BATCH_BUCKETS, BY_NAME, LEGACY, SECONDS_BUCKETS, Family
from flambeau.serving.metrics.declared import MetricsSettings, Mode
from flambeau.serving.metrics.handlers import HandlerSeries
from flambeau.serving.metrics.host import Reading
from flambeau.serving.metrics.lines import metric_line
from flambeau.serving.metrics.text import Histogram, PageWriter, label_text
from flambeau.serving.model import MetricDeclaration, MetricUpdate, ModelSpec

TALLIES_MAX = 1_000
"""So many (model, version) pairs before those of models that are gone are looked for."""

_ANY_VERSION = "default"
"""TorchServe's model_version of requests that name none."""
_LEVEL = ("Level", "Host")

WriteLine = Callable[[str], None]
"""Takes one line, without its break; never waits."""


@dataclass(frozen=True, slots=True)
class ModelReading:
    """A model version at the moment of a page."""

    name: str
    version: str
    queue_depth: int = 0
    oldest_age_seconds: float = 0.0
    workers: int = 0
    workers_ready: int = 0
    worker_restarts: int = 0
    late_answers: int = 0
    batches_by_size: Mapping[int, int] = field(default_factory=dict)
    """Requests of a batch -> how many such batches were answered."""
    load_seconds: Mapping[int, float] = field(default_factory=dict)
    """Worker's number -> how long it took to load."""


class _Requested:
    """TorchServe's counters of one model under one version label."""

    __slots__ = ("latency_seconds", "queue_seconds", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.latency_seconds = 0.0
        self.queue_seconds = 0.0


class _Version:
    """Our numbers of one model version."""

    __slots__ = ("handler", "in_flight", "queue", "request")

    def __init__(self) -> None:
        self.in_flight = 0
        self.request = Histogram(SECONDS_BUCKETS)
        self.queue = Histogram(SECONDS_BUCKETS)
        self.handler = Histogram(SECONDS_BUCKETS)


class _Last:
    """Gauges: what the last answered request told."""

    __slots__ = ("handler_seconds", "queue_seconds", "transport_seconds")

    def __init__(self) -> None:
        self.handler_seconds: dict[str, float] = {}
        self.queue_seconds: float | None = None
        self.transport_seconds = 0.0


class Tally:
    """What a door counts for one model version; bound once, then only added to."""

    __slots__ = ("_last", "_lines", "_model", "_requested", "_requested_version", "_version")

    def __init__(self, model: str, requested_version: str, requested: _Requested, version: _Version, last: _Last, lines: _Lines | None):
        self._model = model
        self._requested_version = requested_version
        self._requested = requested
        self._version = version
        self._last = last
        self._lines = lines

    def enter(self) -> None:
        """Count a request, before it is queued."""
        self._requested.requests += 1
        self._version.in_flight += 1
        if self._lines is not None:
            self._lines.entered(self._model, self._requested_version)

    def answered(self, now: float, accepted_at: float, given_at: float, handler_seconds: float, request_id: str) -> None:
        """Count an answer that came from the model's queue.

        Args:
            now: on ``time.monotonic``.
            accepted_at: when the request was queued, on ``time.monotonic``.
            given_at: when a worker got it; 0 if none has.
            handler_seconds: how long the handler took.
            request_id: the request's, for the log.
        """
        seconds = now - accepted_at
        queue_seconds = given_at - accepted_at if given_at else seconds
        requested, version, last = self._requested, self._version, self._last
        requested.latency_seconds += seconds
        requested.queue_seconds += queue_seconds
        version.request.observe(seconds)
        version.queue.observe(queue_seconds)
        version.handler.observe(handler_seconds)
        last.queue_seconds = queue_seconds
        last.transport_seconds = seconds - queue_seconds - handler_seconds
        last.handler_seconds[self._model] = handler_seconds
        if self._lines is not None:
            self._lines.answered(self._model, self._requested_version, seconds, queue_seconds, handler_seconds, request_id)

    @property
    def in_flight(self) -> int:
        """Requests of the model version that are accepted and not answered."""
        return self._version.in_flight

    def leave(self) -> None:
        """Note that a request is in flight no more, however it ended."""
        self._version.in_flight -= 1


class ServerMetrics:
    """Every number of one server.

    Args:
        read_models: reads the models' present state; called on the loop.
        settings: which metrics there are and where they go.
        server_line: takes lines of the server's metrics, in the modes that log them.
        model_line: takes lines of handlers' metrics.
        read_log_drops: reads how many lines each log has lost.
    """

    def __init__(
        self,
        read_models: Callable[[], Sequence[ModelReading]],
        settings: MetricsSettings | None = None,
        *,
        server_line: WriteLine | None = None,
        model_line: WriteLine | None = None,
        read_log_drops: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._read_models = read_models
        self._settings = settings = settings or MetricsSettings()
        self._read_log_drops = read_log_drops
        self._hostname = socket.gethostname()
        self._tallies: dict[tuple[str, str, str | None], Tally] = {}
        self._requested: dict[tuple[str, str], _Requested] = {}
        self._versions: dict[tuple[str, str], _Version] = {}
        self._last = _Last()
        self._host: Sequence[Reading] = ()
        self._answers = [0] * 6
        self._handlers = HandlerSeries(settings.declared.model, auto_detect=settings.auto_detect, hostname=self._hostname)
        self._lines: _Lines | None = None
        if settings.mode is not Mode.PROMETHEUS and server_line is not None and model_line is not None:
            self._lines = _Lines(settings, self._hostname, server_line, model_line)

    @property
    def declared_for_workers(self) -> tuple[MetricDeclaration, ...]:
        """The metrics that handlers find declared."""
        return self._settings.declared.for_workers()

    # What doors and workers tell.

    def tally(self, name: str, version: str, requested_version: str | None) -> Tally:
        """Return what a door counts with.

        Args:
            name: a model's that exists.
            version: the one that serves the request.
            requested_version: the one that the client named.
        """
        key = (name, version, requested_version)
        found = self._tallies.get(key)
        if found is None:
            if len(self._tallies) >= TALLIES_MAX:
                self._forget_gone(self._read_models())
            label = requested_version or _ANY_VERSION
            found = self._tallies[key] = Tally(
                name,
                label,
                self._requested.setdefault((name, label), _Requested()),
                self._versions.setdefault((name, version), _Version()),
                self._last,
                self._lines,
            )
        return found

    def count_answer(self, status: int) -> None:
        """Count an answer of any door."""
        self._answers[status // 100] += 1
        if self._lines is not None:
            self._lines.status(status)

    def take_updates(self, spec: ModelSpec, updates: Sequence[MetricUpdate]) -> None:
        """Add what a model's handler measured."""
        for update in updates:
            family = self._handlers.take(spec.name, update)
            if family is not None and self._lines is not None:
                self._lines.updated(family, update)

    def take_host(self, readings: Sequence[Reading]) -> None:
        """Keep what was measured of the machine."""
        self._host = readings
        if self._lines is not None:
            self._lines.measured(readings)

    def worker_loaded(self, spec: ModelSpec, number: int, seconds: float) -> None:
        """Log how long a worker took to load, in the modes that log; pages read it from the models."""
        if self._lines is not None:
            self._lines.loaded(worker_name(spec.name, spec.version, number), seconds)

    # What is told.

    def page(self, wanted: frozenset[str] = frozenset()) -> Callable[[], bytes]:
        """Read what the loop owns and return what makes the page of it, in any thread.

        Args:
            wanted: names of samples or families; empty for all.
        """
        if self._settings.mode is Mode.LOG:
            return bytes
        models = self._read_models()
        self._forget_gone(models)
        drops = dict(self._read_log_drops())
        return lambda: self._text(PageWriter(wanted), models, drops)

    def _text(self, page: PageWriter, models: Sequence[ModelReading], drops: Mapping[str, int]) -> bytes:
        self._write_requested(page)
        if self._settings.mode is Mode.PROMETHEUS:
            self._write_host(page, models)
            self._write_versions(page, models)
            self._write_backend(page)
            self._handlers.write(page)
            page.values(BY_NAME["flambeau_metric_updates_dropped_total"], _by("reason", self._handlers.dropped))
            page.values(BY_NAME["flambeau_log_lines_dropped_total"], _by("log", drops))
        return page.page()

    def _server(self, name: str) -> Family | None:
        """Return one of TorchServe's metrics as metrics.yaml has it; None if it is off."""
        return self._settings.declared.server.get(name)

    def _write_requested(self, page: PageWriter) -> None:
        counts = list(self._requested.items())
        told: dict[str, list[float]] = {
            "ts_inference_requests_total": [each.requests for _, each in counts],
            "ts_inference_latency_microseconds": [each.latency_seconds * 1e6 for _, each in counts],
            "ts_queue_latency_microseconds": [each.queue_seconds * 1e6 for _, each in counts],
        }
        for name, values in told.items():
            family = self._server(name)
            if family is not None:
                labels = [label_text(family.labels, (*key, self._hostname)) for key, _ in counts]
                page.values(family, zip(labels, values, strict=True))

    def _write_host(self, page: PageWriter, models: Sequence[ModelReading]) -> None:
        twos, fours = self._answers[2], self._answers[4]
        last = self._last
        own: dict[str, list[tuple[tuple[str, ...], float]]] = {
            "Requests2XX": [(("Host",), twos)],
            "Requests4XX": [(("Host",), fours)],
            "Requests5XX": [(("Host",), sum(self._answers) - twos - fours)],
            "QueueTime": [(("Host",), last.queue_seconds * 1e3)] if last.queue_seconds is not None else [],
            "WorkerThreadTime": [(("Host",), last.transport_seconds * 1e3)] if last.queue_seconds is not None else [],
            "WorkerLoadTime": [
                ((worker_name(model.name, model.version, number), "Host"), seconds * 1e3)
                for model in models
                for number, seconds in model.load_seconds.items()
            ],
        }
        for reading in self._host:
            values = ("Host",) if reading.device is None else ("Host", reading.device)
            own.setdefault(reading.name, []).append((values, reading.value))
        for name, family in self._settings.declared.server.items():
            if name not in LEGACY:
                samples = own.get(name, [])
                page.values(family, [(label_text(family.labels, (*values, self._hostname)), value) for values, value in samples])

    def _write_versions(self, page: PageWriter, models: Sequence[ModelReading]) -> None:
        names = BY_NAME["flambeau_queue_depth"].labels
        counted = [(label_text(names, key), version) for key, version in list(self._versions.items())]
        page.histograms(BY_NAME["flambeau_request_seconds"], [(labels, version.request) for labels, version in counted])
        page.histograms(BY_NAME["flambeau_queue_seconds"], [(labels, version.queue) for labels, version in counted])
        page.histograms(BY_NAME["flambeau_handler_seconds"], [(labels, version.handler) for labels, version in counted])
        read = [(label_text(names, (model.name, model.version)), model) for model in models]
        page.histograms(BY_NAME["flambeau_batch_size"], [(labels, _batch_sizes(model.batches_by_size)) for labels, model in read])
        page.values(BY_NAME["flambeau_requests_in_flight"], [(labels, version.in_flight) for labels, version in counted])
        page.values(BY_NAME["flambeau_queue_depth"], [(labels, model.queue_depth) for labels, model in read])
        page.values(BY_NAME["flambeau_queue_oldest_age_seconds"], [(labels, model.oldest_age_seconds) for labels, model in read])
        page.values(BY_NAME["flambeau_workers"], [(labels, model.workers) for labels, model in read])
        page.values(BY_NAME["flambeau_workers_ready"], [(labels, model.workers_ready) for labels, model in read])
        page.values(BY_NAME["flambeau_worker_restarts_total"], [(labels, model.worker_restarts) for labels, model in read])
        page.values(BY_NAME["flambeau_late_answers_total"], [(labels, model.late_answers) for labels, model in read])

    def _write_backend(self, page: PageWriter) -> None:
        seconds = list(self._last.handler_seconds.items())
        for name in ("HandlerTime", "PredictionTime"):
            family = self._settings.declared.model.get(name)
            if family is not None and len(family.labels) == len(BY_NAME[name].labels):
                labels = [label_text(family.labels, (model, "Model", self._hostname)) for model, _ in seconds]
                page.values(family, zip(labels, [value * 1e3 for _, value in seconds], strict=True))

    def _forget_gone(self, models: Sequence[ModelReading]) -> None:
        """Forget the numbers of models that were unregistered; requests that still run keep theirs."""
        versions = {(model.name, model.version) for model in models}
        names = {model.name for model in models}
        gone = {key for key, version in self._versions.items() if key not in versions and not version.in_flight}
        if gone:
            self._tallies = {key: tally for key, tally in self._tallies.items() if key[:2] not in gone}
            self._versions = {key: version for key, version in self._versions.items() if key not in gone}
            labels = {(name, _ANY_VERSION) for name in names} | versions | set(self._versions)
            self._requested = {key: each for key, each in self._requested.items() if key in labels}
            self._last.handler_seconds = {name: value for name, value in self._last.handler_seconds.items() if name in names}
        forgotten = self._handlers.models() - names
        if forgotten:
            self._handlers.forget(forgotten)


class _Lines:
    """Write metrics as log lines when they change; what metrics.yaml doesn't declare is left out."""

    def __init__(self, settings: MetricsSettings, hostname: str, server_line: WriteLine, model_line: WriteLine) -> None:
        on_page = LEGACY if settings.mode is Mode.LEGACY else frozenset()
        self._server = {name: family for name, family in settings.declared.server.items() if name not in on_page}
        self._model = settings.declared.model
        self._hostname = hostname
        self._server_line = server_line
        self._model_line = model_line

    def entered(self, model: str, version: str) -> None:
        """A request was accepted."""
        self._tell("ts_inference_requests_total", 1.0, (model, version))

    def answered(self, model: str, version: str, seconds: float, queue_seconds: float, handler_seconds: float, request_id: str) -> None:
        """A request was answered."""
        self._tell("ts_inference_latency_microseconds", seconds * 1e6, (model, version))
        self._tell("ts_queue_latency_microseconds", queue_seconds * 1e6, (model, version))
        self._tell("QueueTime", queue_seconds * 1e3, ("Host",))
        self._tell("WorkerThreadTime", (seconds - queue_seconds - handler_seconds) * 1e3, ("Host",))
        for name in ("HandlerTime", "PredictionTime"):
            family = self._model.get(name)
            if family is not None:
                self._model_told(family, handler_seconds * 1e3, (("ModelName", model), ("Level", "Model")), request_id)

    def status(self, status: int) -> None:
        """An answer was sent."""
        self._tell({2: "Requests2XX", 4: "Requests4XX"}.get(status // 100, "Requests5XX"), 1.0, ("Host",))

    def loaded(self, worker: str, seconds: float) -> None:
        """A worker has loaded."""
        self._tell("WorkerLoadTime", seconds * 1e3, (worker, "Host"))

    def measured(self, readings: Sequence[Reading]) -> None:
        """The machine was measured."""
        for reading in readings:
            self._tell(reading.name, reading.value, ("Host",) if reading.device is None else ("Host", reading.device))

    def updated(self, family: Family, update: MetricUpdate) -> None:
        """A handler measured."""
        self._model_told(family, update.value, update.dimensions, update.request_id)

    def _tell(self, name: str, value: float, values: tuple[str, ...]) -> None:
        family = self._server.get(name)
        if family is not None:
            # The host's name, the last label, stands apart.
            dimensions = zip(family.labels, values, strict=False)
            self._server_line(metric_line(name, family.unit, value, dimensions, host=self._hostname, now=time.time()))

    def _model_told(self, family: Family, value: float, dimensions: Sequence[tuple[str, str]], ids: str) -> None:
        shown = [pair for pair in dimensions if pair[0] != "Hostname"]
        self._model_line(metric_line(family.name, family.unit, value, shown, host=self._hostname, now=time.time(), ids=ids))


def worker_name(model: str, version: str, number: int) -> str:
    """Return a worker's name as TorchServe's metrics and logs have it."""
    return f"W-{number}-{model}_{version}"


def _batch_sizes(batches_by_size: Mapping[int, int]) -> Histogram:
    histogram = Histogram(BATCH_BUCKETS)
    for size, count in batches_by_size.items():
        histogram.add(size, count)
    return histogram


def _by(label: str, counts: Mapping[str, int]) -> list[tuple[str, float]]:
    return [(label_text((label,), (key,)), count) for key, count in counts.items()]
