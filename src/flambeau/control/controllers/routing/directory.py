"""Which services there are, by every name that leads to them, and who answers for each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN, component_name, hosts
from flambeau.control.controllers.inference_service.parts import PREDICTOR, Part, memory, parts
from flambeau.control.controllers.inference_service.traffic import from_status
from flambeau.control.controllers.ingress_config import NOTHING_SAID, IngressConfig
from flambeau.control.controllers.names import REVISION_LABEL, SERVICE_LABEL
from flambeau.control.controllers.revision.desired import is_ready, may_sleep
from flambeau.control.controllers.sidecar import LoggerConfig, batcher_of, logger_of, shadow_of
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_ports import entry_container, grpc_port, http_port
from flambeau.gateway.document import Backend, Destination, Endpoint

DEFAULT_TIMEOUT_SECONDS = 300.0
TAG_ROUTING_ANNOTATION = "serving.kserve.io/enable-tag-routing"
"""``"true"`` gives the latest revision a tag, and lets a header choose among tags."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that routes are made of, as of one moment."""

    services: Sequence[Object]
    revisions: Sequence[Object]
    pods: Sequence[Object]
    virtual_services: Sequence[Object] = ()
    gateways: Sequence[Object] = ()
    addresses: Sequence[Object] = ()
    """Core Services: the cluster addresses of services' names."""
    graphs: Sequence[Object] = ()
    http_routes: Sequence[Object] = ()
    ingress: IngressConfig = field(default=NOTHING_SAID, kw_only=True)
    """What the administrator says about host names."""
    logging: LoggerConfig = field(default_factory=LoggerConfig, kw_only=True)
    """And about loggers."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Names that lead to the same place."""

    hosts: tuple[str, ...]
    destinations: tuple[Destination, ...]
    explain: tuple[Destination, ...] = ()
    """Where V1's ``:explain`` goes instead."""
    tagged: tuple[tuple[str, Destination], ...] = ()
    """Where requests with a tag in their header ``Knative-Serving-Tag`` go instead."""
    path: str = ""
    """The path by which it is known at the administrator's domain."""


@dataclass(frozen=True, slots=True)
class Service:
    """One InferenceService or InferenceGraph, as the gateway sees it."""

    namespace: str
    name: str
    entrances: tuple[Entrance, ...]
    """The service's own first, then those of its components."""
    backends: tuple[Backend, ...]
    answering: tuple[Backend, ...]
    """Those that the requests to its components go to: not those of a canary that is not ready."""

    @property
    def is_served(self) -> bool:
        """Tell whether every revision that gets requests has somebody to answer them, or may be woken up."""
        return all(backend.endpoints or backend.hold_seconds for backend in self.answering)


@dataclass(frozen=True, slots=True)
class Directory:
    """All services, and where each host leads."""

    services: tuple[Service, ...]
    """InferenceServices."""
    graphs: tuple[Service, ...] = ()
    """InferenceGraphs."""
    by_host: dict[str, tuple[Destination, ...]] = field(default_factory=dict)
    """Host, or short cluster name (``name.namespace``) -> destinations."""
    by_path: frozenset[str] = frozenset()
    """Hosts where the path decides, too: who leads there leads to the host's rules, not to its destinations."""
    backends: dict[str, Backend] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    """Cluster addresses of services' names; each is a host, too."""
    warnings: dict[tuple[str, str], str] = field(default_factory=dict)
    """What is to be told of an InferenceService, by namespace and name."""


