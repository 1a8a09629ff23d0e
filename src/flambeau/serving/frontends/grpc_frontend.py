"""The gRPC doors' counterpart of ``http.HttpFrontend``: what the servers share, and which services a plane has.

Imported only where a gRPC door is asked for, and after the HTTP doors are open: grpc and protobuf cost about 15 MB and 0.1 s.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.frontends.grpc_asked import Models
from flambeau.serving.frontends.grpc_health import HealthService
from flambeau.serving.frontends.grpc_management import ManagementService
from flambeau.serving.frontends.grpc_open_inference import OpenInferenceService
from flambeau.serving.frontends.grpc_reflection import ReflectionService
from flambeau.serving.frontends.grpc_server import Bounds, Certificate, GrpcServer
from flambeau.serving.frontends.grpc_service import Service, Wrapper
from flambeau.serving.frontends.grpc_torchserve import InferenceService
from flambeau.serving.frontends.repository import ModelRepository
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.frontends.tokens import Tokens
from flambeau.serving.management import Management
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import ModelConfig


class GrpcFrontend:
    """What the gRPC servers of one model server share.

    Args:
        dataplane: what every door calls.
        management: changes what is served.
        metrics: counts what the doors do.
        access_log: one line per call; None for none.
        tokens: looks at the keys of calls; None: nobody needs one.
        model_api: whether models may be registered and unregistered.
        models: how models are run: the names of sequence headers, the bound of answers.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        management: Management,
        metrics: ServerMetrics,
        *,
        access_log: AccessLog | None,
        tokens: Tokens | None,
        model_api: bool,
        models: ModelConfig,
    ) -> None:
        asked = Models(dataplane, metrics, response_bytes_max=models.response_bytes_max)
        self._dataplane = dataplane
        self._wrapper = Wrapper(metrics, access_log, tokens)
        self._asked = asked
        self._repository = ModelRepository(dataplane, management, model_api=model_api)
        self._services = {
            Plane.INFERENCE: [InferenceService(asked, models.sequence_headers).service()],
            Plane.MANAGEMENT: [ManagementService(dataplane, management, model_api=model_api).service()],
        }

    def server(self, planes: AbstractSet[Plane], bounds: Bounds, certificate: Certificate | None = None) -> GrpcServer:
        """Return a server of these planes' services, of health and of reflection; it does not listen yet."""
        services = [service for plane, found in self._services.items() if plane in planes for service in found]
        if Plane.INFERENCE in planes:
            services.append(OpenInferenceService(self._asked, self._repository, manages=Plane.MANAGEMENT in planes).service())
        services.append(HealthService(self._dataplane, frozenset(_names_of(services))).service())
        services += ReflectionService(_names_of(services)).services()
        return GrpcServer([handler for service in services for handler in self._wrapper.handlers(service)], bounds, certificate)


def _names_of(services: list[Service]) -> list[str]:
    return [name for service in services for name in service.names]
