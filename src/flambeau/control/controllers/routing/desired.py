"""The gateway's whole document, from everything that is there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.control.controllers.routing.directory import Directory, Snapshot, directory
from flambeau.control.controllers.routing.virtual_services import compile_virtual_service
from flambeau.control.resources.kind import Key, Object
from flambeau.gateway.document import Document, Host, Rule

VIRTUAL_SERVICES = "virtualservices.networking.istio.io"


@dataclass(frozen=True, slots=True)
class Routes:
    """What is to be written, and what is to be told about it."""

    document: Document
    directory: Directory
    warnings: dict[Key, tuple[str, ...]]
    """By VirtualService."""


def routes(snapshot: Snapshot, domain: str, version: int) -> Routes:
    """Return the routes.

    A VirtualService's rules stand before the ones that every service has, older VirtualServices before younger ones.

    Args:
        snapshot: everything, as of one moment.
        domain: of the services' outside names.
        version: of the document.
    """
    known = directory(snapshot, domain)
    rules: dict[str, list[Rule]] = {}
    backends = dict(known.backends)
    warnings: dict[Key, tuple[str, ...]] = {}
    for virtual_service in sorted(snapshot.virtual_services, key=_age):
        compiled = compile_virtual_service(virtual_service, snapshot.gateways, known)
        for host, own in compiled.rules.items():
            rules.setdefault(host, []).extend(own)
        backends.update({backend.name: backend for backend in compiled.backends})
        metadata = virtual_service["metadata"]
        warnings[Key(VIRTUAL_SERVICES, metadata["namespace"], metadata["name"])] = compiled.warnings
    for service in known.services:
        for host in service.hosts:
            source = f"InferenceService {service.namespace}/{service.name}"
            rules.setdefault(host, []).append(Rule(service.destinations, source=source))
    hosts = tuple(Host(name, tuple(rules[name])) for name in sorted(rules))
    document = Document(version, hosts, tuple(backends[name] for name in sorted(backends)))
    return Routes(document, known, warnings)


def _age(virtual_service: Object) -> tuple[str, str, str]:
    metadata = virtual_service["metadata"]
    return metadata["creationTimestamp"], metadata["namespace"], metadata["name"]