def directory(snapshot: Snapshot, domain: str) -> Directory:
    """Return the directory of all services."""
    known = _Known(snapshot, domain)
    services = tuple(known.service(each) for each in snapshot.services)
    graphs = tuple(known.graph(each) for each in snapshot.graphs)
    by_host: dict[str, tuple[Destination, ...]] = {}
    backends: dict[str, Backend] = {}
    for namespace, name in known.revisions:
        backend = known.backend(namespace, name)
        if backend.endpoints:
            backends[backend.name] = backend
            for host in (f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.{CLUSTER_DOMAIN}"):
                by_host[host] = (Destination(100, backend=backend.name),)
    by_path: set[str] = set()
    for service in (*graphs, *services):
        backends.update({backend.name: backend for backend in service.backends})
        for entrance in service.entrances:
            by_host.update(dict.fromkeys(entrance.hosts, entrance.destinations))
            by_path.update(entrance.hosts if entrance.explain else ())
    warnings: dict[tuple[str, str], str] = {}
    for obj, service in zip(snapshot.services, services, strict=True):
        shadow, wrong = shadow_of(obj, by_host)
        if wrong:
            warnings[service.namespace, service.name] = wrong
        if shadow is not None:
            own = {each.backend for each in service.entrances[1].destinations} - set(shadow.backends)
            backends.update({str(name): replace(backends[str(name)], shadow=shadow) for name in own})
    return Directory(services, graphs, by_host, frozenset(by_path), backends, tuple(sorted(known.addresses.values())), warnings)


def without_traffic(service: Object) -> str:
    """Return the first component that has had nobody to answer requests yet; empty where all have."""
    return next((part.component for part in parts(service) if not part.canary and not memory(service, part).get("traffic")), "")


class _Known:
    """A snapshot by its names.

    Args:
        snapshot: everything.
        domain: of the services' outside names.
    """

    def __init__(self, snapshot: Snapshot, domain: str) -> None:
        self.revisions = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in snapshot.revisions}
        self.addresses = {
            (each["metadata"]["namespace"], each["metadata"]["name"]): str(each["spec"]["clusterIP"])
            for each in snapshot.addresses
            if SERVICE_LABEL in (each["metadata"].get("labels") or {}) and find(each, "spec", "clusterIP")
        }
        self._endpoints = _endpoints(snapshot.pods)
        self._domain = domain
        self._ingress = snapshot.ingress
        self._logging = snapshot.logging

    def service(self, service: Object) -> Service:
        """Return a service with all its entrances."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        known = parts(service)
        shares = {part.base: self._shares(service, part) for part in known}
        destinations = {base: own for base, (own, _) in shares.items()}
        stable = known[0]
        predictor = _with_canaries(service, stable, known, destinations)
        by_component = {part.component: destinations[part.base] for part in known if not part.canary} | {PREDICTOR: predictor}
        entry = by_component.get("transformer", predictor) if _is_entry_ready(service) else predictor
        explain, path = by_component.get("explainer", ()), self._ingress.path(name, namespace)
        entrances = [Entrance(self._hosts(name, namespace), entry, explain, path=path)]
        names = {part.base: destinations[part.base] for part in known} | {component_name(name, PREDICTOR): predictor}
        tags = {part.base: self._tags(service, part) for part in known}
        by_header = tags if _is_tag_routing(service) else {}
        entrances += [Entrance(self._hosts(base, namespace), own, tagged=by_header.get(base, ())) for base, own in names.items()]
        entrances += [
            Entrance(self._hosts(f"{tag}-{base}", namespace), (destination,)) for base, own in tags.items() for tag, destination in own
        ]
        used = {each.backend for component in by_component.values() for each in component}
        backends = {backend.name: backend for _, own in shares.values() for backend in own}
        for _, destination in (each for own in tags.values() for each in own):
            revision = str(destination.backend).partition("/")[2]
            backends.setdefault(str(destination.backend), self.backend(namespace, revision))
        return Service(
            namespace,
            name,
            tuple(entrances),
            tuple(backends.values()),
            tuple(backend for backend in backends.values() if backend.name in used),
        )

    def graph(self, graph: Object) -> Service:
        """Return a graph, which has one entrance."""
        namespace, name = graph["metadata"]["namespace"], graph["metadata"]["name"]
        backends = tuple(self.backend(namespace, target.revision) for target in from_status(find(graph, "status", "traffic") or []))
        if not backends:
            why = _why_not(graph, "ConfigurationsReady") or "it has just been created"
            backends = (Backend(f"{namespace}/{name}", (), why_empty=f"InferenceGraph {namespace}/{name} is not ready yet: {why}"),)
        destinations = tuple(Destination(100, backend=backend.name) for backend in backends)
        return Service(namespace, name, (Entrance(self._hosts(name, namespace), destinations),), backends, backends)

    def _hosts(self, name: str, namespace: str) -> tuple[str, ...]:
        address = self.addresses.get((namespace, name))
        known = (*(host.lower() for host in hosts(name, namespace, self._domain)), *self._ingress.hosts(name, namespace))
        return (*dict.fromkeys(known), *((address,) if address else ()))

    def _tags(self, service: Object, part: Part) -> tuple[tuple[str, Destination], ...]:
        """Return (tag, destination) of the revisions that have hosts of their own; Source: specification 4.3."""
        namespace, found = service["metadata"]["namespace"], []
        for target in from_status(memory(service, part).get("traffic") or []):
            tag = "prev" if target.previous else "latest" if target.latest and _is_tag_routing(service) else ""
            if tag and (namespace, target.revision) in self.revisions:
                found.append((tag, Destination(100, backend=f"{namespace}/{target.revision}")))
        return tuple(found)

    def _shares(self, service: Object, part: Part) -> tuple[tuple[Destination, ...], tuple[Backend, ...]]:
        """Return where a part's requests go; to a backend that says why there is nobody, where there is nobody."""
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        targets = [target for target in from_status(memory(service, part).get("traffic") or []) if target.percent > 0]
        if targets:
            backends = tuple(self.backend(namespace, each.revision) for each in targets)
            return tuple(Destination(each.percent, backend=f"{namespace}/{each.revision}") for each in targets), backends
        why = _why_not(service, f"{part.component.capitalize()}Ready") or "it has just been created"
        whose = "" if part.component == PREDICTOR else f"its {part.component} is not ready, "
        told = f"InferenceService {namespace}/{name} is not ready yet: {whose}{why}"
        empty = Backend(f"{namespace}/{part.base}", (), why_empty=told)
        return (Destination(100, backend=empty.name),), (empty,)

    def backend(self, namespace: str, name: str) -> Backend:
        """Return a revision's replicas."""
        revision = self.revisions.get((namespace, name))
        spec = (revision or {}).get("spec") or {}
        why = _why_not(revision or {}, "Ready")
        found = tuple(self._endpoints.get((namespace, name), ()))
        timeout = float(spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS)
        is_asleep = revision is not None and may_sleep(revision) and not why
        return Backend(
            f"{namespace}/{name}",
            found,
            timeout_seconds=timeout,
            hold_seconds=timeout if is_asleep else 0.0,
            concurrency=int(spec.get("containerConcurrency") or 0),
            logger=logger_of(revision, self._logging) if revision is not None else None,
            batcher=batcher_of(revision) if revision is not None else None,
            why_empty="" if found else f"no pod of revision {namespace}/{name} is ready: {why or 'they are being replaced'}",
        )


