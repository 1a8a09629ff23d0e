"""The limit: a model's handler in a loop, in a process of its own, with no server around it.

It waits for lines on standard input, each the seconds to run, and answers each with a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.archives import Workload
from benchmarks.sides.side import environment_for


@dataclass(frozen=True)
class Loop:
    """What one round of the loop saw."""

    rate: float
    """Requests a second."""
    p50_ms: float
    """Of a batch."""
    answer: str
    """The first request's, as JSON."""


class Raw:
    """A running loop; made by ``raw_loop``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def measure(self, seconds: float) -> Loop:
        """Run the loop for some seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(seconds, file=self._process.stdin, flush=True)
        return Loop(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def raw_loop(workload: Workload, batch: int) -> Iterator[Raw]:
    """Load a workload's handler in a process of its own, on one torch thread, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        folder = Path(name)
        (folder / "body").write_bytes(workload.body)
        archive = workload.archive(folder)
        command = [sys.executable, "-m", "benchmarks.raw", str(archive), str(folder / "body"), str(batch)]
        with subprocess.Popen(
            command, cwd=folder, env=environment_for(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                yield Raw(process)
            finally:
                process.kill()


def main() -> None:
    """Serve rounds until standard input ends. Arguments: archive, file of the body, batch size."""
    import torch  # noqa: PLC0415  # the process that starts loops needs neither

    from benchmarks.work.archive import load_archive  # noqa: PLC0415

    archive, body, batch = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes(), int(sys.argv[3])
    torch.set_num_threads(1)
    service = load_archive(archive, archive.parent / "unpacked")
    handle = service.handler.handle if service.handler is not None else None  # type: ignore[attr-defined]
    assert handle is not None, "the raw loop needs a handler class"
    ids = {row: str(row) for row in range(batch)}
    for line in sys.stdin:
        ends = time.perf_counter() + float(line)
        times = []
        while (began := time.perf_counter()) < ends:
            service.context.request_ids = ids
            answers = handle([{"body": body} for _ in range(batch)], service.context)
            service.take_updates()
            times.append(time.perf_counter() - began)
        seen = Loop(batch * len(times) / sum(times), statistics.median(times) * 1000, json.dumps(answers[0]))
        print(json.dumps(seen.__dict__), flush=True)


if __name__ == "__main__":
    main()
