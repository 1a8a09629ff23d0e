"""What KServe's TorchServe image puts before TorchServe: the SDK's server, passing V1 requests on.

Arguments: the model's name, TorchServe's port, this server's HTTP and gRPC ports.
"""

import sys

import kserve
from kserve import PredictorConfig


class Proxy(kserve.Model):
    """Passes requests on; ready at once: the benchmark waits for an answer."""

    predictor_config = None

    def load(self) -> bool:
        self.ready = True
        return True


if __name__ == "__main__":
    name, behind, http_port, grpc_port = sys.argv[1:]
    Proxy.predictor_config = PredictorConfig(predictor_host=f"127.0.0.1:{behind}", predictor_protocol="v1")
    proxy = Proxy(name)
    proxy.load()
    kserve.ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1).start([proxy])
