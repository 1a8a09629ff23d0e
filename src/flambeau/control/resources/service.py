"""Service: a stable name for pods; here it tells people and tools where the gateway listens."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import ANYTHING, BOOLEAN, INT32, STRING, an_object, fields, list_of, map_of
from flambeau.control.resources.kind import Column, Kind, Object, Review
from flambeau.control.resources.lookup import find, mappings_at, strings_at
from flambeau.control.resources.object_schema import object_schema

_PORT = an_object(
    {
        **fields("name", "protocol", "appProtocol", of=STRING),
        "port": {**INT32, "minimum": 1, "maximum": 65535},
        "nodePort": INT32,
        "targetPort": {"x-kubernetes-int-or-string": True},
    },
    ("port",),
)
_SPEC = an_object(
    {
        **fields("type", "clusterIP", "externalName", "sessionAffinity", "loadBalancerIP", "loadBalancerClass", of=STRING),
        **fields("externalTrafficPolicy", "internalTrafficPolicy", "trafficDistribution", "ipFamilyPolicy", of=STRING),
        **fields("allocateLoadBalancerNodePorts", "publishNotReadyAddresses", of=BOOLEAN),
        **fields("clusterIPs", "externalIPs", "ipFamilies", "loadBalancerSourceRanges", of=list_of(STRING)),
        "healthCheckNodePort": INT32,
        "ports": list_of(_PORT),
        "selector": map_of(STRING),
        "sessionAffinityConfig": ANYTHING,
    }
)
_SCHEMA = {"spec": _SPEC, "status": ANYTHING}


def _external_ip(obj: Object, _: float) -> str:
    kind = find(obj, "spec", "type")
    if kind == "ExternalName":
        return str(find(obj, "spec", "externalName") or "<none>")
    addresses = strings_at(obj, "spec", "externalIPs")
    if kind == "LoadBalancer":
        ingress = mappings_at(obj, "status", "loadBalancer", "ingress")
        addresses = [str(entry.get("ip") or entry.get("hostname")) for entry in ingress] + addresses
        return ",".join(addresses) or "<pending>"
    return ",".join(addresses) or "<none>"


def _ports(obj: Object, _: float) -> str:
    texts = []
    for port in mappings_at(obj, "spec", "ports"):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or "<none>"


def _selector(obj: Object, _: float) -> str:
    labels = find(obj, "spec", "selector") or {}
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels)) or "<none>"


def _check(obj: Object, _: Object | None) -> Review:
    name = find(obj, "metadata", "name")
    return Review((), (f"Service {name} is kept but has no effect: on one machine requests come in through the gateway only",))


SERVICE = Kind(
    group="",
    versions=("v1",),
    kind="Service",
    plural="services",
    singular="service",
    short_names=("svc",),
    categories=("all",),
    columns=(
        Column("Type", lambda obj, _: str(find(obj, "spec", "type") or "ClusterIP")),
        Column("Cluster-IP", lambda obj, _: str(find(obj, "spec", "clusterIP") or "<none>")),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        AGE_COLUMN,
        Column("Selector", _selector, wide=True),
    ),
    schema=object_schema(_SCHEMA),
    check=_check,
)
