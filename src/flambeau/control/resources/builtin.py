"""The objects that are there from the start. Pure; ``programs.platform`` writes them.

Those that show how things are (the gateway's addresses, the built-in runtimes) carry a label by which admission refuses changes.
"""

from __future__ import annotations

from flambeau.control.resources.admission import BUILT_IN_LABEL
from flambeau.control.resources.builtin_runtimes import builtin_runtimes
from flambeau.control.resources.custom_resource_definition import custom_resource_definitions
from flambeau.control.resources.istio_gateway import ISTIO_GATEWAY
from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import KINDS

NAMESPACES = ("default", "kube-system", "kserve", "istio-system", "knative-serving")

INGRESS_GATEWAY = "knative-serving/knative-ingress-gateway"
LOCAL_GATEWAY = "knative-serving/knative-local-gateway"

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
        *custom_resource_definitions(KINDS.all()),
        *builtin_runtimes(_BUILT_IN),
        _ingress_service(gateway_host, gateway_port),
        *(_gateway(name, gateway_port) for name in (INGRESS_GATEWAY, LOCAL_GATEWAY)),
    ]


def default_service_account(namespace: str) -> Object:
    """Return the ServiceAccount ``default``, which every namespace has."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def _namespace(name: str) -> Object:
    labels = {"kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}, "status": {"phase": "Active"}}


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
