"""The workload on LitServe; requests are KServe's V1 JSON, because its own form is JSON too."""

import base64
import json
import os
from typing import Any

import litserve

from benchmarks.work.workloads import load

ASKED = json.loads(os.environ["BENCHMARK"])


class Api(litserve.LitAPI):
    """Decode, run, answer."""

    def setup(self, device: str) -> None:
        self.run = load(ASKED["name"], ASKED["weights"])

    def decode_request(self, request: dict[str, Any]) -> bytes:
        return base64.b64decode(request["instances"][0]["data"])

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def predict(self, inputs: list[Any] | bytes) -> list[Any]:
        return self.run(inputs) if isinstance(inputs, list) else self.run([inputs])[0]

    def encode_response(self, output: object) -> dict[str, Any]:
        return {"predictions": [output]}


if __name__ == "__main__":
    api = Api(max_batch_size=ASKED["batch"], batch_timeout=ASKED["delay_ms"] / 1000 if ASKED["batch"] > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=ASKED["port"], generate_client_file=False, log_level="warning")
