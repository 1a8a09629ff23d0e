"""Every metric of the server itself: name, type, unit and labels. Pure data; docs/metrics.md is written from it.

TorchServe's names, labels and help texts are kept to the letter for existing dashboards; what is ours begins with ``flambeau_``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How values of a metric add up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds of our latency histograms."""
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Upper bounds of batch sizes, in requests."""
TORCHSERVE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of handlers' histograms that declare none, whatever their unit: as in TorchServe."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    kind: Kind
    unit: str
    """As TorchServe's log lines have it: ``Milliseconds``."""
    labels: tuple[str, ...]
    meaning: str
    """What docs say; for ours the HELP text too."""
    buckets: tuple[float, ...] = ()
    """Upper bounds, of histograms only."""

    @property
    def is_torchserves(self) -> bool:
        """Whether TorchServe has it."""
        return not self.name.startswith("flambeau_")

    @property
    def help_text(self) -> str:
        """Return the text of the HELP line."""
        return torchserve_help(self.kind, self.unit) if self.is_torchserves else self.meaning


def torchserve_help(kind: Kind, unit: str) -> str:
    """Return the HELP text that TorchServe gives every metric."""
    return f"Torchserve prometheus {kind} metric with unit: {unit}"


_HOST = ("Level", "Hostname")
_GPU = ("Level", "DeviceId", "Hostname")
_REQUESTED = ("model_name", "model_version", "hostname")
_BACKEND = ("ModelName", "Level", "Hostname")
_OURS = ("model_name", "model_version")

SERVER = (
    Family("Requests2XX", Kind.COUNTER, "Count", _HOST, "Answers with status 200 to 299, of every door, scrapes included."),
    Family("Requests4XX", Kind.COUNTER, "Count", _HOST, "Answers with status 400 to 499."),
    Family("Requests5XX", Kind.COUNTER, "Count", _HOST, "All other answers."),
    Family(
        "ts_inference_requests_total",
        Kind.COUNTER,
        "Count",
        _REQUESTED,
        'Inference requests, counted before they are queued; model_version is "default" where the client named none.',
    ),
    Family("ts_inference_latency_microseconds", Kind.COUNTER, "Microseconds", _REQUESTED, "Sum of the time from acceptance to the answer."),
    Family("ts_queue_latency_microseconds", Kind.COUNTER, "Microseconds", _REQUESTED, "Sum of the time that requests waited for a worker."),
    Family("QueueTime", Kind.GAUGE, "Milliseconds", _HOST, "How long the last answered request waited for a worker."),
    Family(
        "WorkerThreadTime",
        Kind.GAUGE,
        "Milliseconds",
        _HOST,
        "Of the last answered request, the time with its worker outside the handler: transport, decoding, encoding.",
    ),
    Family(
        "WorkerLoadTime",
        Kind.GAUGE,
        "Milliseconds",
        ("WorkerName", *_HOST),
        "From asking for a worker to its model being loaded; of the workers that run now. WorkerName is W-ID-MODEL_VERSION.",
    ),
    Family("CPUUtilization", Kind.GAUGE, "Percent", _HOST, "Of all cores, since the last measurement."),
    Family("MemoryUsed", Kind.GAUGE, "Megabytes", _HOST, "Memory of the machine in use."),
    Family("MemoryAvailable", Kind.GAUGE, "Megabytes", _HOST, "Memory that can be had without swapping."),
    Family("MemoryUtilization", Kind.GAUGE, "Percent", _HOST, "Memory that is not available."),
    Family("DiskUsage", Kind.GAUGE, "Gigabytes", _HOST, "Used on the disk of /."),
    Family("DiskUtilization", Kind.GAUGE, "Percent", _HOST, "Used on the disk of /."),
    Family("DiskAvailable", Kind.GAUGE, "Gigabytes", _HOST, "Free on the disk of /."),
    Family("GPUMemoryUtilization", Kind.GAUGE, "Percent", _GPU, "Memory of a GPU in use. GPU metrics need the package nvidia-ml-py."),
    Family("GPUMemoryUsed", Kind.GAUGE, "Megabytes", _GPU, "Memory of a GPU in use."),
    Family("GPUUtilization", Kind.GAUGE, "Percent", _GPU, "Time in which a GPU ran a kernel."),
)
"""TorchServe's frontend metrics: ``ts_metrics`` of metrics.yaml."""

MODEL = (
    Family("HandlerTime", Kind.GAUGE, "ms", _BACKEND, "Time in the handler for the model's last batch."),
    Family("PredictionTime", Kind.GAUGE, "ms", _BACKEND, "Time in the handler for the model's last batch, TorchServe's wrapper included."),
)
"""TorchServe's backend metrics: ``model_metrics`` of metrics.yaml."""

OURS = (
    Family(
        "flambeau_request_seconds", Kind.HISTOGRAM, "Seconds", _OURS, "From a request's last byte to its answer.", buckets=SECONDS_BUCKETS
    ),
    Family("flambeau_queue_seconds", Kind.HISTOGRAM, "Seconds", _OURS, "Waited for a worker.", buckets=SECONDS_BUCKETS),
    Family(
        "flambeau_handler_seconds",
        Kind.HISTOGRAM,
        "Seconds",
        _OURS,
        "In the handler, for the whole batch.",
        buckets=SECONDS_BUCKETS,
    ),
    Family("flambeau_batch_size", Kind.HISTOGRAM, "Count", _OURS, "Requests that went to a worker together.", buckets=BATCH_BUCKETS),
    Family("flambeau_requests_in_flight", Kind.GAUGE, "Count", _OURS, "Accepted and not yet answered."),
    Family("flambeau_queue_depth", Kind.GAUGE, "Count", _OURS, "Requests that wait for a worker."),
    Family("flambeau_queue_oldest_age_seconds", Kind.GAUGE, "Seconds", _OURS, "How long the oldest of them has waited; 0 if none waits."),
    Family("flambeau_workers", Kind.GAUGE, "Count", _OURS, "Workers, in whatever state."),
    Family("flambeau_workers_ready", Kind.GAUGE, "Count", _OURS, "Workers that can answer."),
    Family("flambeau_worker_restarts_total", Kind.COUNTER, "Count", _OURS, "Workers started again after a failure."),
    Family("flambeau_late_answers_total", Kind.COUNTER, "Count", _OURS, "Answers dropped: the client had gone or its deadline had passed."),
    Family(
        "flambeau_metric_updates_dropped_total",
        Kind.COUNTER,
        "Count",
        ("reason",),
        "Handlers' metric updates that were not kept: series (there are too many), type (the name has another type), undeclared, value.",
    ),
    Family(
        "flambeau_log_lines_dropped_total",
        Kind.COUNTER,
        "Count",
        ("log",),
        "Log lines lost because a disk or a reader was full, slow or gone.",
    ),
)
"""What TorchServe does not tell."""

BY_NAME = {family.name: family for family in (*SERVER, *MODEL, *OURS)}

LEGACY = frozenset({"ts_inference_requests_total", "ts_inference_latency_microseconds", "ts_queue_latency_microseconds"})
"""What the page shows in the mode ``legacy``."""
