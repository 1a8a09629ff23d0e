"""Read storage credentials as KServe does: from a ServiceAccount's Secrets, or from an environment. Pure.

Where KServe skips a Secret without a word, a warning says what was found in it and what was expected; it travels with the credentials and
ends up in the error that their absence causes. Source: specification 3.3 and 3.4.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flambeau.storage.model import Credentials, Setting

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - a name
ENDPOINT_URL = "AWS_ENDPOINT_URL"
ENDPOINT = "S3_ENDPOINT"
USE_HTTPS = "S3_USE_HTTPS"
REGION = "AWS_DEFAULT_REGION"
VERIFY_SSL = "S3_VERIFY_SSL"
ANONYMOUS = "awsAnonymousCredential"
VIRTUAL_BUCKET = "S3_USER_VIRTUAL_BUCKET"
ACCELERATE = "S3_USE_ACCELERATE"
CA_BUNDLE = "AWS_CA_BUNDLE"
CA_BUNDLE_CONFIGMAP = "AWS_CA_BUNDLE_CONFIGMAP"

_ANNOTATION_PREFIX = "serving.kserve.io/"
_ANNOTATIONS = {
    ENDPOINT: "serving.kserve.io/s3-endpoint",
    USE_HTTPS: "serving.kserve.io/s3-usehttps",
    REGION: "serving.kserve.io/s3-region",
    VERIFY_SSL: "serving.kserve.io/s3-verifyssl",
    ANONYMOUS: "serving.kserve.io/s3-useanoncredential",
    VIRTUAL_BUCKET: "serving.kserve.io/s3-usevirtualbucket",
    ACCELERATE: "serving.kserve.io/s3-useaccelerate",
    CA_BUNDLE: "serving.kserve.io/s3-cabundle",
    CA_BUNDLE_CONFIGMAP: "serving.kserve.io/s3-cabundle-configmap",
}
"""Annotation by the variable it sets. The data key of the same value has the variable's name; the annotation wins."""

_ENVIRONMENT = (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, ENDPOINT_URL, *_ANNOTATIONS)

_OTHER_KINDS = {
    "gcloud-application-credentials.json": "Google Cloud",
    "AZ_CLIENT_ID": "Azure",
    "AZURE_CLIENT_ID": "Azure",
    "AZURE_ACCESS_TOKEN": "Azure",
    "AZURE_STORAGE_ACCESS_KEY": "Azure",
    "https-host": "HTTPS",
    "HDFS_NAMENODE": "HDFS",
    "HF_TOKEN": "Hugging Face",
    "MODELSCOPE_API_TOKEN": "ModelScope",
}
"""Data keys by which KServe knows the credentials of other stores."""

_UNRELATED_TYPES = ("kubernetes.io/",)
"""Types of Secrets that stand in a ServiceAccount's list for other reasons (its token, image registries)."""


def from_secrets(secrets: Sequence[Mapping[str, Any]]) -> Credentials:
    """Return what a ServiceAccount's Secrets give, in their order; a later one overrides an earlier one's values.

    Args:
        secrets: core v1 Secret objects, their ``data`` in base64.
    """
    settings: dict[str, Setting] = {}
    warnings: list[str] = []
    for secret in secrets:
        read = _Secret.read(secret)
        settings.update(_s3_settings(read))
        warnings.extend(read.warnings)
    return Credentials(settings, tuple(warnings))


def from_environment(environment: Mapping[str, str]) -> Credentials:
    """Return what the variables of KServe's storage initializer say; an empty variable counts as unset."""
    settings = {name: Setting(environment[name], f"environment variable {name}") for name in _ENVIRONMENT if environment.get(name)}
    if ENDPOINT_URL not in settings and ENDPOINT in settings:
        settings[ENDPOINT_URL] = _endpoint_url(settings[ENDPOINT], settings.get(USE_HTTPS))
    return Credentials(settings)


