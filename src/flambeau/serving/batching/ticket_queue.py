"""useJobTicket: a request is accepted only if a worker can take it at once; nothing ever waits behind a busy worker."""

from __future__ import annotations

from flambeau.foundation.errors import Overloaded
from flambeau.serving.batching.queue import ModelQueue, Reply, Ticket
from flambeau.serving.model import Job


class TicketQueue(ModelQueue):
    """Refuse what no idle worker has a place for. An idle worker gives one ticket for each place of a batch."""

    works_ahead = False

    def submit(self, job: Job, reply: Reply, *, deadline: float | None = None) -> Ticket:
        """Accept a job if there is a ticket for it.

        Raises:
            Overloaded: every worker is busy.
            NotReady: no worker can serve and none will soon, or the queue is closed; the text has the cause.
        """
        if self.pending >= self._pool.idle * self._batch_size:
            self._refuse_what_cannot_run()
            raise Overloaded(
                f"model {self._name}: every worker is busy, there is no job ticket (useJobTicket)",
                hint="try again later, or give the model more workers",
                retry_after_seconds=self._retry_after_seconds(),
            )
        return super().submit(job, reply, deadline=deadline)
