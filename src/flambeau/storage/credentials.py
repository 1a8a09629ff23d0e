"""Read storage credentials as KServe does: from a ServiceAccount's Secrets, or from an environment. Pure.

Where KServe skips a Secret without a word, a warning says what was found in it and what was expected; it travels with the credentials and
ends up in the error that their absence causes. Source: specification 3.3 and 3.4.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flambeau.storage.configuration import StorageConfiguration
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

CA_BUNDLE_TEXT = "CA_BUNDLE_TEXT"
"""Certificates in PEM, from a ConfigMap; a name of ours, since KServe mounts a file."""

GCS_KEY = "gcloud-application-credentials.json"
GCS_ENDPOINT = "STORAGE_EMULATOR_HOST"
AZURE_CLIENT_ID = "AZURE_CLIENT_ID"
AZURE_TENANT_ID = "AZURE_TENANT_ID"
AZURE_CLIENT_SECRET = "AZURE_CLIENT_SECRET"  # noqa: S105 - a name
AZURE_ACCESS_TOKEN = "AZURE_ACCESS_TOKEN"  # noqa: S105 - a name
AZURE_ACCESS_KEY = "AZURE_STORAGE_ACCESS_KEY"
AZURE_ENDPOINT = "AZURE_SERVICE_URL"
AZURE_AUTHORITY = "AZURE_AUTHORITY_HOST"
HUB_TOKEN = "HF_TOKEN"  # noqa: S105 - a name
HUB_ENDPOINT = "HF_ENDPOINT"
GIT_USERNAME = "GIT_USERNAME"
GIT_PASSWORD = "GIT_PASSWORD"  # noqa: S105 - a name
HDFS_NAMENODE = "HDFS_NAMENODE"
HDFS_USER = "USER_PROXY"
HDFS_ROOT = "HDFS_ROOTPATH"
HDFS_HEADERS = "HEADERS"
HDFS_SKIP_VERIFY = "TLS_SKIP_VERIFY"
HDFS_KERBEROS = "KERBEROS_PRINCIPAL"
HDFS_CERTIFICATE, HDFS_KEY, HDFS_CA = "TLS_CERT", "TLS_KEY", "TLS_CA"
"""Texts in PEM: who asks, and whom to trust."""
HEADERS_SUFFIX = "-headers"
"""``<host>-headers`` holds a JSON object of headers for a web server."""

SECRETS = frozenset(
    (
        SECRET_ACCESS_KEY,
        SESSION_TOKEN,
        GCS_KEY,
        AZURE_CLIENT_SECRET,
        AZURE_ACCESS_TOKEN,
        AZURE_ACCESS_KEY,
        HUB_TOKEN,
        GIT_PASSWORD,
        HDFS_HEADERS,
        HDFS_KEY,
    )
)
"""Settings that are never shown; neither are those that end in HEADERS_SUFFIX."""


@dataclass(frozen=True, slots=True)
class _Form:
    """How a Secret for a store other than S3 looks."""

    store: str
    marker: str
    """The data key that tells it."""
    keys: tuple[str, ...]
    """Data keys that are read, each the name of a setting."""


_HDFS_TEXTS = (HDFS_HEADERS, HDFS_CERTIFICATE, HDFS_KEY, HDFS_CA)
"""Of more than one line, and only in a Secret."""
_FORMS = (
    _Form("Google Cloud", GCS_KEY, (GCS_KEY, GCS_ENDPOINT)),
    _Form("Azure", AZURE_CLIENT_ID, (AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET, AZURE_ENDPOINT, AZURE_AUTHORITY)),
    _Form("Azure", AZURE_ACCESS_TOKEN, (AZURE_ACCESS_TOKEN, AZURE_ENDPOINT)),
    _Form("Azure", AZURE_ACCESS_KEY, (AZURE_ACCESS_KEY, AZURE_ENDPOINT)),
    _Form("HDFS", HDFS_NAMENODE, (HDFS_NAMENODE, HDFS_USER, HDFS_ROOT, HDFS_SKIP_VERIFY, HDFS_KERBEROS, *_HDFS_TEXTS)),
    _Form("Hugging Face", HUB_TOKEN, (HUB_TOKEN, HUB_ENDPOINT)),
    _Form("git", GIT_PASSWORD, (GIT_USERNAME, GIT_PASSWORD)),
)
_OLD_KEYS = {"AZ_CLIENT_ID": AZURE_CLIENT_ID, "AZ_TENANT_ID": AZURE_TENANT_ID, "AZ_CLIENT_SECRET": AZURE_CLIENT_SECRET}
"""Azure's keys as they were once called."""
_WEB_HOST = "https-host"
_WEB_HEADERS = "headers"
_NOT_READ = {"MODELSCOPE_API_TOKEN": "ModelScope"}

