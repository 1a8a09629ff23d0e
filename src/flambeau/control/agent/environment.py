"""A container's environment, from the pod's YAML. Pure: the runner reads the Secrets and ConfigMaps it names and passes them in."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flambeau.foundation.errors import InvalidInput, NotFound

Sources = Mapping[tuple[str, str], Mapping[str, Any] | None]
"""(kind, name) -> the object, or None where there is none; kind is Secret or ConfigMap."""

_INHERITED = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES"),
    )
)
"""What a process needs to find its programs, libraries and devices. Nothing else of the control plane's environment reaches user code."""
_INHERITED_PREFIXES = ("LC_", "PIP_", "UV_", "NVIDIA_", "OMP_", "MKL_")
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_FIELDS = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "metadata.uid": ("metadata", "uid"),
    "spec.serviceAccountName": ("spec", "serviceAccountName"),
}


def inherited(machine: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the machine's environment that processes of pods get."""
    return {name: value for name, value in machine.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)}


def sources_of(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of every object the container's environment is made from."""
    for entry in container.get("envFrom") or ():
        for field, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            if field in entry:
                yield kind, entry[field]["name"]
    for entry in container.get("env") or ():
        for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if field in (entry.get("valueFrom") or {}):
                yield kind, entry["valueFrom"][field]["name"]


def variables(pod: Mapping[str, Any], container: Mapping[str, Any], sources: Sources, *, address: str) -> dict[str, str]:
    """Return the variables that the container's YAML sets, references expanded in order.

    Raises:
        NotFound: reason CreateContainerConfigError; a Secret, ConfigMap or key isn't there and isn't optional.
        InvalidInput: a field reference that is unknown here.
    """
    result: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        result.update(_all_keys(entry, sources))
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            value = _from_elsewhere(entry["name"], entry["valueFrom"], pod, sources, address)
            if value is not None:
                result[entry["name"]] = value
        else:
            result[entry["name"]] = expand(str(entry.get("value", "")), result)
    return result


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by what is known; ``$$`` is a dollar sign, an unknown name stays as it is written."""

    def put(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else known.get(name, match.group(0))

    return _REFERENCE.sub(put, text)


def _all_keys(entry: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    kind = "Secret" if "secretRef" in entry else "ConfigMap"
    reference = entry.get("secretRef") or entry.get("configMapRef") or {}
    found = sources.get((kind, reference.get("name", "")))
    if found is None:
        if reference.get("optional"):
            return {}
        raise _missing(kind, reference.get("name", ""), None, "envFrom")
    prefix = entry.get("prefix", "")
    return {prefix + key: value for key in found.get("data") or {} if (value := text_of(kind, found, key)) is not None}


def _from_elsewhere(name: str, origin: Mapping[str, Any], pod: Mapping[str, Any], sources: Sources, address: str) -> str | None:
    for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        reference = origin.get(field)
        if reference is None:
            continue
        found = sources.get((kind, reference["name"]))
        value = None if found is None else text_of(kind, found, reference["key"])
        if value is None and not reference.get("optional"):
            raise _missing(kind, reference["name"], None if found is None else reference["key"], f"variable {name}")
        return value
    path = (origin.get("fieldRef") or {}).get("fieldPath", "")
    if path in ("status.podIP", "status.hostIP"):
        return address
    if path in _FIELDS:
        part, field = _FIELDS[path]
        return str(pod[part].get(field, ""))
    raise InvalidInput(
        f"variable {name}: this machine can't give a value from {path or sorted(origin)}", reason="CreateContainerConfigError"
    )


def text_of(kind: str, found: Mapping[str, Any], key: str) -> str | None:
    """Return one value of a Secret (decoded) or ConfigMap; None where there is no such key, or it isn't text."""
    value = (found.get("data") or {}).get(key)
    if value is None or kind != "Secret":
        return None if value is None else str(value)
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _missing(kind: str, name: str, key: str | None, wanted_by: str) -> NotFound:
    what = f'{kind} "{name}" is not there' if key is None else f'{kind} "{name}" has no key "{key}"'
    return NotFound(f"{wanted_by}: {what}", hint=f"create the {kind} in the pod's namespace", reason="CreateContainerConfigError")
