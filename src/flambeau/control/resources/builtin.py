"""The objects that are there from the start. Pure; ``programs.platform`` writes them.

Those that show how things are (the gateway's addresses, the built-in runtime) carry a label by which admission refuses changes.
"""

from __future__ import annotations

from flambeau.control.resources.admission import BUILT_IN_LABEL
from flambeau.control.resources.istio_gateway import ISTIO_GATEWAY
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_template import SERVER_CONTAINER
from flambeau.control.resources.serving_runtime import CLUSTER_SERVING_RUNTIME, SERVER_TYPE_ANNOTATION

NAMESPACES = ("default", "kube-system", "kserve", "istio-system", "knative-serving")

INGRESS_GATEWAY = "knative-serving/knative-ingress-gateway"
LOCAL_GATEWAY = "knative-serving/knative-local-gateway"
TORCHSERVE_RUNTIME = "kserve-torchserve"

_BUILT_IN = {BUILT_IN_LABEL: "true"}


def builtin_objects(*, gateway_port: int, gateway_host: str = "127.0.0.1") -> list[Object]:
    """Return the built-in objects, in an order in which they can be created.

    Args:
        gateway_port: where the gateway listens.
        gateway_host: as people reach it.
    """
    return [
        *(_namespace(name) for name in NAMESPACES),
        *(default_service_account(name) for name in NAMESPACES),
        _torchserve_runtime(),
        _ingress_service(gateway_host, gateway_port),
        *(_gateway(name, gateway_port) for name in (INGRESS_GATEWAY, LOCAL_GATEWAY)),
    ]


def default_service_account(namespace: str) -> Object:
    """Return the ServiceAccount ``default``, which every namespace has."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def _namespace(name: str) -> Object:
    labels = {"kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}, "status": {"phase": "Active"}}


def _torchserve_runtime() -> Object:
    """What KServe ships under this name: our own server stands for the image."""
    container = {
        "name": SERVER_CONTAINER,
        "image": "pytorch/torchserve-kfs:0.9.0",
        "args": [
            "torchserve",
            "--start",
            "--model-store=/mnt/models/model-store",
            "--ts-config=/mnt/models/config/config.properties",
        ],
        "env": [{"name": "TS_SERVICE_ENVELOPE", "value": "{{.Labels.serviceEnvelope}}"}],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
    }
    return {
        "apiVersion": CLUSTER_SERVING_RUNTIME.api_version,
        "kind": CLUSTER_SERVING_RUNTIME.kind,
        "metadata": {"name": TORCHSERVE_RUNTIME, "labels": _BUILT_IN, "annotations": {SERVER_TYPE_ANNOTATION: "torchserve"}},
        "spec": {
            "annotations": {"prometheus.kserve.io/port": "8082", "prometheus.kserve.io/path": "/metrics"},
            "supportedModelFormats": [{"name": "pytorch", "version": "1", "autoSelect": True, "priority": 2}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [container],
        },
    }


def _ingress_service(host: str, port: int) -> Object:
    """Commands that people copy from tutorials read the gateway's address here, as node port or as load balancer."""
    ports = [{"name": "http2", "port": port, "targetPort": port, "nodePort": port, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "istio-ingressgateway",
            "namespace": "istio-system",
            "labels": {**_BUILT_IN, "app": "istio-ingressgateway", "istio": "ingressgateway"},
        },
        "spec": {"type": "LoadBalancer", "clusterIP": host, "ports": ports, "selector": {"istio": "ingressgateway"}},
        "status": {"loadBalancer": {"ingress": [{"ip": host}]}},
    }


def _gateway(name: str, port: int) -> Object:
    namespace, _, short = name.partition("/")
    servers = [{"port": {"name": "http", "number": port, "protocol": "HTTP"}, "hosts": ["*"]}]
    return {
        "apiVersion": ISTIO_GATEWAY.api_version,
        "kind": ISTIO_GATEWAY.kind,
        "metadata": {"name": short, "namespace": namespace, "labels": _BUILT_IN},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers},
    }
