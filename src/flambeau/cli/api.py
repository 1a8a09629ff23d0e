"""A small client of Kubernetes-style API servers: ours, or a cluster's.

One connection, bounded waits, and errors in the words of the error tree. What a kind is called is asked of the server, so that every
command works on every kind the server has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx2
import orjson

from flambeau.cli.kubeconfig import Connection
from flambeau.foundation.errors import (
    Conflict,
    Denied,
    FlambeauError,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    TimedOut,
    Unavailable,
)

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_BY_STATUS: Mapping[int, type[FlambeauError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    410: Conflict,
    429: Overloaded,
    503: Unavailable,
    504: TimedOut,
}


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One row of ``api-resources``."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def api_version(self) -> str:
        """Return ``group/version``, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """Return ``plural.group``, as messages name a kind."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def label(self) -> str:
        """Return ``singular.group``, as kubectl's answers name an object: ``inferenceservice.serving.kserve.io``."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection, an object or a subresource."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part)
        return "/".join(parts)


class Api:
    """Talk to one API server.

    Args:
        connection: where it is, and who we are.
    """

    def __init__(self, connection: Connection) -> None:
        self.namespace = connection.namespace
        self.server = connection.server
        headers = {"User-Agent": "flambeau", "Accept": "application/json"}
        if connection.token:
            headers["Authorization"] = f"Bearer {connection.token}"
        self._client = httpx2.Client(
            base_url=connection.server,
            headers=headers,
            verify=connection.ssl_context(),
            timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=False,
        )
        self._types: list[ResourceType] | None = None
        self.warnings: list[str] = []
        """What the server warned about, in order; the command prints and clears it."""

    def __enter__(self) -> Api:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    # Requests

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str | None = None,
        accept: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send one request; return the status and the JSON of a 2xx answer.

        Raises:
            FlambeauError: as the server's Status says, or Unavailable when there is no server.
        """
        headers = {"Content-Type": content_type or "application/json"} if body is not None else {}
        if accept:
            headers["Accept"] = accept
        content = None if body is None else orjson.dumps(body)
        try:
            answer = self._client.request(method, path, params=dict(query or {}), content=content, headers=headers)
        except httpx2.TimeoutException as error:
            raise TimedOut(f"the API server {self.server} did not answer {method} {path} in time") from error
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        self._collect_warnings(answer)
        if answer.status_code >= 300:
            raise _error(answer)
        return answer.status_code, orjson.loads(answer.content) if answer.content else {}

    def get(self, path: str, *, query: Mapping[str, str] | None = None, accept: str | None = None) -> dict[str, Any]:
        """GET a JSON object."""
        return self.request("GET", path, query=query, accept=accept)[1]

    @contextmanager
    def stream(self, path: str, *, query: Mapping[str, str], read_seconds: float | None) -> Iterator[httpx2.Response]:
        """GET an answer that comes piece by piece.

        Args:
            path: URL path.
            query: parameters.
            read_seconds: the longest silence between two pieces; None waits for ever (a person is looking on).
        """
        timeout = httpx2.Timeout(read_seconds, connect=_CONNECT_SECONDS)
        try:
            with self._client.stream("GET", path, params=dict(query), timeout=timeout) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    raise _error(answer)
                yield answer
        except httpx2.ConnectError as error:
            raise self._unreachable(error) from error

    def watch(self, path: str, *, query: Mapping[str, str], read_seconds: float) -> Iterator[dict[str, Any]]:
        """Yield watch events until the server ends the watch or stays silent."""
        with self.stream(path, query={**query, "watch": "true"}, read_seconds=read_seconds) as answer:
            try:
                for line in answer.iter_lines():
                    if line:
                        yield orjson.loads(line)
            except httpx2.ReadTimeout:
                return

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"cannot reach the API server {self.server}: {error}",
            hint="is the platform up? `flambeau up` starts it; another kubeconfig is named with --kubeconfig or KUBECONFIG",
        )

    def _collect_warnings(self, answer: httpx2.Response) -> None:
        for value in answer.headers.get_list("warning"):
            parts = value.split('"')
            self.warnings.append(parts[1] if len(parts) >= 3 else value)

    # What kinds there are

    def types(self) -> list[ResourceType]:
        """Return every kind the server has, the core group first."""
        if self._types is None:
            self._types = [*self._discover("/api"), *self._discover("/apis")]
        return self._types

    def type_named(self, name: str) -> ResourceType:
        """Find a kind by plural, singular, short name or kind, with or without its group.

        Raises:
            NotFound: there is none; the text names near ones.
        """
        wanted, _, group = name.lower().partition(".")
        for candidate in self.types():
            names = {candidate.plural, candidate.singular, candidate.kind.lower(), *candidate.short_names}
            if wanted in names and (not group or group in (candidate.group, f"{candidate.version}.{candidate.group}")):
                return candidate
        raise NotFound(f"the server doesn't have a resource type {name!r}", hint="`flambeau api-resources` lists what it has")

    def types_named(self, names: str) -> list[ResourceType]:
        """Find the kinds in a comma list; ``all`` stands for the kinds of that category."""
        found: list[ResourceType] = []
        for name in names.split(","):
            in_category = [t for t in self.types() if name in t.categories]
            found.extend(in_category or [self.type_named(name)])
        return found

    def type_of(self, obj: Mapping[str, Any]) -> ResourceType:
        """Find an object's kind.

        Raises:
            NotFound: the server doesn't know it.
        """
        api_version, kind = str(obj.get("apiVersion")), str(obj.get("kind"))
        for candidate in self.types():
            if candidate.kind == kind and candidate.api_version == api_version:
                return candidate
        raise NotFound(
            f"no matches for kind {kind!r} in version {api_version!r}", hint="`flambeau api-resources` lists what the server has"
        )

    def _discover(self, path: str) -> Iterator[ResourceType]:
        answer = self.get(path, accept=_AGGREGATED)
        if answer.get("kind") != "APIGroupDiscoveryList":
            raise Unavailable(f"the API server {self.server} has no aggregated discovery", hint="it needs Kubernetes 1.27 or newer")
        for group in answer["items"]:
            for version in group["versions"]:
                for resource in version["resources"]:
                    yield ResourceType(
                        group=group.get("metadata", {}).get("name", ""),
                        version=version["version"],
                        kind=resource["responseKind"]["kind"],
                        plural=resource["resource"],
                        singular=resource.get("singularResource", ""),
                        short_names=tuple(resource.get("shortNames", ())),
                        namespaced=resource["scope"] == "Namespaced",
                        verbs=tuple(resource.get("verbs", ())),
                        categories=tuple(resource.get("categories", ())),
                    )


def _error(answer: httpx2.Response) -> FlambeauError:
    try:
        status = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        status = {}
    message = status.get("message") if isinstance(status, dict) else None
    message = message or f"the API server answered {answer.status_code} {answer.text[:500]}".rstrip()
    reason = status.get("reason") if isinstance(status, dict) else None
    default: type[FlambeauError] = InvalidInput if answer.status_code < 500 else Internal
    return _BY_STATUS.get(answer.status_code, default)(message, reason=reason)
