"""Where the API server is and who we are to it: kubeconfig files, as kubectl reads them.

Order: ``--kubeconfig``, then ``KUBECONFIG`` (several files, the first that says a thing wins), then ``~/.flambeau/kubeconfig`` when
``flambeau up`` wrote one, then ``~/.kube/config``.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flambeau.foundation.errors import InvalidInput, NotFound

_HINT_START = "start the platform with `flambeau up`, or name a file with --kubeconfig or KUBECONFIG"


@dataclass(frozen=True, slots=True)
class Connection:
    """One context of a kubeconfig, ready to connect."""

    server: str
    """``https://host:port``, without a trailing slash."""
    namespace: str
    token: str | None = field(repr=False, default=None)
    ca_pem: str | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    verify: bool = True

    def ssl_context(self) -> ssl.SSLContext:
        """Return how the server is checked, and how we prove who we are."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate is not None:
            context.load_cert_chain(self.client_certificate, self.client_key)
        return context


def load_connection(
    *, kubeconfig: Path | None = None, context: str | None = None, environment: Mapping[str, str] = os.environ
) -> Connection:
    """Read the files and pick a context.

    Args:
        kubeconfig: one file instead of the usual ones.
        context: a context's name instead of the current one.
        environment: where KUBECONFIG and HOME are looked up.

    Raises:
        NotFound: there is no file, or no such context in it.
        InvalidInput: a file isn't a kubeconfig; the text says which and why.
    """
    files = _files(kubeconfig, environment)
    merged = _merge(files)
    name = context or merged["current-context"]
    if not name:
        raise NotFound(f"no context is current in {_names(files)}", hint="name one with --context")
    if name not in merged["contexts"]:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        raise NotFound(f"there is no context {name!r} in {_names(files)}", hint=f"there is: {known}")
    chosen, folder = merged["contexts"][name]
    cluster, cluster_folder = _named(merged, "clusters", chosen.get("cluster", ""), folder)
    user, user_folder = _named(merged, "users", chosen.get("user", ""), folder)
    if not cluster.get("server"):
        raise InvalidInput(f"the cluster of context {name!r} in {_names(files)} has no server")
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        namespace=chosen.get("namespace") or "default",
        token=_token(user, user_folder),
        ca_pem=_pem(cluster, "certificate-authority", cluster_folder),
        client_certificate=_path(user, "client-certificate", user_folder),
        client_key=_path(user, "client-key", user_folder),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def _files(kubeconfig: Path | None, environment: Mapping[str, str]) -> list[Path]:
    if kubeconfig is not None:
        candidates = [kubeconfig]
    elif environment.get("KUBECONFIG"):
        candidates = [Path(name) for name in environment["KUBECONFIG"].split(os.pathsep) if name]
    else:
        home = Path(environment.get("HOME", "~")).expanduser()
        candidates = [home / ".flambeau" / "kubeconfig", home / ".kube" / "config"]
        candidates = [path for path in candidates if path.exists()][:1]
    present = [path for path in candidates if path.exists()]
    if not present:
        looked = f" (looked for {_names(candidates)})" if candidates else ""
        raise NotFound(f"there is no kubeconfig{looked}", hint=_HINT_START)
    return present


def _names(files: list[Path]) -> str:
    return ", ".join(str(path) for path in files)


def _merge(files: list[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {"current-context": "", "contexts": {}, "clusters": {}, "users": {}}
    for path in files:
        try:
            document = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read kubeconfig {path}: {error}") from error
        if not isinstance(document, dict):
            raise InvalidInput(f"{path} is not a kubeconfig: it holds a {type(document).__name__}, not a mapping")
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
        for plural, singular in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for entry in document.get(plural) or []:
                merged[plural].setdefault(entry.get("name"), (entry.get(singular) or {}, path.parent))
    return merged


def _named(merged: dict[str, Any], plural: str, name: str, folder: Path) -> tuple[dict[str, Any], Path]:
    entry: tuple[dict[str, Any], Path] = merged[plural].get(name, ({}, folder))
    return entry


def _token(user: dict[str, Any], folder: Path) -> str | None:
    if user.get("token"):
        return str(user["token"])
    path = user.get("tokenFile")
    return (folder / path).read_text().strip() if path else None


def _pem(entry: dict[str, Any], name: str, folder: Path) -> str | None:
    data = entry.get(f"{name}-data")
    if data:
        try:
            return base64.b64decode(data, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidInput(f"{name}-data in the kubeconfig is not base64 of a PEM file: {error}") from error
    path = _path(entry, name, folder)
    return path.read_text() if path else None


def _path(entry: dict[str, Any], name: str, folder: Path) -> Path | None:
    if entry.get(f"{name}-data") and name != "certificate-authority":
        raise InvalidInput(
            f"this kubeconfig carries {name}-data inline, which Python's TLS can't load",
            hint=f"write it to a file and name that as {name}, or use a token",
        )
    return folder / entry[name] if entry.get(name) else None
