"""The workload on MLServer, V2: a BYTES tensor of base64 in, the answers out."""

import base64
import json
import os
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.cli import main
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.work.workloads import load

ASKED = json.loads(os.environ["BENCHMARK"])


class Run(MLModel):
    """Decode, run, answer."""

    async def load(self) -> bool:
        self.run = load(ASKED["name"], ASKED["weights"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        bodies = [base64.b64decode(each) for each in payload.inputs[0].data]
        answers = [json.dumps(each) for each in self.run(bodies)]
        output = ResponseOutput(name="output", shape=[len(answers), 1], datatype="BYTES", data=answers)
        return InferenceResponse(model_name=self.name, outputs=[output])


if __name__ == "__main__":
    settings = {"host": "127.0.0.1", "http_port": ASKED["port"], "grpc_port": ASKED["other_port"], "parallel_workers": 1}
    settings |= {"metrics_endpoint": None, "debug": False}
    model = {"name": ASKED["name"], "implementation": "benchmarks.peers.mlserver_server.Run"}
    if ASKED["batch"] > 1:
        model |= {"max_batch_size": ASKED["batch"], "max_batch_time": ASKED["delay_ms"] / 1000}
    Path("settings.json").write_text(json.dumps(settings))
    Path("model-settings.json").write_text(json.dumps(model))
    sys.argv = ["mlserver", "start", "."]
    main()
