"""Say in one sentence why a request to an object store failed. Pure: the library's exception in, ours out."""

from __future__ import annotations

import re

from flambeau.foundation.errors import Denied, FlambeauError, InvalidInput, NotFound, Unavailable
from flambeau.storage.place import Place

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_SYSTEM_CAUSE = re.compile(r'(?:message|error): "([^"]{1,200})"')
_BAD_PATH = re.compile(r'[Pp]ath "([^"]{1,300})"')
_TEXT_CHARACTERS_MAX = 300

_WRONG_IDENTITY = {
    "SignatureDoesNotMatch",
    "InvalidAccessKeyId",
    "InvalidToken",
    "ExpiredToken",
    "InvalidSecurity",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}


def translate(error: Exception, place: Place, what: str, doing: str = "read") -> FlambeauError:
    """Return the error of ours for one of obstore's.

    Args:
        error: its text carries a Rust debug dump below the first blank line; causes are read from it, none of it is shown.
        place: where the request went and as whom.
        what: the object or prefix, as a URI.
        doing: ``read`` or ``write``.
    """
    text = str(error)
    if isinstance(error, TimeoutError):
        return unreachable(place, what, "no answer in time")
    if type(error).__name__ == "InvalidPathError":
        return _unsafe(text, what)
    status = _STATUS.search(text)
    if status is None:
        return _transport(text, place, what)
    return _answered(int(status.group(1)), text, place, what, doing)


def unreachable(place: Place, what: str, cause: str) -> Unavailable:
    """Return the error for an endpoint that can't be talked to."""
    return Unavailable(
        f"cannot reach the {place.store} endpoint {place.address} for {what}: {cause}",
        hint=f"check that {place.endpoint} ({place.endpoint_source}) is right and running",
        reason="EndpointUnreachable",
    )


def _answered(status: int, text: str, place: Place, what: str, doing: str) -> FlambeauError:
    code = _group(_CODE, text) or ""
    message = _group(_MESSAGE, text) or ""
    if code in _WRONG_REGION:
        return InvalidInput(
            f"cannot {doing} {what}: the region {place.region} is wrong: {message or code}",
            hint="set the Secret's annotation serving.kserve.io/s3-region",
            reason="WrongRegion",
        )
    if code in _NO_BUCKET:
        return NotFound(
            f"cannot {doing} {what}: there is no bucket {place.bucket} at {place.endpoint}",
            hint="check the storage URI and the endpoint",
            reason="BucketNotFound",
        )
    if status in (401, 403):
        return _denied(status, code, place, what, doing)
    if status == 404:
        return NotFound(f"cannot {doing} {what}: not found at {place.endpoint}", reason="NoObjects")
    described = f"HTTP {status} {code}".strip() + (f": {message}" if message else "")
    if status in (429, 500, 502, 503, 504):
        return Unavailable(f"cannot {doing} {what}: {place.address} answered {described}", reason="EndpointUnavailable")
    return Unavailable(
        f"cannot {doing} {what}: {place.address} answered {described}",
        hint=f"is {place.endpoint} ({place.endpoint_source}) an endpoint of {place.store}? it was asked as {place.identity}",
        reason="EndpointRefused",
    )


def _denied(status: int, code: str, place: Place, what: str, doing: str) -> Denied:
    if code in _WRONG_IDENTITY:
        cause = "the access key or the secret key is wrong"
        hint = f"check the keys in {place.identity.split(',')[0]}"
    else:
        cause = "access is refused"
        hint = f"the identity needs to {'list the bucket and to read its objects' if doing == 'read' else 'write objects there'}"
    return Denied(
        f"cannot {doing} {what}: {cause} (HTTP {status}{f' {code}' if code else ''}; {place.identity}; "
        f"endpoint {place.endpoint}{f', region {place.region}' if place.region else ''})",
        hint="; ".join((hint, *place.warnings)),
        reason="StorageAccessDenied",
    )


def _transport(text: str, place: Place, what: str) -> FlambeauError:
    """No answer came: read the cause from the dump."""
    if "InvalidCertificate" in text or "invalid peer certificate" in text:
        return Unavailable(
            f"cannot reach the {place.store} endpoint {place.address} for {what}: its TLS certificate is not trusted",
            hint=place.ca_hint,
            reason="TlsFailure",
        )
    if "InvalidContentType" in text or "CorruptMessage" in text:
        return Unavailable(
            f"cannot reach the {place.store} endpoint {place.address} for {what}: it does not speak TLS",
            hint=place.plain_hint,
            reason="TlsFailure",
        )
    if "kind: Timeout" in text or "TimedOut" in text:
        return unreachable(place, what, "no answer in time")
    if any(word in text for word in ("IncompleteMessage", "ConnectionReset", "response body error")):
        return unreachable(place, what, "the connection was cut")
    cause = _group(_SYSTEM_CAUSE, text) or text.partition("\n")[0].rpartition(" - ")[2]
    return unreachable(place, what, cause.removeprefix("failed to lookup address information: ")[:_TEXT_CHARACTERS_MAX])


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
