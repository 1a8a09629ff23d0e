"""A model on MLServer that gives back the V2 tensor that it gets, through a numpy array as a model would need it."""

import json
import os
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.cli import main
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

ASKED = json.loads(os.environ["BENCHMARK"])


class Same(MLModel):
    """Answer with the input."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [given] = payload.inputs
        output = NumpyCodec.encode_output(given.name, NumpyCodec.decode_input(given))
        return InferenceResponse(model_name=self.name, outputs=[output])


if __name__ == "__main__":
    settings = {"host": "127.0.0.1", "http_port": ASKED["port"], "grpc_port": ASKED["other_port"], "parallel_workers": 1}
    Path("settings.json").write_text(json.dumps(settings | {"metrics_endpoint": None, "debug": False}))
    model = {"name": ASKED["name"], "implementation": "benchmarks.peers.mlserver_tensor.Same"}
    Path("model-settings.json").write_text(json.dumps(model))
    sys.argv = ["mlserver", "start", "."]
    main()
