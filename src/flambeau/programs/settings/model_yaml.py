"""model-config.yaml: what the server reads of it. Pure.

A value of the wrong type or out of range is skipped and told, as in TorchServe; so is a misspelt key. Keys that no table here knows are
the handler's own. ``models.config_merger`` gives the result its place among the other sources.
"""

from __future__ import annotations

from collections.abc import Mapping

from flambeau.programs.settings.keys import likely_meant
from flambeau.serving.model import Parallelism, Sequences

WARMUP_REQUESTS_MAX = 100
"""A longer ``warmup`` list is cut: every worker answers it before it serves."""
SEQUENCE_IDLE_SECONDS_DEFAULT = 60.0
"""Where sequenceBatching is on and sequenceMaxIdleMSec is not given; TorchServe then fails every request."""

INTEGERS: dict[str, tuple[str, int]] = {
    "minWorkers": ("min_workers", 0),
    "maxWorkers": ("max_workers", 0),
    "batchSize": ("batch_size", 1),
    "maxBatchDelay": ("max_batch_delay_ms", 0),
    "responseTimeout": ("response_timeout_seconds", 1),
    "startupTimeout": ("startup_timeout_seconds", 1),
    "maxRetryTimeoutInSec": ("max_retry_timeout_seconds", 1),
    "jobQueueSize": ("job_queue_size", 1),
}
"""Name in JSON and YAML -> (field of ModelConfig, the least value)."""
_BOOLEANS = {
    "useJobTicket": "use_job_ticket",
    "useVenv": "use_venv",
    "continuousBatching": "continuous_batching",
    "asyncCommunication": "async_communication",
}
_SEQUENCE_INTEGERS = {"sequenceMaxIdleMSec": 0, "sequenceTimeoutMSec": 0, "maxSequenceJobQueueSize": 1, "maxNumSequence": 1}
_TORCHRUN_INTEGERS = {"nnodes": 1, "nproc-per-node": 1, "OMP_NUMBER_THREADS": 1}
_TORCHRUN_WITHOUT_EFFECT = frozenset({"rdzv-conf", "monitor-interval", "node-rank", "max-restarts"})
_PARALLEL_TYPES = ("pp", "tp", "pptp", "custom")
_OTHERS = ("clientTimeoutInMills", "deviceType", "deviceIds", "parallelType", "parallelLevel", "torchrun", "sequenceBatching", "warmup")

KEYS = frozenset({*INTEGERS, *_BOOLEANS, *_SEQUENCE_INTEGERS, *_OTHERS})
"""Every key that the server reads."""
_HANDLERS_KEYS = frozenset({"handler", "pt2", "micro_batching", "pippy", "deepspeed", "dali", "runtimeType"})


