"""A custom model on KServe's SDK that gives back the V2 tensor that it gets, in the form in which it came."""

import json
import os

import kserve
from kserve import InferOutput, InferRequest, InferResponse


class Same(kserve.Model):
    """Answer with the input."""

    def load(self) -> bool:
        self.ready = True
        return True

    def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None, response_headers: dict[str, str] | None = None
    ) -> InferResponse:
        [given] = payload.inputs
        binary = payload.from_grpc or payload.use_binary_outputs
        output = InferOutput(name=given.name, shape=given.shape, datatype=given.datatype)
        output.set_data_from_numpy(given.as_numpy(), binary_data=binary)
        return InferResponse(payload.id or "1", self.name, [output], use_binary_outputs=binary)


if __name__ == "__main__":
    ASKED = json.loads(os.environ["BENCHMARK"])
    model = Same(ASKED["name"])
    model.load()
    kserve.ModelServer(http_port=ASKED["port"], grpc_port=ASKED["other_port"], workers=1).start([model])