_ENVIRONMENT = (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    ENDPOINT_URL,
    *_ANNOTATIONS,
    *dict.fromkeys(key for form in _FORMS for key in form.keys if key not in _HDFS_TEXTS),
)
_ONE_LINE = {*_ENVIRONMENT, *_OLD_KEYS, _WEB_HOST}

ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"

_UNRELATED_TYPES = ("kubernetes.io/",)
"""Types of Secrets that stand in a ServiceAccount's list for other reasons (its token, image registries)."""


def from_secrets(secrets: Sequence[Mapping[str, Any]], configuration: StorageConfiguration | None = None) -> Credentials:
    """Return what a ServiceAccount's Secrets give, in their order; a later one overrides an earlier one's values.

    Args:
        secrets: core v1 Secret objects, their ``data`` in base64.
        configuration: how the cluster calls the data keys, and what holds where no Secret says anything.
    """
    configuration = configuration or StorageConfiguration()
    settings: dict[str, Setting] = {}
    warnings: list[str] = []
    for secret in secrets:
        read = _Secret.read(secret, configuration)
        others = _other_settings(read)
        settings.update(_s3_settings(read, gives_something=bool(others)))
        settings.update(others)
        warnings.extend(read.warnings)
    return Credentials(_with_defaults(settings, configuration.s3_defaults), tuple(warnings))


def from_service_account(account: Mapping[str, Any]) -> Credentials:
    """Return what a ServiceAccount's own annotations give: with an IAM role, where S3 is; the role itself can't be taken here."""
    metadata = account.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    if not annotations.get(ROLE_ANNOTATION):
        return Credentials()
    name = f"service account {metadata.get('namespace', 'default')}/{metadata.get('name', '?')}"
    settings = {
        variable: Setting(str(annotations[annotation]), f"{name} annotation {annotation}")
        for variable, annotation in _ANNOTATIONS.items()
        if annotations.get(annotation)
    }
    warning = (
        f"{name}: the IAM role {annotations[ROLE_ANNOTATION]} ({ROLE_ANNOTATION}) can only be taken on EKS, not on this machine; "
        f"name a Secret with {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} under the ServiceAccount's secrets"
    )
    return Credentials(_with_defaults(settings, {}), (warning,))


def merged(*all_credentials: Credentials) -> Credentials:
    """Return several credentials as one; later ones win."""
    settings: dict[str, Setting] = {}
    for credentials in all_credentials:
        settings.update(credentials.settings)
    return Credentials(settings, tuple(warning for credentials in all_credentials for warning in credentials.warnings))


def from_environment(environment: Mapping[str, str]) -> Credentials:
    """Return what the variables of KServe's storage initializer say; an empty variable counts as unset."""
    names = [*_ENVIRONMENT, *(name for name in environment if name.endswith(HEADERS_SUFFIX))]
    settings = {name: Setting(environment[name], f"environment variable {name}") for name in names if environment.get(name)}
    return Credentials(_with_defaults(settings, {}))


def _with_defaults(settings: dict[str, Setting], defaults: Mapping[str, Setting]) -> dict[str, Setting]:
    """Add what isn't set, and the endpoint's URL."""
    whole = {**defaults, **settings}
    if ENDPOINT_URL not in whole and ENDPOINT in whole:
        whole[ENDPOINT_URL] = _endpoint_url(whole[ENDPOINT], whole.get(USE_HTTPS))
    return whole