def fields_of(yaml: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return the fields of ModelConfig that a YAML sets, and what is wrong with the others."""
    return _Reading(yaml).fields()


class _Reading:
    """One YAML on its way to fields; notes what is wrong."""

    def __init__(self, yaml: Mapping[str, object]) -> None:
        self._yaml = yaml
        self._refused: list[str] = []

    def fields(self) -> tuple[dict[str, object], list[str]]:
        fields: dict[str, object] = {}
        for key, (field, least) in INTEGERS.items():
            number = self._integer(self._yaml, key, least)
            if number is not None:
                fields[field] = number
        _drop_impossible_workers(fields, self._refused)
        for key, field in _BOOLEANS.items():
            wish = self._boolean(key)
            if wish is not None:
                fields[field] = wish
        milliseconds = self._integer(self._yaml, "clientTimeoutInMills", 0)
        if milliseconds is not None:
            fields["client_timeout_seconds"] = milliseconds / 1000 if milliseconds else None
        fields.update(self._devices())
        if (parallelism := self._parallelism()) is not None:
            fields["parallelism"] = parallelism
        if (sequences := self._sequences()) is not None:
            fields["sequences"] = sequences
        if (warmup := self._warmup()) is not None:
            fields["warmup"] = warmup
        self._refused += [
            f"{key} is no key of the server{meant}"
            for key in self._yaml
            if isinstance(key, str) and key not in KEYS | _HANDLERS_KEYS and (meant := likely_meant(key, KEYS))
        ]
        return fields, self._refused

    def _devices(self) -> dict[str, object]:
        fields: dict[str, object] = {}
        kind = self._yaml.get("deviceType")
        if kind is not None:
            if isinstance(kind, str) and kind.lower() in ("cpu", "gpu"):
                fields["device_type"] = kind.lower()
            else:
                self._refused.append(f"deviceType: {kind!r} is neither cpu nor gpu")
        ids = self._yaml.get("deviceIds")
        if ids is not None:
            if isinstance(ids, list) and all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in ids):
                fields["device_ids"] = tuple(dict.fromkeys(ids))
            else:
                self._refused.append(f"deviceIds: {ids!r} is not a list of GPU numbers")
        return fields

    def _parallelism(self) -> Parallelism | None:
        kind, level = self._yaml.get("parallelType"), self._integer(self._yaml, "parallelLevel", 1)
        torchrun = self._yaml.get("torchrun")
        if torchrun is not None and not isinstance(torchrun, dict):
            self._refused.append("torchrun: must hold keys and values")
            torchrun = None
        if kind is None:
            if level is not None or torchrun is not None:
                self._refused.append("parallelLevel and torchrun have no effect without parallelType")
            return None
        if kind not in _PARALLEL_TYPES:
            self._refused.append(f"parallelType: {kind!r} is none of {', '.join(_PARALLEL_TYPES)}")
            return None
        options: dict[str, object] = torchrun or {}
        self._refused += [f"torchrun: {key} has no effect" for key in options if key in _TORCHRUN_WITHOUT_EFFECT]
        numbers = {key: self._integer(options, key, least) for key, least in _TORCHRUN_INTEGERS.items()}
        endpoint = options.get("rdzv-endpoint")
        return Parallelism(
            kind=kind,
            processes=numbers["nproc-per-node"] or level or 1,
            nodes=numbers["nnodes"] or 1,
            rendezvous_backend=str(options.get("rdzv-backend") or "c10d"),
            rendezvous_endpoint=str(endpoint) if endpoint else None,
            compute_threads=numbers["OMP_NUMBER_THREADS"] or 1,
        )

    def _sequences(self) -> Sequences | None:
        numbers = {key: self._integer(self._yaml, key, least) for key, least in _SEQUENCE_INTEGERS.items()}
        if not self._boolean("sequenceBatching"):
            return None
        idle = (numbers["sequenceMaxIdleMSec"] or 0) / 1000
        if not idle:
            self._refused.append(
                f"sequenceMaxIdleMSec is not given: a sequence is over {SEQUENCE_IDLE_SECONDS_DEFAULT:g} s after its last answer"
            )
        total = numbers["sequenceTimeoutMSec"]
        return Sequences(
            idle_seconds_max=idle or SEQUENCE_IDLE_SECONDS_DEFAULT,
            total_seconds_max=total / 1000 if total else None,
            count_max=numbers["maxNumSequence"] or 1,
            queue_size=numbers["maxSequenceJobQueueSize"] or 1,
        )

    def _warmup(self) -> tuple[object, ...] | None:
        requests = self._yaml.get("warmup")
        if requests is None:
            return None
        if not isinstance(requests, list) or not all(isinstance(each, str | dict) for each in requests):
            self._refused.append("warmup: must be a list of files of the archive and of requests")
            return None
        if len(requests) > WARMUP_REQUESTS_MAX:
            self._refused.append(f"warmup: only the first {WARMUP_REQUESTS_MAX} of {len(requests)} requests are sent")
        return tuple(requests[:WARMUP_REQUESTS_MAX])

    def _integer(self, entry: Mapping[str, object], key: str, least: int) -> int | None:
        number, refused = whole_number(entry.get(key), least)
        if refused:
            self._refused.append(f"{key}: {refused}")
        return number

    def _boolean(self, key: str) -> bool | None:
        value = self._yaml.get(key)
        if value is None or isinstance(value, bool):
            return value
        self._refused.append(f"{key}: {value!r} is neither true nor false")
        return None


def integer_fields(entry: Mapping[str, object]) -> tuple[dict[str, int], list[str]]:
    """Return the whole-number fields that one entry of the ``models`` JSON or a model_snapshot sets, and what is wrong with the others."""
    fields: dict[str, object] = {}
    refused: list[str] = []
    for key, (field, least) in INTEGERS.items():
        number, why = whole_number(entry.get(key), least)
        if why:
            refused.append(f"{key}: {why}")
        elif number is not None:
            fields[field] = number
    _drop_impossible_workers(fields, refused)
    return {name: number for name, number in fields.items() if isinstance(number, int)}, refused


def whole_number(value: object, least: int) -> tuple[int | None, str]:
    """Return a value as a whole number, or why it is none that may be used."""
    if value is None:
        return None, ""
    if isinstance(value, bool) or not isinstance(value, int):
        return None, f"{value!r} is not a whole number"
    if value < least:
        return None, f"{value} is below {least}"
    return value, ""


def _drop_impossible_workers(fields: dict[str, object], refused: list[str]) -> None:
    """Take out bounds of workers that contradict one another; a minimum alone is the maximum too."""
    fewest = fields.get("min_workers")
    if not isinstance(fewest, int):
        return
    most = fields.setdefault("max_workers", fewest)
    if isinstance(most, int) and most < fewest:
        refused.append(f"maxWorkers: {most} is below minWorkers {fewest}")
        del fields["min_workers"], fields["max_workers"]
