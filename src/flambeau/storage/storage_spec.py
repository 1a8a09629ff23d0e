"""Read ``model.storage``: a key of the Secret ``storage-config``, a path and parameters instead of a URI. Pure.

Source: specification 3.5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage import credentials as names
from flambeau.storage.configuration import json_object
from flambeau.storage.model import Credentials, Setting

PLACEHOLDER_SCHEME = "<scheme-placeholder>://"
"""What a pod says where only the Secret knows the type."""
TYPES = ("s3", "hdfs", "webhdfs")
_DEFAULT_KEY = "default"

_S3_VARIABLES = {
    "access_key_id": names.ACCESS_KEY_ID,
    "secret_access_key": names.SECRET_ACCESS_KEY,
    "region": names.REGION,
    "endpoint_url": names.ENDPOINT_URL,
    "verify_ssl": names.VERIFY_SSL,
    "anonymous": names.ANONYMOUS,
    "ca_bundle": names.CA_BUNDLE,
    "cabundle_configmap": names.CA_BUNDLE_CONFIGMAP,
}


@dataclass(frozen=True, slots=True)
class StorageSpec:
    """What an InferenceService says under ``model.storage``."""

    path: str
    key: str
    """Empty: the default one."""
    parameters: Mapping[str, str]
    """They win over the Secret's."""


def resolve(spec: StorageSpec, secret: Mapping[str, Any] | None, secret_name: str) -> tuple[str, Credentials]:
    """Return the URI that a spec means, and the credentials for it.

    Args:
        spec: what the InferenceService says.
        secret: the Secret, or None where there is none.
        secret_name: for people: ``namespace/name``.

    Raises:
        NotFound: the key is not in the Secret, or there is no Secret (StorageKeyNotFound).
        InvalidInput: the entry is no JSON object of strings, or type or bucket can't be told (InvalidStorageConfig).
    """
    place = f"secret {secret_name}"
    key, text = _entry(spec, secret, place)
    given = {**json_object(text, f"{place} data key {key}", "it"), **spec.parameters}
    kind = str(given.get("type") or "")
    if kind not in TYPES:
        cause = f"the type {kind!r} is not supported" if kind else "no type is given"
        raise InvalidInput(
            f"cannot use {place} key {key or '(none)'} as storage: {cause}",
            hint=f"set type to one of {', '.join(TYPES)} there or in storage.parameters",
            reason="InvalidStorageConfig",
        )
    bucket = str(given.get("bucket") or "")
    if kind == "s3" and not bucket:
        raise InvalidInput(
            f"cannot use {place} key {key or '(none)'} as storage: no bucket is given",
            hint="set bucket there or in storage.parameters",
            reason="InvalidStorageConfig",
        )
    path = spec.path.lstrip("/")
    if kind == "s3":
        return f"s3://{bucket}/{path}", Credentials(_s3_settings(given, spec.parameters, f"{place} data key {key}"))
    settings = {name: Setting(str(value), f"{place} data key {key}") for name, value in given.items() if name.isupper() and value}
    return f"{kind}://{path}", Credentials(settings)


def _entry(spec: StorageSpec, secret: Mapping[str, Any] | None, place: str) -> tuple[str, str]:
    """Return the key that counts and its text; nothing at all where a default is missing and the parameters may suffice."""
    data = (secret or {}).get("data") or {}
    kind = spec.parameters.get("type")
    wanted: Sequence[str] = [spec.key] if spec.key else [*([f"{_DEFAULT_KEY}_{kind}"] if kind else []), _DEFAULT_KEY]
    for key in wanted:
        if key in data:
            try:
                return key, base64.b64decode(data[key], validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
                raise InvalidInput(
                    f"cannot read {place}: its data key {key} is no base64 of a text", reason="InvalidStorageConfig"
                ) from None
    if spec.key:
        there = f"its keys are {', '.join(sorted(data))}" if data else "it is not there" if secret is None else "it is empty"
        raise NotFound(f"cannot find the storage key {spec.key} in {place}: {there}", reason="StorageKeyNotFound")
    return "", "{}"


def _s3_settings(given: Mapping[str, Any], parameters: Mapping[str, str], place: str) -> dict[str, Setting]:
    return {
        variable: Setting(str(given[name]), f"storage.parameters {name}" if name in parameters else f"{place} {name}")
        for name, variable in _S3_VARIABLES.items()
        if given.get(name) not in (None, "")
    }