def _is_tag_routing(service: Object) -> bool:
    return (service["metadata"].get("annotations") or {}).get(TAG_ROUTING_ANNOTATION) == "true"


def _is_entry_ready(service: Object) -> bool:
    """Tell whether requests go to the transformer, if there is one.

    One that is added to a service that answers takes over only when it can answer itself; at the first roll-out nobody is to get the
    predictor's raw answers instead.
    """
    has_traffic = bool(find(service, "status", "components", "transformer", "traffic"))
    return has_traffic or (get_condition(service, "IngressReady") or {}).get("status") != "True"


def _with_canaries(
    service: Object, stable: Part, known: Sequence[Part], destinations: dict[str, tuple[Destination, ...]]
) -> tuple[Destination, ...]:
    """Return the predictor's destinations: each canary that is ready gets its share, the stable predictor the rest."""
    ready = [part for part in known if part.canary and memory(service, part).get("ready")]
    if not ready:
        return destinations[stable.base]
    shares = [(stable.base, 100 - sum(part.percent for part in ready)), *((part.base, part.percent) for part in ready)]
    return tuple(replace(each, weight=each.weight * share) for base, share in shares for each in destinations[base] if share > 0)


def _endpoints(pods: Sequence[Object]) -> dict[tuple[str, str], list[Endpoint]]:
    """Return the ready pods' addresses by (namespace, revision), in the order of their names."""
    found: dict[tuple[str, str], list[Endpoint]] = {}
    for pod in sorted(pods, key=lambda each: each["metadata"]["name"]):
        metadata = pod["metadata"]
        revision, address = (metadata.get("labels") or {}).get(REVISION_LABEL), find(pod, "status", "podIP")
        if revision and address and is_ready(pod) and not metadata.get("deletionTimestamp"):
            container = entry_container(pod["spec"]["containers"])
            name = f"{metadata['namespace']}/{metadata['name']}"
            endpoint = Endpoint(str(address), http_port(container), name, grpc_port(container))
            found.setdefault((metadata["namespace"], revision), []).append(endpoint)
    return found


def _why_not(obj: Object, type: str) -> str:
    """Return what a condition says that isn't true; never one that quotes us, or texts would grow with each telling."""
    condition = get_condition(obj, type) or {}
    return "" if condition.get("status") == "True" else str(condition.get("message") or condition.get("reason") or "")