@dataclass(slots=True)
class _Secret:
    """One Secret, decoded."""

    name: str
    type: str
    annotations: Mapping[str, str]
    data: dict[str, str] = field(repr=False)
    warnings: list[str]

    @classmethod
    def read(cls, secret: Mapping[str, Any]) -> _Secret:
        metadata = secret.get("metadata") or {}
        name = f"secret {metadata.get('namespace', 'default')}/{metadata.get('name', '?')}"
        warnings: list[str] = []
        data: dict[str, str] = {}
        for key, encoded in (secret.get("data") or {}).items():
            try:
                value = base64.b64decode(encoded or "", validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
                if key in _ENVIRONMENT:
                    warnings.append(f"{name}: the value of data key {key} is not base64 of a text; stringData takes plain text")
                continue
            if key in _ENVIRONMENT and value != value.strip():
                # `echo KEY | base64` encodes the line break too; no S3 value begins or ends with a blank.
                warnings.append(f"{name}: the value of data key {key} began or ended with blanks or a line break; they were taken off")
                value = value.strip()
            data[key] = value
        return cls(name, str(secret.get("type") or "Opaque"), metadata.get("annotations") or {}, data, warnings)

    def setting(self, variable: str) -> Setting | None:
        """Return the annotation's value, else the data key's; None where both are empty."""
        annotation = _ANNOTATIONS.get(variable)
        if annotation and self.annotations.get(annotation):
            return Setting(str(self.annotations[annotation]).strip(), f"{self.name} annotation {annotation}")
        if self.data.get(variable):
            return Setting(self.data[variable], f"{self.name} data key {variable}")
        return None


def _s3_settings(secret: _Secret) -> dict[str, Setting]:
    """Return the variables that a Secret sets, or nothing and a warning."""
    anonymous = secret.setting(ANONYMOUS)
    # KServe also skips a Secret that says "anonymous" but holds no key, and with it the endpoint; here it counts.
    if SECRET_ACCESS_KEY not in secret.data and not (anonymous and anonymous.value.lower() == "true"):
        _warn_of_nothing(secret)
        return {}
    settings: dict[str, Setting] = {}
    for variable in (ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION, VERIFY_SSL, ANONYMOUS, VIRTUAL_BUCKET, ACCELERATE, CA_BUNDLE):
        setting = secret.setting(variable)
        if setting:
            settings[variable] = setting
    if SECRET_ACCESS_KEY in settings and ACCESS_KEY_ID not in settings:
        secret.warnings.append(_expected(secret, f"it has {SECRET_ACCESS_KEY} but no {ACCESS_KEY_ID}"))
    if configmap := secret.setting(CA_BUNDLE_CONFIGMAP):
        secret.warnings.append(f"{configmap.source}: CA bundles from config maps are not read; name a file of this machine instead")
    settings.update(_endpoint_settings(secret))
    return settings


def _endpoint_settings(secret: _Secret) -> dict[str, Setting]:
    endpoint, use_https = secret.setting(ENDPOINT), secret.setting(USE_HTTPS)
    if endpoint is None:
        return {}
    url = _endpoint_url(endpoint, use_https)
    if use_https and "://" in endpoint.value and (use_https.value == "0") != url.value.startswith("http://"):
        secret.warnings.append(
            f"{use_https.source}={use_https.value} has no effect, since the endpoint {endpoint.value} carries a scheme ({endpoint.source})"
        )
    settings = {ENDPOINT: Setting(endpoint.value.partition("://")[2] or endpoint.value, endpoint.source), ENDPOINT_URL: url}
    if use_https:
        settings[USE_HTTPS] = use_https
    return settings


def _endpoint_url(endpoint: Setting, use_https: Setting | None) -> Setting:
    """Return the endpoint with a scheme: its own, or what ``s3-usehttps`` says (only "0" means http)."""
    if "://" in endpoint.value:
        return endpoint
    scheme = "http" if use_https and use_https.value == "0" else "https"
    return Setting(f"{scheme}://{endpoint.value}", endpoint.source)


def _warn_of_nothing(secret: _Secret) -> None:
    """Say why a Secret gives nothing, unless it is there for another reason."""
    if secret.type.startswith(_UNRELATED_TYPES):
        return
    kinds = sorted({kind for key, kind in _OTHER_KINDS.items() if key in secret.data})
    if kinds:
        secret.warnings.append(f"{secret.name} holds credentials for {' and '.join(kinds)}, which are not read")
        return
    meant = {_plain(ACCESS_KEY_ID): ACCESS_KEY_ID, _plain(SECRET_ACCESS_KEY): SECRET_ACCESS_KEY}
    near = [
        f"{key} must be spelt {meant[_plain(key)]}" for key in sorted(secret.data) if _plain(key) in meant and key != meant[_plain(key)]
    ]
    secret.warnings.append(_expected(secret, "; ".join(near) or f"it has no {SECRET_ACCESS_KEY}"))


def _expected(secret: _Secret, cause: str) -> str:
    annotations = [name.removeprefix(_ANNOTATION_PREFIX) for name in secret.annotations if name in _ANNOTATIONS.values()]
    found = f"data keys {', '.join(sorted(secret.data)) or 'none'}"
    if annotations:
        found += f", annotations {', '.join(sorted(annotations))}"
    return (
        f"{secret.name} gives no S3 credentials: {cause} (found: {found}; expected: data keys {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}, "
        f"or the annotation {_ANNOTATIONS[ANONYMOUS]}: 'true')"
    )


def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")
