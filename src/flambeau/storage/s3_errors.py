"""Say in one sentence why a request to S3 failed. Pure: the library's exception in, ours out."""

from __future__ import annotations

import re

from flambeau.foundation.errors import Denied, FlambeauError, InvalidInput, NotFound, Unavailable
from flambeau.storage.connection import Connection

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_SYSTEM_CAUSE = re.compile(r'(?:message|error): "([^"]{1,200})"')
_BAD_PATH = re.compile(r'[Pp]ath "([^"]{1,300})"')
_TEXT_CHARACTERS_MAX = 300

_WRONG_IDENTITY = {"SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken", "InvalidSecurity"}
_WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}


def translate(error: Exception, connection: Connection, what: str) -> FlambeauError:
    """Return the error of ours for one of obstore's.

    Args:
        error: its text carries a Rust debug dump below the first blank line; causes are read from it, none of it is shown.
        connection: where the request went and as whom.
        what: the object or prefix, as a URI.
    """
    text = str(error)
    if isinstance(error, TimeoutError):
        return unreachable(connection, what, "no answer in time")
    if type(error).__name__ == "InvalidPathError":
        return _unsafe(text, what)
    status = _STATUS.search(text)
    if status is None:
        return _transport(text, connection, what)
    return _answered(int(status.group(1)), text, connection, what)


def unreachable(connection: Connection, what: str, cause: str) -> Unavailable:
    """Return the error for an endpoint that can't be talked to."""
    return Unavailable(
        f"cannot reach the S3 endpoint {connection.address} for {what}: {cause}",
        hint=f"check that {connection.endpoint} ({connection.endpoint_source}) is right and running",
        reason="EndpointUnreachable",
    )


def _answered(status: int, text: str, connection: Connection, what: str) -> FlambeauError:
    code = _group(_CODE, text) or ""
    message = _group(_MESSAGE, text) or ""
    if code in _WRONG_REGION:
        return InvalidInput(
            f"cannot read {what}: the region {connection.region} is wrong: {message or code}",
            hint="set the Secret's annotation serving.kserve.io/s3-region",
            reason="WrongRegion",
        )
    if code == "NoSuchBucket":
        return NotFound(
            f"cannot read {what}: there is no bucket {connection.bucket} at {connection.endpoint}",
            hint="check the storage URI and the endpoint",
            reason="BucketNotFound",
        )
    if status in (401, 403):
        return _denied(status, code, connection, what)
    if status == 404:
        return NotFound(f"cannot read {what}: not found at {connection.endpoint}", reason="NoObjects")
    described = f"HTTP {status} {code}".strip() + (f": {message}" if message else "")
    if status in (429, 500, 502, 503, 504):
        return Unavailable(f"cannot read {what}: {connection.address} answered {described}", reason="EndpointUnavailable")
    return Unavailable(
        f"cannot read {what}: {connection.address} answered {described}",
        hint=f"is {connection.endpoint} ({connection.endpoint_source}) an S3 endpoint? it was asked as {connection.identity}",
        reason="EndpointRefused",
    )


def _denied(status: int, code: str, connection: Connection, what: str) -> Denied:
    if code in _WRONG_IDENTITY:
        cause = "the access key or the secret key is wrong"
        hint = f"check the keys in {connection.identity.split(',')[0]}"
    else:
        cause = "access is refused"
        hint = "the identity needs to list the bucket and to read its objects"
    return Denied(
        f"cannot read {what}: {cause} (HTTP {status}{f' {code}' if code else ''}; {connection.identity}; "
        f"endpoint {connection.endpoint}, region {connection.region})",
        hint="; ".join((hint, *connection.warnings)),
        reason="StorageAccessDenied",
    )


def _transport(text: str, connection: Connection, what: str) -> FlambeauError:
    """No answer came: read the cause from the dump."""
    if "InvalidCertificate" in text or "invalid peer certificate" in text:
        return Unavailable(
            f"cannot reach the S3 endpoint {connection.address} for {what}: its TLS certificate is not trusted",
            hint="name its CA in the Secret's annotation serving.kserve.io/s3-cabundle, or set serving.kserve.io/s3-verifyssl to '0'",
            reason="TlsFailure",
        )
    if "InvalidContentType" in text or "CorruptMessage" in text:
        return Unavailable(
            f"cannot reach the S3 endpoint {connection.address} for {what}: it does not speak TLS",
            hint="set the Secret's annotation serving.kserve.io/s3-usehttps to '0' for a plain HTTP endpoint",
            reason="TlsFailure",
        )
    if "kind: Timeout" in text or "TimedOut" in text:
        return unreachable(connection, what, "no answer in time")
    if any(word in text for word in ("IncompleteMessage", "ConnectionReset", "response body error")):
        return unreachable(connection, what, "the connection was cut")
    cause = _group(_SYSTEM_CAUSE, text) or text.partition("\n")[0].rpartition(" - ")[2]
    return unreachable(connection, what, cause.removeprefix("failed to lookup address information: ")[:_TEXT_CHARACTERS_MAX])


def _unsafe(text: str, what: str) -> InvalidInput:
    return unsafe_key(_group(_BAD_PATH, text) or "?", what)


def unsafe_key(key: str, what: str) -> InvalidInput:
    """Return the error for an object whose key would leave its directory or can't be a file name."""
    return InvalidInput(
        f"cannot read {what}: the object key {key!r} is no safe file name (it has an empty, '.' or '..' step, a backslash, or is too long)",
        hint="rename or delete that object",
        reason="UnsafeObjectKey",
    )


def _group(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found.group(1) if found else None
