"""TorchServe's description of a model: the keys, their order and their spelling. Cold."""

from __future__ import annotations

import datetime

from flambeau.serving.model import ModelConfig, Sequences
from flambeau.serving.repository import LoadedModel, Origin
from flambeau.serving.workers.failure import Failure
from flambeau.serving.workers.machine import State
from flambeau.serving.workers.pool import WorkerStatus

_STATUS = {State.STARTING: "LOADING", State.LOADING: "LOADING", State.IDLE: "READY", State.BUSY: "READY"}
"""A worker's state in TorchServe's words; every other state is UNLOADING."""


def describe(model: LoadedModel) -> dict[str, object]:
    """Return one element of ``GET /models/{model}``; ``failure`` and ``lastFailure`` are ours, and there only where a worker
    is or was missing.
    """
    spec, config, pool = model.spec, model.spec.config, model.pool
    pending = model.queue.pending
    failure = pool.failure()
    return {
        "modelName": spec.name,
        "modelVersion": spec.version,
        "modelUrl": spec.url,
        "runtime": spec.manifest.get("runtime") or "python",
        "minWorkers": pool.workers_min,
        "maxWorkers": pool.workers_max,
        "batchSize": config.batch_size,
        "maxBatchDelay": config.max_batch_delay_ms,
        "responseTimeout": int(config.response_timeout_seconds),
        "startupTimeout": int(config.startup_timeout_seconds),
        "maxRetryTimeoutInSec": int(config.max_retry_timeout_seconds),
        "clientTimeoutInMills": int((config.client_timeout_seconds or 0.0) * 1000),
        **_devices(config),
        "continuousBatching": config.continuous_batching,
        "useJobTicket": config.use_job_ticket,
        "useVenv": config.use_venv,
        **_sequences(config.sequences),
        "loadedAtStartup": model.origin is Origin.STARTUP,
        "workers": [_worker(worker) for worker in pool.workers()],
        "jobQueueStatus": {"remainingCapacity": max(0, config.job_queue_size - pending), "pendingRequests": pending},
        **({"failure": _failure(failure)} if failure is not None else {}),
        **({"lastFailure": _failure(pool.last_failure)} if failure is None and pool.last_failure is not None else {}),
    }


def _devices(config: ModelConfig) -> dict[str, object]:
    parallelism = config.parallelism
    told: dict[str, object] = {
        "parallelType": parallelism.kind if parallelism is not None else "",
        "parallelLevel": parallelism.processes if parallelism is not None else 0,
        "deviceType": config.device_type or ("cpu" if config.device == "cpu" else "gpu"),
    }
    if config.device_ids:
        told["deviceIds"] = list(config.device_ids)
    return told


def _sequences(sequences: Sequences | None) -> dict[str, object]:
    if sequences is None:
        return {"stateful": False, "sequenceMaxIdleMSec": 0, "sequenceTimeoutMSec": 0, "maxNumSequence": 0, "maxSequenceJobQueueSize": 0}
    return {
        "stateful": True,
        "sequenceMaxIdleMSec": int(sequences.idle_seconds_max * 1000),
        "sequenceTimeoutMSec": int((sequences.total_seconds_max or 0.0) * 1000),
        "maxNumSequence": sequences.count_max,
        "maxSequenceJobQueueSize": sequences.queue_size,
    }


def _failure(failure: Failure) -> dict[str, object]:
    told: dict[str, object] = {"phase": failure.phase, "message": failure.message, "logTail": list(failure.log_tail)}
    if failure.traceback_text:
        told["traceback"] = failure.traceback_text
    return {**told, "hint": failure.hint} if failure.hint else told


def _worker(worker: WorkerStatus) -> dict[str, object]:
    started = datetime.datetime.fromtimestamp(worker.started_at, tz=datetime.UTC)
    return {
        "id": str(worker.id),
        "startTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status": _STATUS.get(worker.state, "UNLOADING"),
        "memoryUsage": worker.memory_bytes,
        "pid": worker.pid,
        "gpu": worker.device != "cpu",
        "gpuUsage": "N/A" if worker.device == "cpu" else f"gpuId::{worker.device.partition(':')[2]}",
    }
