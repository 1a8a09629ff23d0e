"""Decide how a bucket of S3 is reached: endpoint, identity, addressing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flambeau.foundation.errors import Denied, InvalidInput
from flambeau.storage import credentials as names
from flambeau.storage.model import Credentials
from flambeau.storage.place import Place

REGION_DEFAULT = "us-east-1"
_KEY_ID_CHARACTERS_SHOWN = 4
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_AWS_GLOBAL_HOST = "s3.amazonaws.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Place):
    """A bucket of S3."""

    virtual_host: bool
    """The bucket is part of the host name instead of the path."""
    access_key_id: str | None
    """None: requests are not signed."""
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)

    def facts(self) -> dict[str, str]:
        """Return what a person asks first, and how the bucket is addressed."""
        return Place.facts(self) | {"addressing": "virtual host" if self.virtual_host else "path"}

    @property
    def base_url(self) -> str:
        """Where requests go."""
        scheme, _, rest = self.endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{rest}" if self.virtual_host else self.endpoint


def connection(bucket: str, credentials: Credentials) -> Connection:
    """Return how to reach a bucket with some credentials.

    Raises:
        Denied: there is neither a key nor the wish to be anonymous (StorageAccessDenied); the hint repeats the credentials' warnings.
        InvalidInput: the endpoint, region or a key can't be what it should be (reason InvalidStorageConfig).
    """
    endpoint = endpoint_of(credentials, names.ENDPOINT_URL)
    region = credentials.get(names.REGION) or REGION_DEFAULT
    if not _REGION.fullmatch(region):
        raise _invalid(credentials, names.REGION, f"{region!r} is no region")
    if _is_true(credentials, names.ANONYMOUS):
        key_id = secret = token = None
        identity = f"anonymous ({credentials.settings[names.ANONYMOUS].source})"
    else:
        key_id, secret, token = _keys(bucket, credentials)
        identity = f"{_holder(credentials)}, key id {key_id[:_KEY_ID_CHARACTERS_SHOWN]}…"
    on_aws = endpoint is None or urlsplit(endpoint).hostname == _AWS_GLOBAL_HOST
    if endpoint is None or on_aws:
        accelerate = _is_true(credentials, names.ACCELERATE)
        endpoint = "https://s3-accelerate.amazonaws.com" if accelerate else f"https://s3.{region}.amazonaws.com"
    return Connection(
        store="S3",
        root=f"s3://{bucket}",
        bucket=bucket,
        endpoint=endpoint,
        endpoint_source=credentials.source(names.ENDPOINT_URL) or "the default",
        region=region,
        # A dot in the bucket would break the certificate's wildcard.
        virtual_host=_is_true(credentials, names.VIRTUAL_BUCKET) or (on_aws and "." not in bucket),
        verify_tls=(credentials.get(names.VERIFY_SSL) or "1").lower() not in ("0", "false"),
        ca_bundle=ca_bundle(credentials),
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=token,
        identity=identity,
        warnings=credentials.warnings,
        ca_hint="name its CA in the Secret's annotation serving.kserve.io/s3-cabundle, or set serving.kserve.io/s3-verifyssl to '0'",
        plain_hint="set the Secret's annotation serving.kserve.io/s3-usehttps to '0' for a plain HTTP endpoint",
    )


def endpoint_of(credentials: Credentials, name: str) -> str | None:
    """Return an endpoint's URL without a trailing slash, None where none is set.

    Raises:
        InvalidInput: it is none (InvalidStorageConfig).
    """
    url = credentials.get(name)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query and not parts.username
    except ValueError:
        usable = False
    if not usable or not _HEADER_SAFE.fullmatch(url):
        raise _invalid(credentials, name, f"{url!r} is no endpoint: write HOST:PORT or http(s)://HOST:PORT")
    return url.rstrip("/")


def ca_bundle(credentials: Credentials) -> bytes | None:
    """Return the PEM certificates to trust besides this machine's: a ConfigMap's text, or a file of this machine. Reads that file.

    Raises:
        InvalidInput: there is no such file, or no certificate in it (InvalidStorageConfig).
    """
    text, path = credentials.get(names.CA_BUNDLE_TEXT), credentials.get(names.CA_BUNDLE)
    if not text and not path:
        return None
    try:
        bundle = text.encode() if text else Path(path or "").read_bytes()
        cause = "" if b"-----BEGIN CERTIFICATE-----" in bundle else "it holds no PEM certificate"
    except OSError as error:
        cause = str(error.strerror)
    if cause:
        raise InvalidInput(
            f"cannot use the CA bundle {credentials.source(names.CA_BUNDLE_TEXT) if text else path}: {cause}",
            hint="the Secret's annotation serving.kserve.io/s3-cabundle names a PEM file of this machine, "
            "serving.kserve.io/s3-cabundle-configmap a ConfigMap with the key cabundle.crt",
            reason="InvalidStorageConfig",
        )
    return bundle


def _keys(bucket: str, credentials: Credentials) -> tuple[str, str, str | None]:
    key_id, secret = credentials.get(names.ACCESS_KEY_ID), credentials.get(names.SECRET_ACCESS_KEY)
    if not key_id or not secret:
        missing = [name for name in (names.ACCESS_KEY_ID, names.SECRET_ACCESS_KEY) if not credentials.get(name)]
        hint = "; ".join(credentials.warnings) or (
            "name a Secret with these keys in the ServiceAccount's secrets, or set the Secret's annotation "
            "serving.kserve.io/s3-useanoncredential to 'true' for a public bucket"
        )
        raise Denied(f"no credentials for s3://{bucket}: {' and '.join(missing)} not set", hint=hint, reason="StorageAccessDenied")
    for name, value in ((names.ACCESS_KEY_ID, key_id), (names.SECRET_ACCESS_KEY, secret)):
        if not _HEADER_SAFE.fullmatch(value):
            raise _invalid(credentials, name, "the value contains blanks or characters that no key has")
    return key_id, secret, credentials.get(names.SESSION_TOKEN)


def _holder(credentials: Credentials) -> str:
    """Return where the key came from, without the data key's name: ``secret torchserve/s3creds``."""
    return credentials.settings[names.ACCESS_KEY_ID].source.split(" data key ")[0]


def _is_true(credentials: Credentials, name: str) -> bool:
    return (credentials.get(name) or "").lower() == "true"


def _invalid(credentials: Credentials, name: str, cause: str) -> InvalidInput:
    return InvalidInput(
        f"cannot use the storage credentials: {name}: {cause}",
        hint=f"it comes from {credentials.settings[name].source}",
        reason="InvalidStorageConfig",
    )
