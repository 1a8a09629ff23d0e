"""The workload on Mosec; bodies are raw."""

import json
import os
import sys
from typing import Any

from mosec import Server, Worker

from benchmarks.work.workloads import load

ASKED = json.loads(os.environ["BENCHMARK"])


class Run(Worker):
    """Run, answer."""

    def __init__(self) -> None:
        super().__init__()
        self.run = load(ASKED["name"], ASKED["weights"])

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: list[Any] | bytes) -> object:
        return self.run(data) if isinstance(data, list) else self.run([data])[0]


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(ASKED["port"]), "--timeout", "60000", "--capacity", "2048"]
    server = Server()
    server.append_worker(Run, num=1, max_batch_size=ASKED["batch"], max_wait_time=ASKED["delay_ms"] if ASKED["batch"] > 1 else 0)
    server.run()
