"""Names that people write into routes become destinations of the gateway. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN
from flambeau.control.controllers.routing.directory import Directory
from flambeau.gateway.document import Backend, Destination, Headers, Mirror, Rule

LOCAL_GATEWAYS = frozenset(
    ("knative-local-gateway.istio-system", "istio-ingressgateway.istio-system", "cluster-local-gateway.istio-system")
)
"""Destinations that look the authority up once more."""
_KNOWN_HOSTS_SHOWN_MAX = 5
_WHOLE = 100
"""What a service's own shares sum to: what stands beside them counts by the same measure."""


class Places:
    """Find where names lead, for one object.

    Args:
        known: where hosts lead.
        namespace: of the object; a name without a dot is looked up there.
        label: of the object, for messages.
        warn: takes what is to be told about it.
    """

    def __init__(self, known: Directory, namespace: str, label: str, warn: Callable[[str], None]) -> None:
        self.backends: dict[str, Backend] = {}
        """For destinations that aren't there: they say so."""
        self._known = known
        self._namespace = namespace
        self._label = label
        self._warn = warn

    def destinations(self, name: str, weight: int, authority: str, headers: Headers | None = None) -> tuple[Destination, ...]:
        """Return where a name leads.

        Args:
            name: of a service, in any of its forms, or of a local gateway.
            weight: its share.
            authority: what a local gateway looks up.
            headers: what this share's requests get changed.
        """
        short = name.removesuffix(f".{CLUSTER_DOMAIN}").removesuffix(".svc")
        if short in LOCAL_GATEWAYS:
            host = authority.lower().partition(":")[0]
            found = None if host in self._known.by_path else self._known.by_host.get(host)
            if found is None:
                return (Destination(weight * _WHOLE, reroute=True, host=host, headers=headers),)
        else:
            found = self._known.by_host.get(short if "." in short else f"{short}.{self._namespace}") or self._known.by_host.get(name)
        if found is None:
            return (Destination(weight * _WHOLE, backend=self._nowhere(name), host=name, headers=headers),)
        return tuple(replace(each, weight=each.weight * weight, headers=headers) for each in found)

    def mirrors(self, name: str, percent: float) -> tuple[Mirror, ...]:
        """Return where copies for a name go: to a service's revisions by their shares."""
        found = [each for each in self.destinations(name, 1, name) if each.backend is not None]
        total = sum(each.weight for each in found)
        return tuple(Mirror(str(each.backend), percent * each.weight / total) for each in found if each.weight)

    def named_by(self, rule: Rule) -> tuple[Backend, ...]:
        """Return bare backends with the names that a rule leads to: enough to see whether the gateway takes it."""
        names = {each.backend for each in rule.destinations if each.backend is not None} | {each.backend for each in rule.mirrors}
        return tuple(Backend(name, ()) for name in sorted(names))

    def _nowhere(self, name: str) -> str:
        """Return the name of a backend that has no endpoints and says why."""
        services = sorted(f"{each.name}.{each.namespace}.{CLUSTER_DOMAIN}" for each in self._known.services)
        listed = ", ".join(services[:_KNOWN_HOSTS_SHOWN_MAX]) or "none"
        hint = f"; a name without a dot is looked up in the namespace {self._namespace}" if "." not in name else ""
        why = f'{self._label} sends it to "{name}", which is no service here{hint}; there are: {listed}'
        self._warn(f'destination "{name}" is no service here{hint}')
        backend = Backend(f"nowhere/{self._namespace}/{name}", (), why_empty=why)
        self.backends[backend.name] = backend
        return backend.name
