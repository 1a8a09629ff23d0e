"""Send parts of answers to the front while the handler runs: the first at once, those that come soon after it together.

A frame for each part would cost the worker and the front 5 us each; a handler that makes 100,000 parts a second would do little else.
``child.BatchByBatch`` sends through it.
"""

from __future__ import annotations

import math
import threading
import time

from flambeau.serving.model import Answer
from flambeau.serving.workers.link import ChildLink, Kind
from flambeau.serving.workers.messages import Progress, parts_message

GATHER_SECONDS = 0.001
"""What is sent this soon after the last frame may wait as long for company. A part after a longer pause goes at once, as do first parts."""
GATHERED_BYTES_MAX = 32_768
"""So many bytes wait for nothing."""
GATHERED_PARTS_MAX = 2_048
"""So many parts wait for nothing, however short they are."""


class PartSender:
    """Gather parts into frames. May be called from any thread.

    Args:
        link: to the front.
    """

    def __init__(self, link: ChildLink) -> None:
        self._link = link
        self._held: dict[int, Progress] = {}
        self._held_parts = 0
        self._held_bytes = 0
        self._sent_at = -math.inf
        self._lock = threading.Lock()
        self._waiting = threading.Event()
        """Parts wait for company."""
        self._flusher: threading.Thread | None = None

    def send(self, index: int, head: Answer | None, part: bytes) -> None:
        """Send a part of a job's answer, now or within GATHER_SECONDS.

        Args:
            index: the job's place in the batch.
            head: status and headers, with the job's first part only.
            part: the bytes.

        Raises:
            ConnectionError: the front has closed its end.
        """
        with self._lock:
            progress = self._held.get(index)
            if progress is None:
                self._held[index] = Progress(index, head, [part])
            else:
                progress.parts.append(part)
            self._held_parts += 1
            self._held_bytes += len(part)
            now = time.monotonic()
            if (
                head is not None
                or now - self._sent_at >= GATHER_SECONDS
                or self._held_bytes >= GATHERED_BYTES_MAX
                or self._held_parts >= GATHERED_PARTS_MAX
            ):
                self._send_held(now)
            elif self._held_parts == 1:
                self._flush_soon()

    def flush(self) -> None:
        """Send what waits; the batch's answers come next.

        Raises:
            ConnectionError: the front has closed its end.
        """
        if self._held:
            with self._lock:
                self._send_held(time.monotonic())

    def _send_held(self, now: float) -> None:
        self._sent_at = now
        held, self._held = self._held, {}
        self._held_parts = self._held_bytes = 0
        if held:
            self._link.send(Kind.CHUNK, *parts_message(held.values()))

    def _flush_soon(self) -> None:
        """Have what waits sent in time, should the handler send nothing more meanwhile."""
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_late_ones, name="flambeau parts", daemon=True)
            self._flusher.start()
        self._waiting.set()

    def _flush_late_ones(self) -> None:
        while True:
            self._waiting.wait()
            self._waiting.clear()
            time.sleep(GATHER_SECONDS)
            try:
                self.flush()
            except ConnectionError:
                return  # the front has gone; the worker's main thread finds that out by itself
