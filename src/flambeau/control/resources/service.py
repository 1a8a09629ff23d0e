"""Service: a stable name for pods; here it tells people and tools where the gateway listens."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find, mappings_at, strings_at


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
)
