"""Which services there are, by every name that leads to them, and who answers for each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN, hosts, predictor_name
from flambeau.control.controllers.inference_service.traffic import from_status
from flambeau.control.controllers.names import REVISION_LABEL
from flambeau.control.controllers.revision.desired import is_ready, may_sleep
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_ports import grpc_port, http_port
from flambeau.gateway.document import Backend, Destination, Endpoint

DEFAULT_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that routes are made of, as of one moment."""

    services: Sequence[Object]
    revisions: Sequence[Object]
    pods: Sequence[Object]
    virtual_services: Sequence[Object] = ()
    gateways: Sequence[Object] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One InferenceService, as the gateway sees it."""

    namespace: str
    name: str
    hosts: tuple[str, ...]
    destinations: tuple[Destination, ...]
    backends: tuple[Backend, ...]

    @property
    def is_served(self) -> bool:
        """Tell whether every revision that gets requests has somebody to answer them, or may be woken up."""
        return all(backend.endpoints or backend.hold_seconds for backend in self.backends)


@dataclass(frozen=True, slots=True)
class Directory:
    """All services, and where each host leads."""

    services: tuple[Service, ...]
    by_host: dict[str, tuple[Destination, ...]] = field(default_factory=dict)
    """Host, or short cluster name (``name.namespace``) -> destinations."""
    backends: dict[str, Backend] = field(default_factory=dict)


def directory(snapshot: Snapshot, domain: str) -> Directory:
    """Return the directory of all services."""
    revisions = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in snapshot.revisions}
    endpoints = _endpoints(snapshot.pods)
    services = tuple(_service(each, revisions, endpoints, domain) for each in snapshot.services)
    by_host: dict[str, tuple[Destination, ...]] = {}
    backends: dict[str, Backend] = {}
    for (namespace, name), revision in revisions.items():
        backend = _backend(namespace, name, revision, endpoints)
        if backend.endpoints:
            backends[backend.name] = backend
            for host in (f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.{CLUSTER_DOMAIN}"):
                by_host[host] = (Destination(100, backend=backend.name),)
    for service in services:
        backends.update({backend.name: backend for backend in service.backends})
        by_host.update(dict.fromkeys(service.hosts, service.destinations))
    return Directory(services, by_host, backends)


_Revisions = dict[tuple[str, str], Object]
_Endpoints = dict[tuple[str, str], list[Endpoint]]


def _endpoints(pods: Sequence[Object]) -> _Endpoints:
    """Return the ready pods' addresses by (namespace, revision), in the order of their names."""
    found: _Endpoints = {}
    for pod in sorted(pods, key=lambda each: each["metadata"]["name"]):
        metadata = pod["metadata"]
        revision, address = (metadata.get("labels") or {}).get(REVISION_LABEL), find(pod, "status", "podIP")
        if revision and address and is_ready(pod) and not metadata.get("deletionTimestamp"):
            container = pod["spec"]["containers"][0]
            name = f"{metadata['namespace']}/{metadata['name']}"
            endpoint = Endpoint(str(address), http_port(container), name, grpc_port(container))
            found.setdefault((metadata["namespace"], revision), []).append(endpoint)
    return found


def _service(service: Object, revisions: _Revisions, endpoints: _Endpoints, domain: str) -> Service:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    targets = [target for target in from_status(find(service, "status", "components", "predictor", "traffic") or []) if target.percent > 0]
    if targets:
        backends = tuple(_backend(namespace, each.revision, revisions.get((namespace, each.revision)), endpoints) for each in targets)
        destinations = tuple(Destination(each.percent, backend=f"{namespace}/{each.revision}") for each in targets)
    else:
        why = _why_not(service, "PredictorReady")
        told = f"InferenceService {namespace}/{name} is not ready yet: {why or 'it has just been created'}"
        empty = Backend(f"{namespace}/{predictor_name(name)}", (), why_empty=told)
        backends, destinations = (empty,), (Destination(100, backend=empty.name),)
    names = (*hosts(name, namespace, domain), *hosts(predictor_name(name), namespace, domain))
    return Service(namespace, name, tuple(each.lower() for each in names), destinations, backends)


def _backend(namespace: str, name: str, revision: Object | None, endpoints: _Endpoints) -> Backend:
    spec = (revision or {}).get("spec") or {}
    why = _why_not(revision or {}, "Ready")
    found = tuple(endpoints.get((namespace, name), ()))
    timeout = float(spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS)
    is_asleep = revision is not None and may_sleep(revision) and not why
    return Backend(
        f"{namespace}/{name}",
        found,
        timeout_seconds=timeout,
        hold_seconds=timeout if is_asleep else 0.0,
        concurrency=int(spec.get("containerConcurrency") or 0),
        why_empty="" if found else f"no pod of revision {namespace}/{name} is ready: {why or 'they are being replaced'}",
    )


def _why_not(obj: Object, type: str) -> str:
    """Return what a condition says that isn't true; never one that quotes us, or texts would grow with each telling."""
    condition = get_condition(obj, type) or {}
    return "" if condition.get("status") == "True" else str(condition.get("message") or condition.get("reason") or "")
