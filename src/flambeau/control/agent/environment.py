"""A container's environment, from the pod's YAML. The runner reads the Secrets and ConfigMaps it names and passes them in."""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flambeau.control.resources.pod_contract import NODE_NAME
from flambeau.control.resources.quantity import amount
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
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
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
            value = _from_elsewhere(entry["name"], entry["valueFrom"], pod, container, sources, address)
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


def _from_elsewhere(
    name: str, origin: Mapping[str, Any], pod: Mapping[str, Any], container: Mapping[str, Any], sources: Sources, address: str
) -> str | None:
    for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        reference = origin.get(field)
        if reference is None:
            continue
        found = sources.get((kind, reference["name"]))
        value = None if found is None else text_of(kind, found, reference["key"])
        if value is None and not reference.get("optional"):
            raise _missing(kind, reference["name"], None if found is None else reference["key"], f"variable {name}")
        return value
    return field_value(f"variable {name}", origin, pod, container, address)


def field_value(wanted_by: str, origin: Mapping[str, Any], pod: Mapping[str, Any], container: Mapping[str, Any], address: str) -> str:
    """Return a field of the pod, or a resource of one of its containers.

    Args:
        wanted_by: for the message of a refusal.
        origin: with ``fieldRef`` or ``resourceFieldRef``.
        pod: the Pod object.
        container: that wants it.
        address: the pod's.

    Raises:
        InvalidInput: this machine has no such field.
    """
    if "resourceFieldRef" in origin:
        return _of_resources(wanted_by, origin["resourceFieldRef"], pod, container)
    path = (origin.get("fieldRef") or {}).get("fieldPath", "")
    if path in ("status.podIP", "status.podIPs", "status.hostIP"):
        return address
    if path == "spec.nodeName":
        return NODE_NAME
    if path in _FIELDS:
        part, field = _FIELDS[path]
        return str(pod[part].get(field, ""))
    of = _KEYED_FIELD.fullmatch(path)
    if of is not None:
        return str((pod["metadata"].get(of.group(1)) or {}).get(of.group(2), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{entries[key]}"' for key in sorted(entries))
    raise InvalidInput(f"{wanted_by}: this machine can't give a value from {path or sorted(origin)}", reason="CreateContainerConfigError")


def _of_resources(wanted_by: str, reference: Mapping[str, Any], pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    """Return a limit or request, rounded up, in units of the divisor; where none is said, what the machine has."""
    wanted, path = reference.get("containerName") or container["name"], str(reference.get("resource") or "")
    found = next((each for each in pod["spec"]["containers"] if each["name"] == wanted), container)
    kind, _, resource = path.partition(".")
    if kind not in ("limits", "requests") or resource not in ("cpu", "memory"):
        raise InvalidInput(f"{wanted_by}: this machine can't give a value from {path}", reason="CreateContainerConfigError")
    resources = found.get("resources") or {}
    said = amount((resources.get(kind) or {}).get(resource))
    if said is None and kind == "requests":
        said = amount((resources.get("limits") or {}).get(resource)) or 0.0
    if said is None:
        said = float(os.cpu_count() or 1) if resource == "cpu" else float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return str(math.ceil(said / (amount(reference.get("divisor")) or 1.0)))


def text_of(kind: str, found: Mapping[str, Any], key: str) -> str | None:
    """Return one value of a Secret (decoded) or ConfigMap; None where there is no such key, or it isn't text."""
    value = bytes_of(kind, found, key)
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def bytes_of(kind: str, found: Mapping[str, Any], key: str) -> bytes | None:
    """Return one value of a Secret or ConfigMap, decoded; None where there is no such key."""
    value = (found.get("data") or {}).get(key)
    if value is not None and kind != "Secret":
        return str(value).encode()
    value = value if value is not None else (found.get("binaryData") or {}).get(key)
    try:
        return None if value is None else base64.b64decode(value, validate=True)
    except binascii.Error:
        return None


def _missing(kind: str, name: str, key: str | None, wanted_by: str) -> NotFound:
    what = f'{kind} "{name}" is not there' if key is None else f'{kind} "{name}" has no key "{key}"'
    return NotFound(f"{wanted_by}: {what}", hint=f"create the {kind} in the pod's namespace", reason="CreateContainerConfigError")
