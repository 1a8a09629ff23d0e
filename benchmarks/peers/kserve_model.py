"""A custom model on KServe's SDK, V1."""

import base64
import json
import os
from typing import Any

import kserve

from benchmarks.work.workloads import load


class Custom(kserve.Model):
    """Decode, run, answer."""

    def load(self) -> bool:
        self.run = load(self.name, ASKED["weights"])
        self.ready = True
        return True

    def predict(
        self, payload: dict[str, Any], headers: dict[str, Any] | None = None, response_headers: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {"predictions": self.run([base64.b64decode(each["data"]) for each in payload["instances"]])}


if __name__ == "__main__":
    ASKED = json.loads(os.environ["BENCHMARK"])
    model = Custom(ASKED["name"])
    model.load()
    kserve.ModelServer(http_port=ASKED["port"], grpc_port=ASKED["other_port"], workers=1).start([model])