@dataclass(slots=True)
class _Secret:
    """One Secret, decoded."""

    name: str
    type: str
    annotations: Mapping[str, str]
    data: dict[str, str] = field(repr=False)
    warnings: list[str]
    defaults: Mapping[str, Setting]

    @classmethod
    def read(cls, secret: Mapping[str, Any], configuration: StorageConfiguration) -> _Secret:
        metadata = secret.get("metadata") or {}
        name = f"secret {metadata.get('namespace', 'default')}/{metadata.get('name', '?')}"
        warnings: list[str] = []
        data: dict[str, str] = {}
        own_names = {
            configuration.access_key_name: ACCESS_KEY_ID,
            configuration.secret_key_name: SECRET_ACCESS_KEY,
            configuration.gcs_key_name: GCS_KEY,
        }
        for given, encoded in (secret.get("data") or {}).items():
            key = own_names.get(given, given)
            try:
                value = base64.b64decode(encoded or "", validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError, TypeError):
                if key in _ONE_LINE:
                    warnings.append(f"{name}: the value of data key {key} is not base64 of a text; stringData takes plain text")
                continue
            if key in _ONE_LINE and value != value.strip():
                # `echo KEY | base64` encodes the line break too; no such value begins or ends with a blank.
                warnings.append(f"{name}: the value of data key {key} began or ended with blanks or a line break; they were taken off")
                value = value.strip()
            data[key] = value
        return cls(name, str(secret.get("type") or "Opaque"), metadata.get("annotations") or {}, data, warnings, configuration.s3_defaults)

    def setting(self, variable: str) -> Setting | None:
        """Return the annotation's value, else the data key's; None where both are empty."""
        annotation = _ANNOTATIONS.get(variable)
        if annotation and self.annotations.get(annotation):
            return Setting(str(self.annotations[annotation]).strip(), f"{self.name} annotation {annotation}")
        if self.data.get(variable):
            return Setting(self.data[variable], f"{self.name} data key {variable}")
        return None


def _other_settings(secret: _Secret) -> dict[str, Setting]:
    """Return what a Secret gives for stores other than S3."""
    data = {**{new: secret.data[old] for old, new in _OLD_KEYS.items() if old in secret.data}, **secret.data}
    settings = {
        key: Setting(data[key], f"{secret.name} data key {key}")
        for form in _FORMS
        if data.get(form.marker)
        for key in form.keys
        if data.get(key)
    }
    if host := secret.data.get(_WEB_HOST):
        headers = _header_lines(secret)
        settings[f"{host.lower()}{HEADERS_SUFFIX}"] = Setting(json.dumps(headers), f"{secret.name} data key {_WEB_HEADERS}")
    return settings


def _header_lines(secret: _Secret) -> dict[str, str]:
    """Read lines of ``Name: value``."""
    headers: dict[str, str] = {}
    for line in secret.data.get(_WEB_HEADERS, "").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip():
            headers[name.strip()] = value.strip()
        elif line.strip():
            secret.warnings.append(f"{secret.name}: a line of data key {_WEB_HEADERS} is not of the form Name: value; it is left out")
    return headers


def _s3_settings(secret: _Secret, *, gives_something: bool) -> dict[str, Setting]:
    """Return the variables that a Secret sets, or nothing and a warning."""
    anonymous = secret.setting(ANONYMOUS)
    # KServe also skips a Secret that says "anonymous" but holds no key, and with it the endpoint; here it counts.
    if SECRET_ACCESS_KEY not in secret.data and not (anonymous and anonymous.value.lower() == "true"):
        if not gives_something:
            _warn_of_nothing(secret)
        return {}
    settings: dict[str, Setting] = {}
    for variable in (
        ACCESS_KEY_ID,
        SECRET_ACCESS_KEY,
        REGION,
        VERIFY_SSL,
        ANONYMOUS,
        VIRTUAL_BUCKET,
        ACCELERATE,
        CA_BUNDLE,
        CA_BUNDLE_CONFIGMAP,
    ):
        setting = secret.setting(variable)
        if setting:
            settings[variable] = setting
    if SECRET_ACCESS_KEY in settings and ACCESS_KEY_ID not in settings:
        secret.warnings.append(_expected(secret, f"it has {SECRET_ACCESS_KEY} but no {ACCESS_KEY_ID}"))
    settings.update(_endpoint_settings(secret))
    return settings


def _endpoint_settings(secret: _Secret) -> dict[str, Setting]:
    endpoint, use_https = secret.setting(ENDPOINT), secret.setting(USE_HTTPS) or secret.defaults.get(USE_HTTPS)
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
    kinds = sorted({kind for key, kind in _NOT_READ.items() if key in secret.data})
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
