"""Decide how a bucket is reached: endpoint, identity, addressing. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flambeau.foundation.errors import Denied, InvalidInput
from flambeau.storage import credentials as names
from flambeau.storage.model import Credentials

REGION_DEFAULT = "us-east-1"
_KEY_ID_CHARACTERS_SHOWN = 4
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_AWS_GLOBAL_HOST = "s3.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Connection:
    """A bucket, where it is and who asks."""

    bucket: str
    endpoint: str
    """With a scheme, without a trailing slash."""
    endpoint_source: str
    """Who said so, for people."""
    region: str
    virtual_host: bool
    """The bucket is part of the host name instead of the path."""
    verify_tls: bool
    ca_bundle: str | None
    """Path of a PEM file."""
    access_key_id: str | None
    """None: requests are not signed."""
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    identity: str
    """Who asks, for people: the Secret and the beginning of the key id."""
    warnings: tuple[str, ...] = ()

    @property
    def base_url(self) -> str:
        """Where requests go."""
        scheme, _, rest = self.endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{rest}" if self.virtual_host else self.endpoint

    @property
    def address(self) -> str:
        """``host:port`` of the endpoint."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def connection(bucket: str, credentials: Credentials) -> Connection:
    """Return how to reach a bucket with some credentials.

    Raises:
        Denied: there is neither a key nor the wish to be anonymous (StorageAccessDenied); the hint repeats the credentials' warnings.
        InvalidInput: the endpoint, region or a key can't be what it should be (reason InvalidStorageConfig).
    """
    endpoint = _endpoint(credentials)
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
        bucket=bucket,
        endpoint=endpoint,
        endpoint_source=_source(credentials, names.ENDPOINT_URL) or "the default",
        region=region,
        # A dot in the bucket would break the certificate's wildcard.
        virtual_host=_is_true(credentials, names.VIRTUAL_BUCKET) or (on_aws and "." not in bucket),
        verify_tls=(credentials.get(names.VERIFY_SSL) or "1").lower() not in ("0", "false"),
        ca_bundle=credentials.get(names.CA_BUNDLE),
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=token,
        identity=identity,
        warnings=credentials.warnings,
    )


def _endpoint(credentials: Credentials) -> str | None:
    url = credentials.get(names.ENDPOINT_URL)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.query and not parts.username
    except ValueError:
        usable = False
    if not usable or not _HEADER_SAFE.fullmatch(url):
        raise _invalid(credentials, names.ENDPOINT_URL, f"{url!r} is no endpoint: write HOST:PORT or http(s)://HOST:PORT")
    return url.rstrip("/")


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


def _source(credentials: Credentials, name: str) -> str | None:
    setting = credentials.settings.get(name)
    return None if setting is None else setting.source


def _is_true(credentials: Credentials, name: str) -> bool:
    return (credentials.get(name) or "").lower() == "true"


def _invalid(credentials: Credentials, name: str, cause: str) -> InvalidInput:
    return InvalidInput(
        f"cannot use the storage credentials: {name}: {cause}",
        hint=f"it comes from {credentials.settings[name].source}",
        reason="InvalidStorageConfig",
    )
