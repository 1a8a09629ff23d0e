"""TorchServe's description of a model: the keys, their order and their spelling. Cold."""

from __future__ import annotations

import datetime

from flambeau.serving.repository import LoadedModel
from flambeau.serving.workers.machine import State
from flambeau.serving.workers.pool import WorkerStatus

_STATUS = {State.STARTING: "LOADING", State.LOADING: "LOADING", State.IDLE: "READY", State.BUSY: "READY"}
"""A worker's state in TorchServe's words; every other state is UNLOADING."""


def describe(model: LoadedModel) -> dict[str, object]:
    """Return one element of ``GET /models/{model}``."""
    spec, config, pool = model.spec, model.spec.config, model.pool
    pending = model.queue.pending
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
        "clientTimeoutInMills": 0,
        "parallelType": "",
        "parallelLevel": 0,
        "deviceType": config.device,
        "continuousBatching": False,
        "useJobTicket": False,
        "useVenv": False,
        "stateful": False,
        "sequenceMaxIdleMSec": 0,
        "sequenceTimeoutMSec": 0,
        "maxNumSequence": 0,
        "maxSequenceJobQueueSize": 0,
        "loadedAtStartup": True,
        "workers": [_worker(worker) for worker in pool.workers()],
        "jobQueueStatus": {"remainingCapacity": max(0, config.job_queue_size - pending), "pendingRequests": pending},
    }


def _worker(worker: WorkerStatus) -> dict[str, object]:
    started = datetime.datetime.fromtimestamp(worker.started_at, tz=datetime.UTC)
    return {
        "id": str(worker.id),
        "startTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status": _STATUS.get(worker.state, "UNLOADING"),
        "memoryUsage": worker.memory_bytes,
        "pid": worker.pid,
        "gpu": False,
        "gpuUsage": "N/A",
    }
