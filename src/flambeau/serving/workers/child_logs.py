"""How a worker's log lines look: level, logger, message, and whose requests it works on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from flambeau.serving.model import Job

IDS_SHOWN_MAX = 8
"""So many request ids stand in a line; a large batch has more."""


class WorkerFormatter(logging.Formatter):
    """Format lines; costs nothing while nobody logs."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self.jobs: Sequence[Job] = ()
        """What is being answered now, by whichever threads."""
        self.job: ContextVar[Job | None] = ContextVar("job", default=None)
        """What this coroutine answers, where others answer beside it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record's text, the ids at the end of its first line."""
        text = super().format(record)
        job = self.job.get()
        jobs = self.jobs if job is None else (job,)
        if not jobs:
            return text
        ids = ",".join(job.id for job in jobs[:IDS_SHOWN_MAX]) + (",..." if len(jobs) > IDS_SHOWN_MAX else "")
        first, newline, rest = text.partition("\n")
        return f"{first} request_id={ids}{newline}{rest}"


FORMATTER = WorkerFormatter()
"""Of this process's lines: whatever answers requests tells it which."""
