"""Which queue a model's config asks for. Called by the repository."""

from __future__ import annotations

from flambeau.serving.batching.queue import ModelQueue
from flambeau.serving.batching.sequence_queue import SequenceQueue
from flambeau.serving.batching.ticket_queue import TicketQueue
from flambeau.serving.model import ModelSpec
from flambeau.serving.workers.pool import WorkerPool


def queue_of(spec: ModelSpec, pool: WorkerPool) -> ModelQueue:
    """Return a model's queue, attached to its pool."""
    if spec.config.sequences is not None:
        return SequenceQueue(spec, pool)
    return TicketQueue(spec, pool) if spec.config.use_job_ticket else ModelQueue(spec, pool)
