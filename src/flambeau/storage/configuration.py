"""What the cluster's administrator says about storage: the ConfigMap ``inferenceservice-config`` in namespace kserve. Pure.

Only what matters to fetching a model is read; each value is the weakest: a Secret's annotation and its data key win over it.
Source: specification 1.12.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flambeau.foundation.errors import InvalidInput
from flambeau.storage.model import Setting

CONFIG_NAMESPACE = "kserve"
CONFIG_NAME = "inferenceservice-config"
CA_BUNDLE_KEY = "cabundle.crt"
"""In a ConfigMap of certificates."""

_S3_DEFAULTS = {
    "s3Endpoint": "S3_ENDPOINT",
    "s3UseHttps": "S3_USE_HTTPS",
    "s3Region": "AWS_DEFAULT_REGION",
    "s3VerifySSL": "S3_VERIFY_SSL",
    "s3UseVirtualBucket": "S3_USER_VIRTUAL_BUCKET",
    "s3UseAccelerate": "S3_USE_ACCELERATE",
    "s3UseAnonymousCredential": "awsAnonymousCredential",
    "s3CABundle": "AWS_CA_BUNDLE",
    "s3CABundleConfigMap": "AWS_CA_BUNDLE_CONFIGMAP",
}


@dataclass(frozen=True, slots=True)
class StorageConfiguration:
    """The parts of ``inferenceservice-config`` that a fetch follows; the defaults are those of KServe's own manifest."""

    access_key_name: str = "AWS_ACCESS_KEY_ID"
    """Data key of a Secret that holds an S3 access key's id."""
    secret_key_name: str = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - a name
    """Data key of a Secret that holds an S3 secret key."""
    gcs_key_name: str = "gcloud-application-credentials.json"
    """Data key of a Secret that holds a Google service account's JSON key."""
    secret_name_annotation: str = "serving.kserve.io/storageSecretName"  # noqa: S105 - a name
    """Annotation of an InferenceService that names one Secret instead of a ServiceAccount's list."""
    storage_spec_secret: str = "storage-config"  # noqa: S105 - a name
    """Secret that ``model.storage`` takes its key from."""
    ca_config_map: str = ""
    """ConfigMap in namespace kserve with certificates for every fetch; empty: none."""
    s3_defaults: dict[str, Setting] = field(default_factory=dict)
    """By the variable each sets."""


def read_configuration(config_map: Mapping[str, Any] | None) -> StorageConfiguration:
    """Return what a ConfigMap says; what it leaves out or empty is the default.

    Args:
        config_map: the object, or None where there is none.

    Raises:
        InvalidInput: a key's text is no JSON object (InvalidStorageConfig).
    """
    if config_map is None:
        return StorageConfiguration()
    place = f"config map {CONFIG_NAMESPACE}/{CONFIG_NAME}"
    credentials = _section(config_map, "credentials", place)
    initializer = _section(config_map, "storageInitializer", place)
    s3, gcs = _mapping(credentials.get("s3")), _mapping(credentials.get("gcs"))
    defaults = StorageConfiguration()
    return StorageConfiguration(
        access_key_name=str(s3.get("s3AccessKeyIDName") or defaults.access_key_name),
        secret_key_name=str(s3.get("s3SecretAccessKeyName") or defaults.secret_key_name),
        gcs_key_name=str(gcs.get("gcsCredentialFileName") or defaults.gcs_key_name),
        secret_name_annotation=str(credentials.get("storageSecretNameAnnotation") or defaults.secret_name_annotation),
        storage_spec_secret=str(credentials.get("storageSpecSecretName") or defaults.storage_spec_secret),
        ca_config_map=str(initializer.get("caBundleConfigMapName") or ""),
        s3_defaults={
            variable: Setting(str(s3[name]), f"{place} credentials.s3.{name}") for name, variable in _S3_DEFAULTS.items() if s3.get(name)
        },
    )


def _section(config_map: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    text = (config_map.get("data") or {}).get(key)
    if not text:
        return {}
    return json_object(text, place, f"its key {key}")


def json_object(text: str, place: str, what: str) -> dict[str, Any]:
    """Return a JSON object that somebody wrote into a Secret or ConfigMap.

    Args:
        text: what they wrote.
        place: where, for the error.
        what: of that place, for the error.

    Raises:
        InvalidInput: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"cannot read {place}: {what} is no JSON: {error}", reason="InvalidStorageConfig") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"cannot read {place}: {what} is no JSON object", reason="InvalidStorageConfig")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
