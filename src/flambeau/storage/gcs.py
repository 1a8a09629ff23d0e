"""Make a client for Google Cloud Storage: as a service account, or as anybody."""

from __future__ import annotations

import json
from typing import Any

from obstore.store import GCSStore

from flambeau.foundation.errors import InvalidInput
from flambeau.storage import credentials as names
from flambeau.storage.connection import ca_bundle, endpoint_of
from flambeau.storage.model import Credentials
from flambeau.storage.objects import FOREIGN, ObjectSource, client_options, retry_options, unusable
from flambeau.storage.place import Place
from flambeau.storage.uri import GcsUri

ENDPOINT_DEFAULT = "https://storage.googleapis.com"
_KEY_TYPE = "service_account"
_NOBODY = json.dumps({"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": True})
"""Given where there is no key, so that obstore does not take one from this process's environment. Its own variables for a key's path and
for a ready token (GOOGLE_SERVICE_ACCOUNT, GOOGLE_BEARER_TOKEN) can't be kept out; nothing else than obstore reads them."""


def gcs_source(uri: GcsUri, credentials: Credentials) -> ObjectSource:
    """Return the bucket that a URI names, as some credentials see it; without any, as anybody sees it.

    Raises:
        InvalidInput: the service account's key can't be used (InvalidStorageConfig).
    """
    place, key = gcs_place(uri, credentials)

    def client(answer_seconds: float, retries: int) -> GCSStore:
        options, again = client_options(place, answer_seconds), retry_options(answer_seconds, retries)
        try:
            return GCSStore(
                place.bucket,
                base_url=place.endpoint,
                skip_signature=key is None,
                service_account_key=key or _NOBODY,
                client_options=options,
                retry_config=again,
            )
        except FOREIGN as error:
            raise unusable(place, error) from error

    return ObjectSource(uri, place, client)


def gcs_place(uri: GcsUri, credentials: Credentials) -> tuple[Place, str | None]:
    """Return where a bucket is and the key to sign with, None for an anonymous reader."""
    setting = credentials.settings.get(names.GCS_KEY)
    key = None if setting is None else _read_key(setting.value, setting.source)
    endpoint, source = endpoint_of(credentials, names.GCS_ENDPOINT), credentials.source(names.GCS_ENDPOINT)
    if endpoint is None and key and isinstance(key.get("gcs_base_url"), str):
        endpoint, source = key["gcs_base_url"].rstrip("/"), f"{setting.source if setting else ''} (gcs_base_url)"
    identity = "anonymous (no service account's key is given)"
    if setting is not None and key is not None:
        identity = f"{setting.source}, {key.get('client_email', 'no client_email')}"
    place = Place(
        store="Google Cloud Storage",
        root=f"gs://{uri.bucket}",
        bucket=uri.bucket,
        endpoint=endpoint or ENDPOINT_DEFAULT,
        endpoint_source=source or "the default",
        ca_bundle=ca_bundle(credentials),
        identity=identity,
        warnings=credentials.warnings,
        ca_hint="name its CA in the ConfigMap that inferenceservice-config's caBundleConfigMapName names",
        plain_hint="write the endpoint with http://",
    )
    return place, None if key is None or key.get("disable_oauth") is True else json.dumps(key)


def _read_key(text: str, source: str) -> dict[str, Any]:
    try:
        key = json.loads(text)
        cause = "" if isinstance(key, dict) else "it is no JSON object"
    except ValueError:
        key, cause = {}, "it is no JSON"
    if not cause and key.get("type", _KEY_TYPE) != _KEY_TYPE:
        cause = f"it is of type {key['type']!r}; only keys of service accounts can be used"
    if not cause and key.get("disable_oauth") is not True and not all(key.get(name) for name in ("client_email", "private_key")):
        cause = "it has no client_email or no private_key"
    if cause:
        raise InvalidInput(
            f"cannot use the Google credentials: {cause}",
            hint=f"they come from {source}; create a JSON key for the service account",
            reason="InvalidStorageConfig",
        )
    return dict(key)
